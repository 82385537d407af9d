// Draws from distributions that are functions of even or normal ones: Cauchy's, the geometric one, the log-normal one; and
// dropout that keeps mean and variance.

import type { Generator } from "../runtime/index.js";
import {
  empty,
  isFloatDType,
  type Method,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { copy_ } from "./cast.js";
import { normal_, uniform_ } from "./distributions.js";
import { pointwise } from "./pointwise.js";

interface Source {
  readonly generator?: Generator | null;
}
const overwritten = { backward: () => [null] };
/** Even numbers of the shape, in f64 for f64 and else f32. */
const even = (self: Tensor, generator: Generator | null): Tensor =>
  uniform_(empty(self.shape, { dtype: self.dtype === "f64" ? "f64" : "f32", device: self.device }), 0, 1, {
    generator,
  });

const cauchyOf = pointwise(
  (tl, u, median, sigma) => median + sigma * tl.tan(2 * 1.5707963267948966 * (u - 0.5)),
  {
    name: "cauchy",
    over: [0],
  },
);
/** Fills with numbers of Cauchy's distribution. PyTorch: `Tensor.cauchy_`. */
export const cauchy_: Operator<(self: Tensor, median?: number, sigma?: number, options?: Source) => Tensor> =
  operator({
    schema:
      "cauchy_(Tensor(a!) self, float median=0, float sigma=1, *, Generator? generator=None) -> Tensor(a!)",
    run: (self: Tensor, median: number, sigma: number, g: Generator | null) => {
      if (!isFloatDType(self.dtype)) throw new TypeError(`cauchy_ fills floats, not ${self.dtype}`);
      if (!(sigma > 0)) throw new RangeError(`cauchy_: sigma is above 0, not ${sigma}`);
      return copy_(self, cauchyOf(even(self, g), median, sigma));
    },
    derivative: overwritten,
    opinfo: ["cauchy"],
    stage: "stable",
  });

const geometricOf = pointwise((tl, u, p) => tl.maximum(tl.ceil(tl.log1p(-u) / tl.log1p(-p)), 1), {
  name: "geometric",
  over: [0],
});
/** Fills with the numbers of tosses up to the first success of probability `p`. PyTorch: `Tensor.geometric_`. */
export const geometric_: Operator<(self: Tensor, p: number, options?: Source) => Tensor> = operator({
  schema: "geometric_(Tensor(a!) self, float p, *, Generator? generator=None) -> Tensor(a!)",
  run: (self: Tensor, p: number, g: Generator | null) => {
    if (!(p > 0 && p < 1)) throw new RangeError(`geometric_: p is between 0 and 1, not ${p}`);
    return copy_(self, geometricOf(even(self, g), p));
  },
  derivative: overwritten,
  opinfo: ["geometric"],
  stage: "stable",
});

const exponentialOf = pointwise((tl, x) => tl.exp(x), { name: "log_normal" });
/** Fills with numbers whose logarithms are normal. PyTorch: `Tensor.log_normal_`. */
export const logNormal_: Operator<(self: Tensor, mean?: number, std?: number, options?: Source) => Tensor> =
  operator({
    schema:
      "log_normal_(Tensor(a!) self, float mean=1, float std=2, *, Generator? generator=None) -> Tensor(a!)",
    run: (self: Tensor, mean: number, std: number, generator: Generator | null) => {
      if (!isFloatDType(self.dtype)) throw new TypeError(`log_normal_ fills floats, not ${self.dtype}`);
      const dtype = self.dtype === "f64" ? "f64" : "f32";
      const x = normal_(empty(self.shape, { dtype, device: self.device }), mean, std, { generator });
      return copy_(self, exponentialOf(x));
    },
    derivative: overwritten,
    opinfo: ["log_normal"],
    stage: "stable",
  });

/** Dropped elements become the value that units of self-normalizing networks approach below 0. */
const kept = pointwise(
  (tl, x, u, p, scale, shift) => tl.where(u < p, -1.7580993408473766, x) * scale + shift,
  {
    name: "alpha_dropout",
    over: [0],
    grad: (tl, _x, u, p, scale, _shift, g) => [tl.where(u < p, 0, g * scale), 0 * g, 0 * g, 0 * g, 0 * g],
  },
);

function alphaDropped(
  op: string,
  x: Tensor,
  p: number,
  training: boolean,
  shape: readonly number[],
  g: Generator | null,
): Tensor {
  if (!(p >= 0 && p <= 1)) throw new RangeError(`${op}: a probability is between 0 and 1, not ${p}`);
  if (!training || p === 0) return x;
  if (p === 1) return kept(x, 0, 1, 0, 0);
  const alpha = 1.7580993408473766;
  const scale = ((1 - p) * (1 + p * alpha * alpha)) ** -0.5;
  const u = uniform_(empty(shape, { dtype: x.dtype === "f64" ? "f64" : "f32", device: x.device }), 0, 1, {
    generator: g,
  });
  return kept(x, u, p, scale, scale * alpha * p);
}
const isRandom = (_input: unknown, args: unknown[], kwargs: Record<string, unknown>): boolean => {
  const p = args[0] ?? kwargs["p"] ?? 0.5;
  return (args[1] ?? kwargs["training"] ?? false) === true && p !== 0 && p !== 1;
};
const entry = (op: string, variant?: string) => ({
  op,
  ...(variant === undefined ? {} : { variant }),
  adapt: (input: unknown, args: unknown[], { p, training }: Record<string, unknown>) => [
    input,
    args[0] ?? p ?? 0.5,
    args[1] ?? training ?? false,
  ],
});
type AlphaDropout = (input: Tensor, p?: number, training?: boolean, options?: Source) => Tensor;
/** Dropout that keeps mean and variance of selu's outputs (Klambauer et al., 2017). PyTorch: `F.alpha_dropout`. */
export const alphaDropout: Operator<AlphaDropout> = operator({
  schema:
    "alpha_dropout(Tensor input, float p=0.5, bool training=False, *, Generator? generator=None) -> Tensor",
  method: false,
  run: (x: Tensor, p: number, training: boolean, g: Generator | null) =>
    alphaDropped("alpha_dropout", x, p, training, x.shape, g),
  derivative: "composite",
  random: isRandom,
  opinfo: [entry("nn.functional.alpha_dropout")],
  stage: "stable",
  summary: "Dropout for self-normalizing networks",
});
/** {@link alphaDropout} of whole channels of `[batch, channels, ...]`. PyTorch: `F.feature_alpha_dropout`. */
export const featureAlphaDropout: Operator<AlphaDropout> = operator({
  schema:
    "feature_alpha_dropout(Tensor input, float p=0.5, bool training=False, *, Generator? generator=None) -> Tensor",
  method: false,
  run: (x: Tensor, p: number, training: boolean, g: Generator | null) => {
    if (training && x.ndim < 2)
      throw new RangeError(`feature_alpha_dropout takes [batch, channels, ...], not ${showShape(x.shape)}`);
    return alphaDropped(
      "feature_alpha_dropout",
      x,
      p,
      training,
      x.shape.map((n, d) => (d < 2 ? n : 1)),
      g,
    );
  },
  derivative: "composite",
  random: isRandom,
  opinfo: [
    entry("nn.functional.feature_alpha_dropout", "with_train"),
    entry("nn.functional.feature_alpha_dropout", "without_train"),
  ],
  stage: "stable",
  summary: "Alpha dropout of channels",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    cauchy_: Method<typeof cauchy_>;
    geometric_: Method<typeof geometric_>;
    logNormal_: Method<typeof logNormal_>;
  }
}
