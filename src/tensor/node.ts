// The graph of recorded operators: nodes, edges, saved tensors. Walking it is `engine.ts`, building it `record.ts`.

import { scopesOpened } from "../runtime/scope.js";
import { forwardLine } from "./anomaly.js";
import type { DType } from "./dtype.js";
import type { Tensor } from "./tensor.js";

/** What stays known of a tensor argument once the tensor itself need not be kept. */
export interface TensorMeta {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
  readonly dtype: DType;
  readonly device: string;
}

export const metaOf = (t: Tensor): TensorMeta => ({
  shape: t.shape,
  strides: t.strides,
  offset: t.offset,
  dtype: t.dtype,
  device: t.device,
});

/** What a derivative's `backward` is given besides the gradients of the outputs. */
export interface BackwardContext {
  /** What `save` returned; reading it checks that nothing was changed in place since. */
  readonly saved: readonly Tensor[];
  /** The operator's arguments in schema order, defaults filled in; each tensor replaced by its {@link TensorMeta}. */
  readonly args: readonly unknown[];
  /** For each argument of type Tensor or Tensor[], in schema order: whether its gradient is wanted. */
  readonly needs: readonly boolean[];
  /** The outputs' shapes and dtypes. */
  readonly outputs: readonly TensorMeta[];
  /** `args[i]` as the metadata of a tensor. */
  meta(i: number): TensorMeta;
}

/** The gradients of an operator's tensor arguments: a tensor, null for none, a list for a Tensor[]. */
export type InputGradients = readonly (Tensor | null | undefined | readonly (Tensor | null | undefined)[])[];

/** Where a tensor's gradient goes: input number `index` of `node`'s outputs. */
export interface Edge {
  readonly node: GradNode;
  readonly index: number;
}

/** Sees a gradient; a tensor that it returns replaces it. */
export type GradHook = (grad: Tensor) => unknown;

let nextId = 1;

/** One recorded operator. */
export abstract class GradNode {
  /** Nodes are made after the nodes they lead to, so ids grow towards the outputs. */
  readonly id: number = nextId++;
  /** Where the author called the operator; null unless anomalies are looked for (see `anomaly.ts`). */
  readonly line: string | null = forwardLine();
  /** How many scopes had been opened: tells what a scope need not search (see `lifetime.ts`). */
  readonly scopes = scopesOpened();
  abstract readonly name: string;
  /** One entry per tensor input (lists flattened); null where no gradient is wanted. */
  abstract readonly edges: readonly (Edge | null)[];
  /** The outputs this node gets gradients for. */
  abstract readonly outputs: readonly TensorMeta[];
  /** Gradients in, in the order of `outputs` (null: none arrived); gradients out, in the order of `edges`. */
  abstract apply(grads: readonly (Tensor | null)[]): readonly (Tensor | null | undefined)[];
  /**
   * Whether {@link apply} keeps nothing of what it is given and makes: then that is freed as soon as nobody needs it. Not so for
   * derivatives that users write, who may look at it until the pass ends.
   */
  readonly forgets: boolean = false;
  /**
   * As {@link apply} for a node with one input that wants its gradient: adds this to `into`, which is already there, and tells
   * whether it did. For gradients that are mostly zeros.
   */
  addInto?(into: Tensor, grads: readonly (Tensor | null)[]): boolean;
  /** Lets go of saved tensors. */
  release(): void {}
  /** Tensors that must stay alive for {@link apply}. */
  kept(): readonly Tensor[] {
    return [];
  }
  /** Called with the full gradient of output `index` before {@link apply}. */
  hooks: Map<number, GradHook[]> | null = null;

  addHook(index: number, hook: GradHook): () => void {
    this.hooks ??= new Map();
    const list = this.hooks.get(index) ?? [];
    list.push(hook);
    this.hooks.set(index, list);
    return () => {
      const at = list.indexOf(hook);
      if (at >= 0) list.splice(at, 1);
    };
  }
}

/** Keeps something else than a saved tensor, from which it can be had again (see `checkpoint.ts`). */
export interface SavedHooks {
  /** A stand-in for the tensor; null to keep the tensor itself. */
  pack(tensor: Tensor): SavedStandIn | null;
}
export interface SavedStandIn {
  unpack(by: string): Tensor;
  /** What must stay alive for {@link unpack}. */
  kept(): readonly Tensor[];
  /** The backward pass is through with it. */
  release(): void;
}

let savedHooks: SavedHooks | null = null;

/** Sets what handles saved tensors from now on; the result is what did before. */
export function setSavedHooks(hooks: SavedHooks | null): SavedHooks | null {
  const before = savedHooks;
  savedHooks = hooks;
  return before;
}

/** A saved tensor and the version it had. */
export class SavedTensor {
  readonly #tensor: Tensor | null;
  readonly #standIn: SavedStandIn | null;
  readonly #version: number;

  constructor(tensor: Tensor) {
    if (tensor.isInference)
      throw new Error(
        "a tensor made in inferenceMode cannot be saved for a backward pass: clone() it outside, or use noGrad instead",
      );
    this.#standIn = savedHooks === null ? null : savedHooks.pack(tensor);
    this.#tensor = this.#standIn === null ? tensor : null;
    this.#version = tensor.version;
  }

  /** What must stay alive, for those who only look at memory. */
  kept(): readonly Tensor[] {
    return this.#tensor === null ? this.#standIn!.kept() : [this.#tensor];
  }

  release(): void {
    this.#standIn?.release();
  }

  /** Throws if the tensor was written in place since it was saved. */
  unpack(by: string): Tensor {
    if (this.#standIn !== null) return this.#standIn.unpack(by);
    const t = this.#tensor!;
    if (t.version !== this.#version) {
      const writer = t.counter.writer ? ` by \`${t.counter.writer}\`` : "";
      throw new Error(
        `the derivative of \`${by}\` needs a tensor of shape [${t.shape.join(", ")}] (${t.dtype}) that was modified in place${writer}: ` +
          `it is at version ${t.version}, saved at version ${this.#version}. Clone it before the in-place operator`,
      );
    }
    return t;
  }
}

/** Ends a path at a leaf: adds what arrives to its `.grad`. */
export class AccumulateGrad extends GradNode {
  // Leaves come after everything that leads to them, whenever their node was made.
  override readonly id = 0;
  override readonly forgets = true;
  readonly name = "accumulateGrad";
  readonly edges = [];
  /** Called after a pass has added to the leaf's `.grad`. */
  readonly after: ((leaf: Tensor) => void)[] = [];

  constructor(readonly leaf: Tensor) {
    super();
  }

  /** In the dtype in which the leaf wants its gradients added up. */
  get outputs(): readonly TensorMeta[] {
    return [{ ...metaOf(this.leaf), dtype: this.leaf.gradDType }];
  }

  apply(): readonly never[] {
    return [];
  }
}
