// Functions of `tl` that order and count elements: the op `sort` over ordered integers, and counts by comparison.
//
// Floats are sorted by their bits, mapped so that integers compare as the floats do: -0 before +0, NaN behind +∞.

import { DTYPES, type DType, isFloat, isInt, type Value } from "../../ir/index.js";
import { broadcast, toValue, typeOf } from "../coerce.js";
import type { Context } from "../context.js";
import { describe, isList, type Val } from "../value.js";
import { axisArg, dimension, dtypeArg, fn, maskArg, option, optionNames, tileArg } from "./define.js";
import { countAlong, shapeOf } from "./elements.js";

const fill = (cx: Context, v: Value, x: number | bigint): Value =>
  cx.b.constant(x, typeOf(v).dtype, shapeOf(v));

/** The integers that stand for a dtype when it is ordered. */
const KEYS: Partial<Record<DType, DType>> = { bool: "u8", f16: "i16", bf16: "i16", f32: "i32", f64: "i64" };

/** Floats as integers of their width that compare as they do; integers as they are. */
function toKeys(cx: Context, v: Value): Value {
  const d = typeOf(v).dtype;
  const to = KEYS[d];
  if (!to) return v;
  if (!isFloat(d)) return cx.b.cast(v, to);
  const bits = cx.b.value("bitcast", [v], { dtype: to });
  const isNan = cx.b.value("cmp", [v, v], { pred: "ne" });
  return cx.b.value("select", [isNan, fill(cx, bits, most(to)), flipped(cx, bits)]);
}
const most = (d: DType): number | bigint => (d === "i64" ? 2n ** 63n - 1n : 2 ** (DTYPES[d].bits - 1) - 1);
/** All bits but the sign of negative numbers turned over: undoes itself. */
function flipped(cx: Context, bits: Value): Value {
  const d = typeOf(bits).dtype;
  const sign = cx.b.value("shr", [bits, fill(cx, bits, DTYPES[d].bits - 1)]);
  return cx.b.value("xor", [bits, cx.b.value("and", [sign, fill(cx, bits, most(d))])]);
}
const fromKeys = (cx: Context, keys: Value, d: DType): Value =>
  isFloat(d) ? cx.b.value("bitcast", [flipped(cx, keys)], { dtype: d }) : cx.b.cast(keys, d);

/** The first `limit` elements (default: all) along an axis in order; lists are sorted by their first tile. */
function sorted(cx: Context, x: Val, along: Val, limit: Val, descending: Val, what: string): Val {
  const tiles = (isList(x) ? x : [x]).map((v) => tileArg(cx, v, `an operand of ${what}`));
  const [first] = tiles;
  if (!first) return cx.fail(`${what} needs a tile, or a list of tiles`);
  const shape = shapeOf(first);
  for (const v of tiles)
    if (String(shapeOf(v)) !== String(shape))
      cx.fail(`the operands of ${what} have one shape, not ${describe(first)} and ${describe(v)}`);
  const axis = axisArg(cx, along ?? -1, shape.length, `the axis of ${what}`);
  const count = limit === undefined ? shape[axis]! : dimension(cx, limit, `the k of ${what}`);
  if (count > shape[axis]!) cx.fail(`${what}: k is ${count}, but the axis has ${shape[axis]} elements`);
  if (typeof descending !== "boolean")
    cx.fail(`the order of ${what} must be known at compile time, but it is ${describe(descending)}`);
  const { dtype } = typeOf(first);
  const attrs = { axis, descending, limit: count };
  const { results } = cx.b.create("sort", [toKeys(cx, first), ...tiles.slice(1)], attrs);
  const list = [fromKeys(cx, results[0]!, dtype), ...results.slice(1)];
  return isList(x) ? list : list[0];
}

type Tiles = number | boolean | readonly (number | boolean)[];
type SortOptions = {
  /** The largest first. */
  descending?: boolean;
};
type TopkOptions = {
  /** Default true; false: the smallest, in ascending order. */
  largest?: boolean;
};

export const orders = {
  /**
   * The elements in ascending order along an axis (default: the last). NaN counts as larger than +∞ and -0 as smaller
   * than +0; equal elements keep their order. Several tiles are sorted together, by the first of them.
   * @example const [sorted, from] = tl.sort([v, tl.arange(0, N)], 0, { descending: true });
   */
  sort: fn<<T extends Tiles>(x: T, axis?: number, options?: SortOptions) => T>(
    "x, axis?, options?",
    (cx, [x, axis, options]) => {
      optionNames(cx, options, "tl.sort", ["descending"]);
      return sorted(cx, x, axis, undefined, option(cx, options, "descending") ?? false, "tl.sort");
    },
  ),
  /**
   * The `k` largest elements in descending order along an axis (default: the last), which becomes `k` long; `k` is a
   * power of two known at compile time. NaN counts as larger than +∞; of equal elements the first ones are taken, in
   * their order. Of several tiles the elements at the places that the first one decides.
   * @example const [best, at] = tl.topk([scores, tl.arange(0, N)], 8);
   */
  topk: fn<<T extends Tiles>(x: T, k: number, axis?: number, options?: TopkOptions) => T>(
    "x, k, axis?, options?",
    (cx, [x, k, axis, options]) => {
      optionNames(cx, options, "tl.topk", ["largest"]);
      return sorted(cx, x, axis, k, option(cx, options, "largest") ?? true, "tl.topk");
    },
  ),
  /**
   * Integers that compare as the elements do when they are sorted: for floats signed integers of the same width with
   * NaN as the largest, integers as they are, bool as u8. What a kernel needs that sorts by digits.
   */
  sortKey: fn<(x: number | boolean) => number>("x", (cx, [x]) =>
    toKeys(cx, toValue(cx, x, "the argument of tl.sortKey")),
  ),
  /** Undoes {@link sortKey} for elements of `dtype`; every NaN becomes the same one. */
  fromSortKey: fn<(keys: number, dtype: DType) => number>("keys, dtype", (cx, [keys, dtype]) => {
    const d = dtypeArg(cx, dtype, "the dtype of tl.fromSortKey");
    const v = toValue(cx, keys, "the argument of tl.fromSortKey");
    const want = KEYS[d] ?? d;
    if (typeOf(v).dtype !== want)
      cx.fail(`tl.fromSortKey takes keys of ${want} for ${d}, not ${describe(v)}`);
    return fromKeys(cx, v, d);
  }),
  /**
   * Orders tiles `[N]` by integer keys `[N]`, all of which must be from 0 to `bins - 1` (a power of two known at compile time); equal
   * keys keep their order. Gives a list: how often each key occurs, how many keys are smaller than each (both i32 `[bins]`), then
   * the tiles in their order.
   * @example const [counts, starts, sorted] = tl.countingSort(words & 255, [words], 256);
   */
  countingSort: fn<(keys: number, values: readonly number[], bins: number) => readonly number[]>(
    "keys, values, bins",
    (cx, [keys, values, bins]) => {
      const what = "tl.countingSort";
      const k = tileArg(cx, keys, `the keys of ${what}`);
      const shape = shapeOf(k);
      if (shape.length !== 1 || !isInt(typeOf(k).dtype))
        cx.fail(`the keys of ${what} are a tile [N] of integers, not ${describe(k)}`);
      if (values === undefined || !isList(values)) return cx.fail(`${what} takes a list of tiles`);
      const tiles = values.map((v) => tileArg(cx, v, `an operand of ${what}`));
      for (const v of tiles)
        if (String(shapeOf(v)) !== String(shape))
          cx.fail(`the operands of ${what} have one shape, not ${describe(k)} and ${describe(v)}`);
      const count = dimension(cx, bins, `the bins of ${what}`);
      return [...cx.b.create("countingSort", [cx.b.cast(k, "i32"), ...tiles], { bins: count }).results];
    },
  ),
  /**
   * How often each of 0, 1, … `bins - 1` occurs among the integers of a tile `[N]`: i32 `[bins]`. Other values, and
   * those where the mask is false, count nowhere.
   */
  histogram: fn<(x: number, bins: number, mask?: boolean) => number>(
    "x, bins, mask?",
    (cx, [x, bins, mask]) => {
      const v = tileArg(cx, x, "the argument of tl.histogram");
      const shape = shapeOf(v);
      const { dtype } = typeOf(v);
      if (shape.length !== 1 || !isInt(dtype))
        cx.fail(
          `tl.histogram takes a tile [N] of integers, not ${describe(v)}`,
          "tl.ravel makes one dimension.",
        );
      const count = dimension(cx, bins, "the bins of tl.histogram");
      const at = [shape[0]!, count];
      const column = broadcast(cx, cx.b.value("expandDims", [v], { axis: 1 }), at, "tl.histogram");
      // Compared in the wider dtype, so that no value wraps into a bin.
      const wide: DType = DTYPES[dtype].bits === 64 ? dtype : "i64";
      const narrow = DTYPES[dtype].bits < 32 || dtype === "i32";
      const common: DType = narrow ? "i32" : wide;
      const row = cx.b.cast(broadcast(cx, countAlong(cx, 1, at), at, "tl.histogram"), common);
      let hit = cx.b.value("cmp", [cx.b.cast(column, common), row], { pred: "eq" });
      if (mask !== undefined) {
        const m = cx.b.value("expandDims", [maskArg(cx, mask, shape, "tl.histogram")], { axis: 1 });
        hit = cx.b.value("and", [hit, broadcast(cx, m, at, "tl.histogram")]);
      }
      return cx.b.value("reduce", [cx.b.cast(hit, "i32")], { kind: "sum", axis: 0 });
    },
  ),
};
