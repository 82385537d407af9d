// Activations of pieces: leaky, exponential and hard ones, shrinkage, thresholds. At a kink the derivative is PyTorch's.
// The semantics are those of torch.nn.functional.* of the same name; relu is `unary.ts`.

import {
  emptyLike,
  isFloatDType,
  type Method,
  type Operator,
  operator,
  type Scalar,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { type Choice, dtypeOf, elementwise } from "./pointwise/elementwise.js";
import { type Differentiable, pointwise, pointwiseKernel } from "./pointwise.js";
import { uniform_ } from "./distributions.js";
import { type Unary, unary } from "./unary.js";

const named = (name: string) => [`nn.functional.${name}`];
/** All numbers in order behind the tensor; they do not take part in promotion. */
const first = { over: [0] } as const;
const ordered =
  (fn: Differentiable, count: number): (() => Choice) =>
  () => ({ fn, order: Array.from({ length: count + 1 }, (_, i) => i) });

const slope = pointwiseKernel((tl, x, a) => tl.where(x > 0, x, x * a), {
  name: "leaky_relu",
  ...first,
  grad: (tl, x, a, g) => [tl.where(x > 0, g, g * a), 0 * g],
});
/** x, below 0 times `negativeSlope`. */
export const leakyRelu: Operator<(self: Tensor, negativeSlope?: number) => Tensor> = elementwise({
  schema: "leaky_relu(Tensor self, Scalar negative_slope=0.01) -> Tensor",
  fn: ordered(slope, 1),
  inPlace: true,
  opinfo: named("leaky_relu"),
});

const exponential = pointwiseKernel(
  (tl, x, alpha, scale, inputScale) =>
    tl.where(
      x > 0,
      x * scale,
      tl.expm1(tl.minimum(x, 0, { propagateNan: true }) * inputScale) * alpha * scale,
    ),
  {
    name: "elu",
    ...first,
    grad: (tl, x, alpha, scale, inputScale, g) => {
      const below = inputScale * alpha * scale * tl.exp(tl.minimum(x, 0) * inputScale);
      return [g * tl.where(x > 0, scale, below), 0 * g, 0 * g, 0 * g];
    },
  },
);
/** x, below 0 `alpha * (exp(x) - 1)`. */
export const elu: Operator<(self: Tensor, alpha?: number, scale?: number, inputScale?: number) => Tensor> =
  elementwise({
    schema: "elu(Tensor self, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor",
    fn: ordered(exponential, 3),
    inPlace: true,
    opinfo: named("elu"),
  });
/** x, below 0 `alpha * (exp(x / alpha) - 1)`. */
export const celu: Operator<(self: Tensor, alpha?: number) => Tensor> = elementwise({
  schema: "celu(Tensor self, Scalar alpha=1.0) -> Tensor",
  fn: () => ({ fn: exponential, order: [0, 1, 2, 3] }),
  defaults: ([x, alpha]) => [x!, alpha!, 1, 1 / Number(alpha)],
  inPlace: true,
  opinfo: named("celu"),
});
/** elu with the constants of self-normalizing networks (Klambauer et al., 2017). */
export const selu: Unary = elementwise({
  schema: "selu(Tensor self) -> Tensor",
  fn: () => ({ fn: exponential, order: [0, 1, 2, 3] }),
  defaults: ([x]) => [x!, 1.6732632423543772, 1.0507009873554805, 1],
  inPlace: true,
  opinfo: named("selu"),
});

const hard = pointwiseKernel(
  (tl, x, low, high) => tl.minimum(tl.maximum(x, low, { propagateNan: true }), high, { propagateNan: true }),
  {
    name: "hardtanh",
    ...first,
    grad: (tl, x, low, high, g) => [tl.where(x <= low || x >= high, 0, g), 0 * g, 0 * g],
  },
);
/** x, but at least `minVal` and at most `maxVal`. */
export const hardtanh: Operator<(self: Tensor, minVal?: Scalar, maxVal?: Scalar) => Tensor> = elementwise({
  schema: "hardtanh(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor",
  fn: ordered(hard, 2),
  check: ([x, low, high]) => {
    if (Number(low) > Number(high))
      throw new RangeError(`hardtanh: minVal ${String(low)} is above maxVal ${String(high)}`);
    if (dtypeOf(x) === "bool") throw new TypeError("hardtanh does not take bool tensors");
  },
  inPlace: true,
  opinfo: named("hardtanh"),
});
/** x, but at least 0 and at most 6. */
export const relu6: Unary = elementwise({
  schema: "relu6(Tensor self) -> Tensor",
  fn: () => ({ fn: hard, order: [0, 1, 2] }),
  defaults: ([x]) => [x!, 0, 6],
  inPlace: true,
  opinfo: named("relu6"),
});
/** (x + 3) / 6, but at least 0 and at most 1. */
export const hardsigmoid = unary(
  "hardsigmoid",
  (tl, x) => tl.clamp(x + 3, 0, 6, { propagateNan: true }) / 6,
  {
    grad: (tl, x, g) => tl.where(x > -3 && x < 3, g / 6, 0),
    opinfo: named("hardsigmoid"),
  },
);
/** x * hardsigmoid(x). */
export const hardswish = unary(
  "hardswish",
  (tl, x) => (x * tl.clamp(x + 3, 0, 6, { propagateNan: true })) / 6,
  {
    grad: (tl, x, g) => tl.where(x <= -3, 0, tl.where(x < 3, g * (x / 3 + 0.5), g)),
    opinfo: named("hardswish"),
  },
);
const hardShrink = pointwiseKernel((tl, x, lambda) => tl.where(x >= -lambda && x <= lambda, 0, x), {
  name: "hardshrink",
  ...first,
  grad: (tl, x, lambda, g) => [tl.where(x >= -lambda && x <= lambda, 0, g), 0 * g],
});
/** x, 0 where its magnitude is at most `lambd`. */
export const hardshrink: Operator<(self: Tensor, lambd?: number) => Tensor> = elementwise({
  schema: "hardshrink(Tensor self, Scalar lambd=0.5) -> Tensor",
  fn: ordered(hardShrink, 1),
  opinfo: named("hardshrink"),
});
const softShrink = pointwiseKernel(
  (tl, x, lambda) => tl.where(x > lambda, x - lambda, tl.where(x < -lambda, x + lambda, 0 * x)),
  {
    name: "softshrink",
    ...first,
    grad: (tl, x, lambda, g) => [tl.where(x >= -lambda && x <= lambda, 0, g), 0 * g],
  },
);
/** x moved by `lambd` towards 0, 0 where its magnitude is at most that. */
export const softshrink: Operator<(self: Tensor, lambd?: number) => Tensor> = elementwise({
  schema: "softshrink(Tensor self, Scalar lambd=0.5) -> Tensor",
  fn: ordered(softShrink, 1),
  check: ([, lambda]) => {
    if (!(Number(lambda) >= 0)) throw new RangeError(`softshrink: lambd is 0 or more, not ${String(lambda)}`);
  },
  opinfo: named("softshrink"),
});
const above = pointwiseKernel((tl, x, limit, value) => tl.where(x <= limit, value, x), {
  name: "threshold",
  ...first,
  grad: (tl, x, limit, _value, g) => [tl.where(x <= limit, 0, g), 0 * g, 0 * g],
});
/** x where it is above `threshold`, else `value`. */
export const threshold: Operator<(self: Tensor, threshold: Scalar, value: Scalar) => Tensor> = elementwise({
  schema: "threshold(Tensor self, Scalar threshold, Scalar value) -> Tensor",
  fn: ordered(above, 2),
  inPlace: true,
  opinfo: named("threshold"),
});

const weighted = pointwise((tl, x, w) => tl.where(x > 0, x, w * x), {
  name: "prelu",
  grad: (tl, x, w, g) => [tl.where(x > 0, g, w * g), tl.where(x > 0, 0, x * g)],
});
/** x, below 0 times `weight`: one number, or one for each channel (dimension 1). PyTorch: `F.prelu`. */
export const prelu: Operator<(self: Tensor, weight: Tensor) => Tensor> = operator({
  schema: "prelu(Tensor self, Tensor weight) -> Tensor",
  run: (self: Tensor, weight: Tensor) => {
    if (weight.numel === 1) return weighted(self, weight.ndim === self.ndim ? weight : weight.reshape([]));
    const channels = self.ndim < 2 ? 1 : self.shape[1]!;
    if (weight.numel !== channels)
      throw new RangeError(
        `prelu: ${weight.numel} weights for ${channels} channels (input ${showShape(self.shape)})`,
      );
    return weighted(self, weight.view(self.shape.map((n, d) => (d === 1 ? n : 1))));
  },
  derivative: "composite",
  opinfo: named("prelu"),
  stage: "stable",
  summary: "Leaky rectifier with a trained slope",
});

/**
 * x, below 0 times a slope: while training drawn evenly from `lower` to `upper`, else their middle. PyTorch: `F.rrelu`.
 */
export const rrelu: Operator<(self: Tensor, lower?: number, upper?: number, training?: boolean) => Tensor> =
  operator({
    schema:
      "rrelu(Tensor self, Scalar lower=0.125, Scalar upper=0.3333333333333333, bool training=False, Generator? generator=None) -> Tensor",
    run: (self: Tensor, lower: number, upper: number, training: boolean, generator: never) => {
      if (!isFloatDType(self.dtype)) throw new TypeError(`rrelu: needs floats, not ${self.dtype}`);
      if (!(lower <= upper)) throw new RangeError(`rrelu: lower ${lower} is above upper ${upper}`);
      if (!training) return leakyRelu(self, (lower + upper) / 2);
      return weighted(self, uniform_(emptyLike(self), lower, upper, { generator }));
    },
    derivative: "composite",
    random: (_input, args, kwargs) => (args[2] ?? kwargs["training"] ?? false) === true,
    opinfo: named("rrelu"),
    stage: "stable",
    summary: "Leaky rectifier with random slopes",
  });

declare module "../tensor/tensor.js" {
  interface Tensor {
    leakyRelu: Method<typeof leakyRelu>;
    elu: Method<typeof elu>;
    celu: Method<typeof celu>;
    selu: Method<Unary>;
    hardtanh: Method<typeof hardtanh>;
    relu6: Method<Unary>;
    hardsigmoid: Method<Unary>;
    hardswish: Method<Unary>;
    hardshrink: Method<typeof hardshrink>;
    softshrink: Method<typeof softshrink>;
    threshold: Method<typeof threshold>;
    prelu: Method<typeof prelu>;
    rrelu: Method<typeof rrelu>;
  }
}
