// What printed kernels call where JavaScript has no operator for it: conversions, rounding, reading bits anew.

import { f16Bits, f16FromBits } from "vexil/compiler";
import type { Views } from "./memory.js";

/** A kernel's arguments in ABI order: memory, or a scalar. */
export type Arguments = (Views | number | bigint)[];

/** A loaded kernel: runs all programs of a grid. `starts[i]` is the element where buffer `i` begins. */
export type Program = (
  args: Arguments,
  starts: readonly number[],
  frame: Views,
  gridX: number,
  gridY: number,
  gridZ: number,
) => void;

/** One word of 64 bits, read as any kind. */
const word = new ArrayBuffer(8);
const i32 = new Int32Array(word);
const f32 = new Float32Array(word);
const i64 = new BigInt64Array(word);
const f64 = new Float64Array(word);

/** Float to integer saturates and NaN becomes 0, as the language says. */
function toI64(x: number, low: bigint, high: bigint): bigint {
  if (Number.isNaN(x)) return 0n;
  if (x <= Number(low)) return BigInt.asIntN(64, low);
  return BigInt.asIntN(64, x >= Number(high) ? high : BigInt(Math.trunc(x)));
}

/** To f32 with one rounding: the bits below what an f64 holds are kept as one sticky bit. */
function i64ToF32(x: bigint): number {
  if (x > -(2n ** 53n) && x < 2n ** 53n) return Math.fround(Number(x));
  return Math.fround(Number((x >> 16n) | (x & 0xffffn ? 1n : 0n)) * 65536);
}

/** To the nearest whole number, ties to even; keeps the sign of zero. */
function nearest(x: number): number {
  if (!(Math.abs(x) < 2 ** 52)) return x;
  return x < 0 || Object.is(x, -0) ? -(-x + 2 ** 52 - 2 ** 52) : x + 2 ** 52 - 2 ** 52;
}

export const support = {
  nearest,
  i64ToF32,
  f64ToI64: (x: number): bigint => toI64(x, -(2n ** 63n), 2n ** 63n - 1n),
  f64ToU64: (x: number): bigint => toI64(x, 0n, 2n ** 64n - 1n),
  f16ToF32: (x: number): number => f16FromBits(x & 0xffff),
  f32ToF16: f16Bits,
  i32ToF32Bits(x: number): number {
    i32[0] = x;
    return f32[0]!;
  },
  f32ToI32Bits(x: number): number {
    f32[0] = x;
    return i32[0]!;
  },
  i64ToF64Bits(x: bigint): number {
    i64[0] = x;
    return f64[0]!;
  },
  f64ToI64Bits(x: number): bigint {
    f64[0] = x;
    return i64[0]!;
  },
};
