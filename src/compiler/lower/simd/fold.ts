// Folds operations on literals and neutral elements while statements are built.
// Only what address arithmetic and known masks bring up: the IR's own folding happens before.

import type { Operand, RegKind, RegOp } from "./form.js";

const isInt = (k: RegKind): boolean => k === "i32" || k === "i64";

/** Wraps to the kind's width. */
const wrap = (k: RegKind, x: bigint): number | bigint =>
  k === "i64" ? BigInt.asIntN(64, x) : Number(BigInt.asIntN(32, x));

/** The value of the operation if it needs no statement. */
export function foldOp(op: RegOp, kind: RegKind, args: readonly Operand[]): Operand | undefined {
  const [a, b, c] = args;
  const lit = (x: Operand | undefined): x is number | bigint =>
    typeof x === "number" || typeof x === "bigint";
  if (op === "select") {
    if (lit(a)) return Number(a) ? b : c;
    return b === c ? b : undefined;
  }
  if (kind === "mask") {
    if (lit(a) && lit(b)) {
      const known = compareLiterals(op, a, b);
      if (known !== undefined) return known ? 1 : 0;
    }
    if (op === "and") {
      if (lit(a)) return Number(a) ? b : 0;
      if (lit(b)) return Number(b) ? a : 0;
      if (a === b) return a;
    }
    if (op === "or") {
      if (lit(a)) return Number(a) ? 1 : b;
      if (lit(b)) return Number(b) ? 1 : a;
      if (a === b) return a;
    }
    if (op === "not" && lit(a)) return Number(a) ? 0 : 1;
    if (op === "xor" && lit(a) && lit(b)) return Number(a) ^ Number(b);
    if ((op === "any" || op === "all") && lit(a)) return Number(a);
    return undefined;
  }
  if (op === "fromMask" && lit(a)) return kind === "i64" ? BigInt(a) : Number(a);
  if (!isInt(kind)) return undefined;
  const zero = (x: Operand | undefined): boolean => lit(x) && Number(x) === 0;
  const one = (x: Operand | undefined): boolean => lit(x) && Number(x) === 1;
  switch (op) {
    case "add":
      if (lit(a) && lit(b)) return wrap(kind, BigInt(a) + BigInt(b));
      return zero(a) ? b : zero(b) ? a : undefined;
    case "sub":
      if (lit(a) && lit(b)) return wrap(kind, BigInt(a) - BigInt(b));
      return zero(b) ? a : undefined;
    case "mul":
      if (lit(a) && lit(b)) return wrap(kind, BigInt(a) * BigInt(b));
      if (zero(a)) return a;
      if (zero(b)) return b;
      return one(a) ? b : one(b) ? a : undefined;
    case "shl":
    case "shrS":
    case "shrU":
      return zero(b) ? a : undefined;
    case "minS":
      return lit(a) && lit(b) ? (BigInt(a) < BigInt(b) ? a : b) : undefined;
    case "maxS":
      return lit(a) && lit(b) ? (BigInt(a) > BigInt(b) ? a : b) : undefined;
    case "convertS":
      // Only integer literals come here with an integer target.
      return lit(a) && (typeof a === "bigint" || (kind === "i64" && Number.isInteger(a)))
        ? wrap(kind, BigInt(a))
        : undefined;
    default:
      return undefined;
  }
}

function compareLiterals(op: RegOp, a: number | bigint, b: number | bigint): boolean | undefined {
  if (op === "eq") return a === b;
  if (op === "ne") return a !== b;
  const order = /^(lt|le|gt|ge)([SU])$/.exec(op);
  if (!order) return undefined;
  // Sign-extended integers keep their unsigned order.
  const read = (x: number | bigint): number | bigint =>
    order[2] === "U" ? BigInt.asUintN(64, BigInt(x)) : x;
  const [x, y] = [read(a), read(b)];
  if (order[1] === "lt") return x < y;
  if (order[1] === "le") return x <= y;
  return order[1] === "gt" ? x > y : x >= y;
}
