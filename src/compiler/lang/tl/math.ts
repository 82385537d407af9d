// Element-wise functions of `tl`.

import { isFloat, showType, type Value } from "../../ir/index.js";
import { fitTo, literalAs, toValue, typeOf, unify } from "../coerce.js";
import type { Context } from "../context.js";
import { truth } from "../branch.js";
import { select } from "../logic.js";
import { binary } from "../operators.js";
import { describe, isNumeric, isUntyped, kindOf, Pointer, Soft, type Val } from "../value.js";
import { flag, fn, optionNames } from "./define.js";

type Unary = (x: number) => number;
type Binary = (a: number, b: number) => number;
type NanOptions = {
  /** NaN if an operand is NaN; by default the other operand wins. */
  propagateNan?: boolean;
};

/** A float, or a literal made one. */
function floatArg(cx: Context, v: Val, what: string): Value {
  if (isUntyped(v)) return literalAs(cx, v instanceof Soft ? new Soft("float") : Number(v), "f32");
  const x = toValue(cx, v, `the argument of ${what}`);
  if (!isFloat(typeOf(x).dtype))
    cx.fail(`${what} takes floats, not ${describe(v)}`, `Cast first: ${what}(tl.cast(x, tl.f32)).`);
  return x;
}

const unary = (opcode: string, fold?: (x: number) => number) =>
  fn<Unary>("x", (cx, [x]) => {
    if (fold && isNumeric(x)) return fold(Number(x));
    if (x instanceof Soft) return new Soft("float");
    return cx.b.value(opcode, [floatArg(cx, x, `tl.${opcode}`)]);
  });

/** Operands brought together; undefined where both are literals. */
function pair(cx: Context, args: readonly Val[], what: string): Value[] | undefined {
  for (const v of args) if (v instanceof Pointer) cx.fail(`${what} does not take ${describe(v)}`);
  if (args.every(isUntyped)) return undefined;
  for (const v of args) if (!isUntyped(v)) toValue(cx, v, `an argument of ${what}`);
  return unify(cx, args, what);
}

const soft = (args: readonly Val[]): Soft =>
  new Soft(args.some((v) => isUntyped(v) && kindOf(v) === "float") ? "float" : "int");

const extreme = (opcode: "max" | "min", what: string) =>
  fn<(a: number, b: number, options?: NanOptions) => number>("a, b, options?", (cx, [a, b, options]) => {
    optionNames(cx, options, what, ["propagateNan"]);
    const nan = flag(cx, options, "propagateNan") ? "propagate" : "ignore";
    if (isNumeric(a) && isNumeric(b))
      return opcode === "max" ? Math.max(Number(a), Number(b)) : Math.min(Number(a), Number(b));
    const both = pair(cx, [a, b], what);
    return both ? cx.b.value(opcode, both, { nan }) : soft([a, b]);
  });

/** Integer operands of a division that rounds. */
function integerDivision(
  cx: Context,
  a: Val,
  b: Val,
  what: string,
  fold: (x: number) => number,
  float: string,
  /** 1 where the truncated quotient must be corrected, given the remainder and the divisor. */
  fix: (remainder: Value, divisor: Value, signed: boolean) => Value,
  by: "add" | "sub",
): Val {
  if (isNumeric(a) && isNumeric(b)) return fold(Number(a) / Number(b));
  const both = pair(cx, [a, b], what);
  if (!both) return new Soft("int");
  const [x, y] = both as [Value, Value];
  const { dtype } = typeOf(x);
  if (isFloat(dtype)) return cx.b.value(float, [cx.b.value("div", [x, y])]);
  if (dtype === "bool") cx.fail(`${what} takes numbers, not ${describe(a)} and ${describe(b)}`);
  const q = cx.b.value("div", [x, y]);
  const signed = dtype.startsWith("i");
  if (by === "sub" && !signed) return q;
  const wrong = fix(cx.b.value("rem", [x, y]), y, signed);
  return cx.b.value(by, [q, cx.b.cast(wrong, dtype)]);
}

const zeroLike = (cx: Context, v: Value): Value => cx.b.constant(0, typeOf(v).dtype, typeOf(v).shape);
const nonZero = (cx: Context, v: Value): Value => cx.b.value("cmp", [v, zeroLike(cx, v)], { pred: "ne" });
const signsDiffer = (cx: Context, a: Value, b: Value, pred: "lt" | "ge"): Value =>
  cx.b.value("cmp", [cx.b.value("xor", [a, b]), zeroLike(cx, a)], { pred });

/** A division of floats, and of nothing else. */
function quotient(cx: Context, a: Val, b: Val, what: string): Val {
  for (const v of [a, b])
    if (!isUntyped(v) && !isFloat(typeOf(toValue(cx, v, `an argument of ${what}`)).dtype))
      cx.fail(`${what} takes floats, not ${describe(v)}`, "Use tl.div, tl.floorDiv or tl.cdiv.");
  return binary(cx, "/", a, b);
}

export const math = {
  /** e to the power of x. Floats. */
  exp: unary("exp", Math.exp),
  /** 2 to the power of x. Floats. */
  exp2: unary("exp2", (x) => 2 ** x),
  /** 2 to the power of x, in f32 to about 2^-22, by the chip's instruction where it has one: results under 2^-126 may be 0, from 2^127.5 on infinity. f64 as {@link exp2}. Floats. */
  exp2Approx: unary("exp2Approx", (x) => 2 ** x),
  /** e to the power of x, minus 1; exact near 0. Floats. */
  expm1: unary("expm1", Math.expm1),
  /** The natural logarithm. Floats. */
  log: unary("log", Math.log),
  /** The logarithm to base 2. Floats. */
  log2: unary("log2", Math.log2),
  /** The logarithm to base 10. Floats. */
  log10: unary("log10", Math.log10),
  /** The natural logarithm of 1 + x; exact near 0. Floats. */
  log1p: unary("log1p", Math.log1p),
  /** The sine of x in radians. Floats. */
  sin: unary("sin", Math.sin),
  /** The cosine of x in radians. Floats. */
  cos: unary("cos", Math.cos),
  /** The tangent of x in radians. Floats. */
  tan: unary("tan", Math.tan),
  /** The hyperbolic tangent. Floats. */
  tanh: unary("tanh", Math.tanh),
  /** The error function. Floats. */
  erf: unary("erf"),
  /** The square root. Floats. */
  sqrt: unary("sqrt", Math.sqrt),
  /** 1 / sqrt(x). Floats. */
  rsqrt: unary("rsqrt", (x) => 1 / Math.sqrt(x)),
  /** The largest integer that is not above x, as a float. */
  floor: unary("floor", Math.floor),
  /** The smallest integer that is not below x, as a float. */
  ceil: unary("ceil", Math.ceil),
  /** x without its fraction, as a float. */
  trunc: unary("trunc", Math.trunc),
  /** The nearest integer, ties to even, as a float. */
  round: unary("round"),
  /** 1 / (1 + exp(-x)). Floats. */
  sigmoid: fn<Unary>("x", (cx, [v]) => {
    const x = floatArg(cx, v, "tl.sigmoid");
    if (cx.b.rounds) return cx.b.value("sigmoidApprox", [x]);
    const one = literalAs(cx, 1, typeOf(x).dtype, typeOf(x).shape);
    const e = cx.b.value("exp", [cx.b.value("neg", [x])]);
    return cx.b.value("div", [one, cx.b.value("add", [one, e])]);
  }),
  /** The absolute value. */
  abs: fn<Unary>("x", (cx, [x]) => {
    if (isNumeric(x)) return typeof x === "bigint" ? (x < 0n ? -x : x) : Math.abs(Number(x));
    if (x instanceof Soft) return x;
    return cx.b.value("abs", [toValue(cx, x, "the argument of tl.abs")]);
  }),
  /** x to the power of y; the same as `x ** y`. Floats. */
  pow: fn<Binary>("x, y", (cx, [x, y]) => binary(cx, "**", x, y)),
  /** a * b + c; chips may round once. Floats. */
  fma: fn<(a: number, b: number, c: number) => number>("a, b, c", (cx, args) => {
    const all = pair(cx, args, "tl.fma");
    if (!all) return binary(cx, "+", binary(cx, "*", args[0], args[1]), args[2]);
    if (!isFloat(typeOf(all[0]!).dtype))
      cx.fail(`tl.fma takes floats, not ${args.map(describe).join(", ")}`, "Write a * b + c.");
    return cx.b.value("fma", all);
  }),
  /** The larger of two values. If one is NaN, the other, unless `{ propagateNan: true }`. */
  maximum: extreme("max", "tl.maximum"),
  /** The smaller of two values. If one is NaN, the other, unless `{ propagateNan: true }`. */
  minimum: extreme("min", "tl.minimum"),
  /** x, but at least `low` and at most `high`. NaN becomes `low`, unless `{ propagateNan: true }`. */
  clamp: fn<(x: number, low: number, high: number, options?: NanOptions) => number>(
    "x, low, high, options?",
    (cx, [x, low, high, options]) => minimumOf(cx, maximumOf(cx, x, low, options), high, options),
  ),
  /**
   * `a` where the condition is true, else `b`, element by element; all three broadcast. Both sides are computed.
   * @example tl.where(at < n, v, -Infinity)
   */
  where: fn<
    <T extends number | boolean>(condition: boolean, a: T, b: T) => T extends boolean ? boolean : number
  >("condition, a, b", (cx, [condition, a, b]) => {
    const c = truth(cx, condition, "the condition of tl.where");
    if (typeof c === "boolean") return c ? a : b;
    return select(cx, c, a, b, "tl.where");
  }),
  /** a / b rounded down (towards minus infinity). Integers stay integers. */
  floorDiv: fn<Binary>("a, b", (cx, [a, b]) =>
    integerDivision(
      cx,
      a,
      b,
      "tl.floorDiv",
      Math.floor,
      "floor",
      (r, y) => cx.b.value("and", [nonZero(cx, r), signsDiffer(cx, r, y, "lt")]),
      "sub",
    ),
  ),
  /** a / b rounded up. Integers stay integers. */
  cdiv: fn<Binary>("a, b", (cx, [a, b]) =>
    integerDivision(
      cx,
      a,
      b,
      "tl.cdiv",
      Math.ceil,
      "ceil",
      (r, y, signed) =>
        signed ? cx.b.value("and", [nonZero(cx, r), signsDiffer(cx, r, y, "ge")]) : nonZero(cx, r),
      "add",
    ),
  ),
  /** True division: a float, also of integers (f32). */
  div: fn<Binary>("a, b", (cx, [a, b]) => {
    if (isUntyped(a) && isUntyped(b)) return binary(cx, "/", a, b);
    const [x, y] = pair(cx, [a, b], "tl.div") as [Value, Value];
    return isFloat(typeOf(x).dtype)
      ? cx.b.value("div", [x, y])
      : cx.b.value("div", [cx.b.cast(x, "f32"), cx.b.cast(y, "f32")]);
  }),
  /** a / b of floats, rounded to nearest even: what `/` does here on every chip. */
  divRn: fn<Binary>("a, b", (cx, [a, b]) => quotient(cx, a, b, "tl.divRn")),
  /** a / b of floats; never less exact than {@link divRn}. */
  fdiv: fn<Binary>("a, b", (cx, [a, b]) => quotient(cx, a, b, "tl.fdiv")),
  /** The square root of floats, rounded to nearest even: what {@link sqrt} does here on every chip. */
  sqrtRn: unary("sqrt", Math.sqrt),
  /** The remainder of a / b with the sign of a; the same as `a % b`. */
  rem: fn<Binary>("a, b", (cx, [a, b]) => binary(cx, "%", a, b)),
  /** The upper half of the product of two unsigned integers (of 32 or 64 bits). */
  umulhi: fn<Binary>("a, b", (cx, [a, b]) => {
    const both = pair(cx, [a, b], "tl.umulhi") ?? [a, b].map((v) => fitTo(cx, v, "u32", [], "tl.umulhi"));
    const { dtype } = typeOf(both[0]!);
    if (dtype === "u32" || dtype === "u64") return cx.b.value("mulhi", both);
    if (dtype !== "i32" && dtype !== "i64")
      return cx.fail(`tl.umulhi takes integers of 32 or 64 bits, not ${showType(both[0]!.type)}`);
    const unsigned = dtype === "i32" ? "u32" : "u64";
    const bits = both.map((v) => cx.b.value("bitcast", [v], { dtype: unsigned }));
    return cx.b.value("bitcast", [cx.b.value("mulhi", bits)], { dtype });
  }),
  /** Where x is NaN: a mask. */
  isnan: fn<(x: number) => boolean>("x", (cx, [x]) => {
    if (isNumeric(x)) return Number.isNaN(x);
    const v = toValue(cx, x, "the argument of tl.isnan");
    return cx.b.value("cmp", [v, v], { pred: "ne" });
  }),
};

const maximumOf = (cx: Context, a: Val, b: Val, o: Val): Val =>
  extreme("max", "tl.clamp").lower(cx, [a, b, o]);
const minimumOf = (cx: Context, a: Val, b: Val, o: Val): Val =>
  extreme("min", "tl.clamp").lower(cx, [a, b, o]);
