// Element-wise operators of three operands and more: selection, clamping, fused products, interpolation, and what
// replaces NaN. The semantics are those of torch.* of the same name.

import {
  canCast,
  isFloatDType,
  type Method,
  type Operator,
  type Scalar,
  type Tensor,
} from "../tensor/index.js";
import type { Operand } from "./binary.js";
import { type Argument, type Choice, dtypeOf } from "./pointwise/elementwise.js";
import { elementwise, pointwiseKernel } from "./pointwise.js";

/** `self` where the condition is not 0, else `other`; all three broadcast, the last two promote. */
export const where: Operator<(condition: Tensor, self: Operand, other: Operand) => Tensor> = elementwise({
  schema: "where.self(Tensor condition, Tensor self, Tensor other) -> Tensor",
  fn: pointwiseKernel((tl, c, x, y) => tl.where(c !== 0, x, y), { name: "where", over: [1, 2] }),
  opinfo: [{ op: "where", adapt: (input, args) => [args[0], input, args[1]] }],
  method: false,
});

// --- Clamping ---

const clampBoth = pointwiseKernel(
  (tl, x, low, high) => tl.minimum(tl.maximum(x, low, { propagateNan: true }), high, { propagateNan: true }),
  {
    name: "clamp",
    grad: (tl, x, low, high, g) => [
      tl.where(x >= low && x <= high, g, 0),
      tl.where(low < high && x < low, g, 0),
      tl.where(x > high || high < low, g, 0),
    ],
  },
);
const clampLow = pointwiseKernel((tl, x, low) => tl.maximum(x, low, { propagateNan: true }), {
  name: "clamp_min",
  grad: (tl, x, low, g) => [tl.where(x >= low, g, 0), tl.where(x < low, g, 0)],
});
const clampHigh = pointwiseKernel((tl, x, high) => tl.minimum(x, high, { propagateNan: true }), {
  name: "clamp_max",
  grad: (tl, x, high, g) => [tl.where(x <= high, g, 0), tl.where(x > high, g, 0)],
});

function clampFor([, low, high]: readonly Argument[]): Choice {
  if (low === null && high === null) throw new RangeError("clamp needs min, max or both");
  if (high === null) return { fn: clampLow, order: [0, 1] };
  return low === null ? { fn: clampHigh, order: [0, 2] } : { fn: clampBoth, order: [0, 1, 2] };
}

type Bound = Operand | null;
/** At least `min` and at most `max`, each a number or a tensor, either may be null. NaN stays NaN. */
export const clamp: Operator<
  (self: Tensor, min?: Bound, max?: Bound, options?: { min?: Bound; max?: Bound }) => Tensor
> = elementwise({
  schema: "clamp.Tensor(Tensor self, Tensor? min=None, Tensor? max=None) -> Tensor",
  fn: clampFor,
  opinfo: ["clamp"],
  inPlace: true,
});
/** At least `min`. NaN stays NaN. */
export const clampMin: Operator<(self: Tensor, min: Operand) => Tensor> = elementwise({
  schema: "clamp_min.Tensor(Tensor self, Tensor min) -> Tensor",
  fn: clampLow,
  opinfo: ["clamp_min"],
  inPlace: true,
});
/** At most `max`. NaN stays NaN. */
export const clampMax: Operator<(self: Tensor, max: Operand) => Tensor> = elementwise({
  schema: "clamp_max.Tensor(Tensor self, Tensor max) -> Tensor",
  fn: clampHigh,
  opinfo: ["clamp_max"],
  inPlace: true,
});

/** `value` (a number or a 0-dim tensor) where the mask is true, else `self`, whose dtype stays. */
export const maskedFill: Operator<(self: Tensor, mask: Tensor, value: Operand) => Tensor> = elementwise({
  schema: "masked_fill.Tensor(Tensor self, Tensor mask, Tensor value) -> Tensor",
  fn: pointwiseKernel((tl, x, mask, value) => tl.where(mask !== 0, tl.cast(value, tl.dtypeOf(x)), x), {
    name: "masked_fill",
    over: [0],
  }),
  check: ([self, mask, value]) => {
    if (dtypeOf(mask) !== "bool")
      throw new TypeError(`maskedFill: the mask must be bool, not ${dtypeOf(mask) ?? typeof mask}`);
    if (typeof value !== "object" || value === null) return;
    if (value.shape.length > 0)
      throw new RangeError(
        `maskedFill: the value is a number or a 0-dim tensor, not of shape [${value.shape}]`,
      );
    const to = dtypeOf(self);
    if (to !== undefined && !canCast(value.dtype, to))
      throw new TypeError(`maskedFill: a value of ${value.dtype} cannot be written into a tensor of ${to}`);
  },
  opinfo: ["masked_fill"],
  inPlace: true,
});

// --- Products ---

type Scaled = Operator<
  (self: Tensor, tensor1: Tensor, tensor2: Tensor, options?: { value?: Scalar }) => Tensor
>;
const threeTensors = { over: [0, 1, 2] } as const;

/** self + value * tensor1 * tensor2. */
export const addcmul: Scaled = elementwise({
  schema: "addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
  fn: (() => {
    const fn = pointwiseKernel((_tl, x, a, b, value) => x + value * a * b, {
      name: "addcmul",
      ...threeTensors,
    });
    return (): Choice => ({ fn, order: [0, 1, 2, 3] });
  })(),
  opinfo: ["addcmul"],
  inPlace: true,
});
/** self + value * tensor1 / tensor2, for floats. */
export const addcdiv: Scaled = elementwise({
  schema: "addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
  fn: (() => {
    const fn = pointwiseKernel((_tl, x, a, b, value) => x + value * (a / b), {
      name: "addcdiv",
      ...threeTensors,
    });
    return (): Choice => ({ fn, order: [0, 1, 2, 3] });
  })(),
  check: (args) => {
    if (!args.slice(0, 3).some((x) => isFloatDType(dtypeOf(x) ?? "i64")))
      throw new TypeError("addcdiv does not divide integers: use div with a rounding mode, or floats");
  },
  opinfo: ["addcdiv"],
  inPlace: true,
});

const interpolate = pointwiseKernel(
  // Exact at both ends.
  (tl, x, end, weight) =>
    tl.where(tl.abs(weight) < 0.5, x + weight * (end - x), end - (end - x) * (1 - weight)),
  {
    name: "lerp",
    over: [0, 1],
    grad: (_tl, x, end, weight, g) => [g * (1 - weight), g * weight, g * (end - x)],
  },
);
/** self + weight * (end - self). The weight is a number or a tensor. */
export const lerp: Operator<(self: Tensor, end: Tensor, weight: Operand) => Tensor> = elementwise({
  schema: "lerp.Tensor(Tensor self, Tensor end, Tensor weight) -> Tensor",
  fn: interpolate,
  check: ([self, end, weight]) => {
    const [a, b, c] = [dtypeOf(self), dtypeOf(end), dtypeOf(weight)];
    if (a !== b || (c !== undefined && c !== a))
      throw new TypeError(`lerp needs one dtype, not ${[a, b, c].filter(Boolean).join(", ")}`);
  },
  opinfo: ["lerp"],
  inPlace: true,
});

// --- NaN ---

const replaceNan = pointwiseKernel(
  (tl, x, nan, high, low) => {
    if (tl.dtypeOf(x) !== tl.f32 && tl.dtypeOf(x) !== tl.f64) return x;
    return tl.where(tl.isnan(x), nan, tl.where(x === Infinity, high, tl.where(x === -Infinity, low, x)));
  },
  {
    name: "nan_to_num",
    over: [0],
    grad: (tl, x, _nan, _high, _low, g) => [tl.where(tl.abs(x) < Infinity, g, 0), 0, 0, 0],
  },
);
const LARGEST: Readonly<Record<string, number>> = {
  f16: 65504,
  bf16: 3.3895313892515355e38,
  f32: 3.4028234663852886e38,
  f64: Number.MAX_VALUE,
};

/**
 * Replaces NaN by `nan` (default 0), infinity by `posinf` and minus infinity by `neginf` (default: the dtype's
 * largest and lowest numbers).
 */
export const nanToNum: Operator<
  (self: Tensor, nan?: number | null, posinf?: number | null, neginf?: number | null) => Tensor
> = elementwise({
  schema: "nan_to_num(Tensor self, float? nan=None, float? posinf=None, float? neginf=None) -> Tensor",
  fn: (): Choice => ({ fn: replaceNan, order: [0, 1, 2, 3] }),
  // Integers have nothing to replace.
  defaults: (args) => {
    const dtype = dtypeOf(args[0])!;
    const largest = LARGEST[dtype] ?? 0;
    return [args[0]!, args[1] ?? 0, args[2] ?? largest, args[3] ?? -largest];
  },
  opinfo: ["nan_to_num"],
  inPlace: true,
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    clamp: Method<typeof clamp>;
    clampMin: Method<typeof clampMin>;
    clampMax: Method<typeof clampMax>;
    maskedFill: Method<typeof maskedFill>;
    addcmul: Method<typeof addcmul>;
    addcdiv: Method<typeof addcdiv>;
    lerp: Method<typeof lerp>;
    nanToNum: Method<typeof nanToNum>;
  }
}
