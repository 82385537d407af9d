// What `assume` ops say of integers: that a power of two divides them, that they are not negative.

import { isInt } from "../ir/dtype.js";
import { type Block, type Func, Op, type Value, walk } from "../ir/ir.js";
import { constantOf } from "../ir/ops/index.js";

/** Of every element of a value. */
export interface Assumed {
  /** A power of two. */
  readonly divisibility: number;
  readonly nonNegative: boolean;
}

/** What divides 0, and the bound of all divisibilities. */
export const MOST = 2 ** 30;

/** The largest power of two that divides `x`. */
export function powerOfTwoIn(x: number | bigint): number {
  const v = BigInt(x);
  return v === 0n ? MOST : Math.min(MOST, Number(v & -v));
}

/**
 * The facts in the conditions `x % 16 == 0`, `(x & 15) == 0`, `x >= 0`, `x > 0` (either way round, combined with and).
 * One counts only where the op stands in the block that makes `x`: then it is reached whenever there is an `x`.
 */
export function assumptions(func: Func): Map<Value, Assumed> {
  const found = new Map<Value, Assumed>();
  const note = (v: Value, where: Block | undefined, fact: Partial<Assumed>): void => {
    const home = v.def instanceof Op ? v.def.parent : v.def;
    if (home !== where || !isInt(v.type.dtype)) return;
    const before = found.get(v) ?? { divisibility: 1, nonNegative: false };
    found.set(v, {
      divisibility: Math.max(before.divisibility, fact.divisibility ?? 1),
      nonNegative: before.nonNegative || fact.nonNegative === true,
    });
  };
  const read = (cond: Value, where: Block | undefined): void => {
    const op = cond.def;
    if (!(op instanceof Op)) return;
    if (op.opcode === "and") for (const part of op.operands) read(part, where);
    if (op.opcode !== "cmp") return;
    const turned = constantOf(op.operands[0]) !== undefined;
    const [x, bound] = turned ? [op.operands[1]!, op.operands[0]!] : [op.operands[0]!, op.operands[1]!];
    const limit = constantOf(bound);
    if (limit === undefined) return;
    const pred = op.attrs["pred"] as string;
    if (pred === "eq" && Number(limit) === 0) multiple(x, where);
    else if (pred === (turned ? "le" : "ge") && limit >= 0) note(x, where, { nonNegative: true });
    else if (pred === (turned ? "lt" : "gt") && limit >= -1) note(x, where, { nonNegative: true });
  };
  /** `x` is 0: what that says of what it is made of. */
  const multiple = (x: Value, where: Block | undefined): void => {
    const op = x.def;
    if (!(op instanceof Op)) return;
    const c = constantOf(op.operands[1]);
    if (c === undefined) return;
    if (op.opcode === "rem" && c > 0) note(op.operands[0]!, where, { divisibility: powerOfTwoIn(c) });
    if (op.opcode === "and") note(op.operands[0]!, where, { divisibility: powerOfTwoIn(BigInt(c) + 1n) });
  };
  walk(func.body, (op) => {
    if (op.opcode === "assume") read(op.operands[0]!, op.parent);
  });
  return found;
}
