// f16 and bf16 in f32 registers: their bits, and rounding to them.

import type { DType } from "../../ir/index.js";
import { f16Bits } from "../../ir/rounding.js";
import { type Emitter, isReg } from "./emit.js";
import type { Operand } from "./form.js";

const word = new DataView(new ArrayBuffer(4));

export const isHalf = (d: DType): boolean => d === "f16" || d === "bf16";

/** The 16 bits of a half in an i32. The value is rounded if it is not yet a half. */
export function toHalfBits(e: Emitter, d: DType, x: Operand, lanes: number): Operand {
  if (!isReg(x)) {
    if (d === "f16") return f16Bits(Number(x));
    word.setFloat32(0, Number(x));
    return Number.isNaN(Number(x)) ? 0x7fc0 : word.getUint16(0);
  }
  const known = e.halfBits.get(x);
  if (known?.dtype === d) return known.bits;
  if (d === "f16") return e.op("f32ToF16", "i32", lanes, [x]);
  const bits = e.op("bitcast", "i32", lanes, [x]);
  const last = e.op("and", "i32", lanes, [e.op("shrU", "i32", lanes, [bits, 16]), 1]);
  const up = e.op("add", "i32", lanes, [e.op("add", "i32", lanes, [bits, 0x7fff]), last]);
  const nan = e.op("ne", "mask", lanes, [x, x]);
  const kept = e.op("select", "i32", lanes, [nan, e.op("or", "i32", lanes, [bits, 0x400000]), up]);
  return e.op("shrU", "i32", lanes, [kept, 16]);
}

/** The value of 16 bits. */
export function fromHalfBits(e: Emitter, d: DType, bits: Operand, lanes: number): Operand {
  const x =
    d === "f16"
      ? e.op("f16ToF32", "f32", lanes, [bits])
      : e.op("bitcast", "f32", lanes, [e.op("shl", "i32", lanes, [bits, 16])]);
  if (isReg(x)) e.halfBits.set(x, { dtype: d, bits });
  return x;
}

/** Rounds an f32 to the dtype; other dtypes pass. */
export function roundTo(e: Emitter, d: DType, x: Operand, lanes: number): Operand {
  if (!isHalf(d)) return x;
  if (isReg(x) && e.halfBits.get(x)?.dtype === d) return x;
  return fromHalfBits(e, d, toHalfBits(e, d, x, lanes), lanes);
}
