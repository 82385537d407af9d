// Floats of 8 and 16 bits in f32 registers: their bits, and rounding to them.
// f8 takes integer operations that every printer has; f16 has operations of its own, which hardware may know.

import { DTYPES, type DType, isF8, isNarrowFloat } from "../../ir/index.js";
import { toBits } from "../../ir/rounding.js";
import { type Emitter, isReg } from "./emit.js";
import type { Operand, RegOp } from "./form.js";

/** The bits of a narrow float in an i32. The value is rounded if it is not yet one. */
export function toNarrowBits(e: Emitter, d: DType, x: Operand, lanes: number): Operand {
  if (!isReg(x)) return Number(toBits(d, Math.fround(Number(x))));
  const known = e.narrowBits.get(x);
  if (known?.dtype === d) return known.bits;
  if (d === "f16") return e.op("f32ToF16", "i32", lanes, [x]);
  return isF8(d) ? toF8Bits(e, d, x, lanes) : toBf16Bits(e, x, lanes);
}

function toBf16Bits(e: Emitter, x: Operand, lanes: number): Operand {
  const bits = e.op("bitcast", "i32", lanes, [x]);
  const last = e.op("and", "i32", lanes, [e.op("shrU", "i32", lanes, [bits, 16]), 1]);
  const up = e.op("add", "i32", lanes, [e.op("add", "i32", lanes, [bits, 0x7fff]), last]);
  const nan = e.op("ne", "mask", lanes, [x, x]);
  const kept = e.op("select", "i32", lanes, [nan, e.op("or", "i32", lanes, [bits, 0x400000]), up]);
  return e.op("shrU", "i32", lanes, [kept, 16]);
}

/** What tells the floats of 8 bits apart. */
const F8 = {
  /** 448 is 0x7e; what rounds above it, infinity too, becomes the only NaN. */
  f8e4m3: { mantissa: 3, bias: 7, over: 0x7f },
  f8e5m2: { mantissa: 2, bias: 15, over: 0x7c },
} as const;

/** To nearest, ties to even; too large values become NaN (e4m3) or infinity (e5m2). */
function toF8Bits(e: Emitter, d: DType, x: Operand, lanes: number): Operand {
  const { mantissa, bias, over } = F8[d as keyof typeof F8];
  const int = (op: RegOp, ...args: Operand[]): Operand => e.op(op, "i32", lanes, args);
  const bits = int("bitcast", x);
  const magnitude = int("and", bits, 0x7fffffff);
  // Adds just under half a unit, and one more if the kept part is odd; then the exponent is rebiased.
  const cut = 23 - mantissa;
  const odd = int("and", int("shrU", magnitude, cut), 1);
  const rounded = int("shrU", int("add", int("add", magnitude, 2 ** (cut - 1) - 1), odd), cut);
  const normal = int("sub", rounded, (127 - bias) << mantissa);
  // Adding a power of two whose last mantissa bit is a step of the subnormals lets the float unit round to such steps.
  const magic = 2 ** (23 - mantissa + 1 - bias);
  const sum = e.op("add", "f32", lanes, [e.op("bitcast", "f32", lanes, [magnitude]), magic]);
  const small = int("sub", int("bitcast", sum), ((127 + Math.log2(magic)) << 23) | 0);
  const least = e.op("ltS", "mask", lanes, [magnitude, ((127 - bias + 1) << 23) | 0]);
  let value = int("minS", int("select", least, small, normal), over);
  if (d === "f8e5m2") value = int("select", e.op("ne", "mask", lanes, [x, x]), 0x7f, value);
  return int("or", value, int("and", int("shrU", bits, 24), 0x80));
}

/** The value of a narrow float's bits. */
export function fromNarrowBits(e: Emitter, d: DType, bits: Operand, lanes: number): Operand {
  const x = isF8(d)
    ? fromF8Bits(e, d, bits, lanes)
    : d === "f16"
      ? e.op("f16ToF32", "f32", lanes, [bits])
      : e.op("bitcast", "f32", lanes, [e.op("shl", "i32", lanes, [bits, 16])]);
  if (isReg(x)) e.narrowBits.set(x, { dtype: d, bits });
  return x;
}

/** By way of f16: e5m2 is its upper half; e4m3 has its bits one place lower and an exponent that is 8 larger. */
function fromF8Bits(e: Emitter, d: DType, bits: Operand, lanes: number): Operand {
  const int = (op: RegOp, ...args: Operand[]): Operand => e.op(op, "i32", lanes, args);
  if (d === "f8e5m2") return e.op("f16ToF32", "f32", lanes, [int("shl", bits, 8)]);
  const magnitude = int("and", bits, 0x7f);
  const half = int("or", int("shl", magnitude, 7), int("shl", int("and", bits, 0x80), 8));
  const value = e.op("mul", "f32", lanes, [e.op("f16ToF32", "f32", lanes, [half]), 256]);
  const nan = e.op("eq", "mask", lanes, [magnitude, 0x7f]);
  return e.op("select", "f32", lanes, [nan, Number.NaN, value]);
}

/** Rounds an f32 to the dtype; other dtypes pass. */
export function roundTo(e: Emitter, d: DType, x: Operand, lanes: number): Operand {
  if (!isNarrowFloat(d)) return x;
  if (isReg(x) && e.narrowBits.get(x)?.dtype === d) return x;
  return fromNarrowBits(e, d, toNarrowBits(e, d, x, lanes), lanes);
}

/** The bits alone: an i32 whose other bits may be anything, cut to the width of the dtype. */
export const ownBits = (e: Emitter, d: DType, x: Operand, lanes: number): Operand =>
  e.op("and", "i32", lanes, [x, 2 ** DTYPES[d].bits - 1]);
