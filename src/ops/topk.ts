// The largest or smallest elements along a dimension.

import { type Method, normalizeDim, type Operator, operator, type Tensor } from "../tensor/index.js";
import { backTo } from "./sort.js";
import { topkAlong } from "./sort-kernels.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    topk: Method<typeof topk>;
  }
}

/**
 * The `k` largest elements along `dim` (default: the last) in descending order, or with `largest: false` the smallest
 * in ascending order, and their i64 places. NaN counts as the largest; of equal elements the first ones are taken.
 * They are in order also with `sorted: false`. PyTorch: `torch.topk`.
 * @example const [best, at] = topk(logits, 50);
 */
export const topk: Operator<
  (
    self: Tensor,
    k: number,
    dim?: number,
    largest?: boolean,
    sorted?: boolean,
    options?: { dim?: number; largest?: boolean; sorted?: boolean },
  ) => [Tensor, Tensor]
> = operator({
  schema:
    "topk(Tensor self, SymInt k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor values, Tensor indices)",
  replay: true,
  run: (self: Tensor, k: number, dim: number, largest: boolean) => {
    const d = normalizeDim(dim, self.ndim);
    const n = self.shape[d] ?? 1;
    if (!(k >= 0 && k <= n)) throw new RangeError(`topk: k is ${k}, but dimension ${dim} has ${n} elements`);
    return topkAlong(self, d, largest, k);
  },
  derivative: {
    save: (_args, outputs) => [outputs[1]!],
    backward: (ctx, grad) => {
      const { shape } = ctx.meta(0);
      return [backTo(grad, ctx.saved[0]!, shape, normalizeDim(ctx.args[2] as number, shape.length))];
    },
  },
  opinfo: [{ op: "topk", ties: (args, kwargs) => Number(args[1] ?? kwargs["dim"] ?? -1) }],
  stage: "stable",
  summary: "The largest elements along a dimension, and where they stand",
});
