// The Tensor: a shape, strides and an offset over shared device memory, with its place in the gradient graph.
// Operators are methods too: `installMethods` adds them from the operator table. What computes stands in `ops/`.

import { KERNEL_BUFFER, type KernelBuffer } from "../runtime/buffer.js";
import type { Storage } from "../runtime/storage.js";
import type { Chip, DeviceBuffer } from "../runtime/driver.js";
import { backward, type BackwardOptions } from "./engine.js";
import { isFloatDType, itemSize, type DType } from "./dtype.js";
import { isInferenceMode } from "./grad-mode.js";
import { isContiguousLayout, normalizeDim, numelOf } from "./layout.js";
import { assignGrad } from "./lifetime.js";
import { AccumulateGrad, type Edge, type GradHook, type GradNode } from "./node.js";
import { formatTensor, summary } from "./print.js";
import {
  readBytes,
  readData,
  readDataSync,
  readItem,
  readItemSync,
  readList,
  type Nested,
  type TensorData,
} from "./read.js";
import { edgeOf } from "./record.js";

/** Counts in-place writes; shared by all tensors over the same memory. */
export interface VersionCounter {
  value: number;
  /** The operator that wrote last. */
  writer: string;
}

/** How a view came from the tensor it was taken of: enough to take it again. */
export interface ViewOrigin {
  readonly parent: Tensor;
  /** Takes the same view of another tensor of the parent's shape. */
  replay(parent: Tensor): Tensor;
  /** One of several results of one call: cannot be written in place while gradients are recorded. */
  readonly oneOfMany: boolean;
  /** Whether gradients were recorded when the view was taken; if not, it stays without history. */
  readonly tracked: boolean;
}

export interface TensorInit {
  readonly storage: Storage;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  /** In elements. */
  readonly offset: number;
  readonly dtype: DType;
  /** The counter of the tensor whose memory is shared; left out for fresh memory. */
  readonly counter?: VersionCounter;
}

/**
 * An n-dimensional array on a chip. Made by `tensor`, `empty`, `fromBytes` and by operators.
 *
 * Reading is asynchronous on every chip: `await t.data()`. Everything else only enqueues.
 */
export class Tensor implements KernelBuffer {
  readonly shape: readonly number[];
  /** In elements. */
  readonly strides: readonly number[];
  /** Of the first element in the storage, in elements. */
  readonly offset: number;
  readonly dtype: DType;
  readonly storage: Storage;
  readonly numel: number;
  /** @internal Shared with views. */
  readonly counter: VersionCounter;
  /** @internal The recorded operator that made this tensor. */
  gradNode: GradNode | null = null;
  /** @internal Which of the node's outputs this is. */
  gradIndex = 0;
  /** @internal The counter's value when `gradNode` was set; views renew theirs when the memory changed since. */
  gradVersion = 0;
  /** @internal */
  origin: ViewOrigin | null = null;
  /** Whether the storage is this tensor's own rather than shared with the one it was taken of. */
  readonly ownsStorage: boolean;
  /** @internal A leaf that wants gradients. */
  wantsGrad = false;
  /** Whether it was made in `inferenceMode`, or is a view of such a tensor: gradients never come here. */
  readonly isInference: boolean;
  #gradDType: DType | null = null;
  #grad: Tensor | null = null;
  #accumulator: AccumulateGrad | null = null;

  constructor(init: TensorInit) {
    this.storage = init.storage;
    this.shape = init.shape;
    this.strides = init.strides;
    this.offset = init.offset;
    this.dtype = init.dtype;
    this.numel = numelOf(init.shape);
    this.ownsStorage = init.counter === undefined;
    this.counter = init.counter ?? { value: 0, writer: "" };
    this.gradVersion = this.counter.value;
    this.isInference = isInferenceMode();
    const { note } = init.storage;
    if (note !== undefined && note.what === "") note.what = `${init.dtype} [${init.shape.join(", ")}]`;
  }

  get [KERNEL_BUFFER](): true {
    return true;
  }
  get chip(): Chip {
    return this.storage.chip;
  }
  /** The name of the chip that holds the memory. */
  get device(): string {
    return this.storage.chip.name;
  }
  get buffer(): DeviceBuffer {
    return this.storage.buffer;
  }
  /** Elements from the first one to the end of the storage. */
  get available(): number {
    return Math.floor(this.storage.bytes / itemSize(this.dtype)) - this.offset;
  }
  get ndim(): number {
    return this.shape.length;
  }
  /** Row-major without gaps. */
  get isContiguous(): boolean {
    return isContiguousLayout(this.shape, this.strides);
  }
  get itemSize(): number {
    return itemSize(this.dtype);
  }
  /** How often the memory was written in place. */
  get version(): number {
    return this.counter.value;
  }
  /** The length of one dimension; negative counts from the end. */
  size(dim: number): number {
    return this.shape[normalizeDim(dim, this.ndim)] ?? 1;
  }

  // --- Gradients ---

  /** Whether gradients flow to this tensor. Only leaves can be switched, and only float ones. */
  get requiresGrad(): boolean {
    return (
      this.wantsGrad ||
      this.gradNode !== null ||
      (this.origin !== null && this.gradVersion !== this.counter.value && edgeOf(this) !== null)
    );
  }
  set requiresGrad(value: boolean) {
    if (!this.isLeaf) {
      if (value) return;
      throw new Error("only leaves can be switched: use detach() to get this tensor without its history");
    }
    if (value && !isFloatDType(this.dtype)) {
      throw new TypeError(`only float tensors can require gradients, not ${this.dtype}`);
    }
    if (value && this.isInference && !isInferenceMode()) {
      throw new Error("a tensor made in inferenceMode cannot require gradients: clone() it first");
    }
    this.wantsGrad = value;
  }
  /** Switches {@link requiresGrad} and returns this tensor. */
  requiresGrad_(value = true): this {
    this.requiresGrad = value;
    return this;
  }
  /** Made by the user rather than by a recorded operator. */
  get isLeaf(): boolean {
    return this.wantsGrad || !this.requiresGrad;
  }
  /** The gradient that backward passes added up; null before the first one. Stays alive beyond the open scope. */
  get grad(): Tensor | null {
    return this.#grad;
  }
  set grad(value: Tensor | null) {
    if (value !== null) {
      if (
        value.shape.join() !== this.shape.join() ||
        value.dtype !== this.gradDType ||
        value.device !== this.device
      ) {
        throw new Error(
          `a gradient for ${summary(this)} must have its shape and device and be ${this.gradDType}, not ${summary(value)}`,
        );
      }
    }
    const before = this.#grad;
    this.#grad = value;
    assignGrad(this, before, value);
  }
  /**
   * The dtype of {@link grad}: this tensor's own unless set. Gradients of many small steps add up exactly in f32:
   *
   * @example weight.gradDType = "f32"; // weight is bf16
   */
  get gradDType(): DType {
    return this.#gradDType ?? this.dtype;
  }
  set gradDType(dtype: DType) {
    if (!isFloatDType(dtype)) throw new TypeError(`gradients are floats, not ${dtype}`);
    if (!this.isLeaf) throw new Error("only leaves keep gradients: set gradDType on one");
    if (this.#grad !== null && this.#grad.dtype !== dtype)
      throw new Error(
        `the tensor has a gradient of ${this.#grad.dtype} already: set gradDType before, or grad = null`,
      );
    this.#gradDType = dtype;
  }
  /** @internal The end of the graph for this leaf. */
  get accumulator(): AccumulateGrad {
    this.#accumulator ??= new AccumulateGrad(this);
    return this.#accumulator;
  }
  /** @internal */
  get edge(): Edge | null {
    return edgeOf(this);
  }
  /** Adds the gradients of this tensor to the `.grad` of the leaves it came from. `grad` may be left out for one element. */
  backward(grad?: Tensor | null, options?: BackwardOptions): void {
    backward([this], [grad ?? null], options);
  }
  /** The same memory without history. */
  detach(): Tensor {
    return new Tensor({ ...this.#init(), counter: this.counter });
  }
  /** Keeps the gradient of a non-leaf in `.grad` during backward. */
  retainGrad(): this {
    const edge = this.edge;
    if (!edge) throw new Error("retainGrad() needs a tensor that requires gradients");
    if (!this.isLeaf && !this.#retains) {
      this.#retains = true;
      edge.node.addHook(edge.index, (grad) => {
        this.grad = grad;
      });
    }
    return this;
  }
  #retains = false;
  /** Calls `hook` with the gradient of this tensor during backward; what it returns replaces it. Returns the remover. */
  registerHook(hook: GradHook): () => void {
    const edge = this.edge;
    if (!edge) throw new Error("registerHook() needs a tensor that requires gradients");
    return edge.node.addHook(edge.index, hook);
  }

  /**
   * Calls `hook` with this leaf after each backward pass that added to its `.grad`: to use a gradient and let go of it
   * before the next one is computed. Returns the remover.
   *
   * @example w.registerPostAccumulateGradHook((p) => { optimizer.update(p); p.grad = null; });
   */
  registerPostAccumulateGradHook(hook: (leaf: Tensor) => void): () => void {
    if (!this.wantsGrad)
      throw new Error("registerPostAccumulateGradHook() needs a leaf that requires gradients");
    const { after } = this.accumulator;
    after.push(hook);
    return () => {
      const at = after.indexOf(hook);
      if (at >= 0) after.splice(at, 1);
    };
  }

  // --- Reading ---

  /**
   * A row-major copy of the elements. f16 and bf16 come as Float32Array, i64 as BigInt64Array, bool as Uint8Array of 0 and 1.
   */
  data(): Promise<TensorData> {
    return readData(this);
  }
  /** As {@link data}, at once; only on chips with the capability `syncRead`. */
  dataSync(): TensorData {
    return readDataSync(this);
  }
  /** The elements' bytes as stored, row-major. */
  bytes(): Promise<Uint8Array> {
    return readBytes(this);
  }
  /** The only element: bigint for i64, boolean for bool, else number. */
  item(): Promise<number | bigint | boolean> {
    return readItem(this);
  }
  /** As {@link item}, at once; only on chips with the capability `syncRead`. */
  itemSync(): number | bigint | boolean {
    return readItemSync(this);
  }
  /** Nested arrays; for a 0-dim tensor its element. */
  tolist(): Promise<Nested> {
    return readList(this);
  }
  /** The tensor's values as text, formatted as PyTorch does. */
  format(): Promise<string> {
    return formatTensor(this);
  }
  /** Writes {@link format} to the console. */
  async print(): Promise<void> {
    console.log(await this.format());
  }
  /** Shape, dtype and device; values need `await t.format()`. */
  toString(): string {
    return `Tensor(${summary(this)}${this.requiresGrad ? ", requiresGrad" : ""})`;
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  // --- Memory ---

  /** Frees the memory at once, for all views of it too. On a view it does nothing: the memory is the base's. */
  dispose(): void {
    if (this.ownsStorage) this.storage.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  #init(): TensorInit {
    return {
      storage: this.storage,
      shape: this.shape,
      strides: this.strides,
      offset: this.offset,
      dtype: this.dtype,
    };
  }
}

/** Another shape over the same memory, without history. `shape` and `strides` are kept, not copied. */
export function alias(
  t: Tensor,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
): Tensor {
  return new Tensor({ storage: t.storage, shape, strides, offset, dtype: t.dtype, counter: t.counter });
}

export const isTensor = (x: unknown): x is Tensor => x instanceof Tensor;
