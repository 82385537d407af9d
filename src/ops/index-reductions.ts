// Reductions at indices: scatter_reduce and index_reduce, which combine what meets at an element by sum, product, mean or
// extreme. What meets is combined in the order of the indices. Plain writing is `scatter.ts` and `index-slices.ts`.

import { isNarrowFloat } from "../compiler/ir/dtype.js";
import {
  callOperator,
  type DType,
  isFloatDType,
  type Method,
  type Operator,
  operator,
  type Scalar,
  type Tensor,
} from "../tensor/index.js";
import { div, mul } from "./binary.js";
import { clone, toCopy } from "./cast.js";
import { onesLike, zerosLike } from "./creation.js";
import { gather, indexSelect } from "./gather.js";
import type { PutMode } from "./index-kernels.js";
import { indexAdd, indexFill, indexInto } from "./index-slices.js";
import { oneOf, sameDtype } from "./index-writes.js";
import { constantPadNd } from "./pad.js";
import { pointwise } from "./pointwise.js";
import { computeDtype } from "./rows.js";
import { scatter, scatterAdd, scatterInto } from "./scatter.js";

type Reduce = "sum" | "prod" | "mean" | "amax" | "amin";

/** Elements by index (`scatter`), or whole slices (`index`). */
interface Way {
  readonly name: string;
  into(y: Tensor, dim: number, index: Tensor, source: Tensor, mode: PutMode): void;
  add(self: Tensor, dim: number, index: Tensor, source: Tensor): Tensor;
  take(self: Tensor, dim: number, index: Tensor): Tensor;
  fill(self: Tensor, dim: number, index: Tensor, value: Scalar): Tensor;
}
const elements: Way = {
  name: "scatter_reduce",
  into: (y, dim, index, source, mode) => scatterInto(y, dim, index, source, mode, "scatter_reduce"),
  add: scatterAdd,
  take: gather,
  fill: (self, dim, index, value) => scatter(self, dim, index, value),
};
const slices: Way = {
  name: "index_reduce",
  into: (y, dim, index, source, mode) => indexInto(y, dim, index, source, mode, "index_reduce"),
  add: (self, dim, index, source) => indexAdd(self, dim, index, source),
  take: indexSelect,
  fill: (self, dim, index, value) => indexFill(self, dim, index, value),
};

const MODES: Readonly<Record<Reduce, PutMode>> = {
  sum: "add",
  mean: "add",
  prod: "multiply",
  amax: "max",
  amin: "min",
};
const BITS: Readonly<Partial<Record<DType, bigint>>> = { i8: 8n, i16: 16n, i32: 32n, i64: 64n };

/** What combining starts from where the tensor's own elements do not count. */
function neutral(reduce: Reduce, dtype: DType): Scalar {
  if (reduce === "sum" || reduce === "mean") return 0;
  if (reduce === "prod") return 1;
  const most = reduce === "amin";
  if (isFloatDType(dtype)) return most ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  if (dtype === "bool") return most;
  const bits = BITS[dtype];
  if (bits === undefined) return most ? 255 : 0;
  return most ? 2n ** (bits - 1n) - 1n : -(2n ** (bits - 1n));
}

const shareOf = pointwise(
  (tl, total, count) => {
    const n = tl.maximum(count, 1);
    if (tl.dtypeOf(total) === tl.f32 || tl.dtypeOf(total) === tl.f64)
      return total / tl.cast(n, tl.dtypeOf(total));
    return tl.floorDiv(total, tl.cast(n, tl.dtypeOf(total)));
  },
  { name: "mean_share", over: [0] },
);

/** How many elements meet at each. */
function counts(way: Way, self: Tensor, dim: number, index: Tensor, source: Tensor, own: boolean): Tensor {
  const start = own ? onesLike(self, { dtype: "i64" }) : zerosLike(self, { dtype: "i64" });
  way.into(start, dim, index, onesLike(source, { dtype: "i64" }), "add");
  return start;
}

function run(
  way: Way,
  self: Tensor,
  dim: number,
  index: Tensor,
  source: Tensor,
  reduce: string,
  own: boolean,
): Tensor {
  const mode = MODES[reduce as Reduce];
  if (mode === undefined)
    throw new RangeError(`${way.name}: reduce is "sum", "prod", "mean", "amax" or "amin", not "${reduce}"`);
  sameDtype(self, source, way.name);
  // Sums and products of narrow floats are kept in f32, but of slices rounded at every step, as PyTorch's.
  const dtype = way === elements && isNarrowFloat(self.dtype) ? computeDtype(self.dtype) : self.dtype;
  let y = dtype === self.dtype ? clone(self) : toCopy(self, { dtype });
  if (!own) way.into(y, dim, index, oneOf(neutral(reduce as Reduce, dtype), y), "set");
  way.into(y, dim, index, source, mode);
  if (reduce === "mean") y = shareOf(y, counts(way, self, dim, index, source, own));
  return dtype === self.dtype ? y : toCopy(y, { dtype: self.dtype });
}

const equals = pointwise((tl, a, b) => tl.cast(a === b, tl.dtypeOf(a)), { name: "equals" });
const isZero = pointwise((tl, x) => tl.cast(x === 0, tl.dtypeOf(x)), { name: "is_zero" });
const orOne = pointwise((tl, x) => tl.where(x === 0, 1, x), { name: "or_one" });
const onlyZero = pointwise((_tl, x, zeros) => x === 0 && zeros === 1, {
  name: "only_zero",
  outputs: ["bool"],
});
const chosen = pointwise((tl, c, a, b) => tl.where(c !== 0, a, b), { name: "chosen", over: [1, 2] });

/** The gradients of self and source. */
function gradients(
  way: Way,
  grad: Tensor,
  self: Tensor,
  dim: number,
  index: Tensor,
  given: Tensor,
  result: Tensor,
  reduce: Reduce,
  own: boolean,
): [Tensor, Tensor] {
  // Elements beyond the indices were not read.
  let source = given;
  if (way === elements)
    index.shape.forEach((n, d) => {
      if (source.shape[d] !== n) source = source.narrow(d, 0, n);
    });
  const take = (t: Tensor): Tensor => way.take(t, dim, index);
  let [forSelf, forSource]: [Tensor, Tensor] = [grad, grad];
  if (reduce === "sum") forSource = take(grad);
  else if (reduce === "mean") {
    const share = div(grad, shareCount(counts(way, self, dim, index, source, own), grad));
    [forSelf, forSource] = [share, take(share)];
  } else if (reduce === "prod") {
    const one = orOne(self);
    forSelf = div(mul(grad, run(way, one, dim, index, source, "prod", own)), one);
    const zeros = take(way.add(zerosLike(self), dim, index, isZero(source)));
    const only = onlyZero(source, zeros);
    const without = run(way, self, dim, index, chosen(only, onesLike(source), source), "prod", own);
    forSource = chosen(only, take(mul(grad, without)), div(take(mul(grad, result)), orOne(source)));
  } else {
    const mine = equals(self, result);
    const theirs = equals(source, take(result));
    const all = way.add(own ? mine : way.fill(mine, dim, index, 0), dim, index, theirs);
    const share = div(grad, all);
    [forSelf, forSource] = [mul(mine, share), mul(theirs, take(share))];
  }
  if (!own) forSelf = way.fill(forSelf, dim, index, 0);
  if (source !== given) {
    const pads = given.shape.flatMap((n, d) => [n - source.shape[d]!, 0]).reverse();
    forSource = constantPadNd(forSource, pads);
  }
  return [forSelf, forSource];
}
const shareCount = (n: Tensor, like: Tensor): Tensor =>
  callOperator("clamp_min.Tensor", toCopy(n, { dtype: like.dtype }), 1) as Tensor;

type Reduction = (
  self: Tensor,
  dim: number,
  index: Tensor,
  source: Tensor,
  reduce: Reduce,
  options?: { includeSelf?: boolean },
) => Tensor;

function declare(
  way: Way,
  overload: string,
  sourceName: string,
  variants: readonly Reduce[],
): Operator<Reduction> {
  return operator({
    schema: `${way.name}${overload}(Tensor self, int dim, Tensor index, Tensor ${sourceName}, str reduce, *, bool include_self=True) -> Tensor`,
    run: (self: Tensor, dim: number, index: Tensor, source: Tensor, reduce: string, own: boolean) =>
      run(way, self, dim, index, source, reduce, own),
    derivative: {
      save: (args, outputs) => [args[0] as Tensor, args[2] as Tensor, args[3] as Tensor, outputs[0]!],
      backward: (ctx, grad) => {
        const [self, index, source, result] = ctx.saved as [Tensor, Tensor, Tensor, Tensor];
        const [, dim, , , reduce, own] = ctx.args as [never, number, never, never, Reduce, boolean];
        const [a, b] = gradients(way, grad!, self, dim, index, source, result, reduce, own);
        return [ctx.needs[0] ? a : null, null, ctx.needs[2] ? b : null];
      },
    },
    opinfo: variants.map((variant) => ({ op: way.name, variant })),
    stage: "stable",
    summary: "Elements combined at indices by sum, product, mean or extreme",
  });
}

/**
 * A copy of `self` in which `out[index[i, j, k], j, k]` (for dim 0, and likewise for others) combines all `src[i, j, k]` that
 * meet there, and its own element unless `includeSelf` is false. PyTorch: `torch.scatter_reduce`.
 */
export const scatterReduce: Operator<Reduction> = declare(elements, ".two", "src", [
  "sum",
  "prod",
  "mean",
  "amax",
  "amin",
]);
/** As {@link scatterReduce} for whole slices of `dim`, numbered by a list. PyTorch: `torch.index_reduce`. */
export const indexReduce: Operator<Reduction> = declare(slices, "", "source", [
  "prod",
  "mean",
  "amax",
  "amin",
]);

declare module "../tensor/tensor.js" {
  interface Tensor {
    scatterReduce: Method<typeof scatterReduce>;
    indexReduce: Method<typeof indexReduce>;
  }
}
