// What each dtype can hold: rounding of numbers to it, wrapping of integers, and the bits of f16, bf16 and
// the two floats of 8 bits.
// Scalars only; whole arrays are converted in `tensor/` and by the chips.

import { DTYPES, type DType } from "./dtype.js";
import type { ConstValue } from "./ir.js";

const f64 = new Float64Array(1);
const f64Words = new Uint32Array(f64.buffer);
const f32 = new Float32Array(1);
const f32Word = new Uint32Array(f32.buffer);
/** The word of a double that holds sign and exponent. */
const HIGH = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0;

/** To the nearest integer, ties to even (JavaScript's `Math.round` takes ties up). Keeps the sign of zero. */
export function roundHalfEven(x: number): number {
  if (!(Math.abs(x) < 4503599627370496)) return x;
  const r =
    x < 0 || Object.is(x, -0)
      ? -(-x + 4503599627370496 - 4503599627370496)
      : x + 4503599627370496 - 4503599627370496;
  return r;
}

/** Rounds a double once, ties to even, to a float with `bits` stored mantissa bits and exponents from `low` to `high`. */
function roundFloat(x: number, bits: number, low: number, high: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  f64[0] = x;
  const exponent = Math.max(((f64Words[HIGH]! >>> 20) & 0x7ff) - 1023, low);
  const quantum = 2 ** (exponent - bits);
  const r = roundHalfEven(x / quantum) * quantum;
  return Math.abs(r) >= 2 ** (high + 1) ? Math.sign(x) * Number.POSITIVE_INFINITY : r;
}

/** The nearest f16 (ties to even; from 65520 on: infinity). */
export const roundToF16 = (x: number): number => roundFloat(x, 10, -14, 15);
/** The nearest bf16 (ties to even). */
export const roundToBf16 = (x: number): number => roundFloat(x, 7, -126, 127);

/** The largest finite values of the floats of 8 bits. */
export const F8_MAX = { f8e4m3: 448, f8e5m2: 57344 } as const;

/** The nearest f8e4m3 (ties to even). Above 464, where 448 is no longer the nearest, and for infinity: NaN, as in PyTorch. */
export function roundToF8E4M3(x: number): number {
  const r = roundFloat(x, 3, -6, 8);
  return Math.abs(r) > F8_MAX.f8e4m3 ? Number.NaN : r;
}
/** The nearest f8e5m2 (ties to even; from 61440 on: infinity). */
export const roundToF8E5M2 = (x: number): number => roundFloat(x, 2, -14, 15);

/** The 8 bits of the f8e4m3 nearest to `x`. NaN becomes 0x7f. */
export function f8e4m3Bits(x: number): number {
  const r = roundToF8E4M3(x);
  if (Number.isNaN(r)) return 0x7f;
  const sign = r < 0 || Object.is(r, -0) ? 0x80 : 0;
  const a = Math.abs(r);
  if (a < 2 ** -6) return sign | (a * 2 ** 9);
  f64[0] = a;
  const e = ((f64Words[HIGH]! >>> 20) & 0x7ff) - 1023;
  return sign | ((e + 7) << 3) | (a * 2 ** (3 - e) - 8);
}

/** The value of an f8e4m3 from its 8 bits. */
export function f8e4m3FromBits(bits: number): number {
  const e = (bits >> 3) & 15;
  const m = bits & 7;
  const a = e === 15 && m === 7 ? Number.NaN : e === 0 ? m * 2 ** -9 : (8 + m) * 2 ** (e - 10);
  return bits & 0x80 ? -a : a;
}

/** The 8 bits of the f8e5m2 nearest to `x`. NaN becomes 0x7f. */
export const f8e5m2Bits = (x: number): number => (Number.isNaN(x) ? 0x7f : f16Bits(roundToF8E5M2(x)) >> 8);
/** The value of an f8e5m2 from its 8 bits. */
export const f8e5m2FromBits = (bits: number): number => f16FromBits((bits & 0xff) << 8);

type NarrowFloat = "f8e4m3" | "f8e5m2" | "f16" | "bf16";
/** The floats of 8 and 16 bits: to bits, from bits, and rounded. */
export const NARROW_FLOATS: Readonly<
  Record<
    NarrowFloat,
    {
      readonly bits: (x: number) => number;
      readonly value: (bits: number) => number;
      readonly round: (x: number) => number;
    }
  >
> = {
  f8e4m3: { bits: f8e4m3Bits, value: f8e4m3FromBits, round: roundToF8E4M3 },
  f8e5m2: { bits: f8e5m2Bits, value: f8e5m2FromBits, round: roundToF8E5M2 },
  f16: { bits: f16Bits, value: f16FromBits, round: roundToF16 },
  bf16: { bits: bf16Bits, value: bf16FromBits, round: roundToBf16 },
};

/** The 16 bits of the f16 nearest to `x`. NaN becomes the quiet NaN 0x7e00. */
export function f16Bits(x: number): number {
  if (Number.isNaN(x)) return 0x7e00;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const a = Math.abs(roundToF16(x));
  if (a === Number.POSITIVE_INFINITY) return sign | 0x7c00;
  if (a < 2 ** -14) return sign | (a * 2 ** 24);
  f64[0] = a;
  const e = ((f64Words[HIGH]! >>> 20) & 0x7ff) - 1023;
  return sign | ((e + 15) << 10) | (a * 2 ** (10 - e) - 1024);
}

/** The value of an f16 from its 16 bits. */
export function f16FromBits(bits: number): number {
  const e = (bits >> 10) & 31;
  const m = bits & 1023;
  const a =
    e === 31
      ? m
        ? Number.NaN
        : Number.POSITIVE_INFINITY
      : e === 0
        ? m * 2 ** -24
        : (1024 + m) * 2 ** (e - 25);
  return bits & 0x8000 ? -a : a;
}

/** The 16 bits of the bf16 nearest to `x`. NaN becomes the quiet NaN 0x7fc0. */
export function bf16Bits(x: number): number {
  if (Number.isNaN(x)) return 0x7fc0;
  f32[0] = roundToBf16(x);
  return f32Word[0]! >>> 16;
}

/** The value of a bf16 from its 16 bits. */
export function bf16FromBits(bits: number): number {
  f32Word[0] = (bits & 0xffff) << 16;
  return f32[0]!;
}

/**
 * The value of `dtype` that `x` becomes: floats round to nearest even, integers wrap at their width (a fraction
 * is truncated first), `bool` is 0 or 1. i64 and u64 are bigints, all others numbers.
 *
 * This is the rounding of one result. Arithmetic of the narrow floats is done in f32, so callers round to f32 first.
 *
 * @example roundTo("i8", 200) // -56
 */
export function roundTo(dtype: DType, x: ConstValue): ConstValue {
  switch (dtype) {
    case "f64":
      return Number(x);
    case "f32":
      return Math.fround(Number(x));
    case "f8e4m3":
    case "f8e5m2":
    case "f16":
    case "bf16":
      return NARROW_FLOATS[dtype].round(Number(x));
    case "bool":
      // biome-ignore lint/suspicious/noDoubleEquals: 0 and 0n are both false
      return x == 0 ? 0 : 1;
    case "i64":
      return BigInt.asIntN(64, toBigInt(x));
    case "u64":
      return BigInt.asUintN(64, toBigInt(x));
    case "i32":
      return (typeof x === "bigint" ? Number(BigInt.asIntN(32, x)) : wrap32(x)) | 0;
    case "u32":
      return (typeof x === "bigint" ? Number(BigInt.asIntN(32, x)) : wrap32(x)) >>> 0;
    default: {
      const v = (typeof x === "bigint" ? Number(BigInt.asIntN(32, x)) : wrap32(x)) | 0;
      const { bits, kind } = DTYPES[dtype];
      const shift = 32 - bits;
      return kind === "int" ? (v << shift) >> shift : ((v << shift) >>> shift) >>> 0;
    }
  }
}

const toBigInt = (x: ConstValue): bigint =>
  typeof x === "bigint" ? x : Number.isFinite(x) ? BigInt(Math.trunc(x)) : 0n;
// `| 0` wraps doubles of any size exactly: it takes the integer modulo 2^32.
const wrap32 = (x: number): number => x | 0;

/** The bits of a value of `dtype`, as an unsigned bigint. */
export function toBits(dtype: DType, x: ConstValue): bigint {
  switch (dtype) {
    case "f64": {
      f64[0] = Number(x);
      return (BigInt(f64Words[HIGH]!) << 32n) | BigInt(f64Words[1 - HIGH]!);
    }
    case "f32":
      f32[0] = Number(x);
      return BigInt(f32Word[0]!);
    case "f8e4m3":
    case "f8e5m2":
    case "f16":
    case "bf16":
      return BigInt(NARROW_FLOATS[dtype].bits(Number(x)));
    default:
      return BigInt.asUintN(DTYPES[dtype].bits, BigInt(x));
  }
}

/** The value of `dtype` with these bits (the upper ones are ignored). */
export function fromBits(dtype: DType, bits: bigint): ConstValue {
  switch (dtype) {
    case "f64":
      f64Words[HIGH] = Number(BigInt.asUintN(32, bits >> 32n));
      f64Words[1 - HIGH] = Number(BigInt.asUintN(32, bits));
      return f64[0]!;
    case "f32":
      f32Word[0] = Number(BigInt.asUintN(32, bits));
      return f32[0]!;
    case "f8e4m3":
    case "f8e5m2":
    case "f16":
    case "bf16":
      return NARROW_FLOATS[dtype].value(Number(BigInt.asUintN(DTYPES[dtype].bits, bits)));
    default:
      return roundTo(dtype, bits);
  }
}
