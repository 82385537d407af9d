// `t.at(…)` and `t.index(…)`: Python's square brackets as arguments. Numbers and slices give views; tensors of
// indices go to the operator `index.Tensor` of `ops/`.

import { parseDType, type DType } from "./dtype.js";
import { chipOf } from "./fill.js";
import { fromBytes, tensor } from "./factory.js";
import { isGradEnabled } from "./grad-mode.js";
import { showShape } from "./layout.js";
import { callOperator } from "./operator.js";
import { readBytes, readBytesSync } from "./read.js";
import { customFunction } from "./record.js";
import { Tensor } from "./tensor.js";
import { matrixTranspose, numpyT, select, slice as sliceView, unsqueeze } from "./views.js";

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
/** Also integer tensors and lists of numbers (which are gathered, not viewed). */
export type Index = BasicIndex | Tensor | readonly number[];

declare module "./tensor.js" {
  interface Tensor {
    /**
     * A view by numbers, `slice(…)`, null (new dimension) and `ellipsis`.
     *
     * @example x.at(0, ellipsis, slice(1, null)); // x[0, ..., 1:]
     */
    at(...indices: BasicIndex[]): Tensor;
    /** As {@link at}, and with integer tensors or lists of numbers, which gather elements into a new tensor. */
    index(...indices: Index[]): Tensor;
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

/** Applies the basic indices; what gathers is returned beside the dimension it applies to. */
function apply(self: Tensor, indices: readonly Index[]): { view: Tensor; gathers: Map<number, Tensor> } {
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
      if (index.dtype === "bool") {
        throw new TypeError(
          "how many elements a bool index takes depends on its data: await maskedSelect(t, mask), or use where(mask, a, b)",
        );
      }
      gathers.set(dim++, index);
    } else if (Array.isArray(index)) {
      gathers.set(dim++, tensor(index as readonly number[], { dtype: "i64", device: self.device }));
    } else {
      throw new TypeError(
        `an index is a number, slice(…), null, ellipsis or an integer tensor, not ${typeof index}`,
      );
    }
  }
  return { view, gathers };
}

function at(this: Tensor, ...indices: BasicIndex[]): Tensor {
  const { view, gathers } = apply(this, indices);
  if (gathers.size > 0)
    throw new TypeError("at() takes numbers, slices, null and ellipsis; use index() for tensors");
  return view;
}

function index(this: Tensor, ...indices: Index[]): Tensor {
  const { view, gathers } = apply(this, indices);
  if (gathers.size === 0) return view;
  const list: (Tensor | null)[] = Array.from({ length: view.ndim }, (_, d) => gathers.get(d) ?? null);
  while (list.at(-1) === null) list.pop();
  return callOperator("index.Tensor", view, list) as Tensor;
}

/** The way between chips: bytes through the host. Recorded, so that gradients go back the same way. */
const transfer = customFunction({
  name: "to(device)",
  forward: (ctx, source: Tensor, device: string): Tensor => {
    ctx.state["device"] = source.device;
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
