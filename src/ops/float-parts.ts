// The parts of numbers, element by element: sign bits, mantissas and exponents, neighbours, what is near to what; and for
// integers their divisors. The semantics are those of torch.* of the same name.

import { isFloatDType, type Method, operator, type Operator, type Tensor } from "../tensor/index.js";
import { type Binary, binary } from "./binary.js";
import { clone } from "./cast.js";
import { type Argument, dtypeOf, elementwise } from "./pointwise/elementwise.js";
import { pointwise, pointwiseKernel } from "./pointwise.js";
import { all } from "./reduce.js";
import { type Unary, unary } from "./unary.js";

/** Whether the sign bit is set, of floats also of -0 and NaN: bool. */
export const signbit = unary(
  "signbit",
  (tl, x) => (tl.dtypeOf(x) === tl.f32 || tl.dtypeOf(x) === tl.f64 ? tl.signbit(x) : x < 0),
  { promote: "bool", inPlace: false },
);
/** Where x is plus infinity: bool. */
export const isposinf = unary(
  "isposinf",
  (tl, x) => (tl.dtypeOf(x) === tl.f32 || tl.dtypeOf(x) === tl.f64 ? x === Infinity : false),
  { promote: "bool", inPlace: false },
);
/** Where x is minus infinity: bool. */
export const isneginf = unary(
  "isneginf",
  (tl, x) => (tl.dtypeOf(x) === tl.f32 || tl.dtypeOf(x) === tl.f64 ? x === -Infinity : false),
  { promote: "bool", inPlace: false },
);
/** Where x has no imaginary part: everywhere. */
export const isreal = unary("isreal", (_tl, _x) => true, { promote: "bool", inPlace: false });
/** x without its integer part. Floats. */
export const frac = unary("frac", (tl, x) => x - tl.trunc(x));

/** self with the sign of other. Integers give f32. */
export const copysign: Binary = binary(
  "copysign.Tensor",
  (tl, x, y) => tl.where(tl.signbit(x) !== tl.signbit(y), -x, x),
  {
    promote: "intToFloat",
    grad: (tl, x, y, g) => [tl.where(x === 0, 0, tl.where(tl.signbit(x) !== tl.signbit(y), -g, g)), 0 * g],
  },
);
/** self times 2 to the power of other. Integers give f32. */
export const ldexp: Binary = binary("ldexp.Tensor", (tl, x, y) => x * tl.exp2(y), { promote: "intToFloat" });

/** 0 where self is negative, 1 where it is positive, `values` where it is 0. */
export const heaviside: Binary = binary(
  "heaviside",
  (tl, x, values) => tl.where(x === 0, values, tl.cast(x > 0, tl.dtypeOf(values))),
  {
    check: ([x, values]) => {
      const [a, b] = [dtypeOf(x), dtypeOf(values)];
      if (a !== undefined && b !== undefined && a !== b)
        throw new TypeError(`heaviside needs one dtype, not ${a} and ${b}`);
    },
  },
);

const parts = pointwise(
  (tl, x) => {
    const wide = tl.dtypeOf(x) === "f64";
    // Numbers below the normal ones are scaled up first.
    const tiny = tl.abs(x) < (wide ? 2.2250738585072014e-308 : 1.1754943508222875e-38);
    const v = tl.where(tiny, x * (wide ? 18014398509481984 : 16777216), x);
    const bits = wide ? tl.bitcast(v, tl.i64) : tl.bitcast(v, tl.i32);
    const field = wide ? tl.cast((bits >> 52) & 2047, tl.i32) : (bits >> 23) & 255;
    const exponent = field - (wide ? 1022 : 126) - tl.where(tiny, wide ? 54 : 24, 0);
    const mantissa = wide
      ? tl.bitcast((bits & ~(2047 << 52)) | (1022 << 52), tl.f64)
      : tl.bitcast((bits & ~(255 << 23)) | (126 << 23), tl.f32);
    const whole = x === 0 || tl.isnan(x) || tl.abs(x) === Infinity;
    return [tl.where(whole, x, mantissa), tl.where(whole, 0, exponent)];
  },
  {
    name: "frexp",
    outputs: ["promoted", "i32"],
    grad: (tl, x, g, _exponent) => {
      // 2^-exponent is the mantissa over the number.
      const a = tl.abs(x);
      const power = tl.floor(tl.log2(a));
      const guess = tl.exp2(-1 - power);
      const m = a * guess;
      const scale = tl.where(m >= 1, guess * 0.5, tl.where(m < 0.5, guess * 2, guess));
      return tl.where(x === 0, g, g * scale);
    },
  },
);
/**
 * Mantissa (of a magnitude of 1/2 or more and below 1) and exponent (i32) of floats: `x = mantissa * 2^exponent`.
 * PyTorch: `torch.frexp`.
 */
export const frexp: Operator<(self: Tensor) => [Tensor, Tensor]> = operator({
  schema: "frexp.Tensor(Tensor self) -> (Tensor mantissa, Tensor exponent)",
  run: (self: Tensor) => {
    if (!isFloatDType(self.dtype)) throw new TypeError(`frexp: needs floats, not ${self.dtype}`);
    return [...parts(self)];
  },
  derivative: "composite",
  opinfo: ["frexp"],
  stage: "stable",
  summary: "Mantissa and exponent",
});

const nextWide = pointwiseKernel(
  (tl, x, y) => {
    const wide = tl.dtypeOf(x) === "f64";
    const bits = wide ? tl.bitcast(x, tl.i64) : tl.bitcast(x, tl.i32);
    // Away from 0 is one bit pattern up, whatever the sign.
    const away = x > 0 === y > x;
    const next = tl.where(away, bits + 1, bits - 1);
    const least = wide ? tl.bitcast(0 * bits + 1, tl.f64) : tl.bitcast(0 * bits + 1, tl.f32);
    const moved = wide ? tl.bitcast(next, tl.f64) : tl.bitcast(next, tl.f32);
    const first = tl.where(y > 0, least, -least);
    return tl.where(tl.isnan(x) || tl.isnan(y), x + y, tl.where(x === y, y, tl.where(x === 0, first, moved)));
  },
  { name: "nextafter" },
);
/** A bf16 is the upper half of an f32. */
const nextBf16 = pointwiseKernel(
  (tl, x, y) => {
    const bits = tl.bitcast(x, tl.i32);
    const next = tl.bitcast(tl.where(x > 0 === y > x, bits + 65536, bits - 65536), tl.f32);
    const least = tl.bitcast(0 * bits + 65536, tl.f32);
    const moved = tl.where(x === 0, tl.where(y > 0, least, -least), next);
    return tl.where(tl.isnan(x) || tl.isnan(y), x + y, tl.where(x === y, y, moved));
  },
  { name: "nextafter_bf16" },
);
/** In f32: f16 has 10 bits behind its first, and exponents down to -14. */
const nextF16 = pointwiseKernel(
  (tl, x, y) => {
    const a = tl.abs(x);
    const power = tl.maximum(tl.bitcast(tl.bitcast(a, tl.i32) & 0x7f800000, tl.f32), 0.00006103515625);
    const step = power / 1024;
    const inward = tl.where(a === power && power > 0.00006103515625, step * 0.5, step);
    const next = tl.where(x > 0 === y > x, a + step, a - inward);
    const moved = tl.where(x === 0, tl.where(y > 0, step, -step), tl.where(x < 0, -next, next));
    return tl.where(tl.isnan(x) || tl.isnan(y), x + y, tl.where(x === y, y, moved));
  },
  { name: "nextafter_f16" },
);
/** The next number of the dtype after self towards other. Floats. PyTorch: `torch.nextafter`. */
export const nextafter: Binary = elementwise({
  schema: "nextafter(Tensor self, Tensor other) -> Tensor",
  fn: ([x, y]) => {
    const dtype = dtypeOf(x) ?? dtypeOf(y);
    return { fn: dtype === "bf16" ? nextBf16 : dtype === "f16" ? nextF16 : nextWide, order: [0, 1] };
  },
  derivative: {
    backward: () => {
      throw new Error("nextafter has no derivative, as in PyTorch");
    },
  },
  opinfo: ["nextafter"],
});

// --- Nearness ---

const near = pointwiseKernel(
  (tl, x, y, rtol, atol, nan) => {
    const float = tl.dtypeOf(x) === tl.f32 || tl.dtypeOf(x) === tl.f64;
    if (!float) {
      const a = tl.cast(x, tl.f64);
      const b = tl.cast(y, tl.f64);
      return x === y || tl.abs(a - b) <= tl.cast(atol, tl.f64) + tl.cast(rtol, tl.f64) * tl.abs(b);
    }
    const apart = tl.abs(x - y);
    const close =
      apart < Infinity && apart <= tl.cast(atol, tl.dtypeOf(x)) + tl.cast(rtol, tl.dtypeOf(x)) * tl.abs(y);
    return x === y || close || (nan > 0 && tl.isnan(x) && tl.isnan(y));
  },
  { name: "isclose", promote: "none", outputs: ["bool"] },
);
interface Tolerances {
  readonly rtol?: number;
  readonly atol?: number;
  readonly equalNan?: boolean;
}
/** Where `|self - other| <= atol + rtol * |other|`, or both are equal: bool. PyTorch: `torch.isclose`. */
export const isclose: Operator<(self: Tensor, other: Tensor, options?: Tolerances) => Tensor> = operator({
  schema:
    "isclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False) -> Tensor",
  run: (self: Tensor, other: Tensor, rtol: number, atol: number, nan: boolean) => {
    if (self.dtype !== other.dtype)
      throw new TypeError(`isclose: ${self.dtype} and ${other.dtype} are not one dtype`);
    if (!(rtol >= 0 && atol >= 0))
      throw new RangeError(`isclose: rtol ${rtol} and atol ${atol} must be 0 or more`);
    return near.kernel.run1([self, other, rtol, atol, nan ? 1 : 0]);
  },
  derivative: "none",
  opinfo: ["isclose"],
  stage: "stable",
  summary: "Whether elements are near to one another",
});
/** Whether {@link isclose} holds for all elements. PyTorch: `torch.allclose`. */
export const allclose: Operator<(self: Tensor, other: Tensor, options?: Tolerances) => Promise<boolean>> =
  operator({
    schema:
      "allclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False) -> bool",
    run: async (self: Tensor, other: Tensor, rtol: number, atol: number, equalNan: boolean) =>
      Boolean(await all(isclose(self, other, { rtol, atol, equalNan })).item()),
    derivative: "none",
    opinfo: ["allclose"],
    stage: "stable",
    summary: "Whether all elements are near to one another",
  });
const same = pointwiseKernel((_tl, x, y) => x === y, { name: "same", outputs: ["bool"] });
/** Whether two tensors have one shape and the same elements. PyTorch: `torch.equal`. */
export const equal: Operator<(self: Tensor, other: Tensor) => Promise<boolean>> = operator({
  schema: "equal(Tensor self, Tensor other) -> bool",
  run: async (self: Tensor, other: Tensor) => {
    if (self.ndim !== other.ndim || self.shape.some((n, d) => n !== other.shape[d])) return false;
    return self.numel === 0 || Boolean(await all(same.kernel.run1([self, other])).item());
  },
  derivative: "none",
  opinfo: ["equal"],
  stage: "stable",
  summary: "Whether shapes and all elements are equal",
});

// --- Divisors ---

const integers =
  (name: string) =>
  (args: readonly Argument[]): void => {
    for (const x of args)
      if (isFloatDType(dtypeOf(x) ?? "i64") || dtypeOf(x) === "bool")
        throw new TypeError(`${name}: needs integers, not ${String(dtypeOf(x))}`);
  };
/** The greatest common divisor of integers; 0 of two zeros. */
export const gcd: Binary = binary(
  "gcd",
  (tl, x, y) => {
    let a = tl.dtypeOf(x) === tl.u8 ? x : tl.abs(x);
    let b = tl.dtypeOf(x) === tl.u8 ? y : tl.abs(y);
    // Fibonacci's numbers take longest: 1.44 turns for each bit.
    const turns = tl.bitsOf(tl.dtypeOf(x)) === 64 ? 92 : tl.bitsOf(tl.dtypeOf(x)) === 32 ? 46 : 24;
    for (const _ of tl.range(0, turns)) {
      const rest = tl.where(b === 0, 0, a % tl.where(b === 0, 1, b));
      a = tl.where(b === 0, a, b);
      b = rest;
    }
    return a;
  },
  { check: integers("gcd") },
);
/** The least common multiple of integers; 0 if either is 0. */
export const lcm: Binary = binary(
  "lcm",
  (tl, x, y) => {
    let a = tl.dtypeOf(x) === tl.u8 ? x : tl.abs(x);
    let b = tl.dtypeOf(x) === tl.u8 ? y : tl.abs(y);
    const turns = tl.bitsOf(tl.dtypeOf(x)) === 64 ? 92 : tl.bitsOf(tl.dtypeOf(x)) === 32 ? 46 : 24;
    for (const _ of tl.range(0, turns)) {
      const rest = tl.where(b === 0, 0, a % tl.where(b === 0, 1, b));
      a = tl.where(b === 0, a, b);
      b = rest;
    }
    const product = tl.floorDiv(x, tl.where(a === 0, 1, a)) * y;
    return tl.dtypeOf(x) === tl.u8 ? product : tl.abs(product);
  },
  { check: integers("lcm") },
);

// --- Real tensors as complex ones ---

for (const op of ["conj", "resolve_conj", "resolve_neg", "real"])
  operator({
    schema: `${op}(Tensor(a) self) -> Tensor(a)`,
    run: (self: Tensor) => self,
    derivative: { backward: (_ctx, grad) => [grad!] },
    opinfo: [op],
    stage: "stable",
    summary: "The tensor itself, since it is real",
  });
operator({
  schema: "conj_physical(Tensor self) -> Tensor",
  run: (self: Tensor) => clone(self),
  derivative: "composite",
  opinfo: ["conj_physical"],
  stage: "stable",
  summary: "A copy, since the tensor is real",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    signbit: Method<Unary>;
    isposinf: Method<Unary>;
    isneginf: Method<Unary>;
    isreal: Method<Unary>;
    frac: Method<Unary>;
    copysign: Method<Binary>;
    ldexp: Method<Binary>;
    heaviside: Method<Binary>;
    frexp: Method<typeof frexp>;
    nextafter: Method<Binary>;
    isclose: Method<typeof isclose>;
    allclose: Method<typeof allclose>;
    equal: Method<typeof equal>;
    gcd: Method<Binary>;
    lcm: Method<Binary>;
  }
}
