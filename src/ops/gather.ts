// Reading at indices along a dimension: gather, index_select, take_along_dim, take.

import {
  broadcastShapes,
  callOperator,
  emptyLike,
  type Method,
  normalizeDim,
  type Operator,
  operator,
  sameShape,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { zeros } from "./creation.js";
import { around, checkIndex, eachElement, eachSlice, reached, take as takeAlong } from "./index-kernels.js";
import { rowMajor } from "./rows.js";

/** Zeros of a tensor's shape, as the start of a gradient. */
const zerosOf = (t: { shape: readonly number[]; device: string }, like: Tensor): Tensor =>
  zeros(t.shape, { dtype: like.dtype, device: like.device });

/**
 * `out[i, j, k] = self[index[i, j, k], j, k]` for dim 0, and likewise for others. The index (i64) has as many
 * dimensions as the tensor and is nowhere longer but along `dim`; the result has its shape. PyTorch: `torch.gather`.
 *
 * @example gather(probabilities, 1, labels.unsqueeze(1)); // [N, 1]
 */
export const gather: Operator<
  (self: Tensor, dim: number, index: Tensor, options?: { sparseGrad?: boolean }) => Tensor
> = operator({
  schema: "gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor",
  replay: true,
  run: (self: Tensor, dim: number, index: Tensor) => {
    const out = emptyLike(self, { shape: index.shape });
    if (index.numel === 0) return out;
    checkIndex(index, "gather");
    const d = normalizeDim(dim, self.ndim);
    const [x, ids] =
      self.ndim > 0 && index.ndim > 0 ? [self, index] : [self.reshape([-1]), index.reshape([-1])];
    const part = rowMajor(reached(x, ids.shape, d, "gather"));
    const a = around(part.shape, d);
    const n = ids.shape[d] ?? 1;
    takeAlong(part, rowMajor(ids), out, a, n, eachElement(n, a.inner));
    return out;
  },
  derivative: {
    save: (args) => [args[2] as Tensor],
    backward: (ctx, grad) => [
      callOperator("scatter_add", zerosOf(ctx.meta(0), grad!), ctx.args[1], ctx.saved[0], grad) as Tensor,
      null,
    ],
  },
  opinfo: ["gather"],
  stage: "stable",
});

/**
 * Slices of a dimension by number: `index [N]` (i64 or i32) gives a tensor that is N long there. PyTorch:
 * `torch.index_select`.
 */
export const indexSelect: Operator<(self: Tensor, dim: number, index: Tensor) => Tensor> = operator({
  schema: "index_select(Tensor self, int dim, Tensor index) -> Tensor",
  replay: true,
  run: (self: Tensor, dim: number, index: Tensor) => {
    checkIndex(index, "index_select");
    if (index.ndim > 1)
      throw new RangeError(`index_select: the index is a list of numbers, not ${showShape(index.shape)}`);
    const d = normalizeDim(dim, self.ndim);
    const n = index.numel;
    const shape = self.shape.slice();
    if (self.ndim > 0) shape[d] = n;
    const out = emptyLike(self, { shape });
    takeAlong(rowMajor(self), rowMajor(index), out, around(self.shape, d), n, eachSlice);
    return out;
  },
  derivative: {
    save: (args) => [args[2] as Tensor],
    backward: (ctx, grad) => [
      callOperator("index_add", zerosOf(ctx.meta(0), grad!), ctx.args[1], ctx.saved[0], grad) as Tensor,
      null,
    ],
  },
  opinfo: ["index_select"],
  stage: "stable",
});

/**
 * As {@link gather}, with tensor and indices broadcast against each other; without `dim` both are flattened.
 * PyTorch: `torch.take_along_dim`.
 */
export const takeAlongDim: Operator<(self: Tensor, indices: Tensor, dim?: number | null) => Tensor> =
  operator({
    schema: "take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor",
    run: (self: Tensor, indices: Tensor, dim: number | null) => {
      if (dim === null) return gather(self.reshape([-1]), 0, indices.reshape([-1]));
      if (self.ndim !== indices.ndim)
        throw new RangeError(
          `take_along_dim: the indices ${showShape(indices.shape)} have another number of dimensions than the tensor ${showShape(self.shape)}`,
        );
      const d = normalizeDim(dim, self.ndim);
      const without = (shape: readonly number[]) => shape.map((n, i) => (i === d ? 1 : n));
      const shape = broadcastShapes(without(self.shape), without(indices.shape));
      const full = (t: Tensor) => {
        const to = shape.map((n, i) => (i === d ? t.shape[d]! : n));
        return sameShape(to, t.shape) ? t : t.expand(to);
      };
      return gather(full(self), d, full(indices));
    },
    derivative: "composite",
    opinfo: ["take_along_dim"],
    stage: "stable",
  });

declare module "../tensor/tensor.js" {
  interface Tensor {
    /** Elements at indices along a dimension. */
    gather: Method<typeof gather>;
    /** Slices of a dimension by number. */
    indexSelect: Method<typeof indexSelect>;
    /** Elements at indices along a dimension, broadcast. */
    takeAlongDim: Method<typeof takeAlongDim>;
  }
}
