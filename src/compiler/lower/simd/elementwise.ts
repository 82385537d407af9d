// Element-wise ops on registers: one call emits one IR op for one scalar or one vector of elements.
// Where the elements come from is none of its business.

import type { Attr, DType } from "../../ir/index.js";
import { DTYPES, isFloat, isNarrowFloat, isSigned } from "../../ir/index.js";
import { emitCast } from "./cast.js";
import { type Emitter, isReg } from "./emit.js";
import { floatRemainder } from "./fmod.js";
import type { Operand, RegKind, RegOp } from "./form.js";
import { fromNarrowBits, ownBits, roundTo, toNarrowBits } from "./narrow.js";
import { divide, multiplyHigh, remainder, wrapSmall } from "./integer.js";
import { regKind } from "./kinds.js";

export interface ElementOp {
  readonly opcode: string;
  readonly attrs: Readonly<Record<string, Attr>>;
  /** The dtype of the operands (of `select`: of its values). */
  readonly dtype: DType;
  /** The dtype of the result. */
  readonly to: DType;
}

const FLOAT: Record<string, RegOp> = {
  add: "add",
  sub: "sub",
  mul: "mul",
  div: "div",
  neg: "neg",
  abs: "abs",
  fma: "fma",
  sqrt: "sqrt",
  floor: "floor",
  ceil: "ceil",
  trunc: "trunc",
  round: "nearest",
};
const CMP_SWAP: Record<string, string> = { lt: "gt", le: "ge", gt: "lt", ge: "le", eq: "eq", ne: "ne" };

/** Emits one element-wise op. Arguments and result are scalars (`lanes` 1) or vectors; literals fit everywhere. */
export function elementwise(e: Emitter, o: ElementOp, args: readonly Operand[], lanes: number): Operand {
  switch (o.opcode) {
    case "cmp":
      return compare(e, o.attrs["pred"] as string, o.dtype, args[0]!, args[1]!, lanes);
    case "select":
      return select(e, o.dtype, args[0]!, args[1]!, args[2]!, lanes);
    case "cast":
      return emitCast(e, o.dtype, o.to, register(e, regKind(o.dtype), args[0]!, lanes), lanes);
    case "bitcast":
      return bitcast(e, o.dtype, o.to, register(e, regKind(o.dtype), args[0]!, lanes), lanes);
    case "min":
    case "max":
      return extreme(e, o.opcode, o.dtype, o.attrs["nan"] === "ignore", args[0]!, args[1]!, lanes);
  }
  if (o.dtype === "bool") return logic(e, o.opcode, args, lanes);
  return isFloat(o.dtype) ? float(e, o, args, lanes) : integer(e, o, args, lanes);
}

/** A literal put into a register, for operations that read the kind of their argument off it. */
function register(e: Emitter, kind: RegKind, x: Operand, lanes: number): Operand {
  if (isReg(x)) return x;
  const r = e.reg(kind, lanes);
  e.assign(r, x);
  return r;
}

function float(e: Emitter, o: ElementOp, args: readonly Operand[], lanes: number): Operand {
  const kind = regKind(o.dtype);
  if (o.opcode === "rem")
    return roundTo(e, o.dtype, floatRemainder(e, kind, args[0]!, args[1]!, lanes), lanes);
  const op = FLOAT[o.opcode];
  if (!op)
    throw new Error(`lower/simd has no code for ${o.opcode} on ${o.dtype}; it is expanded by a pass before`);
  const x = e.op(op, kind, lanes, args);
  // These give a narrow float for a narrow float.
  return ["neg", "abs", "floor", "ceil", "trunc", "nearest"].includes(op) ? x : roundTo(e, o.dtype, x, lanes);
}

function integer(e: Emitter, o: ElementOp, args: readonly Operand[], lanes: number): Operand {
  const { dtype } = o;
  const kind = regKind(dtype);
  const bits = DTYPES[dtype].bits;
  const signed = isSigned(dtype);
  const [a, b] = args as [Operand, Operand];
  const zero = kind === "i64" ? 0n : 0;
  const lit = (x: number): number | bigint => (kind === "i64" ? BigInt(x) : x);
  const emit = (op: RegOp, ...xs: Operand[]): Operand => e.op(op, kind, lanes, xs);
  const wrapped = (x: Operand): Operand => wrapSmall(e, dtype, x, lanes);
  const count = (x: Operand): Operand => (bits < 32 ? emit("and", x, lit(bits - 1)) : x);
  switch (o.opcode) {
    case "add":
    case "sub":
    case "mul":
      return wrapped(emit(o.opcode, a, b));
    case "and":
    case "or":
    case "xor":
      return emit(o.opcode, a, b);
    case "not":
      return wrapped(emit("xor", a, lit(-1)));
    case "neg":
      return wrapped(emit("sub", zero, a));
    case "abs":
      return signed ? wrapped(emit("maxS", a, emit("sub", zero, a))) : a;
    case "div":
      return wrapped(divide(e, kind, signed, a, b, lanes));
    case "rem":
      return remainder(e, kind, signed, a, b, lanes);
    case "mulhi":
      return multiplyHigh(e, kind, signed, a, b, lanes);
    case "shl":
      return wrapped(emit("shl", a, count(b)));
    case "shr":
      return emit(signed ? "shrS" : "shrU", a, count(b));
    case "ushr": {
      const field = signed && bits < 32 ? emit("and", a, 2 ** bits - 1) : a;
      return wrapped(emit("shrU", field, count(b)));
    }
  }
  throw new Error(`lower/simd has no code for ${o.opcode} on ${dtype}`);
}

function logic(e: Emitter, opcode: string, args: readonly Operand[], lanes: number): Operand {
  const [a, b] = args as [Operand, Operand];
  if (opcode === "and" || opcode === "or" || opcode === "xor") return e.op(opcode, "mask", lanes, [a, b]);
  if (opcode === "not") return e.op("not", "mask", lanes, [a]);
  throw new Error(`lower/simd has no code for ${opcode} on bool`);
}

/** `a pred b` as a mask. */
export function compare(e: Emitter, pred: string, d: DType, a: Operand, b: Operand, lanes: number): Operand {
  if (d === "bool") {
    const not = (x: Operand): Operand => e.op("not", "mask", lanes, [x]);
    const and = (x: Operand, y: Operand): Operand => e.op("and", "mask", lanes, [x, y]);
    switch (pred) {
      case "ne":
        return e.op("xor", "mask", lanes, [a, b]);
      case "eq":
        return not(e.op("xor", "mask", lanes, [a, b]));
      case "lt":
        return and(not(a), b);
      case "gt":
        return and(a, not(b));
      case "le":
        return not(and(a, not(b)));
      default:
        return not(and(not(a), b));
    }
  }
  if (!isReg(a)) {
    if (isReg(b)) return compare(e, CMP_SWAP[pred]!, d, b, a, lanes);
    return compare(e, pred, d, register(e, regKind(d), a, lanes), b, lanes);
  }
  const suffix = pred === "eq" || pred === "ne" ? "" : isSigned(d) ? "S" : "U";
  return e.op(`${pred}${suffix}` as RegOp, "mask", lanes, [a, b]);
}

export function select(e: Emitter, d: DType, c: Operand, a: Operand, b: Operand, lanes: number): Operand {
  if (d !== "bool") return e.op("select", regKind(d), lanes, [c, a, b]);
  const left = e.op("and", "mask", lanes, [c, a]);
  return e.op("or", "mask", lanes, [left, e.op("and", "mask", lanes, [e.op("not", "mask", lanes, [c]), b])]);
}

function extreme(
  e: Emitter,
  which: "min" | "max",
  d: DType,
  ignoreNaN: boolean,
  a: Operand,
  b: Operand,
  lanes: number,
): Operand {
  if (d === "bool") return e.op(which === "min" ? "and" : "or", "mask", lanes, [a, b]);
  const kind = regKind(d);
  if (!isFloat(d)) return e.op(`${which}${isSigned(d) ? "S" : "U"}` as RegOp, kind, lanes, [a, b]);
  if (!ignoreNaN) return e.op(which, kind, lanes, [a, b]);
  const [x, y] = [register(e, kind, a, lanes), register(e, kind, b, lanes)];
  const better = e.op(which === "min" ? "ltS" : "gtS", "mask", lanes, [y, x]);
  const nan = e.op("ne", "mask", lanes, [x, x]);
  return e.op("select", kind, lanes, [e.op("or", "mask", lanes, [better, nan]), y, x]);
}

function bitcast(e: Emitter, from: DType, to: DType, x: Operand, lanes: number): Operand {
  if (from === to || from === "bool") return x;
  if (isNarrowFloat(from) || isNarrowFloat(to)) {
    const raw = isNarrowFloat(from) ? toNarrowBits(e, from, x, lanes) : ownBits(e, to, x, lanes);
    return isNarrowFloat(to) ? fromNarrowBits(e, to, raw, lanes) : wrapSmall(e, to, raw, lanes);
  }
  if (isFloat(from) === isFloat(to)) return wrapSmall(e, to, x, lanes);
  return e.op("bitcast", regKind(to), lanes, [x]);
}
