// Writing slices of a dimension by number: index_add, index_copy, index_fill. What meets is combined in the order of the
// indices. Single elements are `scatter.ts`.

import {
  callOperator,
  type Method,
  normalizeDim,
  type Operator,
  operator,
  type Overloads,
  overloads,
  sameShape,
  type Scalar,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { toCopy } from "./cast.js";
import { indexSelect } from "./gather.js";
import { around, checkIndex, eachSlice, put, type PutMode } from "./index-kernels.js";
import { changed, inPlace, oneOf, sameDtype, type Self } from "./index-writes.js";
import { rowMajor } from "./rows.js";
import { where } from "./ternary.js";

/** Puts slices of `source` where the indices say; `y` is row-major. */
export function indexInto(
  y: Tensor,
  dim: number,
  index: Tensor,
  source: Tensor,
  mode: PutMode,
  what: string,
): void {
  checkIndex(index, what);
  if (index.ndim > 1)
    throw new RangeError(`${what}: the index is a list of numbers, not ${showShape(index.shape)}`);
  const d = normalizeDim(dim, y.ndim);
  const a = around(y.shape, d);
  const n = index.numel;
  let steps: [number, number, number] = [0, 0, 0];
  if (source.ndim > 0 || y.ndim === 0) {
    const want = y.shape.slice();
    if (y.ndim > 0) want[d] = n;
    if (!sameShape(want, source.shape) && source.numel !== want.reduce((p, m) => p * m, 1))
      throw new RangeError(
        `${what}: the source is ${showShape(source.shape)}, but the tensor ${showShape(y.shape)} with ${n} indices in dimension ${d} takes ${showShape(want)}`,
      );
    steps = [n * a.inner, a.inner, 1];
  }
  put(y, rowMajor(index), rowMajor(source), a, n, eachSlice, steps, mode);
}

/**
 * A copy of `self` with `alpha` times the slices of `source` added to those that `index [N]` numbers. PyTorch:
 * `torch.index_add`.
 */
export const indexAdd: Operator<
  (self: Tensor, dim: number, index: Tensor, source: Tensor, options?: { alpha?: Scalar }) => Tensor
> = operator({
  schema: "index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor",
  run: (self: Tensor, dim: number, index: Tensor, source: Tensor, alpha: Scalar) => {
    sameDtype(self, source, "index_add");
    const scaled = Number(alpha) === 1 ? source : (callOperator("mul.Tensor", source, alpha) as Tensor);
    return changed(self, "add", (y) => indexInto(y, dim, index, scaled, "add", "index_add"));
  },
  derivative: {
    save: (args) => [args[2] as Tensor],
    backward: (ctx, grad) => {
      if (!ctx.needs[2]) return [grad!, null, null];
      const rows = indexSelect(grad!, ctx.args[1] as number, ctx.saved[0]!).reshape(ctx.meta(3).shape);
      return [grad!, null, callOperator("mul.Tensor", rows, ctx.args[4]) as Tensor];
    },
  },
  opinfo: ["index_add"],
  stage: "stable",
});

/** A copy of `self` with the slices that `index [N]` numbers replaced by those of `source`. PyTorch: `torch.index_copy`. */
export const indexCopy: Operator<(self: Tensor, dim: number, index: Tensor, source: Tensor) => Tensor> =
  operator({
    schema: "index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor",
    run: (self: Tensor, dim: number, index: Tensor, source: Tensor) => {
      sameDtype(self, source, "index_copy");
      return changed(self, "set", (y) => indexInto(y, dim, index, source, "set", "index_copy"));
    },
    derivative: {
      save: (args) => [args[2] as Tensor],
      backward: (ctx, grad) => {
        const [dim, index] = [ctx.args[1] as number, ctx.saved[0]!];
        return [
          ctx.needs[0] ? indexFillScalar(grad!, dim, index, 0) : null,
          null,
          ctx.needs[2] ? indexSelect(grad!, dim, index).reshape(ctx.meta(3).shape) : null,
        ];
      },
    },
    opinfo: ["index_copy"],
    stage: "stable",
  });

const indexFillScalar: Operator<(self: Tensor, dim: number, index: Tensor, value: Scalar) => Tensor> =
  operator({
    schema: "index_fill.int_Scalar(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
    run: (self: Tensor, dim: number, index: Tensor, value: Scalar) =>
      changed(self, "set", (y) => {
        const at = index.ndim === 0 ? index.reshape([1]) : index;
        indexInto(y.ndim === 0 ? y.view([1]) : y, dim, at, oneOf(value, self), "set", "index_fill");
      }),
    derivative: {
      save: (args) => [args[2] as Tensor],
      backward: (ctx, grad) => [indexFillScalar(grad!, ctx.args[1] as number, ctx.saved[0]!, 0), null],
    },
    opinfo: ["index_fill"],
    stage: "stable",
  });

const indexFillTensor: Operator<(self: Tensor, dim: number, index: Tensor, value: Tensor) => Tensor> =
  operator({
    schema: "index_fill.int_Tensor(Tensor self, int dim, Tensor index, Tensor value) -> Tensor",
    run: (self: Tensor, dim: number, index: Tensor, value: Tensor) => {
      if (value.ndim !== 0)
        throw new RangeError(
          `index_fill: the value is a number or a 0-dim tensor, not ${showShape(value.shape)}`,
        );
      const v = value.dtype === self.dtype ? value : toCopy(value, { dtype: self.dtype });
      return changed(self, "set", (y) => {
        const at = index.ndim === 0 ? index.reshape([1]) : index;
        indexInto(y.ndim === 0 ? y.view([1]) : y, dim, at, v, "set", "index_fill");
      });
    },
    derivative: {
      save: (args) => [args[2] as Tensor],
      backward: (ctx, grad) => {
        const [dim, index] = [ctx.args[1] as number, ctx.saved[0]!];
        return [
          ctx.needs[0] ? indexFillScalar(grad!, dim, index, 0) : null,
          null,
          ctx.needs[2]
            ? (callOperator(
                "sum.dim_IntList",
                where(filled(ctx.meta(0), dim, index, grad!), grad!, 0),
                null,
              ) as Tensor)
            : null,
        ];
      },
    },
    opinfo: ["index_fill"],
    stage: "stable",
  });

/** Where `index_fill` writes; indices may repeat. */
function filled(self: { shape: readonly number[] }, dim: number, index: Tensor, like: Tensor): Tensor {
  const none = callOperator("zeros", self.shape, { dtype: "bool", device: like.device }) as Tensor;
  return indexFillScalar(none, dim, index, true);
}

type IndexFill = (self: Tensor, dim: number, index: Tensor, value: Scalar | Tensor) => Tensor;
/** A copy of `self` with the slices that `index [N]` numbers filled with a value. PyTorch: `torch.index_fill`. */
export const indexFill: Overloads<IndexFill> = overloads<IndexFill>(indexFillScalar, indexFillTensor);

inPlace(
  "index_add_(Tensor(a!) self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor(a!)",
  indexAdd,
);
inPlace("index_copy_(Tensor(a!) self, int dim, Tensor index, Tensor source) -> Tensor(a!)", indexCopy);
inPlace(
  "index_fill_.int_Scalar(Tensor(a!) self, int dim, Tensor index, Scalar value) -> Tensor(a!)",
  indexFillScalar,
);

declare module "../tensor/tensor.js" {
  interface Tensor {
    indexAdd: Method<typeof indexAdd>;
    indexCopy: Method<typeof indexCopy>;
    indexFill: Self<IndexFill>;
    indexAdd_: Method<typeof indexAdd>;
    indexCopy_: Method<typeof indexCopy>;
    indexFill_(dim: number, index: Tensor, value: Scalar): Tensor;
  }
}
