// The matrix products of `tl`: `dot`, also of batches, and `dotScaled` of operands with scales per block.
// The IR has the product of two matrices; batches and scales are made of it and other ops, so that every chip has them.

import { type DType, isF8, isFloat, showType, type TileType, tile, type Value } from "../../ir/index.js";
import { dotAccumulator } from "../../ir/ops/reduce.js";
import { broadcast, fitTo, typeOf } from "../coerce.js";
import type { Context } from "../context.js";
import { isUntyped, type Val } from "../value.js";
import { stack } from "./arrange.js";
import { dtypeArg, flag, fn, option, optionNames, tileArg, word } from "./define.js";
import { countAlong, reshape, shapeOf, take } from "./elements.js";

type DotOptions = {
  /** How f32 operands may be rounded: `"tf32"` allows 10 bits of mantissa, `"tf32x3"` three such products. Default `"ieee"`. */
  inputPrecision?: "ieee" | "tf32" | "tf32x3";
  /** The dtype of the result and of `acc`: f32 (default) or f16 for floats. Sums are kept in f32 and rounded at the end. */
  outDtype?: DType;
};

/** The attributes of the op. */
type DotHow = { readonly precision: string; readonly subnormals?: boolean };

/** What a product of two tiles gives, after checking that they fit. */
function productType(cx: Context, s: TileType, t: TileType, what: string): TileType {
  const [m, k] = s.shape.slice(-2);
  const [k2, n] = t.shape.slice(-2);
  const batch = s.shape.slice(0, -2);
  const rank = s.shape.length;
  const fits = (rank === 2 || rank === 3) && rank === t.shape.length && batch[0] === t.shape.slice(0, -2)[0];
  if (!fits || k !== k2)
    cx.fail(
      `${what} needs [M,K] and [K,N], or [B,M,K] and [B,K,N], not ${showType(s)} and ${showType(t)}`,
      "tl.trans turns a tile over.",
    );
  if ((s.dtype !== t.dtype && !(isF8(s.dtype) && isF8(t.dtype))) || s.dtype === "bool")
    cx.fail(
      `${what} needs two tiles of one number dtype (or two of f8e4m3 and f8e5m2), not ${showType(s)} and ${showType(t)}`,
      "Cast one with tl.cast.",
    );
  return tile(dotAccumulator(s.dtype), [...batch, m!, n!]);
}

/** `a @ b + acc` in the accumulator's dtype, batch by batch. */
function product(cx: Context, a: Value, b: Value, acc: Value, how: DotHow): Value {
  const { shape } = typeOf(acc);
  const one = (x: Value, y: Value, z: Value): Value => cx.b.value("dot", [x, y, z], how);
  if (shape.length === 2) return one(a, b, acc);
  const count = shape[0]!;
  const matrix = (v: Value, i: number): Value => {
    const [rows, columns] = shapeOf(v).slice(-2) as [number, number];
    if (count === 1) return reshape(cx, v, [rows, columns]);
    return take(cx, v, [rows, columns], i * rows * columns, [columns, 1]);
  };
  const back = (v: Value): Value => cx.b.value("expandDims", [v], { axis: 0 });
  const parts = Array.from({ length: count }, (_, i) => one(matrix(a, i), matrix(b, i), matrix(acc, i)));
  let result = broadcast(cx, back(parts[0]!), shape, "a product");
  const which = broadcast(cx, countAlong(cx, 0, shape), shape, "an index");
  for (let i = 1; i < count; i++) {
    const own = cx.b.value("cmp", [which, cx.b.constant(i, "i32", shape)], { pred: "eq" });
    result = cx.b.value("select", [own, broadcast(cx, back(parts[i]!), shape, "a product"), result]);
  }
  return result;
}

/** The product with the accumulator and the result's dtype that the author asked for. */
function finished(
  cx: Context,
  a: Value,
  b: Value,
  acc: Val,
  outDtype: Val,
  how: DotHow,
  what: string,
): Value {
  const { dtype, shape } = productType(cx, typeOf(a), typeOf(b), what);
  const out = outDtype === undefined ? dtype : dtypeArg(cx, outDtype, `outDtype of ${what}`);
  if (isFloat(out) !== isFloat(dtype))
    cx.fail(`outDtype of ${what} is ${out}, but the product is ${dtype}`, "Cast the result with tl.cast.");
  const given: Val = acc === undefined ? 0 : acc;
  if (!isUntyped(given)) {
    const c = tileArg(cx, given, `the accumulator of ${what}`);
    if (showType(c.type) !== showType(tile(out, shape)))
      cx.fail(
        `the accumulator of ${what} is ${showType(c.type)}, but the product is ${out}[${shape.join(",")}]`,
        `Start it with tl.zeros([${shape.join(", ")}], tl.${out}).`,
      );
  }
  return cx.b.cast(product(cx, a, b, fitTo(cx, given, dtype, shape, `the accumulator of ${what}`), how), out);
}

const FORMATS = ["e4m3", "e5m2", "e2m1", "bf16", "fp16"] as const;
type Format = (typeof FORMATS)[number];

/** Elements in f32: the values that the bits of a format mean. `axis` is where two e2m1 stand in one byte. */
function decoded(cx: Context, v: Value, format: Format, axis: number, what: string): Value {
  const { dtype, shape } = typeOf(v);
  const b = cx.b;
  const want = { e4m3: "f8e4m3", e5m2: "f8e5m2", e2m1: "u8", bf16: "bf16", fp16: "f16" } as const;
  const bytes = dtype === "u8" || dtype === "i8";
  if (dtype !== want[format] && !(bytes && (format === "e4m3" || format === "e5m2" || format === "e2m1")))
    cx.fail(`${what} is ${showType(v.type)}, but its format is "${format}": it must be ${want[format]}`);
  if (format !== "e2m1")
    return b.cast(dtype === want[format] ? v : b.value("bitcast", [v], { dtype: want[format] }), "f32");
  const code = dtype === "u8" ? v : b.value("bitcast", [v], { dtype: "u8" });
  const int = (x: number, d: DType, s: readonly number[]): Value => b.constant(x, d, s);
  const low = b.value("and", [code, int(15, "u8", shape)]);
  const high = b.value("ushr", [code, int(4, "u8", shape)]);
  const long = shape.map((d, i) => (i === axis ? 2 * d : d));
  const all = b.cast(reshape(cx, stack(cx, low, high, axis + 1), long), "u16");
  // Exponent and mantissa stand one below the other as in f16, whose exponents are 14 larger; the sign goes to the top.
  const magnitude = b.value("shl", [b.value("and", [all, int(7, "u16", long)]), int(9, "u16", long)]);
  const sign = b.value("shl", [b.value("and", [all, int(8, "u16", long)]), int(12, "u16", long)]);
  const half = b.value("bitcast", [b.value("or", [magnitude, sign])], { dtype: "f16" });
  return b.value("mul", [b.cast(half, "f32"), b.constant(2 ** 14, "f32", long)]);
}

/** Scales in f32: powers of two from their exponents (e8m0; 255 is NaN), or f8e4m3 numbers. */
function scaleValues(cx: Context, v: Value, checkNan: boolean, what: string): Value {
  const { dtype, shape } = typeOf(v);
  if (dtype === "f8e4m3") return cx.b.cast(v, "f32");
  if (dtype !== "u8")
    cx.fail(`${what} is ${showType(v.type)}, but must be u8 exponents (e8m0) or f8e4m3 numbers`);
  const int = (x: number): Value => cx.b.constant(x, "i32", shape);
  const is = (x: number): Value => cx.b.value("cmp", [exponent, int(x)], { pred: "eq" });
  const exponent = cx.b.cast(v, "i32");
  let bits = cx.b.value("shl", [exponent, int(23)]);
  // 2^-127 is below the normal numbers.
  bits = cx.b.value("select", [is(0), int(0x400000), bits]);
  if (checkNan) bits = cx.b.value("select", [is(255), int(0x7fc00000), bits]);
  return cx.b.value("bitcast", [bits], { dtype: "f32" });
}

/** An operand of `dotScaled` with its scales applied; `axis` is the dimension K. */
function scaledOperand(
  cx: Context,
  side: "lhs" | "rhs",
  [x, scale, format]: readonly [Val, Val, Val],
  kPack: boolean,
  fastMath: boolean,
): { value: Value; format: Format } {
  const what = `${side} of tl.dotScaled`;
  const v = tileArg(cx, x, what);
  if (shapeOf(v).length !== 2) cx.fail(`${what} must be a matrix, not ${showType(v.type)}`);
  const f = word(cx, format, `the format of ${what}`, FORMATS, "bf16");
  if (format === undefined) cx.fail(`${what} needs a format: ${FORMATS.map((w) => `"${w}"`).join(", ")}`);
  const axis = side === "lhs" ? 1 : 0;
  const value = decoded(cx, v, f, kPack ? axis : 1 - axis, what);
  if (scale === undefined) return { value, format: f };
  const s = tileArg(cx, scale, `the scale of ${what}`);
  const shape = shapeOf(value);
  const group = typeOf(s).dtype === "f8e4m3" ? 16 : 32;
  const want = [shape[1 - axis]!, shape[axis]! / group];
  if (String(shapeOf(s)) !== String(want))
    cx.fail(
      `the scale of ${what} is ${showType(s.type)}, but [${want.join(",")}] is needed`,
      `One scale serves ${group} elements along K; scales of both sides are [rows or columns, K / ${group}].`,
    );
  let factors = scaleValues(cx, s, !fastMath, `the scale of ${what}`);
  if (axis === 0) factors = cx.b.value("permute", [factors], { order: [1, 0] });
  const grouped = shape.flatMap((d, i) => (i === axis ? [d / group, group] : [d]));
  const wide = cx.b.value("expandDims", [factors], { axis: axis + 1 });
  return {
    value: cx.b.value("mul", [value, reshape(cx, broadcast(cx, wide, grouped, what), shape)]),
    format: f,
  };
}

export const products = {
  /**
   * The matrix product of `a [M,K]` and `b [K,N]`, plus `acc [M,N]` where given; or of batches of them, `[B,M,K]` and
   * `[B,K,N]`. Operands have one dtype, or each one of the floats of 8 bits. The result is f32 for floats (f64 for f64)
   * and i32 for integers (i64 for i64), or `outDtype`. Products of bf16 may take bf16 operands, and sums, below the smallest
   * normal number (1.2e-38) as 0, and round in f32 after each product or after two: AVX512-BF16, AMX and arm64's `bfdot` do, which
   * PyTorch's products of bf16 use too.
   * @example acc = tl.dot(tl.load(a), tl.load(b), acc);
   */
  dot: fn<(a: number, b: number, acc?: number, options?: DotOptions) => number>(
    "a, b, acc?, options?",
    (cx, [x, y, acc, options]) => {
      optionNames(cx, options, "tl.dot", ["inputPrecision", "outDtype"]);
      const a = tileArg(cx, x, "the first argument of tl.dot");
      const b = tileArg(cx, y, "the second argument of tl.dot");
      const precision = word(
        cx,
        option(cx, options, "inputPrecision"),
        "inputPrecision of tl.dot",
        ["ieee", "tf32", "tf32x3"],
        "ieee",
      );
      return finished(cx, a, b, acc, option(cx, options, "outDtype"), { precision }, "tl.dot");
    },
  ),
  /**
   * The matrix product of operands in a microscaling format, plus `acc [M,N]` where given: `lhs [M,K]` and `rhs [K,N]`,
   * with scales `lhsScale [M,K/32]` and `rhsScale [N,K/32]` (or `undefined`: none). Scales are u8 exponents of two
   * (e8m0: 2 to the power of s - 127, 255 is NaN); f8e4m3 scales serve 16 elements each.
   *
   * Formats: `"e4m3"` and `"e5m2"` (an f8 dtype, or u8 bits), `"e2m1"` (u8, two in one byte along K, the lower
   * half first), `"bf16"`, `"fp16"`. With `lhsKPack` or `rhsKPack` false the two e2m1 of a byte stand along M or N.
   * Scaled operands are rounded to bf16 (f32 where one is fp16), which is exact for formats of 8 bits and fewer. The result is f32.
   *
   * Formats: OCP Microscaling Formats (MX) Specification 1.0.
   * @example acc = tl.dotScaled(a, aScale, "e2m1", b, bScale, "e4m3", acc);
   */
  dotScaled: fn<
    (
      lhs: number,
      lhsScale: number | undefined,
      lhsFormat: Format,
      rhs: number,
      rhsScale: number | undefined,
      rhsFormat: Format,
      acc?: number,
      options?: {
        outDtype?: DType;
        lhsKPack?: boolean;
        rhsKPack?: boolean;
        /** Scales are never NaN. */
        fastMath?: boolean;
      },
    ) => number
  >(
    "lhs, lhsScale, lhsFormat, rhs, rhsScale, rhsFormat, acc?, options?",
    (cx, [lhs, lhsScale, lhsFormat, rhs, rhsScale, rhsFormat, acc, options]) => {
      optionNames(cx, options, "tl.dotScaled", ["outDtype", "lhsKPack", "rhsKPack", "fastMath"]);
      const fast = flag(cx, options, "fastMath");
      const packed = (name: string): boolean =>
        option(cx, options, name) === undefined || flag(cx, options, name);
      const a = scaledOperand(cx, "lhs", [lhs, lhsScale, lhsFormat], packed("lhsKPack"), fast);
      const b = scaledOperand(cx, "rhs", [rhs, rhsScale, rhsFormat], packed("rhsKPack"), fast);
      const dtype = a.format === "fp16" || b.format === "fp16" ? "f32" : "bf16";
      return finished(
        cx,
        cx.b.cast(a.value, dtype),
        cx.b.cast(b.value, dtype),
        acc,
        option(cx, options, "outDtype"),
        // A scale may make an operand tiny that the other side's makes large again.
        { precision: "ieee", subnormals: true },
        "tl.dotScaled",
      );
    },
  ),
};
