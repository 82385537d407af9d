// Reductions of PyTorch to sums, products and truth values. The kernels stand in `reduce-kernel.ts`; largest and
// smallest elements are `extreme.ts`.

import type { DType } from "../compiler/ir/index.js";
import {
  callOperator,
  isFloatDType,
  type Method,
  normalizeDims,
  type Operator,
  operator,
  overloads,
  reshaped,
  type Tensor,
} from "../tensor/index.js";
import { pointwise } from "./pointwise.js";
import { launchReduce, type ReduceOptions, walk } from "./reduce-kernel.js";
import { computeDtype } from "./rows.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    sum: Method<typeof sum>;
    nansum: Method<typeof nansum>;
    mean: Method<typeof mean>;
    prod: Method<ProdFunction>;
    any: Method<typeof any>;
    all: Method<typeof all>;
    countNonzero: Method<typeof countNonzero>;
  }
}

/** One dimension or several; null or none: all of them. */
export type Dims = number | readonly number[] | null;

/** The shape with the dimensions gone, or of length 1. */
export function reducedShape(shape: readonly number[], dims: readonly number[], keepdim: boolean): number[] {
  const out: number[] = [];
  shape.forEach((n, d) => {
    if (!dims.includes(d)) out.push(n);
    else if (keepdim) out.push(1);
  });
  return out;
}

/** Reduces the (normalised) dimensions and gives the result its shape. */
export function reduceDims(x: Tensor, dims: readonly number[], keepdim: boolean, o: ReduceOptions): Tensor {
  // A 0-dimensional tensor accepts dimension 0.
  if (x.ndim === 0) return reshaped(launchReduce(walk(x, []), o), []);
  return reshaped(launchReduce(walk(x, dims), o), reducedShape(x.shape, dims, keepdim));
}

/** Something of the reduced shape, broadcast over the shape it was reduced from. */
export function unreduce(
  t: Tensor,
  shape: readonly number[],
  dim: readonly number[] | number | null,
  _keepdim: boolean,
): Tensor {
  const dims = normalizeDims(typeof dim === "number" ? [dim] : dim, shape.length);
  return t.view(reducedShape(shape, dims, true)).expand([...shape]);
}

/** Sums of integers and bools are i64 unless asked otherwise. */
const sumDtype = (x: Tensor, dtype: DType | null): DType =>
  dtype ?? (isFloatDType(x.dtype) ? x.dtype : "i64");
const accumulateDtype = (d: DType): DType => (isFloatDType(d) ? computeDtype(d) : "i64");

type DimReduction = (
  self: Tensor,
  dim?: Dims,
  keepdim?: boolean,
  options?: { keepdim?: boolean; dtype?: DType | null; dim?: Dims },
) => Tensor;

/**
 * The sum over dimensions (default: all). Integers and bools give i64; f16 and bf16 are added in f32. PyTorch: `torch.sum`.
 * @example sum(x, [1], { keepdim: true })
 */
export const sum: Operator<DimReduction> = operator({
  schema:
    "sum.dim_IntList(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
  replay: true,
  run: (self: Tensor, dim: readonly number[] | null, keepdim: boolean, dtype: DType | null) => {
    const out = sumDtype(self, dtype);
    const compute = accumulateDtype(out);
    return reduceDims(self, normalizeDims(dim, self.ndim), keepdim, { kind: "sum", compute, out });
  },
  derivative: {
    backward: (ctx, grad) => [
      unreduce(grad, ctx.meta(0).shape, ctx.args[1] as number[] | null, ctx.args[2] as boolean),
    ],
  },
  opinfo: ["sum"],
  stage: "stable",
  summary: "Sum over dimensions",
});

/** The sum over dimensions with NaN counted as 0. PyTorch: `torch.nansum`. */
export const nansum: Operator<DimReduction> = operator({
  schema: "nansum(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
  replay: true,
  run: (self: Tensor, dim: readonly number[] | null, keepdim: boolean, dtype: DType | null) => {
    const out = sumDtype(self, dtype);
    const before = isFloatDType(self.dtype) && isFloatDType(out) ? "nan0" : "none";
    const compute = accumulateDtype(out);
    return reduceDims(self, normalizeDims(dim, self.ndim), keepdim, { kind: "sum", before, compute, out });
  },
  derivative: {
    save: (args) => [args[0] as Tensor],
    backward: (ctx, grad) => {
      const x = ctx.saved[0]!;
      const g = unreduce(grad, x.shape, ctx.args[1] as number[] | null, ctx.args[2] as boolean);
      return [whereNumber(x, g)];
    },
  },
  opinfo: ["nansum"],
  stage: "stable",
  summary: "Sum over dimensions that passes over NaN",
});

const whereNumber = pointwise((tl, x, g) => tl.where(tl.isnan(x), 0, g), { name: "where_number" });

/** The mean over dimensions (default: all) of floats; other dtypes need `dtype`. PyTorch: `torch.mean`. */
export const mean: Operator<DimReduction> = operator({
  schema: "mean.dim(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
  replay: true,
  run: (self: Tensor, dim: readonly number[] | null, keepdim: boolean, dtype: DType | null) => {
    const out = dtype ?? self.dtype;
    if (!isFloatDType(out))
      throw new TypeError(`mean: the result must be a float, not ${out}: pass { dtype: "f32" }`);
    const dims = normalizeDims(dim, self.ndim);
    const count = dims.reduce((n, d) => n * (self.shape[d] ?? 1), 1);
    return reduceDims(self, dims, keepdim, { kind: "sum", compute: computeDtype(out), out, count });
  },
  derivative: {
    backward: (ctx, grad) => {
      const { shape } = ctx.meta(0);
      const dim = ctx.args[1] as number[] | null;
      const count = normalizeDims(dim, shape.length).reduce((n, d) => n * (shape[d] ?? 1), 1);
      const share = callOperator("mul.Tensor", grad, 1 / count) as Tensor;
      return [unreduce(share, shape, dim, ctx.args[2] as boolean)];
    },
  },
  opinfo: ["mean"],
  stage: "stable",
  summary: "Mean over dimensions",
});

function product(self: Tensor, dims: readonly number[], keepdim: boolean, dtype: DType | null): Tensor {
  const out = sumDtype(self, dtype);
  return reduceDims(self, dims, keepdim, { kind: "prod", compute: accumulateDtype(out), out });
}

const orOne = pointwise((tl, x) => tl.where(x === 0, 1, x), { name: "or_one" });
const isZero = pointwise((_tl, x) => x === 0, { name: "is_zero", promote: "bool" });
/** The gradient of a product from that of the other factors: `others` is the product without its zeros. */
const productShare = pointwise(
  (tl, grad, x, others, zeros) =>
    grad * tl.where(zeros === 0, others / x, tl.where(zeros === 1 && x === 0, others, 0)),
  { name: "product_share", over: [0, 1, 2] },
);

function productBackward(
  self: Tensor,
  grad: Tensor,
  dim: readonly number[] | null,
  keepdim: boolean,
): Tensor {
  const wide = (t: Tensor) => unreduce(t, self.shape, dim, keepdim);
  const dims = normalizeDims(dim, self.ndim);
  const one = orOne(self);
  const others = product(one, dims, true, null);
  const zeros = sum(isZero(self), dims, true);
  return productShare(wide(grad), self, others.expand([...self.shape]), zeros.expand([...self.shape]));
}

const prodAll: Operator<(self: Tensor, options?: { dtype?: DType | null }) => Tensor> = operator({
  schema: "prod(Tensor self, *, ScalarType? dtype=None) -> Tensor",
  replay: true,
  run: (self: Tensor, dtype: DType | null) => product(self, normalizeDims(null, self.ndim), false, dtype),
  derivative: {
    save: (args) => [args[0] as Tensor],
    backward: (ctx, grad) => [productBackward(ctx.saved[0]!, grad, null, false)],
  },
  opinfo: [
    {
      op: "prod",
      adapt: (input, args, kwargs) =>
        args.length === 0 && kwargs["dim"] === undefined ? [input, kwargs] : undefined,
    },
  ],
  stage: "stable",
  summary: "Product of all elements",
});

const prodDim: Operator<
  (
    self: Tensor,
    dim: number,
    keepdim?: boolean,
    options?: { keepdim?: boolean; dtype?: DType | null },
  ) => Tensor
> = operator({
  schema: "prod.dim_int(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
  replay: true,
  run: (self: Tensor, dim: number, keepdim: boolean, dtype: DType | null) =>
    product(self, normalizeDims([dim], self.ndim), keepdim, dtype),
  derivative: {
    save: (args) => [args[0] as Tensor],
    backward: (ctx, grad) => [
      productBackward(ctx.saved[0]!, grad, [ctx.args[1] as number], ctx.args[2] as boolean),
    ],
  },
  opinfo: ["prod"],
  stage: "stable",
  summary: "Product along a dimension",
});

type ProdFunction = {
  (self: Tensor, options?: { dtype?: DType | null }): Tensor;
  (
    self: Tensor,
    dim: number,
    keepdim?: boolean,
    options?: { keepdim?: boolean; dtype?: DType | null },
  ): Tensor;
};
/** The product of all elements, or along one dimension. Integers and bools give i64. PyTorch: `torch.prod`. */
export const prod: ProdFunction = overloads<ProdFunction>(prodAll, prodDim);

/** PyTorch gives bool for all dtypes but u8. */
const truthDtype = (x: Tensor): DType => (x.dtype === "u8" ? "u8" : "bool");

/** Whether an element is not 0, over dimensions (default: all). PyTorch: `torch.any`. */
export const any: Operator<
  (self: Tensor, dim?: Dims, keepdim?: boolean, options?: { keepdim?: boolean }) => Tensor
> = operator({
  schema: "any.dims(Tensor self, int[1]? dim=None, bool keepdim=False) -> Tensor",
  replay: true,
  run: (self: Tensor, dim: readonly number[] | null, keepdim: boolean) =>
    reduceDims(self, normalizeDims(dim, self.ndim), keepdim, {
      kind: "max",
      before: "nonzero",
      compute: "i32",
      out: truthDtype(self),
    }),
  derivative: "none",
  opinfo: ["any"],
  stage: "stable",
  summary: "Whether any element is not 0",
});

/** Whether no element is 0, over dimensions (default: all). PyTorch: `torch.all`. */
export const all: Operator<
  (self: Tensor, dim?: Dims, keepdim?: boolean, options?: { keepdim?: boolean }) => Tensor
> = operator({
  schema: "all.dims(Tensor self, int[1]? dim=None, bool keepdim=False) -> Tensor",
  replay: true,
  run: (self: Tensor, dim: readonly number[] | null, keepdim: boolean) =>
    reduceDims(self, normalizeDims(dim, self.ndim), keepdim, {
      kind: "min",
      before: "nonzero",
      compute: "i32",
      out: truthDtype(self),
    }),
  derivative: "none",
  opinfo: ["all"],
  stage: "stable",
  summary: "Whether all elements are not 0",
});

/** How many elements are not 0, over dimensions (default: all): i64. PyTorch: `torch.count_nonzero`. */
export const countNonzero: Operator<(self: Tensor, dim?: Dims) => Tensor> = operator({
  schema: "count_nonzero(Tensor self, int[1]? dim=None) -> Tensor",
  replay: true,
  run: (self: Tensor, dim: readonly number[] | null) =>
    reduceDims(self, normalizeDims(dim, self.ndim), false, {
      kind: "sum",
      before: "nonzero",
      compute: "i64",
      out: "i64",
    }),
  derivative: "none",
  opinfo: ["count_nonzero"],
  stage: "stable",
  summary: "Number of elements that are not 0",
});
