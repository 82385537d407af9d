// Statistics of samples: means without NaN, covariance and correlation, quantiles, histograms. The semantics are those of
// torch.* of the same name; variances are `variance.ts`, medians `order-statistics.ts`.

import {
  callOperator,
  isFloatDType,
  type Method,
  normalizeDim,
  type Operator,
  operator,
  resultType,
  scalarTensor,
  showShape,
  Tensor,
} from "../tensor/index.js";
import { div, mul, sub } from "./binary.js";
import { toCopy } from "./cast.js";
import { zeros } from "./creation.js";
import { amax, amin } from "./extreme.js";
import { gather } from "./gather.js";
import { narrowed, widened } from "./loss-reduction.js";
import { mm } from "./matmul.js";
import { pointwise } from "./pointwise.js";
import { any, type Dims, nansum, sum } from "./reduce.js";
import { scatterAdd } from "./scatter.js";
import { sort } from "./sort.js";
import { clamp, clampMin } from "./ternary.js";
import { isnan, logicalNot, sqrt } from "./unary.js";

/** The mean over dimensions (default: all) without NaN. Floats. PyTorch: `torch.nanmean`. */
export const nanmean: Operator<
  (self: Tensor, dim?: Dims, keepdim?: boolean, options?: { dim?: Dims; keepdim?: boolean }) => Tensor
> = operator({
  schema: "nanmean(Tensor self, int[1]? dim=None, bool keepdim=False) -> Tensor",
  run: (self: Tensor, dim: Dims, keepdim: boolean) => {
    if (!isFloatDType(self.dtype)) throw new TypeError(`nanmean: needs floats, not ${self.dtype}`);
    const x = widened(self);
    return narrowed(div(nansum(x, dim, keepdim), sum(logicalNot(isnan(x)), dim, keepdim)), self);
  },
  derivative: "composite",
  opinfo: ["nanmean"],
  stage: "stable",
  summary: "Mean over dimensions that passes over NaN",
});

/**
 * The covariances of variables in rows and observations in columns, divided by their number less `correction`. `fweights`
 * says how often an observation came, `aweights` how much it counts. PyTorch: `torch.cov`.
 */
export const cov: Operator<
  (
    self: Tensor,
    options?: { correction?: number; fweights?: Tensor | null; aweights?: Tensor | null },
  ) => Tensor
> = operator({
  schema: "cov(Tensor self, *, int correction=1, Tensor? fweights=None, Tensor? aweights=None) -> Tensor",
  run: (self: Tensor, correction: number, fweights: Tensor | null, aweights: Tensor | null) => {
    if (self.ndim > 2) throw new RangeError(`cov takes a matrix, not ${showShape(self.shape)}`);
    const given = self.ndim < 2 ? self.reshape([1, -1]) : self;
    const x = isFloatDType(given.dtype) ? widened(given) : toCopy(given, { dtype: "f32" });
    const w = fweights && aweights ? mul(fweights, aweights) : (fweights ?? aweights);
    const n = x.shape[1]!;
    let norm: Tensor;
    let total: Tensor | number = n;
    if (w) {
      total = sum(w);
      const less = aweights ? div(mul(sum(mul(w, aweights)), correction), total) : correction;
      norm = sub(total, less);
    } else norm = scalarTensor(n - correction, "f32", x.device);
    const mean = div(sum(w ? mul(x, w) : x, [1]), total);
    const d = sub(x, mean.unsqueeze(1));
    const c = mm(d, toCopy(w ? mul(d, w) : d, { dtype: d.dtype }).t());
    const y = div(c, clampMin(norm, 0)).squeeze();
    const out = isFloatDType(self.dtype)
      ? resultType(self, ...[fweights, aweights].filter((t) => t !== null))
      : "f32";
    return y.dtype === out ? y : toCopy(y, { dtype: out });
  },
  derivative: "composite",
  opinfo: ["cov"],
  stage: "stable",
  summary: "Covariances of variables",
});

/** Pearson's correlations of variables in rows and observations in columns. PyTorch: `torch.corrcoef`. */
export const corrcoef: Operator<(self: Tensor) => Tensor> = operator({
  schema: "corrcoef(Tensor self) -> Tensor",
  run: (self: Tensor) => {
    const wide = isFloatDType(self.dtype) ? widened(self) : self;
    const c = cov(wide);
    if (c.ndim === 0) return narrowed(div(c, c), self);
    const s = sqrt(c.diagonal());
    return narrowed(clamp(div(div(c, s.unsqueeze(1)), s.unsqueeze(0)), -1, 1), self);
  },
  derivative: "composite",
  opinfo: ["corrcoef"],
  stage: "stable",
  summary: "Correlations of variables",
});

const rankBelow = pointwise((tl, rank) => tl.cast(tl.floor(rank), tl.i64), {
  name: "rank_below",
  promote: "none",
  outputs: ["i64"],
});
const rankAbove = pointwise((tl, rank) => tl.cast(tl.ceil(rank), tl.i64), {
  name: "rank_above",
  promote: "none",
  outputs: ["i64"],
});
const rankNear = pointwise((tl, rank) => tl.cast(tl.round(rank), tl.i64), {
  name: "rank_near",
  promote: "none",
  outputs: ["i64"],
});
const rankOf = pointwise((tl, q, last) => tl.maximum(q * tl.cast(last, tl.dtypeOf(q)), 0), {
  name: "rank",
  over: [0],
});
const lastIf = pointwise((tl, rank, nan, last) => tl.where(nan !== 0, last, rank), {
  name: "rank_of_nan",
  over: [0],
});
const between = pointwise(
  (tl, low, high, rank, middle) => {
    const w = tl.where(middle !== 0, 0.5, rank - tl.floor(rank));
    return tl.where(w < 0.5, low + w * (high - low), high - (high - low) * (1 - w));
  },
  {
    name: "quantile_between",
    over: [0, 1, 2],
    grad: (tl, low, high, rank, middle, g) => {
      const w = tl.where(middle !== 0, 0.5, rank - tl.floor(rank));
      return [g * (1 - w), g * w, tl.where(middle !== 0, 0, g * (high - low)), 0 * g];
    },
  },
);

type Interpolation = "linear" | "lower" | "higher" | "midpoint" | "nearest";
type Quantile = (
  self: Tensor,
  q: Tensor | number,
  dim?: number | null,
  keepdim?: boolean,
  options?: { dim?: number | null; keepdim?: boolean; interpolation?: Interpolation },
) => Tensor;

function quantiles(
  op: string,
  self: Tensor,
  q: Tensor | number,
  dim: number | null,
  keepdim: boolean,
  interpolation: string,
  skipNan: boolean,
): Tensor {
  if (self.dtype !== "f32" && self.dtype !== "f64")
    throw new TypeError(`${op}: needs f32 or f64, not ${self.dtype}`);
  if (!["linear", "lower", "higher", "midpoint", "nearest"].includes(interpolation))
    throw new RangeError(
      `${op}: interpolation is "linear", "lower", "higher", "midpoint" or "nearest", not "${interpolation}"`,
    );
  const points = q instanceof Tensor ? q : scalarTensor(q, self.dtype, self.device);
  if (points.ndim > 1) throw new RangeError(`${op}: q is a number or a list, not ${showShape(points.shape)}`);
  const d = dim === null ? 0 : normalizeDim(dim, self.ndim);
  const lines = dim === null || self.ndim === 0 ? self.reshape([-1]) : self.movedim(d, -1);
  const n = lines.shape.at(-1)!;
  if (n === 0) throw new RangeError(`${op}: an empty tensor has no quantiles`);
  const [sorted] = sort(lines, -1);
  // NaN stand last.
  const nan = isnan(sorted);
  const list = points.reshape([-1]);
  let rank: Tensor;
  if (skipNan) rank = rankOf(list, sub(sum(logicalNot(nan), [-1], true), 1));
  else rank = lastIf(rankOf(list, n - 1), any(nan, [-1], true), n - 1);
  const wide = rank.expand([...lines.shape.slice(0, -1), list.numel]);
  const at = (pick: (t: Tensor) => Tensor): Tensor => gather(sorted, -1, pick(wide));
  let y: Tensor;
  if (interpolation === "lower") y = at(rankBelow);
  else if (interpolation === "higher") y = at(rankAbove);
  else if (interpolation === "nearest") y = at(rankNear);
  else y = between(at(rankBelow), at(rankAbove), wide, interpolation === "midpoint" ? 1 : 0);
  // The dimension of the points goes to the front.
  const scalar = points.ndim === 0;
  let out = y.movedim(-1, 0);
  if (keepdim) {
    const shape = self.shape.map((m, i) => (dim === null || i === d ? 1 : m));
    out = out.reshape([list.numel, ...shape]);
  }
  return scalar ? out.squeeze(0) : out;
}

const quantileOf = (op: string, skipNan: boolean): Operator<Quantile> =>
  operator({
    schema: `${op}(Tensor self, Tensor q, int? dim=None, bool keepdim=False, *, str interpolation="linear") -> Tensor`,
    scalars: true,
    run: (self: Tensor, q: Tensor | number, dim: number | null, keepdim: boolean, interpolation: string) =>
      quantiles(op, self, q, dim, keepdim, interpolation, skipNan),
    derivative: "composite",
    opinfo: [op],
    stage: "stable",
    summary: `Quantiles${skipNan ? " that pass over NaN" : ""}`,
  });
/**
 * The values below which shares `q` of the elements lie, along `dim` or of all; of several points in a new first dimension.
 * NaN where there is one. PyTorch: `torch.quantile`.
 */
export const quantile: Operator<Quantile> = quantileOf("quantile", false);
/** {@link quantile} without NaN. PyTorch: `torch.nanquantile`. */
export const nanquantile: Operator<Quantile> = quantileOf("nanquantile", true);

const bin = pointwise(
  (tl, x, low, high, bins) => {
    const flat = low === high;
    const from = tl.where(flat, low - 1, low);
    const to = tl.where(flat, high + 1, high);
    const at = tl.floor(((x - from) * bins) / (to - from));
    const inside = x >= from && x <= to;
    return tl.cast(tl.where(inside, tl.minimum(at, bins - 1), bins), tl.i64);
  },
  { name: "histogram_bin", over: [0, 1, 2], outputs: ["i64"] },
);
const binOf = pointwise(
  (tl, x, low, high, place, bins) => {
    const inside = x >= low && x <= high;
    return tl.cast(tl.where(inside, tl.minimum(tl.floor(place), bins - 1), bins), tl.i64);
  },
  { name: "histogram_place", over: [0, 1, 2, 3], outputs: ["i64"] },
);
const moved = pointwise((tl, low, high, t, by) => tl.where(low === high, t + by, t), {
  name: "histogram_edge",
  over: [0, 1, 2],
});
/** Bounds of equal data stand 1 apart from it. */
const widenIfFlat = (low: Tensor | number, high: Tensor | number, t: Tensor, by: number): Tensor =>
  moved(low, high, t, by);
/** How many elements fall into each of `bins` equal parts of [min, max]; of equal bounds those of the data. PyTorch: `torch.histc`. */
export const histc: Operator<
  (
    self: Tensor,
    bins?: number,
    min?: number,
    max?: number,
    options?: { bins?: number; min?: number; max?: number },
  ) => Tensor
> = operator({
  schema: "histc(Tensor self, int bins=100, Scalar min=0, Scalar max=0) -> Tensor",
  run: (self: Tensor, bins: number, min: number, max: number) => {
    if (!isFloatDType(self.dtype)) throw new TypeError(`histc: needs floats, not ${self.dtype}`);
    if (bins < 1 || min > max) throw new RangeError(`histc: ${bins} bins from ${min} to ${max} are none`);
    const x = widened(self).reshape([-1]);
    const own = min === max && x.numel > 0;
    const [low, high] = own ? [amin(x), amax(x)] : [min, max];
    let at: Tensor;
    if (isFloatDType(self.dtype) && self.itemSize < 4) {
      // Narrow floats are rounded at every step, as PyTorch's.
      const y = self.reshape([-1]);
      const flat = min === max;
      const edge = (v: Tensor | number, by: number): Tensor => {
        const t =
          v instanceof Tensor ? toCopy(v, { dtype: self.dtype }) : scalarTensor(v, self.dtype, self.device);
        return flat ? toCopy(widenIfFlat(low, high, t, by), { dtype: self.dtype }) : t;
      };
      const [from, to] = [edge(low, -1), edge(high, 1)];
      at = binOf(y, from, to, div(mul(sub(y, from), bins), sub(to, from)), bins);
    } else at = bin(x, low, high, bins);
    const none = zeros([bins + 1], { dtype: x.dtype, device: x.device });
    const ones = callOperator("ones_like", x) as Tensor;
    const y = scatterAdd(none, 0, at, ones).narrow(0, 0, bins);
    return toCopy(y, { dtype: self.dtype });
  },
  derivative: "none",
  opinfo: ["histc"],
  stage: "stable",
  summary: "Counts of elements in equal intervals",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    nanmean: Method<typeof nanmean>;
    cov: Method<typeof cov>;
    corrcoef: Method<typeof corrcoef>;
    quantile: Method<typeof quantile>;
    nanquantile: Method<typeof nanquantile>;
    histc: Method<typeof histc>;
  }
}
