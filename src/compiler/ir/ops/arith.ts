// Element-wise arithmetic, comparison, selection and casts. Integers wrap at their width.
// f16 and bf16 arithmetic has the meaning "compute in f32, round the result", on every chip.

import { DTYPES, type DType, isFloat, isInt } from "../dtype.js";
import { sameShape, sameType, showType, tile, type TileType, type Type } from "../type.js";
import { asTile, defineOp, IrTypeError } from "./define.js";

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

const binary = (opcode: string, cls: Class, extra: { commutative?: boolean } = {}) =>
  defineOp({ opcode, pure: true, elementwise: true, ...extra, infer: (o) => [same(o, opcode, cls)] });
const unary = (opcode: string, cls: Class) =>
  defineOp({ opcode, pure: true, elementwise: true, infer: (o) => [same(o, opcode, cls)] });

binary("add", "number", { commutative: true });
binary("sub", "number");
binary("mul", "number", { commutative: true });
/** True division on floats; truncating division on integers (by zero: 0). */
binary("div", "number");
/** The remainder of truncating division, as C's `%` and `fmod` (integer by zero: 0). */
binary("rem", "number");
/** `min`, `max {nan: "propagate" | "ignore"}`: what happens when one operand is NaN. -0 < +0 is not required. */
binary("min", "any", { commutative: true });
binary("max", "any", { commutative: true });
binary("and", "bits", { commutative: true });
binary("or", "bits", { commutative: true });
binary("xor", "bits", { commutative: true });
binary("shl", "int");
/** Arithmetic for signed dtypes, logical for unsigned. Shift counts are taken modulo the width. */
binary("shr", "int");
/** Logical, at the operand's width, whatever its sign. */
binary("ushr", "int");
/** The upper half of the full product (u32, i32, u64, i64). */
binary("mulhi", "int", { commutative: true });
unary("neg", "number");
/** Bitwise complement; logical on bool. */
unary("not", "bits");
unary("abs", "number");
/** `a * b + c`, rounded once or twice as the chip does. */
defineOp({ opcode: "fma", pure: true, elementwise: true, infer: (o) => [same(o, "fma", "float")] });

export type CmpPred = "eq" | "ne" | "lt" | "le" | "gt" | "ge";
/** `cmp {pred}`: IEEE: only `ne` is true for NaN. */
defineOp({
  opcode: "cmp",
  pure: true,
  elementwise: true,
  infer: (o) => [tile("bool", same(o, "cmp", "any").shape)],
});

/** `select(cond, a, b)`: both sides are computed. */
defineOp({
  opcode: "select",
  pure: true,
  elementwise: true,
  infer: (o) => {
    const c = asTile(o, 0, "select");
    const t = same(o.slice(1), "select", "any");
    if (c.dtype !== "bool" || !sameShape(c.shape, t.shape))
      throw new IrTypeError(`the condition of select must be bool[${t.shape}], not ${showType(c)}`);
    return [t];
  },
});

/**
 * `cast {dtype}`: the value in another dtype. Between floats: to nearest, ties to even. Float to integer:
 * truncates, saturates at i32/i64 (narrower integers then wrap), NaN becomes 0. Integer to integer wraps.
 * To `bool`: not equal to zero.
 */
defineOp({
  opcode: "cast",
  pure: true,
  elementwise: true,
  infer: (o, a) => [tile(a["dtype"] as DType, asTile(o, 0, "cast").shape)],
});

/** `bitcast {dtype}`: the same bits; the widths must be equal. */
defineOp({
  opcode: "bitcast",
  pure: true,
  elementwise: true,
  infer: (o, a) => {
    const t = asTile(o, 0, "bitcast");
    const to = a["dtype"] as DType;
    if (DTYPES[t.dtype].bits !== DTYPES[to].bits)
      throw new IrTypeError(
        `bitcast keeps the width: ${t.dtype} has ${DTYPES[t.dtype].bits} bits, ${to} has ${DTYPES[to].bits}`,
      );
    return [tile(to, t.shape)];
  },
});
