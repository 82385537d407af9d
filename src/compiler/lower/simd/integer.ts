// Integer operations that need several register operations: guarded division, upper halves, small widths.

import type { DType } from "../../ir/index.js";
import { type Emitter, isReg } from "./emit.js";
import type { Operand, RegKind, RegOp } from "./form.js";

/** Brings an i32 back into the range of a small dtype, as its dtype extends; wider dtypes pass. */
export function wrapSmall(e: Emitter, d: DType, x: Operand, lanes: number): Operand {
  const and = (mask: number): Operand => e.op("and", "i32", lanes, [x, mask]);
  const extend = (n: number): Operand => e.op("shrS", "i32", lanes, [e.op("shl", "i32", lanes, [x, n]), n]);
  switch (d) {
    case "i8":
      return extend(24);
    case "i16":
      return extend(16);
    case "u8":
      return and(0xff);
    case "u16":
      return and(0xffff);
    default:
      return x;
  }
}

/** `n` of a literal `2 ** n`, n from 1 on. */
function powerOf(b: number | bigint): number | undefined {
  const n = Math.log2(Number(b));
  return Number.isInteger(n) && n > 0 && n < 31 ? n : undefined;
}

/** A signed quotient by `2 ** n`, truncated: negative numbers are raised before they are shifted. Compilers of GPUs divide in many steps. */
function shiftedDown(e: Emitter, kind: RegKind, a: Operand, n: number, lanes: number): Operand {
  const by = (bits: number): Operand => (kind === "i64" ? BigInt(bits) : bits);
  const width = kind === "i64" ? 64 : 32;
  const sign = e.op("shrS", kind, lanes, [a, by(width - 1)]);
  const raise = e.op("shrU", kind, lanes, [sign, by(width - n)]);
  return e.op("shrS", kind, lanes, [e.op("add", kind, lanes, [a, raise]), by(n)]);
}

/** Truncating division; by zero 0, and the most negative number by -1 wraps. */
export function divide(
  e: Emitter,
  kind: RegKind,
  signed: boolean,
  a: Operand,
  b: Operand,
  lanes: number,
): Operand {
  const op: RegOp = signed ? "divS" : "divU";
  const [zero, one, minus] = kind === "i64" ? [0n, 1n, -1n] : [0, 1, -1];
  const is = (v: number | bigint): Operand => e.op("eq", "mask", lanes, [b, v]);
  const pick = (m: Operand, x: Operand, y: Operand): Operand => e.op("select", kind, lanes, [m, x, y]);
  if (!isReg(b)) {
    if (Number(b) === 0) return zero;
    if (signed && Number(b) === -1) return e.op("sub", kind, lanes, [zero, a]);
    if (Number(b) === 1) return a;
    if (!signed && Number(b) > 0 && Number.isInteger(Math.log2(Number(b)))) {
      const n = Math.log2(Number(b));
      return e.op("shrU", kind, lanes, [a, kind === "i64" ? BigInt(n) : n]);
    }
    const power = signed ? powerOf(b) : undefined;
    if (power !== undefined) return shiftedDown(e, kind, a, power, lanes);
    return e.op(op, kind, lanes, [a, b]);
  }
  const none = is(zero);
  if (!signed) return pick(none, zero, e.op(op, kind, lanes, [a, pick(none, one, b)]));
  const negates = is(minus);
  const safe = pick(e.op("or", "mask", lanes, [none, negates]), one, b);
  const q = e.op(op, kind, lanes, [a, safe]);
  return pick(none, zero, pick(negates, e.op("sub", kind, lanes, [zero, a]), q));
}

/** The remainder of {@link divide}; by zero and by -1 it is 0. */
export function remainder(
  e: Emitter,
  kind: RegKind,
  signed: boolean,
  a: Operand,
  b: Operand,
  lanes: number,
): Operand {
  const op: RegOp = signed ? "remS" : "remU";
  const [zero, one, minus] = kind === "i64" ? [0n, 1n, -1n] : [0, 1, -1];
  if (!isReg(b)) {
    if (Number(b) === 0 || Number(b) === 1 || (signed && Number(b) === -1)) return zero;
    if (!signed && Number(b) > 0 && Number.isInteger(Math.log2(Number(b))))
      return e.op("and", kind, lanes, [a, kind === "i64" ? BigInt(b) - 1n : Number(b) - 1]);
    const power = signed ? powerOf(b) : undefined;
    if (power !== undefined) {
      const whole = e.op("shl", kind, lanes, [shiftedDown(e, kind, a, power, lanes), kind === "i64" ? BigInt(power) : power]); // biome-ignore format: one line
      return e.op("sub", kind, lanes, [a, whole]);
    }
    return e.op(op, kind, lanes, [a, b]);
  }
  let unsafe = e.op("eq", "mask", lanes, [b, zero]);
  if (signed) unsafe = e.op("or", "mask", lanes, [unsafe, e.op("eq", "mask", lanes, [b, minus])]);
  return e.op(op, kind, lanes, [a, e.op("select", kind, lanes, [unsafe, one, b])]);
}

/** The upper half of the full product, from the four products of half-width parts. */
export function multiplyHigh(
  e: Emitter,
  kind: RegKind,
  signed: boolean,
  a: Operand,
  b: Operand,
  lanes: number,
): Operand {
  const wide = kind === "i64";
  const half = wide ? 32n : 16;
  const low = wide ? 0xffffffffn : 0xffff;
  const f = (op: RegOp, x: Operand, y: Operand): Operand => e.op(op, kind, lanes, [x, y]);
  const [al, ah] = [f("and", a, low), f("shrU", a, half)];
  const [bl, bh] = [f("and", b, low), f("shrU", b, half)];
  const across = f("mul", ah, bl);
  const middle = f(
    "add",
    f("add", f("shrU", f("mul", al, bl), half), f("and", across, low)),
    f("mul", al, bh),
  );
  const unsigned = f("add", f("add", f("mul", ah, bh), f("shrU", across, half)), f("shrU", middle, half));
  if (!signed) return unsigned;
  const top = wide ? 63n : 31;
  return f("sub", f("sub", unsigned, f("and", f("shrS", a, top), b)), f("and", f("shrS", b, top), a));
}
