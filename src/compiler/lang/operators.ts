// The operators of the language on any two values: folded on literals, offsets on pointers, IR ops on tiles.

import { type DType, DTYPES, isFloat, isInt, opDef, showType, Value } from "../ir/index.js";
import type { CmpPred } from "../ir/ops/arith.js";
import { broadcast, commonShape, literalAs, notANumber, toValue, typeOf, unify } from "./coerce.js";
import type { Context } from "./context.js";
import { describe, isNumeric, isUntyped, kindOf, Pointer, Soft, Unset, type Val } from "./value.js";

const COMPARE: Readonly<Record<string, CmpPred>> = {
  "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "===": "eq", "!=": "ne", "!==": "ne",
}; // biome-ignore format: a table
const ARITHMETIC: Readonly<Record<string, string>> = {
  "+": "add", "-": "sub", "*": "mul", "/": "div", "%": "rem", "**": "pow",
  "&": "and", "|": "or", "^": "xor", "<<": "shl", ">>": "shr", ">>>": "ushr",
}; // biome-ignore format: a table
/** The same comparison with its sides exchanged. */
const FLIPPED: Readonly<Record<CmpPred, CmpPred>> = {
  lt: "gt",
  le: "ge",
  gt: "lt",
  ge: "le",
  eq: "eq",
  ne: "ne",
};
const BITWISE = new Set(["&", "|", "^", "<<", ">>", ">>>"]);

/** `a op b` for every binary operator but the lazy ones. */
export function binary(cx: Context, op: string, a: Val, b: Val): Val {
  if (a instanceof Pointer || b instanceof Pointer) return pointer(cx, op, a, b);
  const pred = COMPARE[op];
  if (pred) return compare(cx, op, pred, a, b);
  const opcode = ARITHMETIC[op];
  if (!opcode) cx.fail(`the operator ${op} is not part of the kernel language`);
  if (typeof a === "string" && typeof b === "string" && op === "+") return a + b;
  if (isUntyped(a) && isUntyped(b)) {
    if (isNumeric(a) && isNumeric(b)) return foldArithmetic(cx, op, a, b);
    const float = op === "/" || kindOf(a) === "float" || kindOf(b) === "float";
    return new Soft(float ? "float" : "int");
  }
  for (const v of [a, b])
    if (!(v instanceof Value) && !isUntyped(v)) notANumber(cx, v, `an operand of \`${op}\``);
  if (op === "<<" || op === ">>" || op === ">>>") return shift(cx, op, opcode, a, b);
  // Minifiers turn `x * 2` into `2 * x`: the literal comes second, so that both give the same IR.
  const swap = isUntyped(a) && opDef(opcode).commutative;
  const [x, y] = unify(cx, swap ? [b, a] : [a, b], `\`${op}\``) as [Value, Value];
  const { dtype } = typeOf(x);
  if (dtype === "bool" && !BITWISE.has(op))
    cx.fail(
      `\`${op}\` needs numbers, but both sides are masks (${showType(x.type)})`,
      "Combine masks with && and ||, or turn them into numbers: tl.cast(mask, tl.i32).",
    );
  if (BITWISE.has(op) && isFloat(dtype))
    cx.fail(
      `\`${op}\` works on the bits of integers, not on ${describe(a)} and ${describe(b)}`,
      "tl.bitcast reads a float's bits as an integer: tl.bitcast(x, tl.u32).",
    );
  if (op === "/" && isInt(dtype))
    cx.fail(
      `\`/\` on two integers (${describe(a)} and ${describe(b)}) could mean three things`,
      "Say which: tl.floorDiv(a, b) rounds down, tl.cdiv(a, b) rounds up, tl.div(a, b) gives a float.",
    );
  if (op === "**") {
    if (!isFloat(dtype))
      cx.fail(
        `\`**\` works on floats, not on ${describe(a)} and ${describe(b)}`,
        "Cast first (tl.cast(x, tl.f32)), or multiply.",
      );
    return cx.b.value("pow", [x, y]);
  }
  return cx.b.value(opcode, [x, y]);
}

/** A shift keeps the dtype of what is shifted; the count takes it. */
function shift(cx: Context, op: string, opcode: string, a: Val, b: Val): Val {
  if (a instanceof Value && b instanceof Value) {
    const shape = commonShape([typeOf(a).shape, typeOf(b).shape]);
    if (!shape)
      cx.fail(`\`${op}\` cannot combine ${describe(a)} and ${describe(b)}: the shapes do not broadcast`);
    if (!isInt(typeOf(a).dtype) || !isInt(typeOf(b).dtype)) notBits(cx, op, a, b);
    const count = cx.b.cast(b, typeOf(a).dtype);
    return cx.b.value(opcode, [broadcast(cx, a, shape, op), broadcast(cx, count, shape, op)]);
  }
  const typed = (a instanceof Value ? a : b) as Value;
  if (!isInt(typeOf(typed).dtype)) notBits(cx, op, a, b);
  return cx.b.value(opcode, unify(cx, [a, b], `\`${op}\``));
}

const notBits = (cx: Context, op: string, a: Val, b: Val): never =>
  cx.fail(`\`${op}\` works on integers, not on ${describe(a)} and ${describe(b)}`);

function compare(cx: Context, op: string, pred: CmpPred, a: Val, b: Val): Val {
  if (isUntyped(a) && isUntyped(b)) {
    if (!isNumeric(a) || !isNumeric(b)) return new Soft("bool");
    return foldCompare(pred, a, b);
  }
  if (!(a instanceof Value) && !(b instanceof Value)) {
    if (a instanceof Unset || b instanceof Unset)
      notANumber(cx, a instanceof Unset ? a : b, `an operand of ${op}`);
    if (pred === "eq") return a === b;
    if (pred === "ne") return a !== b;
    cx.fail(`\`${op}\` cannot compare ${describe(a)} and ${describe(b)}`);
  }
  for (const v of [a, b])
    if (!(v instanceof Value) && !isUntyped(v)) {
      // `x === undefined` is asked of optional arguments.
      if (v === undefined && pred === "eq") return false;
      if (v === undefined && pred === "ne") return true;
      notANumber(cx, v, `an operand of \`${op}\``);
    }
  if (isUntyped(a)) return cx.b.value("cmp", unify(cx, [b, a], `\`${op}\``, true), { pred: FLIPPED[pred] });
  return cx.b.value("cmp", unify(cx, [a, b], `\`${op}\``, true), { pred });
}

function foldCompare(pred: CmpPred, a: number | bigint | boolean, b: number | bigint | boolean): boolean {
  switch (pred) {
    case "lt":
      return a < b;
    case "le":
      return a <= b;
    case "gt":
      return a > b;
    case "ge":
      return a >= b;
    default:
      // biome-ignore lint/suspicious/noDoubleEquals: 1 and 1n are one untyped literal
      return (a == b) === (pred === "eq");
  }
}

function foldArithmetic(cx: Context, op: string, a: number | bigint | boolean, b: typeof a): number | bigint {
  if (BITWISE.has(op)) {
    for (const v of [a, b])
      if (kindOf(v) === "float") cx.fail(`\`${op}\` works on integers, not on ${describe(v)}`);
    return narrow(foldBits(cx, op, BigInt(a), BigInt(b)), a, b);
  }
  if ((typeof a === "bigint" || typeof b === "bigint") && kindOf(a) !== "float" && kindOf(b) !== "float") {
    const [x, y] = [BigInt(a), BigInt(b)];
    if (op === "+") return x + y;
    if (op === "-") return x - y;
    if (op === "*") return x * y;
    if (op === "%" && y !== 0n) return x % y;
    if (op === "**" && y >= 0n) return x ** y;
  }
  const [x, y] = [Number(a), Number(b)];
  switch (op) {
    case "+":
      return x + y;
    case "-":
      return x - y;
    case "*":
      return x * y;
    case "/":
      return x / y;
    case "%":
      return x % y;
    default:
      return x ** y;
  }
}

function foldBits(cx: Context, op: string, x: bigint, y: bigint): bigint {
  switch (op) {
    case "&":
      return x & y;
    case "|":
      return x | y;
    case "^":
      return x ^ y;
  }
  if (y < 0n || y > 63n) cx.fail(`\`${op}\` shifts by ${y}, but a shift is between 0 and 63`);
  if (op === "<<") return x << y;
  return op === ">>" || x >= 0n ? x >> y : BigInt.asUintN(32, x) >> y;
}

/** A number again, where that is exact and no bigint went in. */
const narrow = (v: bigint, a: unknown, b: unknown): number | bigint =>
  typeof a !== "bigint" && typeof b !== "bigint" && BigInt(Number(v)) === v && v <= 2n ** 53n ? Number(v) : v;

/** `pointer ± integers`; everything else with a pointer is an error. */
function pointer(cx: Context, op: string, a: Val, b: Val): Pointer {
  if (a instanceof Pointer && b instanceof Pointer)
    cx.fail(
      `\`${op}\` cannot combine ${describe(a)} and ${describe(b)}`,
      "Pointers only take integer offsets; compute with the offsets themselves.",
    );
  const [p, by] = a instanceof Pointer ? [a, b] : [b as Pointer, a];
  if (op !== "+" && (op !== "-" || p !== a))
    cx.fail(
      `\`${op}\` does not work on ${describe(p)}`,
      `A pointer takes offsets with + and -. To read the element, load it: tl.load(${p.param}).`,
    );
  if (by instanceof Value ? !isInt(typeOf(by).dtype) : !isUntyped(by) || kindOf(by) !== "int")
    cx.fail(
      `the offset to ${describe(p)} must be an integer or a tile of integers, not ${describe(by)}`,
      by instanceof Value ? "Cast it: tl.cast(offset, tl.i32)." : undefined,
    );
  return new Pointer(p.param, p.buffer, offsetSum(cx, op, p.offset, by as Value | Soft | number | bigint));
}

/** Offsets are i32, or i64 where the author's arithmetic is. */
const offsetDtype = (v: Value): DType => (DTYPES[typeOf(v).dtype].bits === 64 ? "i64" : "i32");

function offsetSum(
  cx: Context,
  op: string,
  offset: Value | Soft | number,
  by: Value | Soft | number | bigint,
): Value | Soft | number {
  const delta = typeof by === "bigint" ? Number(by) : by;
  if (offset === 0 && op === "+")
    return delta instanceof Value ? cx.b.cast(delta, offsetDtype(delta)) : delta;
  if (!(offset instanceof Value) && !(delta instanceof Value))
    return binary(cx, op, offset, delta) as Soft | number;
  const wide = [offset, delta].some((v) => v instanceof Value && offsetDtype(v) === "i64");
  const as = (v: Value | Soft | number) => (v instanceof Value ? cx.b.cast(v, wide ? "i64" : "i32") : v);
  const [x, y] = unify(cx, [as(offset), as(delta)], `\`${op}\` on a pointer`);
  return cx.b.value(op === "+" ? "add" : "sub", [x!, y!]);
}

/** The offset of a pointer as an IR value. */
export function offsetValue(cx: Context, p: Pointer): Value {
  if (p.offset instanceof Value) return p.offset;
  const wide = typeof p.offset === "number" && Math.abs(p.offset) > 2147483647;
  return literalAs(cx, p.offset, wide ? "i64" : "i32");
}

/** `-x`, `+x`, `~x` (`!` is in `logic.ts`). */
export function unary(cx: Context, op: string, v: Val): Val {
  if (v instanceof Soft) return new Soft(v.kind === "float" ? "float" : "int");
  if (isNumeric(v)) {
    if (op === "-") return typeof v === "bigint" ? -v : -Number(v);
    if (op === "+") return typeof v === "bigint" ? v : Number(v);
    return typeof v === "bigint" ? ~v : foldArithmetic(cx, "-", -1, v);
  }
  const x = toValue(cx, v, `the operand of \`${op}\``);
  if (op === "+") return x;
  const { dtype } = typeOf(x);
  if (op === "-") {
    if (dtype === "bool") cx.fail("`-` needs a number, not a mask", "tl.cast turns a mask into numbers.");
    return cx.b.value("neg", [x]);
  }
  if (isFloat(dtype)) cx.fail(`\`~\` works on integers, not on ${describe(v)}`);
  return cx.b.value("not", [x]);
}
