// Tiles out of the elements of other tiles: what the functions that rearrange, combine and sort are made of.
// Indices that grow by constants along each dimension stay visible as such, so that chips read whole vectors.

import { numel, type Value } from "../../ir/index.js";
import { broadcast, typeOf } from "../coerce.js";
import type { Context } from "../context.js";

/** 0, 1, 2, … along one dimension of a shape, 1 in all others. */
export function countAlong(cx: Context, axis: number, shape: readonly number[]): Value {
  let v = cx.b.value("arange", [], { start: 0, end: shape[axis]! });
  shape.forEach((_, d) => {
    if (d !== axis) v = cx.b.value("expandDims", [v], { axis: d });
  });
  return v;
}

/** Row-major strides. */
export const stridesOf = (shape: readonly number[]): number[] =>
  shape.map((_, d) => numel(shape.slice(d + 1)));

/** `base` plus the sum of coordinates times strides, for every element of a tile of `shape`. */
export function affineIndex(
  cx: Context,
  shape: readonly number[],
  base: number,
  strides: readonly number[],
): Value {
  let sum = cx.b.constant(base, "i32", shape);
  shape.forEach((length, axis) => {
    const stride = strides[axis]!;
    if (length === 1 || stride === 0) return;
    const at = broadcast(cx, countAlong(cx, axis, shape), shape, "an index");
    const step = stride === 1 ? at : cx.b.value("mul", [at, cx.b.constant(stride, "i32", shape)]);
    sum = cx.b.value("add", [sum, step]);
  });
  return sum;
}

/** The tile of `shape` whose elements stand in `v` at `base` plus coordinates times strides. */
export const take = (
  cx: Context,
  v: Value,
  shape: readonly number[],
  base: number,
  strides: readonly number[],
): Value => cx.b.value("gather", [v, affineIndex(cx, shape, base, strides)]);

export const reshape = (cx: Context, v: Value, shape: readonly number[]): Value =>
  cx.b.value("reshape", [v], { shape });

/** `a` where the index along `axis` is 0 and `b` where it is 1; both broadcast to `shape`. */
export function twoOf(cx: Context, axis: number, shape: readonly number[], a: Value, b: Value): Value {
  const which = broadcast(cx, countAlong(cx, axis, shape), shape, "an index");
  const first = cx.b.value("cmp", [which, cx.b.constant(0, "i32", shape)], { pred: "eq" });
  return cx.b.value("select", [first, broadcast(cx, a, shape, "a tile"), broadcast(cx, b, shape, "a tile")]);
}

/** A shape as the dimensions before an axis, its length, and the dimensions behind it. */
export const around = (
  shape: readonly number[],
  axis: number,
): { outer: number; length: number; inner: number } => ({
  outer: numel(shape.slice(0, axis)),
  length: shape[axis]!,
  inner: numel(shape.slice(axis + 1)),
});

export const shapeOf = (v: Value): readonly number[] => typeOf(v).shape;
