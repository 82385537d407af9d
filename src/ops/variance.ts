// Variance and standard deviation, in two passes: the mean, then the squared distances from it.

import {
  callOperator,
  isFloatDType,
  type Method,
  normalizeDims,
  type Operator,
  operator,
  type OpInfoEntry,
  type Tensor,
} from "../tensor/index.js";
import { pointwise } from "./pointwise.js";
import { type Dims, mean, reducedShape, sum } from "./reduce.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    var: Method<typeof variance>;
    std: Method<typeof std>;
    varMean: Method<typeof varMean>;
    stdMean: Method<typeof stdMean>;
  }
}

const squaredDistance = pointwise((_tl, x, m) => (x - m) * (x - m), { name: "squared_distance" });
const over = pointwise((_tl, total, n) => total / n, { name: "over_count" });
/** The square root, whose derivative at 0 counts as 0. */
const root = pointwise((tl, x) => tl.sqrt(x), {
  name: "deviation",
  grad: (tl, x, grad) => [tl.where(x === 0, 0, grad / (2 * tl.sqrt(x)))],
});

const cast = (t: Tensor, dtype: "f32" | Tensor["dtype"]): Tensor =>
  t.dtype === dtype ? t : (callOperator("_to_copy", t, { dtype }) as Tensor);

/** Variance and mean in the input's dtype; half types are computed in f32. */
function moments(
  op: string,
  self: Tensor,
  dim: Dims,
  correction: number | null,
  keepdim: boolean,
): [Tensor, Tensor] {
  if (!isFloatDType(self.dtype)) throw new TypeError(`${op}: needs floats, not ${self.dtype}`);
  const x = self.dtype === "f64" ? self : cast(self, "f32");
  const dims = normalizeDims(typeof dim === "number" ? [dim] : dim, x.ndim);
  const m = x.ndim === 0 ? mean(x) : mean(x, dims, true);
  const count = dims.reduce((n, d) => n * (x.shape[d] ?? 1), 1);
  const squares = squaredDistance(x, m);
  const total = x.ndim === 0 ? sum(squares) : sum(squares, dims, keepdim);
  const v = over(total, Math.max(0, count - (correction ?? 1)));
  return [v, m.view(reducedShape(x.shape, x.ndim === 0 ? [] : dims, keepdim))];
}

type Spread<R> = (
  self: Tensor,
  dim?: Dims,
  options?: { dim?: Dims; correction?: number | null; keepdim?: boolean },
) => R;

/** `unbiased` of older calls, by position or by name, as a correction. */
const entries = (op: string): OpInfoEntry[] => {
  const adapt = (input: unknown, args: unknown[], kwargs: Record<string, unknown>): unknown[] => {
    const { unbiased, dim, keepdim, correction, ...rest } = kwargs;
    const flags = typeof args[0] === "boolean" ? args[0] : unbiased;
    const options = {
      ...(flags === undefined ? {} : { correction: flags ? 1 : 0 }),
      ...(keepdim === undefined ? {} : { keepdim }),
      ...(correction === undefined ? {} : { correction }),
      ...rest,
    };
    const where = dim ?? (typeof args[0] === "boolean" ? null : args[0]) ?? null;
    return [input, where, options];
  };
  return [
    { op, adapt },
    { op, variant: "unbiased", adapt },
  ];
};

const schema = (name: string, result: string) =>
  `${name}.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> ${result}`;

/**
 * The mean squared distance from the mean over dimensions (default: all), divided by the count less `correction`
 * (default 1). PyTorch: `torch.var`.
 */
export const variance: Operator<Spread<Tensor>> = operator({
  schema: schema("var", "Tensor"),
  run: (self: Tensor, dim: Dims, correction: number | null, keepdim: boolean) =>
    cast(moments("var", self, dim, correction, keepdim)[0], self.dtype),
  derivative: "composite",
  opinfo: entries("var"),
  stage: "stable",
  summary: "Variance over dimensions",
});

/** The square root of {@link variance}. PyTorch: `torch.std`. */
export const std: Operator<Spread<Tensor>> = operator({
  schema: schema("std", "Tensor"),
  run: (self: Tensor, dim: Dims, correction: number | null, keepdim: boolean) =>
    cast(root(moments("std", self, dim, correction, keepdim)[0]), self.dtype),
  derivative: "composite",
  opinfo: entries("std"),
  stage: "stable",
  summary: "Standard deviation over dimensions",
});

/** Variance and mean at once. PyTorch: `torch.var_mean`. */
export const varMean: Operator<Spread<[Tensor, Tensor]>> = operator({
  schema: schema("var_mean", "(Tensor, Tensor)"),
  run: (self: Tensor, dim: Dims, correction: number | null, keepdim: boolean) =>
    moments("var_mean", self, dim, correction, keepdim).map((t) => cast(t, self.dtype)),
  derivative: "composite",
  opinfo: entries("var_mean"),
  stage: "stable",
  summary: "Variance and mean over dimensions",
});

/** Standard deviation and mean at once. PyTorch: `torch.std_mean`. */
export const stdMean: Operator<Spread<[Tensor, Tensor]>> = operator({
  schema: schema("std_mean", "(Tensor, Tensor)"),
  run: (self: Tensor, dim: Dims, correction: number | null, keepdim: boolean) => {
    const [v, m] = moments("std_mean", self, dim, correction, keepdim);
    return [cast(root(v), self.dtype), cast(m, self.dtype)];
  },
  derivative: "composite",
  opinfo: entries("std_mean"),
  stage: "stable",
  summary: "Standard deviation and mean over dimensions",
});
