// Distances and angles between vectors, and vectors of a given length. The semantics are those of torch.* of the same
// name. Norms are `norm.ts`.

import {
  broadcastShapes,
  isFloatDType,
  type Method,
  normalizeDim,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { sub } from "./binary.js";
import { toCopy } from "./cast.js";
import { narrowed, widened } from "./loss-reduction.js";
import { norm } from "./norm.js";
import { pairDistances, upperPairs } from "./pair-distances.js";
import { pointwise } from "./pointwise.js";
import { randn } from "./random.js";
import { sum } from "./reduce.js";

const apart = pointwise((_tl, x, y, eps) => x - y + eps, {
  name: "apart",
  promote: "intToFloat",
  over: [0, 1],
});
const product = pointwise((_tl, a, b) => a * b, { name: "product" });
/** By one length after the other: their product may be too large or too small. */
const angle = pointwise((_tl, dot, a, b) => dot / a / b, { name: "angle" });
const quotient = pointwise((_tl, a, b) => a / b, { name: "quotient" });
/** At least `low`; the gradient passes everywhere. */
const atLeast = pointwise((tl, x, low) => tl.maximum(x, low, { propagateNan: true }), {
  name: "at_least",
  over: [0],
  grad: (_tl, _x, _low, g) => [g, 0 * g],
});
/** At least `low`; the gradient passes where x is. */
const bounded = pointwise((tl, x, low) => tl.maximum(x, low, { propagateNan: true }), {
  name: "bounded_below",
  over: [0],
  grad: (tl, x, low, g) => [tl.where(x >= low, g, 0), 0 * g],
});

const isWide = (t: Tensor): boolean => isFloatDType(t.dtype) && t.itemSize >= 4;
/** The p-norm of `x1 - x2 + eps` along the last dimension. PyTorch: `F.pairwise_distance`. */
export const pairwiseDistance: Operator<
  (x1: Tensor, x2: Tensor, p?: number, eps?: number, keepdim?: boolean) => Tensor
> = operator({
  schema: "pairwise_distance(Tensor x1, Tensor x2, float p=2, float eps=1e-06, bool keepdim=False) -> Tensor",
  method: false,
  run: (x1: Tensor, x2: Tensor, p: number, eps: number, keepdim: boolean) =>
    // Integers wrap in their own dtype first, and narrow floats are rounded.
    norm(isWide(x1) || isWide(x2) ? apart(x1, x2, eps) : apart(sub(x1, x2), 0, eps), p, [-1], keepdim),
  derivative: "composite",
  opinfo: ["nn.functional.pairwise_distance"],
  stage: "stable",
  summary: "p-norm of differences along the last dimension",
});

/** The cosine of the angle between vectors along `dim`; lengths count as at least `eps`. PyTorch: `F.cosine_similarity`. */
export const cosineSimilarity: Operator<(x1: Tensor, x2: Tensor, dim?: number, eps?: number) => Tensor> =
  operator({
    schema: "cosine_similarity(Tensor x1, Tensor x2, int dim=1, float eps=1e-08) -> Tensor",
    method: false,
    run: (x1: Tensor, x2: Tensor, dim: number, eps: number) => {
      const [a, b] = [widened(x1), widened(x2)];
      const shape = broadcastShapes(a.shape, b.shape);
      const [u, v] = [a.expand([...shape]), b.expand([...shape])];
      const length = (t: Tensor): Tensor => atLeast(norm(t, 2, [dim], false), eps);
      return narrowed(angle(sum(product(u, v), [dim]), length(u), length(v)), x1);
    },
    derivative: "composite",
    opinfo: ["nn.functional.cosine_similarity"],
    stage: "stable",
    summary: "Cosine of the angle between vectors",
  });

/** The p-norm of `self - other`. PyTorch: `torch.dist`. */
export const dist: Operator<(self: Tensor, other: Tensor, p?: number) => Tensor> = operator({
  schema: "dist(Tensor self, Tensor other, Scalar p=2) -> Tensor",
  run: (self: Tensor, other: Tensor, p: number) => norm(sub(self, other), p),
  derivative: "composite",
  opinfo: ["dist"],
  stage: "stable",
  summary: "p-norm of a difference",
});

/** The p-norms of the differences of all rows of `x1 [..., P, M]` and `x2 [..., R, M]`: `[..., P, R]`. PyTorch: `torch.cdist`. */
export const cdist: Operator<(x1: Tensor, x2: Tensor, p?: number, computeMode?: string | null) => Tensor> =
  operator({
    schema: "cdist(Tensor x1, Tensor x2, float p=2, str? compute_mode=None) -> Tensor",
    method: false,
    run: (x1: Tensor, x2: Tensor, p: number) => {
      if (x1.ndim < 2 || x2.ndim < 2 || x1.shape.at(-1) !== x2.shape.at(-1))
        throw new RangeError(
          `cdist: no rows of one length in ${showShape(x1.shape)} and ${showShape(x2.shape)}`,
        );
      if (!(p >= 0)) throw new RangeError(`cdist: p is 0 or more, not ${p}`);
      const batch = broadcastShapes(x1.shape.slice(0, -2), x2.shape.slice(0, -2));
      const flat = (t: Tensor): Tensor => {
        const rows = t.shape.slice(-2);
        return t.expand([...batch, ...rows]).reshape([batch.reduce((n, d) => n * d, 1), ...rows]);
      };
      return pairDistances(flat(x1), flat(x2), p).view([...batch, x1.shape.at(-2)!, x2.shape.at(-2)!]);
    },
    derivative: "composite",
    opinfo: ["cdist"],
    stage: "stable",
    summary: "p-norms of the differences of all pairs of rows",
  });

/** The p-norms of the differences of all pairs of rows of `self [N, M]`: a list, (0, 1) first. PyTorch: `F.pdist`. */
export const pdist: Operator<(self: Tensor, p?: number) => Tensor> = operator({
  schema: "pdist(Tensor self, float p=2) -> Tensor",
  method: false,
  run: (self: Tensor, p: number) => {
    if (self.ndim !== 2) throw new RangeError(`pdist takes a matrix, not ${showShape(self.shape)}`);
    const n = self.shape[0]!;
    const rows = self.unsqueeze(0);
    return upperPairs(pairDistances(rows, rows, p).view([n, n]));
  },
  derivative: "composite",
  opinfo: ["nn.functional.pdist"],
  benchmarks: () => [[randn([512, 64])]],
  stage: "stable",
  summary: "p-norms of the differences of all pairs of rows of one matrix",
});

/** Vectors along `dim` divided by their p-norm, or by `eps` if that is more. PyTorch: `F.normalize`. */
export const normalize: Operator<
  (self: Tensor, p?: number, dim?: number, eps?: number, options?: { eps?: number }) => Tensor
> = operator({
  schema: "normalize(Tensor self, float p=2.0, int dim=1, float eps=1e-12) -> Tensor",
  method: false,
  run: (self: Tensor, p: number, dim: number, eps: number) => {
    const x = widened(self);
    return narrowed(quotient(x, bounded(norm(x, p, [dim], true), eps)), self);
  },
  derivative: "composite",
  opinfo: ["nn.functional.normalize"],
  stage: "stable",
  summary: "Vectors of length 1",
});

const factor = pointwise((tl, n, most) => tl.where(n > most, most / (n + 1e-7), 1), {
  name: "renorm_factor",
  over: [0],
  grad: (tl, n, most, g) => [tl.where(n > most, (-g * most) / ((n + 1e-7) * (n + 1e-7)), 0), 0 * g],
});
/** The slices of `dim` whose p-norm is above `maxnorm` shrunk to it. PyTorch: `torch.renorm`. */
export const renorm: Operator<(self: Tensor, p: number, dim: number, maxnorm: number) => Tensor> = operator({
  schema: "renorm(Tensor self, Scalar p, int dim, Scalar maxnorm) -> Tensor",
  run: (self: Tensor, p: number, dim: number, maxnorm: number) => {
    if (!isFloatDType(self.dtype)) throw new TypeError(`renorm: needs floats, not ${self.dtype}`);
    if (self.ndim < 2)
      throw new RangeError(`renorm: needs 2 dimensions or more, not ${showShape(self.shape)}`);
    const d = normalizeDim(dim, self.ndim);
    const x = widened(self);
    const others = x.shape.map((_, i) => i).filter((i) => i !== d);
    const y = product(x, factor(norm(x, p, others, true), maxnorm));
    return y.dtype === self.dtype ? y : toCopy(y, { dtype: self.dtype });
  },
  derivative: "composite",
  opinfo: ["renorm"],
  stage: "stable",
  summary: "Slices shrunk to a largest norm",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    dist: Method<typeof dist>;
    renorm: Method<typeof renorm>;
  }
}
