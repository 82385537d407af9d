// How elements are combined in reductions and scans: neutral elements, combining, and the last step.

import { type DType, isFloat, isSigned, type Op, type Value } from "../../ir/index.js";
import { spreadsBack } from "../../ir/ops/define.js";
import { compare, elementwise, select } from "./elementwise.js";
import type { Emitter } from "./emit.js";
import type { Operand } from "./form.js";
import { roundTo } from "./narrow.js";
import { wrapSmall } from "./integer.js";
import { regKind } from "./kinds.js";

export interface Combiner {
  readonly kind: string;
  readonly dtype: DType;
  readonly ignoreNaN: boolean;
  /** It is only taken off the elements themselves: where all are NaN, so are the differences, whatever it is. */
  readonly takenOff: boolean;
}

export const combinerOf = (op: Op): Combiner => ({
  kind: op.attrs["kind"] as string,
  dtype: op.operands[0]!.type.dtype,
  ignoreNaN: op.attrs["nan"] === "ignore",
  takenOff: op.opcode === "reduce" && isTakenOff(op, op.results[0]!),
});

const isTakenOff = (reduce: Op, v: Value): boolean =>
  [...v.uses].every((use) =>
    spreadsBack(reduce, use)
      ? isTakenOff(reduce, use.results[0]!)
      : use.opcode === "sub" && use.operands[0] === reduce.operands[0],
  );

export const isArg = (c: Combiner): boolean => c.kind === "argmax" || c.kind === "argmin";
const isMax = (c: Combiner): boolean => c.kind === "max" || c.kind === "argmax";

/** The element that changes nothing. */
export function neutral(c: Combiner): number | bigint {
  const wide = regKind(c.dtype) === "i64";
  const int = (x: number): number | bigint => (wide ? BigInt(x) : x);
  switch (c.kind) {
    case "sum":
    case "or":
    case "xor":
      return int(0);
    case "prod":
      return int(1);
    case "and":
      return c.dtype === "bool" ? 1 : int(-1);
  }
  if (c.dtype === "bool") return isMax(c) ? 0 : 1;
  if (isFloat(c.dtype)) {
    if (c.ignoreNaN) return Number.NaN;
    return isMax(c) ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  if (!isSigned(c.dtype)) return isMax(c) ? int(0) : int(-1);
  if (wide) return isMax(c) ? -(2n ** 63n) : 2n ** 63n - 1n;
  return isMax(c) ? -(2 ** 31) : 2 ** 31 - 1;
}

/** `a` and `b` combined; halves stay in f32 and small integers unwrapped until {@link finish}. */
export function combine(e: Emitter, c: Combiner, a: Operand, b: Operand, lanes: number): Operand {
  const kind = regKind(c.dtype);
  if (c.dtype === "bool" && (c.kind === "sum" || c.kind === "prod"))
    return e.op(c.kind === "sum" ? "or" : "and", "mask", lanes, [a, b]);
  switch (c.kind) {
    case "sum":
      return e.op("add", kind, lanes, [a, b]);
    case "prod":
      return e.op("mul", kind, lanes, [a, b]);
    case "and":
    case "or":
    case "xor":
      return e.op(c.kind, kind, lanes, [a, b]);
    default:
      return elementwise(
        e,
        { opcode: c.kind, attrs: { nan: c.ignoreNaN ? "ignore" : "propagate" }, dtype: c.dtype, to: c.dtype },
        [a, b],
        lanes,
      );
  }
}

/**
 * The larger or smaller of numbers, where one of them may be the extreme's start: one instruction, which passes over a
 * `b` that is NaN. Whether there was NaN must be kept apart; see {@link seen}.
 */
export function extremeOf(e: Emitter, c: Combiner, a: Operand, b: Operand, lanes: number): Operand {
  const kind = regKind(c.dtype);
  if (lanes > 1) return e.op(isMax(c) ? "pmax" : "pmin", kind, lanes, [a, b]);
  const take = e.op(isMax(c) ? "ltS" : "gtS", "mask", 1, [a, b]);
  return e.op("select", kind, 1, [take, b, a]);
}

/**
 * What an extreme of f32 keeps beside numbers: the largest bits of all elements without their signs, or, where NaN is
 * ignored, the smallest. Above those of infinity the result is NaN.
 */
export const seen = {
  start: (c: Combiner): number => (c.ignoreNaN ? 0x7fffffff : 0),
  of: (e: Emitter, x: Operand, lanes: number): Operand =>
    e.op("and", "i32", lanes, [e.op("bitcast", "i32", lanes, [x]), 0x7fffffff]),
  both: (e: Emitter, c: Combiner, a: Operand, b: Operand, lanes: number): Operand =>
    e.op(c.ignoreNaN ? "minS" : "maxS", "i32", lanes, [a, b]),
  result: (e: Emitter, bits: Operand, x: Operand): Operand =>
    e.op("select", "f32", 1, [e.op("gtS", "mask", 1, [bits, 0x7f800000]), Number.NaN, x]),
};

/** Whether {@link extremeOf} serves, with {@link seen} unless {@link Combiner.takenOff}. */
export const isPlainExtreme = (c: Combiner): boolean =>
  (c.kind === "max" || c.kind === "min") && isFloat(c.dtype) && regKind(c.dtype) === "f32";
/** The extreme of no numbers. */
export const noExtreme = (c: Combiner): number =>
  isMax(c) ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;

/** Brings an accumulated element into its dtype. */
export const finish = (e: Emitter, c: Combiner, x: Operand, lanes: number): Operand =>
  wrapSmall(e, c.dtype, roundTo(e, c.dtype, x, lanes), lanes);

/** A value and its index; an index of -1 says that there is none yet. */
export interface Best {
  readonly value: Operand;
  readonly index: Operand;
}

/** The better of two, where every index in `b` counts as later; `ties`: compare the indices of equals. */
export function better(e: Emitter, c: Combiner, a: Best, b: Best, lanes: number, ties: boolean): Best {
  const m = (op: "and" | "or", x: Operand, y: Operand): Operand => e.op(op, "mask", lanes, [x, y]);
  const cmp = (op: string, x: Operand, y: Operand): Operand => e.op(op as "eq", "mask", lanes, [x, y]);
  const values = (pred: string): Operand => compare(e, pred, c.dtype, b.value, a.value, lanes);
  let take = values(isMax(c) ? "gt" : "lt");
  const earlier = ties ? cmp("ltS", b.index, a.index) : 0;
  if (ties) take = m("or", take, m("and", values("eq"), earlier));
  const empty = cmp("ltS", a.index, 0);
  if (isFloat(c.dtype)) {
    const [nanA, nanB] = [cmp("ne", a.value, a.value), cmp("ne", b.value, b.value)];
    if (c.ignoreNaN) take = m("or", take, m("and", nanA, e.op("not", "mask", lanes, [nanB])));
    else take = m("or", take, m("and", nanB, m("or", e.op("not", "mask", lanes, [nanA]), earlier)));
  }
  take = m("or", take, empty);
  if (ties) take = m("and", take, cmp("geS", b.index, 0));
  return {
    value: select(e, c.dtype, take, b.value, a.value, lanes),
    index: e.op("select", "i32", lanes, [take, b.index, a.index]),
  };
}
