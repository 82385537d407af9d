// Functions of `tl` that order and count elements: sorting networks over ordered integers, and counts by comparison.
//
// Floats are sorted by their bits, mapped so that integers compare as the floats do: -0 before +0, NaN behind +∞.
// The network is Batcher's bitonic one: K. E. Batcher, Sorting networks and their applications (AFIPS 1968).

import { DTYPES, type DType, isFloat, isInt, type Value } from "../../ir/index.js";
import { broadcast, typeOf } from "../coerce.js";
import type { Context } from "../context.js";
import { describe } from "../value.js";
import { axisArg, dimension, flag, fn, maskArg, optionNames, tileArg } from "./define.js";
import { around, countAlong, reshape, shapeOf, take, twoOf } from "./elements.js";

const fill = (cx: Context, v: Value, x: number | bigint): Value =>
  cx.b.constant(x, typeOf(v).dtype, shapeOf(v));

/** Floats as integers that compare as they do, and back. */
function toKeys(cx: Context, v: Value): Value {
  const d = typeOf(v).dtype;
  if (d === "bool") return cx.b.cast(v, "i32");
  if (!isFloat(d)) return v;
  const wide = d === "f64" ? v : cx.b.cast(v, "f32");
  const bits = cx.b.value("bitcast", [wide], { dtype: d === "f64" ? "i64" : "i32" });
  const isNan = cx.b.value("cmp", [wide, wide], { pred: "ne" });
  return cx.b.value("select", [isNan, fill(cx, bits, most(typeOf(bits).dtype)), flipped(cx, bits)]);
}
const most = (d: DType): number | bigint => (d === "i64" ? 2n ** 63n - 1n : 2 ** 31 - 1);
/** All bits but the sign of negative numbers turned over: undoes itself. */
function flipped(cx: Context, bits: Value): Value {
  const d = typeOf(bits).dtype;
  const sign = cx.b.value("shr", [bits, fill(cx, bits, DTYPES[d].bits - 1)]);
  return cx.b.value("xor", [bits, cx.b.value("and", [sign, fill(cx, bits, most(d))])]);
}
function fromKeys(cx: Context, keys: Value, d: DType): Value {
  if (!isFloat(d)) return cx.b.cast(keys, d);
  const bits = cx.b.value("bitcast", [flipped(cx, keys)], { dtype: d === "f64" ? "f64" : "f32" });
  return cx.b.cast(bits, d);
}

const extreme = (cx: Context, kind: "min" | "max", a: Value, b: Value): Value =>
  cx.b.value(kind, [a, b], { nan: "ignore" });

/**
 * Compares and exchanges elements `d` apart in `[outer, n, inner]`. Blocks of `run` elements are ordered upwards and
 * downwards in turn; without `run` all the same way.
 */
function exchange(cx: Context, v: Value, d: number, run: number | undefined, down: boolean): Value {
  const [outer, n, inner] = shapeOf(v) as [number, number, number];
  const pairs = n / (2 * d);
  const half = [outer, pairs, 1, d, inner];
  const side = (which: 0 | 1): Value =>
    take(cx, v, half, which * d * inner, [n * inner, 2 * d * inner, 0, inner, 1]);
  const [a, b] = [side(0), side(1)];
  let [first, second] = [extreme(cx, "min", a, b), extreme(cx, "max", a, b)];
  if (run !== undefined && run < n) {
    const block = broadcast(cx, countAlong(cx, 1, half), half, "an index");
    const turn = cx.b.value("and", [block, cx.b.constant(run / (2 * d), "i32", half)]);
    const up = cx.b.value("cmp", [turn, cx.b.constant(0, "i32", half)], { pred: down ? "ne" : "eq" });
    const pick = (x: Value, y: Value): Value => cx.b.value("select", [up, x, y]);
    [first, second] = [pick(first, second), pick(second, first)];
  } else if (down) [first, second] = [second, first];
  return reshape(cx, twoOf(cx, 2, [outer, pairs, 2, d, inner], first, second), [outer, n, inner]);
}

/** Sorts blocks of `size` elements, upwards and downwards in turn where they are not all. */
function sortBlocks(cx: Context, v: Value, size: number, down: boolean): Value {
  let r = v;
  for (let run = 2; run <= size; run *= 2)
    for (let d = run / 2; d >= 1; d /= 2) r = exchange(cx, r, d, run, down);
  return r;
}

/** The `k` largest (`down`) or smallest keys of `[outer, n, inner]` in order: `[outer, k, inner]`. */
function selectOrdered(cx: Context, keys: Value, k: number, down: boolean): Value {
  let v = sortBlocks(cx, keys, k, down);
  while (shapeOf(v)[1]! > k) {
    // Of two blocks in opposite orders the better of each pair of elements: the best k of both, in bitonic order.
    const [outer, n, inner] = shapeOf(v) as [number, number, number];
    const half = [outer, n / (2 * k), k, inner];
    const side = (which: 0 | 1): Value =>
      take(cx, v, half, which * k * inner, [n * inner, 2 * k * inner, inner, 1]);
    v = reshape(cx, extreme(cx, down ? "max" : "min", side(0), side(1)), [outer, n / 2, inner]);
    for (let d = k / 2; d >= 1; d /= 2) v = exchange(cx, v, d, k, down);
  }
  return v;
}

type SortOptions = {
  /** The largest first. */
  descending?: boolean;
};

export const orders = {
  /**
   * The elements in ascending order along an axis (default: the last). NaN counts as larger than +∞ and -0 as smaller
   * than +0.
   * @example const sorted = tl.sort(v, 0, { descending: true });
   */
  sort: fn<(x: number, axis?: number, options?: SortOptions) => number>(
    "x, axis?, options?",
    (cx, [x, axis, options]) => {
      optionNames(cx, options, "tl.sort", ["descending"]);
      const v = tileArg(cx, x, "the argument of tl.sort");
      const shape = shapeOf(v);
      const { outer, length, inner } = around(
        shape,
        axisArg(cx, axis ?? -1, shape.length, "the axis of tl.sort"),
      );
      const keys = reshape(cx, toKeys(cx, v), [outer, length, inner]);
      const sorted = sortBlocks(cx, keys, length, flag(cx, options, "descending"));
      return fromKeys(cx, reshape(cx, sorted, shape), typeOf(v).dtype);
    },
  ),
  /**
   * The `k` largest elements in descending order along an axis (default: the last), which becomes `k` long; `k` is a
   * power of two known at compile time. NaN counts as larger than +∞.
   */
  topk: fn<(x: number, k: number, axis?: number) => number>("x, k, axis?", (cx, [x, k, axis]) => {
    const v = tileArg(cx, x, "the first argument of tl.topk");
    const shape = shapeOf(v);
    const along = axisArg(cx, axis ?? -1, shape.length, "the axis of tl.topk");
    const { outer, length, inner } = around(shape, along);
    const count = dimension(cx, k, "the k of tl.topk");
    if (count > length) cx.fail(`tl.topk: k is ${count}, but the axis has ${length} elements`);
    const keys = reshape(cx, toKeys(cx, v), [outer, length, inner]);
    const top = selectOrdered(cx, keys, count, true);
    return fromKeys(
      cx,
      reshape(
        cx,
        top,
        shape.map((d, i) => (i === along ? count : d)),
      ),
      typeOf(v).dtype,
    );
  }),
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
