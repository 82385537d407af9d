// Norms of tensors over dimensions. RMS and layer normalisation are `rms-norm.ts` and `layer-norm.ts`.

import type { DType } from "../compiler/ir/index.js";
import {
  callOperator,
  isFloatDType,
  type Method,
  normalizeDims,
  type Operator,
  operator,
  type Tensor,
} from "../tensor/index.js";
import { amax, amin } from "./extreme.js";
import { pointwise } from "./pointwise.js";
import { countNonzero, type Dims, reduceDims, reducedShape, sum, unreduce } from "./reduce.js";
import { computeDtype } from "./rows.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    norm: Method<typeof norm>;
  }
}

const root = pointwise((tl, x) => tl.sqrt(x), { name: "root_of" });
const power = pointwise((tl, x, p) => tl.pow(tl.abs(x), p), { name: "power_of" });
const powerOf = pointwise((tl, x, p) => tl.pow(x, p), { name: "root_p_of" });

/** The gradient of a p-norm: `grad * sign(x) * (|x| / norm)^(p - 1)`, 0 where the norm is. */
const share = pointwise(
  (tl, grad, x, norm, p) => {
    const sign = tl.where(x > 0, 1, tl.where(x < 0, -1, 0));
    const ratio = tl.pow(tl.abs(x) / norm, p - 1);
    return tl.where(norm === 0 || x === 0, 0, grad * sign * ratio);
  },
  { name: "norm_share" },
);
const share2 = pointwise((tl, grad, x, norm) => tl.where(norm === 0, 0, (grad * x) / norm), {
  name: "norm_share_2",
});
/** Of the infinity norms: equal shares for all elements of that magnitude. */
const own = pointwise((tl, x, norm) => tl.abs(x) === norm, { name: "has_norm", promote: "bool" });
const shareOwn = pointwise(
  (tl, grad, x, own, count) => {
    const sign = tl.where(x > 0, 1, tl.where(x < 0, -1, 0));
    return tl.where(own !== 0, (grad * sign) / tl.cast(count, tl.dtypeOf(grad)), 0);
  },
  { name: "norm_share_inf", over: [0, 1] },
);

const cast = (t: Tensor, dtype: DType): Tensor =>
  t.dtype === dtype ? t : (callOperator("_to_copy", t, { dtype }) as Tensor);

type P = number;

/** The gradient of {@link norm} at `x`, whose norm is `y`, made of operators; null where there is none. */
export function normGradient(
  grad: Tensor,
  x: Tensor,
  y: Tensor,
  p: number,
  dim: readonly number[] | null,
  keepdim: boolean,
): Tensor | null {
  if (p === 0) return null;
  const wide = (t: Tensor) => unreduce(t, x.shape, dim, keepdim);
  if (p === 2) return share2(wide(grad), x, wide(y));
  if (Number.isFinite(p)) return share(wide(grad), x, wide(y), p);
  const mine = own(x, wide(y));
  const count = sum(mine, x.ndim === 0 ? null : normalizeDims(dim, x.ndim), true);
  return shareOwn(wide(grad), x, mine, count.expand([...x.shape]));
}

/**
 * The p-norm over dimensions (default: all, p = 2): `sum(|x|^p)^(1/p)`; the largest or smallest magnitude for an
 * infinite p, the number of elements that are not 0 for 0. Half types are computed in f32. PyTorch: `torch.norm`
 * (without the nuclear norm).
 */
export const norm: Operator<
  (
    self: Tensor,
    p?: P | null,
    dim?: Dims,
    keepdim?: boolean,
    options?: { dim?: Dims; keepdim?: boolean },
  ) => Tensor
> = operator({
  schema: "norm.ScalarOpt_dim(Tensor self, Scalar? p=None, int[1]? dim=None, bool keepdim=False) -> Tensor",
  run: (self: Tensor, p: P | null, dim: Dims, keepdim: boolean) => {
    if (!isFloatDType(self.dtype)) throw new TypeError(`norm: needs floats, not ${self.dtype}`);
    const T = computeDtype(self.dtype);
    const wide = (): Tensor => cast(self, T);
    const q = Number(p ?? 2);
    const dims = self.ndim === 0 ? [] : normalizeDims(typeof dim === "number" ? [dim] : dim, self.ndim);
    const reduce = (kind: "sum" | "max" | "min", before: "square" | "abs"): Tensor =>
      reduceDims(self, dims, keepdim, { kind, before, compute: T, out: T });
    // Nothing has no largest element: the operators that say so are asked.
    const none = self.numel === 0;
    let y: Tensor;
    if (q === Number.POSITIVE_INFINITY) y = none ? amax(wide(), dims, keepdim) : reduce("max", "abs");
    else if (q === Number.NEGATIVE_INFINITY) y = none ? amin(wide(), dims, keepdim) : reduce("min", "abs");
    else if (q === 0)
      y = cast(countNonzero(self, dims), T).view(reducedShape(self.shape, dims, keepdim && self.ndim > 0));
    else if (q === 1) y = reduce("sum", "abs");
    else if (q === 2) y = root(reduce("sum", "square"));
    else y = powerOf(sum(power(wide(), q), dims, keepdim), 1 / q);
    return cast(y, self.dtype);
  },
  derivative: {
    save: (args, outputs) => [args[0] as Tensor, outputs[0]!],
    backward: (ctx, grad) => {
      const [x, y] = ctx.saved as [Tensor, Tensor];
      const [, p, dim, keepdim] = ctx.args as [unknown, P | null, readonly number[] | null, boolean];
      return [normGradient(grad!, x, y, Number(p ?? 2), dim, keepdim)];
    },
  },
  opinfo: [
    "norm",
    { op: "norm", variant: "inf" },
    {
      op: "norm",
      variant: "fro",
      adapt: (input, args, kwargs) => [input, null, args[1] ?? kwargs["dim"] ?? null],
    },
  ],
  stage: "stable",
  summary: "p-norm over dimensions",
});
