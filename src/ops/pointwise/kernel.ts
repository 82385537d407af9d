// The host side of pointwise operators: finds the variant of the kernel that fits the operands, fills in its
// arguments, launches it. What it computes is a scalar function; gradients are `gradient.ts`.

import { DTYPES, isNarrowFloat, roundTo } from "../../compiler/ir/index.js";
import type { ScalarFunction } from "../../compiler/lang/index.js";
import { type Kernel, kernelOf } from "../../runtime/kernel.js";
import type { DType, Scalar } from "../../tensor/dtype.js";
import { empty } from "../../tensor/factory.js";
import { broadcastShapes, sameShape, showShape } from "../../tensor/layout.js";
import { callOperator } from "../../tensor/operator.js";
import { Replays } from "../../tensor/replay.js";
import { Tensor } from "../../tensor/tensor.js";
import { streams } from "../streaming.js";
import { Walk } from "./layout.js";
import { firstTensor, type Input, partOf, sameElements, shapeOf } from "./operands.js";
import {
  computeDType,
  type Operand,
  type Promotion,
  promoted,
  scalarArgument,
  scalarParam,
} from "./promote.js";
import { type InputSpec, type Layout, type ParamNames, PointwiseSource, type Step } from "./source.js";

export type { Input };

export interface PointwiseSpec {
  readonly fn: ScalarFunction;
  readonly promote: Promotion;
  /** The inputs that take part in promotion; the others keep their dtype. Undefined: all. */
  readonly over: readonly number[] | undefined;
  /** The dtype of each output; `promoted` is the common one. */
  readonly outputs: readonly (DType | "promoted")[];
}

/** Problems of so few elements take the layout with the fewest kernels. */
const SMALL = 512;
/** Programs of tiny problems have this many elements. */
const TINY_BLOCK = 64;
/** Elements of a copy that the inner caches do not hold. */
const LARGE = 2 ** 20;
/** An innermost dimension shorter than this is walked by linear index. */
const SHORT_ROW = 16;
/**
 * Blocks and rows where operands are dense along different dimensions: such a tile and what is read for it fit into the
 * first cache of a processor, and its rows are several lines long. Programs of few elements have fewer columns.
 */
const TURNED_ROWS = 64;
const TURNED_BLOCK = 64;
const TURNED_BLOCK_SMALL = 16;
/** Blocks that programs of one thread follow one another along before they take the next rows. */
const TURNED_BAND = 16;
/** So many programs for each of a chip's threads are more than run at once. */
const MANY_PROGRAMS = 32;
/** Larger launches are split, so that element numbers stay below 2^31. */
const MAX_ELEMENTS = 2 ** 30;

const STEP_CODE: Readonly<Record<Step, number>> = { zero: 0, unit: 1, any: 2 };
const LAYOUT_CODE: Readonly<Record<Layout, number>> = { flat: 0, linear: 1, rows: 2, turned: 3 };
const DTYPE_CODE: Readonly<Record<DType, number>> = {
  bool: 0, u8: 1, i8: 2, i16: 3, i32: 4, i64: 5, f32: 6, f64: 7, f16: 8, bf16: 9, u16: 10, u32: 11, u64: 12, f8e4m3: 13, f8e5m2: 14,
}; // biome-ignore format: a table

/** A compiled variant with the object its arguments are filled into. */
interface Ready {
  readonly kernel: Kernel;
  readonly names: ParamNames;
  readonly args: Record<string, unknown>;
}

const walk = new Walk();
const operands: Tensor[] = [];
const steps: Step[] = [];
/** For `turned`: the operands' strides along the last dimension but one. */
const rowSteps: Step[] = [];
/** Of the launch that is being made: whether its results go past the caches. */
let stream = false;

/** A scalar function over tensors. */
export class PointwiseKernel {
  private readonly variants = new Map<number, Ready>();
  private readonly replays = new Replays((...inputs) => this.fresh(inputs as Input[]));
  /** Those of layout `turned`, by the steps along the rows first: all of it would not fit one number. */
  private readonly turned = new Map<number, Map<number, Ready>>();
  readonly name: string;

  constructor(readonly spec: PointwiseSpec) {
    this.name = spec.fn.name;
  }

  /** The common dtype of the inputs that take part in promotion. */
  promoted(inputs: readonly Operand[]): DType {
    const { over, promote } = this.spec;
    if (promote === "none") return promoted("default", inputs);
    return promoted(promote, over === undefined ? inputs : over.map((i) => inputs[i]!));
  }

  /** The dtype in which the function gets input `i`. */
  computeOf(i: number, input: Operand, common: DType): DType {
    const { over, promote } = this.spec;
    const own = promote === "none" || (over !== undefined && !over.includes(i));
    return computeDType(own && typeof input === "object" ? input.dtype : common);
  }

  /** Runs into new tensors. */
  run(inputs: readonly Input[]): Tensor[] {
    return this.replays.call(inputs) as Tensor[];
  }

  private fresh(inputs: readonly Input[]): Tensor[] {
    const dtype = this.promoted(inputs);
    const shape = shapeOf(inputs, this.name);
    const like = firstTensor(inputs);
    const outputs = this.spec.outputs.map((d) =>
      empty(shape, { dtype: d === "promoted" ? dtype : d, device: like?.device }),
    );
    this.launch(inputs, outputs, dtype);
    return outputs;
  }

  /** {@link run} for functions with one output, for operators that are replayed as a whole. `common` replaces the promoted dtype. */
  run1(inputs: readonly Input[], common?: DType): Tensor {
    const dtype = common ?? this.promoted(inputs);
    const d = this.spec.outputs[0]!;
    const out = empty(shapeOf(inputs, this.name), {
      dtype: d === "promoted" ? dtype : d,
      device: firstTensor(inputs)?.device,
    });
    this.launch(inputs, [out], dtype);
    return out;
  }

  /** Runs into given tensors, to whose shape the inputs broadcast; they may be inputs too. */
  into(inputs: readonly Input[], outputs: readonly Tensor[], common?: DType): void {
    const out = outputs[0]!;
    let safe: Input[] | undefined;
    inputs.forEach((x, i) => {
      if (!(x instanceof Tensor)) return;
      if (!sameShape(x.shape, out.shape) && !sameShape(broadcastShapes(x.shape, out.shape), out.shape))
        throw new RangeError(
          `${this.name}: a tensor of shape ${showShape(x.shape)} does not broadcast to the written one's ${showShape(out.shape)}`,
        );
      if (outputs.some((y) => y.storage === x.storage && !sameElements(x, y))) {
        safe ??= inputs.slice();
        safe[i] = callOperator("clone", x.detach()) as Tensor;
      }
    });
    this.launch(safe ?? inputs, outputs, common ?? this.promoted(inputs));
  }

  /** All outputs have one shape, to which the inputs broadcast. */
  private launch(inputs: readonly Input[], outputs: readonly Tensor[], common: DType): void {
    const out = outputs[0]!;
    const { shape, numel } = out;
    if (numel === 0) return;
    if (numel > MAX_ELEMENTS) {
      this.launchParts(inputs, outputs, common);
      return;
    }
    operands.length = 0;
    let flat = true;
    for (const list of [inputs, outputs])
      for (let i = 0; i < list.length; i++) {
        const x = list[i]!;
        if (!(x instanceof Tensor)) continue;
        if (x.storage.chip !== out.storage.chip)
          throw new Error(
            `${this.name}: a tensor is on ${x.device}, another on ${out.device}; move it with to({ device })`,
          );
        operands.push(x);
        flat &&= sameShape(x.shape, shape) && x.isContiguous;
      }
    stream = streams(out, operands.slice(0, operands.length - outputs.length));
    // Tiles have powers of two as dimensions.
    const { elementsPerProgram, programThreads = 1, threads } = out.storage.chip.capabilities;
    const per = 1 << (31 - Math.clz32(elementsPerProgram));
    steps.length = 0;
    rowSteps.length = 0;
    if (flat) {
      let widest = 0;
      for (let k = 0; k < operands.length; k++) {
        steps.push("unit");
        widest = Math.max(widest, DTYPES[operands[k]!.dtype].bytes);
      }
      // Threads that share a program read two vectors each, where there are programs enough.
      const twice = programThreads > 1 && widest <= 2 && numel > MANY_PROGRAMS * threads * per;
      this.launchFlat(inputs, outputs, common, numel, twice ? 2 * per : per);
      return;
    }
    walk.plan(shape, operands, operands.length - outputs.length);
    if (walk.rank <= 1 && this.flatSteps()) {
      this.launchFlat(inputs, outputs, common, numel, per);
      return;
    }
    const inner = walk.sizes[walk.rank - 1]!;
    if (numel <= SMALL || inner < SHORT_ROW) this.launchLinear(inputs, outputs, common, numel, per);
    else this.launchRows(inputs, outputs, common, numel, per);
  }

  /** Sets `steps` for one dimension; false if some stride is neither 0 nor 1. */
  private flatSteps(): boolean {
    for (let k = 0; k < operands.length; k++) {
      const s = walk.rank === 0 ? 0 : walk.strides[k]![0]!;
      if (s !== 0 && s !== 1) {
        steps.length = 0;
        return false;
      }
      // One element: there are no strides; take the variant of contiguous tensors.
      steps.push(walk.rank === 0 || s === 1 ? "unit" : "zero");
    }
    return true;
  }

  private launchFlat(
    inputs: readonly Input[],
    outputs: readonly Tensor[],
    common: DType,
    n: number,
    per: number,
  ): void {
    const { kernel, names, args } = this.variant("flat", 1, inputs, outputs, common);
    const block = n <= TINY_BLOCK ? TINY_BLOCK : per;
    args[names.sizes[0]!] = n;
    args["BLOCK"] = block;
    kernel.launch([Math.ceil(n / block)], args);
    release(names, args);
  }

  private launchLinear(
    inputs: readonly Input[],
    outputs: readonly Tensor[],
    common: DType,
    n: number,
    per: number,
  ): void {
    // An even rank, so that there are half as many kernels; dimensions of 1 are put in front.
    const rank = Math.max(2, walk.rank + (walk.rank % 2));
    const lead = rank - walk.rank;
    const { kernel, names, args } = this.variant("linear", rank, inputs, outputs, common);
    const block = n <= TINY_BLOCK ? TINY_BLOCK : Math.min(per, 1024);
    args[names.sizes[0]!] = n;
    for (let d = 1; d < rank; d++) args[names.sizes[d]!] = d < lead ? 1 : walk.sizes[d - lead]!;
    for (let k = 0; k < operands.length; k++)
      for (let d = 0; d < rank; d++) args[names.strides[k]![d]!] = d < lead ? 0 : walk.strides[k]![d - lead]!;
    args["BLOCK"] = block;
    kernel.launch([Math.ceil(n / block)], args);
    release(names, args);
  }

  private launchRows(
    inputs: readonly Input[],
    outputs: readonly Tensor[],
    common: DType,
    n: number,
    per: number,
  ): void {
    // One dimension counts as one row.
    const rank = Math.max(2, walk.rank);
    const lead = rank - walk.rank;
    const inner = walk.sizes[walk.rank - 1]!;
    let dense = -1;
    for (let k = 0; k < operands.length; k++) {
      const s = walk.strides[k]![walk.rank - 1]!;
      steps.push(stepOf(s));
      if (dense < 0 && s !== 0 && s !== 1) dense = denserDim(k, Math.abs(s));
    }
    if (dense >= 0) {
      this.launchTurned(inputs, outputs, common, dense, per);
      return;
    }
    // Writes wait for nothing, least those that go past the caches; reads do: memory is read in its order.
    const { capabilities } = operands[0]!.storage.chip;
    const through = capabilities.cacheBytes === undefined && (capabilities.programThreads ?? 1) === 1;
    if (operands.length === 2 && (stream || (through && n >= LARGE))) walk.follow(0);
    const { kernel, names, args } = this.variant("rows", rank, inputs, outputs, common);
    const block = inner <= 128 ? 128 : Math.min(per, 2048);
    const rows = Math.max(1, per / block);
    const outer = n / inner;
    const blocks = Math.ceil(inner / block);
    const groups = Math.ceil(outer / rows);
    args[names.sizes[0]!] = inner;
    args[names.sizes[1]!] = blocks;
    args[names.sizes[2]!] = outer;
    for (let d = 1; d < rank - 1; d++) args[names.sizes[d + 2]!] = walk.sizes[d - lead]!;
    for (let k = 0; k < operands.length; k++) {
      const list = names.strides[k]!;
      for (let d = 0; d < list.length; d++) args[list[d]!] = d < lead ? 0 : walk.strides[k]![d - lead]!;
    }
    args["BLOCK"] = block;
    args["ROWS"] = rows;
    kernel.launch([blocks * groups], args);
    release(names, args);
  }

  /** `dense`: the dimension along which some operand is denser than along the innermost one. */
  private launchTurned(
    inputs: readonly Input[],
    outputs: readonly Tensor[],
    common: DType,
    dense: number,
    per: number,
  ): void {
    walk.moveBeforeLast(dense);
    const { rank } = walk;
    const { capabilities } = operands[0]!.storage.chip;
    for (let k = 0; k < operands.length; k++) rowSteps.push(stepOf(walk.strides[k]![rank - 2]!));
    const { kernel, names, args } = this.variant("turned", rank, inputs, outputs, common);
    const block = per >= TURNED_ROWS * TURNED_BLOCK ? TURNED_BLOCK : TURNED_BLOCK_SMALL;
    const inner = walk.sizes[rank - 1]!;
    const outer = walk.sizes[rank - 2]!;
    const blocks = Math.ceil(inner / block);
    const groups = Math.ceil(outer / TURNED_ROWS);
    args[names.sizes[0]!] = inner;
    args[names.sizes[1]!] = blocks;
    args[names.sizes[2]!] = outer;
    args[names.sizes[3]!] = groups;
    let programs = blocks * groups;
    for (let d = 0; d < rank - 2; d++) {
      programs *= walk.sizes[d]!;
      if (d > 0) args[names.sizes[d + 3]!] = walk.sizes[d]!;
    }
    for (let k = 0; k < operands.length; k++) {
      const list = names.strides[k]!;
      let at = 0;
      for (let d = 0; d < rank; d++) {
        if (d === rank - 2 && rowSteps[k] !== "any") continue;
        if (d === rank - 1 && steps[k] !== "any") continue;
        args[list[at++]!] = walk.strides[k]![d]!;
      }
    }
    args["BLOCK"] = block;
    args["ROWS"] = TURNED_ROWS;
    args["BAND"] = (capabilities.programThreads ?? 1) > 1 ? 1 : TURNED_BAND;
    kernel.launch([programs], args);
    release(names, args);
  }

  /** The kernel for a layout, with inputs and outputs filled into its arguments. */
  private variant(
    layout: Layout,
    rank: number,
    inputs: readonly Input[],
    outputs: readonly Tensor[],
    common: DType,
  ): Ready {
    let key = (LAYOUT_CODE[layout] + (stream ? 4 : 0)) * 64 + rank;
    let tensor = 0;
    for (let i = 0; i < inputs.length; i++) {
      const x = inputs[i]!;
      const isTensor = x instanceof Tensor;
      const step = isTensor ? STEP_CODE[steps[tensor++] ?? "any"] : 3;
      key = (key * 16 + DTYPE_CODE[this.computeOf(i, x, common)]) * 4 + step;
    }
    for (let i = 0; i < outputs.length; i++) key = key * 4 + STEP_CODE[steps[tensor++] ?? "any"];
    const variants = layout === "turned" ? this.turnedVariants() : this.variants;
    let ready = variants.get(key);
    if (ready === undefined) {
      ready = this.prepare(layout, rank, inputs, outputs, common);
      variants.set(key, ready);
    }
    const { names, args } = ready;
    for (let i = 0; i < inputs.length; i++) {
      const x = inputs[i]!;
      args[names.inputs[i]!] =
        x instanceof Tensor
          ? x
          : scalarArgument(this.rounds(x, common), scalarParam(this.computeOf(i, x, common)), this.name);
    }
    for (let i = 0; i < outputs.length; i++) args[names.outputs[i]!] = outputs[i];
    return ready;
  }

  private turnedVariants(): Map<number, Ready> {
    let key = 0;
    for (let k = 0; k < rowSteps.length; k++) key = key * 4 + STEP_CODE[rowSteps[k]!];
    let variants = this.turned.get(key);
    if (variants === undefined) {
      variants = new Map();
      this.turned.set(key, variants);
    }
    return variants;
  }

  /** Comparisons with narrow floats first round a number to their dtype, as they do a tensor. */
  private rounds(x: Scalar, common: DType): Scalar {
    if (!isNarrowFloat(common) || this.spec.outputs[0] !== "bool") return x;
    return roundTo(common, Math.fround(Number(x)));
  }

  private prepare(
    layout: Layout,
    rank: number,
    inputs: readonly Input[],
    outputs: readonly Tensor[],
    common: DType,
  ): Ready {
    const source = new PointwiseSource({
      fn: this.spec.fn,
      layout,
      rank,
      stream,
      outputs: outputs.length,
      steps: layout === "linear" ? operands.map(() => "any" as const) : steps.slice(),
      rowSteps: rowSteps.slice(),
      inputs: inputs.map((x, i): InputSpec => {
        const compute = this.computeOf(i, x, common);
        return { compute, scalar: x instanceof Tensor ? null : scalarParam(compute) };
      }),
    });
    const args: Record<string, unknown> = {};
    for (const p of source.params) args[p.name] = null;
    return { kernel: kernelOf(source), names: source.names, args };
  }

  /** Halves along the longest dimension, for launches of too many elements. */
  private launchParts(inputs: readonly Input[], outputs: readonly Tensor[], common: DType): void {
    const { shape } = outputs[0]!;
    let dim = 0;
    for (let d = 1; d < shape.length; d++) if (shape[d]! > shape[dim]!) dim = d;
    const half = shape[dim]! >> 1;
    for (const [start, length] of [
      [0, half],
      [half, shape[dim]! - half],
    ] as const)
      this.launch(
        inputs.map((x) => partOf(x, shape.length, dim, start, length)),
        outputs.map((y) => partOf(y, shape.length, dim, start, length) as Tensor),
        common,
      );
  }
}

const stepOf = (stride: number): Step => (stride === 0 ? "zero" : stride === 1 ? "unit" : "any");

/** The dimension along which operand `k` of the walk is densest, if that is not the innermost one, of step `inner`; else -1. */
function denserDim(k: number, inner: number): number {
  const strides = walk.strides[k]!;
  let dim = -1;
  let least = inner;
  for (let d = 0; d < walk.rank - 1; d++) {
    const s = Math.abs(strides[d]!);
    if (s !== 0 && s < least) [dim, least] = [d, s];
  }
  return dim;
}

/** Lets go of tensors: the arguments object outlives the launch, tensors must not live with it. */
function release(names: ParamNames, args: Record<string, unknown>): void {
  operands.length = 0;
  for (let i = 0; i < names.inputs.length; i++) args[names.inputs[i]!] = null;
  for (let i = 0; i < names.outputs.length; i++) args[names.outputs[i]!] = null;
}
