// Element-wise arithmetic, comparison, selection and casts. Integers wrap at their width.
// Arithmetic of floats of 8 and 16 bits has the meaning "compute in f32, round the result", on every chip.

import { DTYPES, type DType, isFloat, isInt } from "../dtype.js";
import type { Op, Value } from "../ir.js";
import { fromBits, toBits } from "../rounding.js";
import { sameShape, sameType, showType, tile, type TileType, type Type } from "../type.js";
import * as fold from "./arith-fold.js";
import { asTile, constantOf, defineOp, IrTypeError, madeBy, type OpDef } from "./define.js";

type Class = "any" | "number" | "int" | "float" | "bits";
const accepts: Record<Class, (d: DType) => boolean> = {
  any: () => true,
  number: (d) => d !== "bool",
  int: isInt,
  float: isFloat,
  bits: (d) => isInt(d) || d === "bool",
};

function same(o: readonly Type[], opcode: string, cls: Class): TileType {
  const t = asTile(o, 0, opcode);
  for (let i = 1; i < o.length; i++)
    if (!sameType(o[i]!, t))
      throw new IrTypeError(`the operands of ${opcode} differ: ${showType(t)} and ${showType(o[i]!)}`);
  if (!accepts[cls](t.dtype)) throw new IrTypeError(`${opcode} does not take ${t.dtype}`);
  return t;
}

const dtypeOf = (op: Op): DType => op.operands[0]!.type.dtype;
/** Equal to `want` as the dtype's own value: 1 is also 1n, but -0 is not 0. */
const isConst = (v: Value | undefined, want: number): boolean => {
  const c = constantOf(v);
  return typeof c === "bigint" ? c === BigInt(want) : Object.is(c, want);
};
const left = (op: Op): Value => op.operands[0]!;
const right = (op: Op): Value => op.operands[1]!;
/** The other operand, where one is `want`. */
const besides = (op: Op, want: number): Value | undefined =>
  isConst(right(op), want) ? left(op) : isConst(left(op), want) ? right(op) : undefined;
/** The operand that is `want`. */
const operandThatIs = (op: Op, want: number): Value | undefined =>
  isConst(right(op), want) ? right(op) : isConst(left(op), want) ? left(op) : undefined;
const twice = (op: Op): Value | undefined => (left(op) === right(op) ? left(op) : undefined);
const isIntOp = (op: Op): boolean => isInt(dtypeOf(op));
/** All bits set: -1, or the largest value of an unsigned dtype, or true. */
const ones = (op: Op): number => (DTYPES[dtypeOf(op)].kind === "bool" ? 1 : -1);
const operandOfOnes = (op: Op): Value | undefined =>
  op.operands.find((v) => {
    const c = constantOf(v);
    return c !== undefined && (c as number | bigint) === fold.wrap(dtypeOf(op), ones(op));
  });

type Extra = Partial<Pick<OpDef, "commutative" | "simplify" | "simplifyToConst">>;
const binary = (opcode: fold.BinaryOpcode, cls: Class, extra: Extra = {}) =>
  defineOp({
    opcode,
    pure: true,
    elementwise: true,
    arity: 2,
    ...extra,
    infer: (o) => [same(o, opcode, cls)],
    fold: ([a, b], op) => fold.binary(opcode, dtypeOf(op), a!, b!, op.attrs["nan"] === "ignore"),
  });
const unary = (opcode: fold.UnaryOpcode, cls: Class, extra: Extra = {}) =>
  defineOp({
    opcode,
    pure: true,
    elementwise: true,
    arity: 1,
    ...extra,
    infer: (o) => [same(o, opcode, cls)],
    fold: ([a], op) => fold.unary(opcode, dtypeOf(op), a!),
  });
/** Undoes itself. */
const involution = (opcode: string) => (op: Op) => madeBy(left(op), opcode)?.operands[0];

// -0 + 0 is +0, so 0 is no identity of float addition; -0 is.
binary("add", "number", { commutative: true, simplify: (op) => besides(op, isIntOp(op) ? 0 : -0) });
binary("sub", "number", {
  simplify: (op) => (isConst(right(op), 0) ? left(op) : undefined),
  simplifyToConst: (op) => (isIntOp(op) && twice(op) ? fold.wrap(dtypeOf(op), 0) : undefined),
});
binary("mul", "number", {
  commutative: true,
  simplify: (op) => besides(op, 1) ?? (isIntOp(op) ? operandThatIs(op, 0) : undefined),
});
/** True division on floats; truncating division on integers (by zero: 0). */
binary("div", "number", {
  simplify: (op) =>
    isConst(right(op), 1)
      ? left(op)
      : isIntOp(op) && isConst(left(op), 0)
        ? left(op)
        : isIntOp(op) && isConst(right(op), 0)
          ? right(op)
          : undefined,
});
/** The remainder of truncating division, as C's `%` and `fmod` (integer by zero: 0). */
binary("rem", "number", {
  simplify: (op) => (isIntOp(op) ? operandThatIs(op, 0) : undefined),
  simplifyToConst: (op) => (isIntOp(op) && isConst(right(op), 1) ? fold.wrap(dtypeOf(op), 0) : undefined),
});
/** `min`, `max {nan: "propagate" | "ignore"}`: what happens when one operand is NaN. -0 < +0 is not required. */
binary("min", "any", { commutative: true, simplify: twice });
binary("max", "any", { commutative: true, simplify: twice });
binary("and", "bits", {
  commutative: true,
  simplify: (op) => twice(op) ?? operandThatIs(op, 0) ?? otherThan(op, operandOfOnes(op)),
});
binary("or", "bits", {
  commutative: true,
  simplify: (op) => twice(op) ?? besides(op, 0) ?? operandOfOnes(op),
});
binary("xor", "bits", {
  commutative: true,
  simplify: (op) => besides(op, 0),
  simplifyToConst: (op) => (twice(op) ? fold.wrap(dtypeOf(op), 0) : undefined),
});
const unshifted = (op: Op): Value | undefined =>
  isConst(right(op), 0) || isConst(left(op), 0) ? left(op) : undefined;
binary("shl", "int", { simplify: unshifted });
/** Arithmetic for signed dtypes, logical for unsigned. Shift counts are taken modulo the width. */
binary("shr", "int", { simplify: unshifted });
/** Logical, at the operand's width, whatever its sign. */
binary("ushr", "int", { simplify: unshifted });
/** The upper half of the full product (u32, i32, u64, i64). */
binary("mulhi", "int", { commutative: true, simplify: (op) => operandThatIs(op, 0) });
unary("neg", "number", { simplify: involution("neg") });
/** Bitwise complement; logical on bool. */
unary("not", "bits", { simplify: involution("not") });
unary("abs", "number", { simplify: (op) => madeBy(left(op), "abs")?.result });
/** `a * b + c`, rounded once or twice as the chip does. */
defineOp({
  opcode: "fma",
  pure: true,
  elementwise: true,
  arity: 3,
  infer: (o) => [same(o, "fma", "float")],
  fold: ([a, b, c], op) => fold.fma(dtypeOf(op), a as number, b as number, c as number),
});

function otherThan(op: Op, v: Value | undefined): Value | undefined {
  return v && (v === left(op) ? right(op) : left(op));
}

export type CmpPred = "eq" | "ne" | "lt" | "le" | "gt" | "ge";
/** `cmp {pred}`: IEEE: only `ne` is true for NaN. */
defineOp({
  opcode: "cmp",
  pure: true,
  elementwise: true,
  arity: 2,
  infer: (o) => [tile("bool", same(o, "cmp", "any").shape)],
  fold: ([a, b], op) => fold.compare(op.attrs["pred"] as CmpPred, a!, b!),
  simplify: (op) => {
    if (dtypeOf(op) !== "bool") return undefined;
    const pred = op.attrs["pred"];
    return pred === "eq" ? besides(op, 1) : pred === "ne" ? besides(op, 0) : undefined;
  },
  simplifyToConst: (op) =>
    !isFloat(dtypeOf(op)) && twice(op) ? fold.compare(op.attrs["pred"] as CmpPred, 0, 0) : undefined,
});

/** `select(cond, a, b)`: both sides are computed. */
defineOp({
  opcode: "select",
  pure: true,
  elementwise: true,
  arity: 3,
  infer: (o) => {
    const c = asTile(o, 0, "select");
    const t = same(o.slice(1), "select", "any");
    if (c.dtype !== "bool" || !sameShape(c.shape, t.shape))
      throw new IrTypeError(`the condition of select must be bool[${t.shape}], not ${showType(c)}`);
    return [t];
  },
  fold: ([c, a, b]) => (c ? a : b),
  simplify: (op) => {
    const [c, a, b] = op.operands as [Value, Value, Value];
    if (a === b) return a;
    const known = constantOf(c);
    if (known !== undefined) return known ? a : b;
    return a.type.dtype === "bool" && isConst(a, 1) && isConst(b, 0) ? c : undefined;
  },
});

/**
 * `cast {dtype}`: the value in another dtype. Between floats: to nearest, ties to even; what is too large becomes
 * infinity, and NaN in f8e4m3, which has none (saturating and truncating casts are made of other ops). Float to integer:
 * truncates, saturates at i32/i64 (narrower integers then wrap), NaN becomes 0. Integer to integer wraps.
 * To `bool`: not equal to zero.
 */
defineOp({
  opcode: "cast",
  pure: true,
  elementwise: true,
  arity: 1,
  infer: (o, a) => [tile(a["dtype"] as DType, asTile(o, 0, "cast").shape)],
  fold: ([a], op) => fold.cast(dtypeOf(op), op.attrs["dtype"] as DType, a!),
  simplify: (op) => {
    const to = op.attrs["dtype"] as DType;
    if (dtypeOf(op) === to) return left(op);
    // There and back again, where the way there keeps every value.
    const origin = madeBy(left(op), "cast")?.operands[0];
    return origin?.type.dtype === to && fold.isLossless(to, dtypeOf(op)) ? origin : undefined;
  },
});

/** `bitcast {dtype}`: the same bits; the widths must be equal. */
defineOp({
  opcode: "bitcast",
  pure: true,
  elementwise: true,
  arity: 1,
  infer: (o, a) => {
    const t = asTile(o, 0, "bitcast");
    const to = a["dtype"] as DType;
    if (DTYPES[t.dtype].bits !== DTYPES[to].bits)
      throw new IrTypeError(
        `bitcast keeps the width: ${t.dtype} has ${DTYPES[t.dtype].bits} bits, ${to} has ${DTYPES[to].bits}`,
      );
    return [tile(to, t.shape)];
  },
  fold: ([a], op) => fromBits(op.attrs["dtype"] as DType, toBits(dtypeOf(op), a!)),
  simplify: (op) => {
    const to = op.attrs["dtype"] as DType;
    if (dtypeOf(op) === to) return left(op);
    const inner = madeBy(left(op), "bitcast")?.operands[0];
    return inner?.type.dtype === to ? inner : undefined;
  },
});
