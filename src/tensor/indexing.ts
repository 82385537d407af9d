// `t.at(…)`, `t.index(…)` and `t.indexSet_(…)`: Python's square brackets as arguments. Numbers and slices give views; tensors of
// indices go to the operator `index.Tensor` of `ops/`.

import { DTYPES } from "../compiler/ir/index.js";
import { type Chip, chipKind } from "../runtime/driver.js";
import { recorder } from "../runtime/recording.js";
import { parseDType, type DType, type Scalar } from "./dtype.js";
import { chipOf } from "./fill.js";
import { empty, fromBytes, type NestedData, scalarTensor, tensor } from "./factory.js";
import { isGradEnabled } from "./grad-mode.js";
import { sameShape, showShape } from "./layout.js";
import { callOperator } from "./operator.js";
import { readBytes, readBytesSync } from "./read.js";
import { customFunction } from "./record.js";
import { Tensor } from "./tensor.js";
import { expand, matrixTranspose, numpyT, reshape, select, slice as sliceView, unsqueeze } from "./views.js";

/** A slice of a dimension: `slice(1, 5)` is Python's `1:5`. */
export class SliceIndex {
  constructor(
    readonly start: number | null,
    readonly stop: number | null,
    readonly step: number,
  ) {}
}

/**
 * Elements from `start` up to, not including, `stop`, every `step`-th. Null or nothing means the end of the dimension.
 *
 * @example t.at(slice(0, 10), slice(null, null, 2)); // t[0:10, ::2]
 */
export const slice = (start?: number | null, stop?: number | null, step = 1): SliceIndex =>
  new SliceIndex(start ?? null, stop ?? null, step);

/** All dimensions that no other index names: Python's `...`. */
export const ellipsis: unique symbol = Symbol("ellipsis");

/** A number takes one element, a slice some, null inserts a dimension of length 1, `ellipsis` skips dimensions. */
export type BasicIndex = number | SliceIndex | null | typeof ellipsis;
/** Also integer tensors and (nested) lists of numbers, which are gathered, not viewed, and bool tensors as masks. */
export type Index = BasicIndex | Tensor | NumberList;
type NumberList = readonly (number | NumberList)[];

declare module "./tensor.js" {
  interface Tensor {
    /**
     * A view by numbers, `slice(…)`, null (new dimension) and `ellipsis`.
     *
     * @example x.at(0, ellipsis, slice(1, null)); // x[0, ..., 1:]
     */
    at(...indices: BasicIndex[]): Tensor;
    /**
     * As {@link at}, and with integer tensors or lists of numbers, which gather elements into a new tensor: they
     * broadcast against each other, as in NumPy.
     *
     * @example x.index(ellipsis, [0, 2], slice(1)); // x[..., [0, 2], 1:]
     */
    index(...indices: Index[]): Tensor;
    /** As {@link index}, and with bool masks: how many elements they take depends on their data. */
    indexAsync(...indices: Index[]): Promise<Tensor>;
    /**
     * Writes `value`, which broadcasts, where {@link index} would read: `x[indices] = value`. An array holds one index for
     * each dimension; a list of positions stands inside it. One bool mask may stand
     * among the indices: alone with slices and numbers, with a value for all its elements or, where it comes first, one
     * for each. Of equal indices the last one stays. Recorded for gradients.
     *
     * @throws TypeError for a mask beside integer tensors: await nonzero(mask) first
     * @example x.indexSet_([ellipsis, 0], 1); // x[..., 0] = 1
     */
    indexSet_(indices: Exclude<Index, NumberList> | readonly Index[], value: Tensor | Scalar): this;
    /** All dimensions reversed. */
    readonly T: Tensor;
    /** The last two dimensions swapped. */
    readonly mT: Tensor;
    /** The same values in another dtype; this tensor if it has it already. */
    to(dtype: DType): Tensor;
    /** The same values on another chip; a promise where this chip cannot be read at once. */
    to(device: string): Tensor | Promise<Tensor>;
  }
}

interface Applied {
  readonly view: Tensor;
  /** What gathers, by the dimension of the view. */
  readonly gathers: ReadonlyMap<number, Tensor>;
}

/** Applies the basic indices; what gathers is returned beside the dimension it applies to. */
function apply(self: Tensor, indices: readonly Index[]): Applied {
  const consuming = indices.filter((i) => i !== null && i !== ellipsis);
  const used = consuming.reduce<number>(
    (n, i) => n + (i instanceof Tensor && i.dtype === "bool" ? i.ndim : 1),
    0,
  );
  if (used > self.ndim) {
    throw new RangeError(
      `${used} indices for a tensor of ${self.ndim} dimensions (shape ${showShape(self.shape)})`,
    );
  }
  if (indices.filter((i) => i === ellipsis).length > 1)
    throw new RangeError("an index can hold only one ellipsis");
  const gathers = new Map<number, Tensor>();
  let view = self;
  let dim = 0;
  for (const index of indices) {
    if (index === null) view = unsqueeze(view, dim++);
    else if (index === ellipsis) dim += self.ndim - used;
    else if (typeof index === "number") view = select(view, dim, index);
    else if (index instanceof SliceIndex) view = sliceView(view, dim++, index.start, index.stop, index.step);
    else if (index instanceof Tensor) {
      gathers.set(dim, index);
      dim += index.dtype === "bool" ? index.ndim : 1;
    } else if (Array.isArray(index)) {
      gathers.set(dim++, tensor(index as NestedData, { dtype: "i64", device: self.device }));
    } else {
      throw new TypeError(
        `an index is a number, slice(…), null, ellipsis, a list of numbers or a tensor of integers or bools, not ${typeof index}`,
      );
    }
  }
  return { view, gathers };
}

const isMask = (t: Tensor): boolean => t.dtype === "bool";

/** One entry for each index that gathers, null for dimensions without; a mask stands for all its dimensions. */
function listOf({ view, gathers }: Applied): (Tensor | null)[] {
  const list: (Tensor | null)[] = [];
  for (let d = 0; d < view.ndim; ) {
    const t = gathers.get(d) ?? null;
    list.push(t);
    d += t !== null && isMask(t) ? Math.max(1, t.ndim) : 1;
  }
  while (list.at(-1) === null) list.pop();
  return list;
}

function at(this: Tensor, ...indices: BasicIndex[]): Tensor {
  const { view, gathers } = apply(this, indices);
  if (gathers.size > 0)
    throw new TypeError("at() takes numbers, slices, null and ellipsis; use index() for tensors");
  return view;
}

function index(this: Tensor, ...indices: Index[]): Tensor {
  const applied = apply(this, indices);
  if (applied.gathers.size === 0) return applied.view;
  if ([...applied.gathers.values()].some(isMask)) {
    throw new TypeError(
      "how many elements a bool index takes depends on its data: await t.indexAsync(mask), or use where(mask, a, b)",
    );
  }
  return callOperator("index.Tensor", applied.view, listOf(applied)) as Tensor;
}

async function indexAsync(this: Tensor, ...indices: Index[]): Promise<Tensor> {
  const applied = apply(this, indices);
  if (applied.gathers.size === 0) return applied.view;
  return (await callOperator("index.Tensor", applied.view, listOf(applied))) as Tensor;
}

function indexSet_(
  this: Tensor,
  indices: Exclude<Index, NumberList> | readonly Index[],
  value: Tensor | Scalar,
): Tensor {
  const applied = apply(this, Array.isArray(indices) ? (indices as readonly Index[]) : [indices as Index]);
  const { view, gathers } = applied;
  const device = this.device;
  const given = value instanceof Tensor ? value : scalarTensor(value, this.dtype, device);
  const values =
    given.dtype === this.dtype ? given : (callOperator("_to_copy", given, { dtype: this.dtype }) as Tensor);
  if (gathers.size === 0) callOperator("copy_", view, values);
  else if (![...gathers.values()].some(isMask)) callOperator("index_put_", view, listOf(applied), values);
  else if (gathers.size > 1)
    throw new TypeError(
      "indexSet_ takes a mask alone: await nonzero(mask) gives indices that combine with others",
    );
  else for (const [dim, mask] of gathers) setMasked(view, dim, mask, values);
  return this;
}

/** Writes under a mask over dimensions from `dim` on: one value for all, or a row for each where the mask comes first. */
function setMasked(view: Tensor, dim: number, mask: Tensor, values: Tensor): void {
  if (!sameShape(mask.shape, view.shape.slice(dim, dim + mask.ndim)))
    throw new RangeError(
      `the mask ${showShape(mask.shape)} does not fit the tensor ${showShape(view.shape)} from dimension ${dim}`,
    );
  const rest = view.ndim - dim - mask.ndim;
  const whole = expand(reshape(mask, [...mask.shape, ...new Array<number>(rest).fill(1)]), view.shape);
  const single = values.numel === 1 || values.ndim <= rest;
  if (single) {
    const plain = values.numel === 1 ? reshape(values, []) : values;
    callOperator("copy_", view, callOperator("where.self", whole, plain, view));
  } else if (dim === 0) {
    const rows =
      values.ndim - rest === 1 && values.shape[0] === 1 ? reshape(values, values.shape.slice(1)) : undefined;
    if (rows !== undefined) callOperator("copy_", view, callOperator("where.self", whole, rows, view));
    else callOperator("copy_", view, callOperator("masked_scatter", view, whole, values));
  } else
    throw new TypeError("a value for each element of a mask needs the mask as the first index: use permute");
}

/** A copy that does not pass through the host; undefined where the chips have none. */
function copyAcross(source: Tensor, chip: Chip): Tensor | undefined {
  if (chip.driver.copyFrom === undefined || chipKind(chip.name) !== chipKind(source.chip.name))
    return undefined;
  recorder?.refuse();
  const from = callOperator("contiguous", source) as Tensor;
  const size = DTYPES[from.dtype].bytes;
  const to = empty(from.shape, { dtype: from.dtype, device: chip.name });
  const bytes = from.numel * size;
  const { driver } = from.chip;
  if (chip.driver.copyFrom(to.buffer, to.offset * size, driver, from.buffer, from.offset * size, bytes))
    return to;
  to.dispose();
  return undefined;
}

/** The way between chips: straight, or bytes through the host. Recorded, so that gradients go back the same way. */
const transfer = customFunction({
  name: "to(device)",
  forward: (ctx, source: Tensor, device: string): Tensor => {
    ctx.state["device"] = source.device;
    const straight = copyAcross(source, chipOf(device));
    if (straight) return straight;
    return fromBytes(readBytesSync(source), source.shape, source.dtype, device);
  },
  backward: (ctx, grad) => [transferSync(grad, ctx.state["device"] as string), null],
});

const transferSync = (t: Tensor, device: string): Tensor => transfer(t, device);

function to(this: Tensor, target: string): Tensor | Promise<Tensor> {
  const dtype = parseDType(target);
  if (dtype !== undefined) {
    return dtype === this.dtype ? this : (callOperator("_to_copy", this, { dtype }) as Tensor);
  }
  if (target === this.device) return this;
  const chip = chipOf(target);
  if (chip === this.chip) return this;
  if (this.chip.capabilities.syncRead && (chip.capabilities.syncRead || !this.requiresGrad)) {
    return transfer(this, target);
  }
  if (this.requiresGrad && isGradEnabled()) {
    throw new Error(
      `gradients cannot flow between the chips ${this.device} and ${target}, because one of them is read asynchronously: detach() first`,
    );
  }
  return readBytes(this).then((bytes) => fromBytes(bytes, this.shape, this.dtype, target));
}

const define = (name: string, descriptor: PropertyDescriptor): void => {
  Object.defineProperty(Tensor.prototype, name, { ...descriptor, configurable: true });
};
define("at", { value: at, writable: true });
define("index", { value: index, writable: true });
define("indexAsync", { value: indexAsync, writable: true });
define("indexSet_", { value: indexSet_, writable: true });
define("to", { value: to, writable: true });
define("T", {
  get(this: Tensor) {
    return numpyT(this);
  },
});
define("mT", {
  get(this: Tensor) {
    return matrixTranspose(this);
  },
});
