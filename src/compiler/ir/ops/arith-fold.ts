// The arithmetic of single elements: the exact meaning of the ops in `arith.ts`, used to fold constants and
// by evaluators. Arguments are values of the dtype (i64, u64: bigint); so are the results.

import { DTYPES, type DType, is64, isFloat, isInt } from "../dtype.js";
import type { ConstValue } from "../ir.js";
import { roundTo } from "../rounding.js";
import type { CmpPred } from "./arith.js";

export type BinaryOpcode =
  | "add" | "sub" | "mul" | "div" | "rem" | "min" | "max" | "and" | "or" | "xor" | "shl" | "shr" | "ushr" | "mulhi"; // biome-ignore format: one line reads better
export type UnaryOpcode = "neg" | "not" | "abs";

/** An integer (or float) brought into `dtype`. */
export const wrap = roundTo;

/** Rounds the result of arithmetic of the narrow floats, which is done in f32. */
const rounded = (dtype: DType, x: number): number =>
  dtype === "f64" ? x : dtype === "f32" ? Math.fround(x) : (roundTo(dtype, Math.fround(x)) as number);

/** `a opcode b`. `ignoreNaN` is for min and max. */
export function binary(
  opcode: BinaryOpcode,
  dtype: DType,
  a: ConstValue,
  b: ConstValue,
  ignoreNaN = false,
): ConstValue | undefined {
  if (opcode === "min" || opcode === "max") {
    // biome-ignore lint/suspicious/noSelfCompare: finds NaN
    if (a !== a || b !== b) return (a !== a) === ignoreNaN ? b : a;
    return (opcode === "min") === a < b ? a : b;
  }
  if (isFloat(dtype)) return floatBinary(opcode, dtype, a as number, b as number);
  if (opcode === "mulhi") return roundTo(dtype, (BigInt(a) * BigInt(b)) >> BigInt(DTYPES[dtype].bits));
  return is64(dtype)
    ? roundTo(dtype, bigBinary(opcode, dtype, a as bigint, b as bigint))
    : roundTo(dtype, intBinary(opcode, dtype, a as number, b as number));
}

function floatBinary(opcode: BinaryOpcode, dtype: DType, a: number, b: number): number | undefined {
  switch (opcode) {
    case "add":
      return rounded(dtype, a + b);
    case "sub":
      return rounded(dtype, a - b);
    case "mul":
      return rounded(dtype, a * b);
    case "div":
      return rounded(dtype, a / b);
    case "rem":
      return rounded(dtype, a % b);
    default:
      return undefined;
  }
}

function intBinary(opcode: BinaryOpcode, dtype: DType, a: number, b: number): number {
  const { bits } = DTYPES[dtype];
  const count = b & (bits - 1);
  switch (opcode) {
    case "add":
      return a + b;
    case "sub":
      return a - b;
    case "mul":
      return Math.imul(a, b);
    case "div":
      return b === 0 ? 0 : Math.trunc(a / b);
    case "rem":
      return b === 0 ? 0 : a % b;
    case "and":
      return a & b;
    case "or":
      return a | b;
    case "xor":
      return a ^ b;
    case "shl":
      return a << count;
    case "shr":
      // Values of narrow unsigned dtypes are never negative, so only u32 needs the logical shift.
      return dtype === "u32" ? a >>> count : a >> count;
    default:
      return (bits === 32 ? a >>> 0 : a & (2 ** bits - 1)) >>> count;
  }
}

function bigBinary(opcode: BinaryOpcode, dtype: DType, a: bigint, b: bigint): bigint {
  const count = BigInt.asUintN(6, b);
  switch (opcode) {
    case "add":
      return a + b;
    case "sub":
      return a - b;
    case "mul":
      return a * b;
    case "div":
      return b === 0n ? 0n : a / b;
    case "rem":
      return b === 0n ? 0n : a % b;
    case "and":
      return a & b;
    case "or":
      return a | b;
    case "xor":
      return a ^ b;
    case "shl":
      return a << count;
    case "shr":
      return roundTo(dtype, a >> count) as bigint;
    default:
      return BigInt.asUintN(64, a) >> count;
  }
}

export function unary(opcode: UnaryOpcode, dtype: DType, a: ConstValue): ConstValue {
  if (opcode === "not") return dtype === "bool" ? 1 - (a as number) : roundTo(dtype, ~(a as number));
  if (isFloat(dtype)) return opcode === "neg" ? -(a as number) : Math.abs(a as number);
  return roundTo(dtype, opcode === "neg" || a < 0 ? -a : a);
}

/** `a * b + c`: rounded twice for f64, once (but for rare double rounding) for the narrower floats. */
export const fma = (dtype: DType, a: number, b: number, c: number): number => rounded(dtype, a * b + c);

/** 1 or 0. */
export function compare(pred: CmpPred, a: ConstValue, b: ConstValue): number {
  switch (pred) {
    case "eq":
      return a === b ? 1 : 0;
    case "ne":
      return a !== b ? 1 : 0;
    case "lt":
      return a < b ? 1 : 0;
    case "le":
      return a <= b ? 1 : 0;
    case "gt":
      return a > b ? 1 : 0;
    default:
      return a >= b ? 1 : 0;
  }
}

export function cast(from: DType, to: DType, a: ConstValue): ConstValue {
  if (isFloat(from) && isInt(to)) return floatToInt(to, a as number);
  if (isFloat(to) && isInt(from)) return intToFloat(to, a);
  // Doubles reach narrow floats through f32, as in PyTorch.
  return isFloat(to) ? rounded(to, a as number) : roundTo(to, a);
}

function floatToInt(to: DType, x: number): ConstValue {
  if (Number.isNaN(x)) return roundTo(to, 0);
  if (is64(to)) {
    const [low, high] = to === "i64" ? [-(2n ** 63n), 2n ** 63n - 1n] : [0n, 2n ** 64n - 1n];
    if (x >= Number(high)) return high;
    return x <= Number(low) ? low : BigInt(Math.trunc(x));
  }
  const [low, high] = to === "u32" ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1];
  return roundTo(to, Math.min(Math.max(Math.trunc(x), low), high));
}

function intToFloat(to: DType, a: ConstValue): number {
  if (to === "f64") return Number(a);
  if (typeof a === "bigint") {
    // More than 53 bits would round twice: keep 50 bits and a sticky one, which f32 cannot tell apart.
    const abs = a < 0n ? -a : a;
    const shift = BigInt(Math.max(0, abs.toString(2).length - 50));
    const kept = abs >> shift;
    const sticky = kept << shift === abs ? kept : kept | 1n;
    const x = Number(sticky) * 2 ** Number(shift);
    return rounded(to, a < 0n ? -x : x);
  }
  return rounded(to, a);
}

/** Mantissa bits, the leading one included. */
const PRECISION: Partial<Record<DType, number>> = {
  f8e4m3: 4,
  f8e5m2: 3,
  f16: 11,
  bf16: 8,
  f32: 24,
  f64: 53,
};

/** Every value of `from` is a value of `to`. */
export function isLossless(from: DType, to: DType): boolean {
  if (from === to || from === "bool") return true;
  const [a, b] = [DTYPES[from], DTYPES[to]];
  if (b.kind === "bool" || a.kind === "float")
    return a.kind === "float" && b.kind === "float" && a.bits < b.bits;
  if (b.kind === "float") return a.bits - (a.kind === "int" ? 1 : 0) <= PRECISION[to]!;
  return b.bits > a.bits && (a.kind === "uint" || b.kind === "int");
}
