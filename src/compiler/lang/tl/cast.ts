// Functions of `tl` that change a value's dtype: by value, with roundings and saturation, and by bits.
// The IR's `cast` rounds to nearest even and does not saturate; the other ways are made of it and arithmetic here, so
// that every chip has them.

import { DTYPES, type DType, F8_MAX, isFloat, isInt, isNarrowFloat } from "../../ir/index.js";
import type { Value } from "../../ir/index.js";
import { isLossless } from "../../ir/ops/arith-fold.js";
import { literalAs, toValue, typeOf } from "../coerce.js";
import type { Context } from "../context.js";
import { isNumeric, Soft } from "../value.js";
import { dtypeArg, flag, fn, option, optionNames, word } from "./define.js";

/** The largest finite value of a float dtype narrower than f64. */
const LARGEST: Partial<Record<DType, number>> = {
  ...F8_MAX,
  f16: 65504,
  bf16: 255 * 2 ** 120,
  f32: (2 ** 24 - 1) * 2 ** 104,
};

/** The value as a float of at least 32 bits that holds all of its dtype (of 64-bit integers the upper 53 bits). */
function inWideFloat(cx: Context, v: Value): Value {
  const { dtype } = typeOf(v);
  if (isFloat(dtype)) return cx.b.cast(v, isNarrowFloat(dtype) ? "f32" : dtype);
  return cx.b.cast(v, DTYPES[dtype].bits < 32 ? "f32" : "f64");
}

/** Infinities and what is too large for `to` become its largest values; NaN stays. */
function saturated(cx: Context, v: Value, to: DType): Value {
  const most = LARGEST[to];
  if (most === undefined) return v;
  const wide = inWideFloat(cx, v);
  const { dtype, shape } = typeOf(wide);
  const limit = (x: number): Value => cx.b.constant(x, dtype, shape);
  const nan = { nan: "propagate" };
  return cx.b.value("max", [cx.b.value("min", [wide, limit(most)], nan), limit(-most)], nan);
}

/** A cast to a float that never leaves zero: where rounding did, one step back. */
function towardsZero(cx: Context, v: Value, to: DType): Value {
  if (to === "f64" || isLossless(typeOf(v).dtype, to)) return cx.b.cast(v, to);
  const wide = inWideFloat(cx, v);
  const { dtype: kind, shape } = typeOf(wide);
  const magnitude = (x: Value): Value => cx.b.value("abs", [x]);
  // f8e4m3 has no infinity to step back from.
  const finite = to === "f8e4m3" ? saturated(cx, wide, to) : wide;
  const nearest = cx.b.cast(finite, to);
  const left = cx.b.value("cmp", [magnitude(cx.b.cast(nearest, kind)), magnitude(wide)], { pred: "gt" });
  const dtype = ({ 8: "u8", 16: "u16", 32: "u32" } as const)[DTYPES[to].bits as 8 | 16 | 32];
  const bits = cx.b.value("bitcast", [nearest], { dtype });
  const back = cx.b.value("sub", [bits, cx.b.constant(1, dtype, shape)]);
  const result = cx.b.value("select", [left, cx.b.value("bitcast", [back], { dtype: to }), nearest]);
  if (to !== "f8e4m3") return result;
  const infinite = cx.b.value(
    "cmp",
    [magnitude(wide), cx.b.constant(Number.POSITIVE_INFINITY, kind, shape)],
    { pred: "eq" },
  );
  return cx.b.value("select", [infinite, cx.b.constant(Number.NaN, to, shape), result]);
}

type CastOptions = {
  /** Towards the nearest value, ties to even (default), or towards zero. */
  rounding?: "rtne" | "rtz";
  /** Too large values and infinities become the largest finite value of a narrower float, as in Triton's casts to f8. */
  saturate?: boolean;
};

export const casts = {
  /**
   * The value in another dtype. Between floats: rounded to nearest even, or towards zero for `{ rounding: "rtz" }`; too
   * large values become infinity (in f8e4m3, which has none, NaN), or the largest finite value for `{ saturate: true }`.
   * Float to integer: truncated. To `tl.bool`: whether it is not 0.
   * @example tl.cast(mask, tl.f32)
   * @example tl.cast(v, tl.f8e4m3, { saturate: true })
   */
  cast: fn<(x: number | boolean, dtype: DType, options?: CastOptions) => number>(
    "x, dtype, options?",
    (cx, [x, dtype, options]) => {
      const to = dtypeArg(cx, dtype, "the dtype of tl.cast");
      optionNames(cx, options, "tl.cast", ["rounding", "saturate"]);
      const how = word(
        cx,
        option(cx, options, "rounding"),
        "the rounding of tl.cast",
        ["rtne", "rtz"],
        "rtne",
      );
      const saturate = flag(cx, options, "saturate");
      if ((how === "rtz" || saturate) && isFloat(to) && !(x instanceof Soft)) {
        let v = isNumeric(x) ? literalAs(cx, Number(x), "f64") : toValue(cx, x, "the argument of tl.cast");
        if (typeOf(v).dtype === to) return v;
        if (saturate) v = saturated(cx, v, to);
        return how === "rtz" ? towardsZero(cx, v, to) : cx.b.cast(v, to);
      }
      if (isNumeric(x)) {
        if (to === "bool") return cx.b.constant(Boolean(x), "bool");
        const n = typeof x === "boolean" ? Number(x) : x;
        return literalAs(cx, isInt(to) && typeof n === "number" ? Math.trunc(n) : n, to);
      }
      if (x instanceof Soft) return literalAs(cx, new Soft(to === "bool" ? "bool" : "int"), to);
      return cx.b.cast(toValue(cx, x, "the argument of tl.cast"), to);
    },
  ),
  /** The same bits as another dtype of the same width. */
  bitcast: fn<(x: number, dtype: DType) => number>("x, dtype", (cx, [x, dtype]) => {
    const to = dtypeArg(cx, dtype, "the dtype of tl.bitcast");
    const v = toValue(cx, x, "the argument of tl.bitcast");
    return typeOf(v).dtype === to ? v : cx.b.value("bitcast", [v], { dtype: to });
  }),
};
