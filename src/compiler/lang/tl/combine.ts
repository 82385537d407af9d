// Functions of `tl` that combine the elements along an axis with a function of the author.
// Both are trees of element-wise steps over ever shorter (or ever longer) runs, so they need no op of their own.

import type { Value } from "../../ir/index.js";
import { broadcast, fitTo, typeOf } from "../coerce.js";
import type { Context } from "../context.js";
import { Callable, describe, isList, type Val } from "../value.js";
import { axisArg, flag, fn, optionNames, tileArg } from "./define.js";
import { around, reshape, shapeOf, take, twoOf } from "./elements.js";

type Operands = number | boolean | readonly (number | boolean)[];
type Combine = (...values: never[]) => unknown;

/** The tiles to combine: of one shape. */
function operands(cx: Context, x: Val, what: string): Value[] {
  const list = (isList(x) ? x : [x]).map((v) => tileArg(cx, v, `an operand of ${what}`));
  const first = list[0];
  if (!first) cx.fail(`${what} needs a tile, or a list of tiles`);
  for (const v of list)
    if (String(shapeOf(v)) !== String(shapeOf(first)))
      cx.fail(`the operands of ${what} have one shape, not ${describe(first)} and ${describe(v)}`);
  return list;
}

/** Calls the author's function on all left and then all right values; results have the types of the operands. */
function combined(
  cx: Context,
  f: Val,
  left: readonly Value[],
  right: readonly Value[],
  what: string,
): Value[] {
  if (!(f instanceof Callable))
    return cx.fail(
      `${what} takes a function that combines two elements, not ${describe(f)}`,
      left.length === 1 ? "Such as (a, b) => a + b." : "Such as (a0, a1, b0, b1) => [ … ].",
    );
  const r = f.call(cx, [...left, ...right]);
  const list: readonly Val[] = isList(r) ? r : [r];
  if (list.length !== left.length)
    cx.fail(
      `the function of ${what} must return ${left.length} value${left.length === 1 ? "" : "s"}, not ${list.length}`,
    );
  return list.map((v, i) => {
    const { dtype, shape } = typeOf(left[i]!);
    return fitTo(cx, v, dtype, shape, `what the function of ${what} returns`);
  });
}

const one = (x: Val, list: readonly Value[]): Val => (isList(x) ? list : list[0]);

export const combinations = {
  /**
   * Combines the elements along an axis, which disappears, with a function of the author. It must be associative and
   * commutative; the order is a tree. Several tiles are combined together: the function gets all left values, then
   * all right values, and returns a list.
   * @example
   * const [most, at] = tl.reduce([v, index], 0, (a, i, b, j) => {
   *   const left = a > b || (a === b && i < j);
   *   return [tl.where(left, a, b), tl.where(left, i, j)];
   * });
   */
  reduce: fn<
    <T extends Operands>(x: T, axis: number, combine: Combine, options?: { keepDims?: boolean }) => T
  >("x, axis, combine, options?", (cx, [x, axis, f, options]) => {
    const what = "tl.reduce";
    optionNames(cx, options, what, ["keepDims"]);
    let tiles = operands(cx, x, what);
    const shape = shapeOf(tiles[0]!);
    const along = axisArg(cx, axis, shape.length, "the axis of tl.reduce");
    const { outer, inner, length } = around(shape, along);
    tiles = tiles.map((v) => reshape(cx, v, [outer, length, inner]));
    for (let n = length; n > 1; n /= 2) {
      const half = [outer, n / 2, inner];
      const side = (base: number): Value[] =>
        tiles.map((v) => take(cx, v, half, base, [n * inner, inner, 1]));
      tiles = combined(cx, f, side(0), side((n / 2) * inner), what);
    }
    const keep = flag(cx, options, "keepDims");
    const to = keep ? shape.map((d, i) => (i === along ? 1 : d)) : shape.filter((_, i) => i !== along);
    return one(
      x,
      tiles.map((v) => reshape(cx, v, to)),
    );
  }),
  /**
   * Running combinations along an axis, each including its own element, by an associative function of the author:
   * element `k` is `x[0] ∘ x[1] ∘ … ∘ x[k]`. With `reverse` it runs from the last element to the first, and
   * element `k` is `x[n - 1] ∘ … ∘ x[k]`. Several tiles are combined together, as in {@link reduce}.
   * @example const [, h] = tl.associativeScan([a, b], 0, (a, b, c, d) => [a * c, c * b + d]);
   */
  associativeScan: fn<
    <T extends Operands>(x: T, axis: number, combine: Combine, options?: { reverse?: boolean }) => T
  >("x, axis, combine, options?", (cx, [x, axis, f, options]) => {
    const what = "tl.associativeScan";
    optionNames(cx, options, what, ["reverse"]);
    const reverse = flag(cx, options, "reverse");
    let tiles = operands(cx, x, what);
    const shape = shapeOf(tiles[0]!);
    const along = axisArg(cx, axis, shape.length, "the axis of tl.associativeScan");
    const { outer, inner, length } = around(shape, along);
    // Runs of `d` elements are scanned; two of them become one by combining the last of the first with all of the second.
    for (let d = 1; d < length; d *= 2) {
      const pairs = (outer * length) / (2 * d);
      const whole = [pairs, 2, d, inner];
      const run = [pairs, 1, d, inner];
      const strides = [2 * d * inner, 0, inner, 1];
      const second = reverse ? 0 : 1;
      const split = tiles.map((v) => reshape(cx, v, whole));
      const carry = split.map((v) =>
        broadcast(cx, take(cx, v, [pairs, 1, 1, inner], (reverse ? d : d - 1) * inner, strides), run, what),
      );
      const rest = split.map((v) => take(cx, v, run, second * d * inner, strides));
      const done = combined(cx, f, carry, rest, what);
      tiles = split.map((v, i) => {
        const [a, b] = reverse ? [done[i]!, v] : [v, done[i]!];
        return twoOf(cx, 1, whole, a, b);
      });
    }
    return one(
      x,
      tiles.map((v) => reshape(cx, v, shape)),
    );
  }),
};
