// Functions of `tl` that put tiles together, take them apart and reorder their elements.

import { numel, showType, type Value } from "../../ir/index.js";
import { isInt } from "../../ir/dtype.js";
import { commonShape, fitTo, toValue, typeOf, unify } from "../coerce.js";
import type { Context } from "../context.js";
import { describe, isUntyped, type Val } from "../value.js";
import { axisArg, fn, tileArg } from "./define.js";
import { affineIndex, reshape, shapeOf, stridesOf, take, twoOf } from "./elements.js";

/** Two values of one dtype and shape. */
function two(cx: Context, a: Val, b: Val, what: string): [Value, Value] {
  if (isUntyped(a) && isUntyped(b)) toValue(cx, a, `the first argument of ${what}`);
  const x = isUntyped(a) && isUntyped(b) ? toValue(cx, a, `the first argument of ${what}`) : a;
  for (const v of [x, b]) if (!isUntyped(v)) toValue(cx, v, `an argument of ${what}`);
  return unify(cx, [x, b], what, true) as [Value, Value];
}

/** Both along a new dimension of 2 at `axis`. */
export function stack(cx: Context, a: Value, b: Value, axis: number): Value {
  const from = shapeOf(a);
  const shape = [...from.slice(0, axis), 2, ...from.slice(axis)];
  const wide = (v: Value): Value =>
    from.length === 0 ? cx.b.splat(v, [1]) : cx.b.value("expandDims", [v], { axis });
  return twoOf(cx, axis, shape, wide(a), wide(b));
}

type Two = <T extends number | boolean>(a: T, b: T) => T;

export const arrangements = {
  /** Two tiles along a new last dimension: `[…]` and `[…]` become `[…, 2]`. They broadcast to one shape. */
  join: fn<Two>("a, b", (cx, [a, b]) => {
    const [x, y] = two(cx, a, b, "tl.join");
    return stack(cx, x, y, shapeOf(x).length);
  }),
  /**
   * The two tiles along the last dimension, which is 2: `[…, 2]` becomes `[…]` and `[…]`. Undoes {@link join}.
   * @example const [even, odd] = tl.split(tl.reshape(v, [N / 2, 2]));
   */
  split: fn<<T extends number | boolean>(x: T) => readonly [T, T]>("x", (cx, [x]) => {
    const v = tileArg(cx, x, "the argument of tl.split");
    const shape = shapeOf(v);
    if (shape.at(-1) !== 2)
      cx.fail(
        `tl.split takes a tile whose last dimension is 2, not ${showType(v.type)}`,
        "tl.reshape and tl.permute bring what is to be split to the end.",
      );
    const rest = shape.slice(0, -1);
    return [0, 1].map((which) => {
      if (rest.length === 0) return reshape(cx, take(cx, v, [1], which, [0]), []);
      return take(cx, v, rest, which, stridesOf(shape).slice(0, -1));
    });
  }),
  /** The elements of two tiles in turn along the last dimension: `[…, N]` and `[…, N]` become `[…, 2N]`. */
  interleave: fn<Two>("a, b", (cx, [a, b]) => {
    const [x, y] = two(cx, a, b, "tl.interleave");
    const shape = shapeOf(x);
    const both = stack(cx, x, y, shape.length);
    return shape.length === 0 ? both : reshape(cx, both, [...shape.slice(0, -1), 2 * shape.at(-1)!]);
  }),
  /** One tile behind the other along an axis (default 0): `[N]` and `[N]` become `[2N]`, in this order. Their shapes are equal. */
  cat: fn<<T extends number | boolean>(a: T, b: T, axis?: number) => T>("a, b, axis?", (cx, [a, b, axis]) => {
    const first = tileArg(cx, a, "the first argument of tl.cat");
    const second = tileArg(cx, b, "the second argument of tl.cat");
    const shape = shapeOf(first);
    if (String(shape) !== String(shapeOf(second)))
      cx.fail(`tl.cat takes two tiles of one shape, not ${describe(first)} and ${describe(second)}`);
    const along = axisArg(cx, axis ?? 0, shape.length, "the axis of tl.cat");
    const [x, y] = two(cx, first, second, "tl.cat");
    return reshape(
      cx,
      stack(cx, x, y, along),
      shape.map((d, i) => (i === along ? 2 * d : d)),
    );
  }),
  /**
   * Elements of a tile by their index along an axis: element `[i, j]` of the result is `x[index[i, j], j]` for axis 0
   * and `x[i, index[i, j]]` for axis 1. `index` has the shape of `x` but for the axis. Indices count modulo the
   * length of the axis, so a wrong one never reads outside the tile.
   * @example const sorted = tl.gather(v, order, 0);
   */
  gather: fn<<T extends number | boolean>(x: T, index: number, axis: number) => T>(
    "x, index, axis",
    (cx, [x, index, axis]) => {
      const v = tileArg(cx, x, "the first argument of tl.gather");
      const at = tileArg(cx, index, "the index of tl.gather");
      const [from, to] = [shapeOf(v), shapeOf(at)];
      const along = axisArg(cx, axis, from.length, "the axis of tl.gather");
      if (!isInt(typeOf(at).dtype))
        cx.fail(`the index of tl.gather is ${describe(at)}, but must be integers`);
      if (from.length !== to.length || from.some((d, i) => i !== along && d !== to[i]))
        cx.fail(
          `the index of tl.gather is ${showType(at.type)}, which does not fit ${showType(v.type)} along axis ${along}`,
          "Tile and index have one shape, but for the axis.",
        );
      const strides = stridesOf(from);
      const inside = cx.b.value("and", [cx.b.cast(at, "i32"), cx.b.constant(from[along]! - 1, "i32", to)]);
      const scaled = cx.b.value("mul", [inside, cx.b.constant(strides[along]!, "i32", to)]);
      const rest = affineIndex(
        cx,
        to,
        0,
        strides.map((s, i) => (i === along ? 0 : s)),
      );
      return cx.b.value("gather", [v, cx.b.value("add", [scaled, rest])]);
    },
  ),
  /** The elements in reverse order along an axis (default: the last). */
  flip: fn<<T extends number | boolean>(x: T, axis?: number) => T>("x, axis?", (cx, [x, axis]) => {
    const v = tileArg(cx, x, "the argument of tl.flip");
    const shape = shapeOf(v);
    const along = axisArg(cx, axis ?? -1, shape.length, "the axis of tl.flip");
    const strides = stridesOf(shape);
    const last = (shape[along]! - 1) * strides[along]!;
    return take(
      cx,
      v,
      shape,
      last,
      strides.map((s, i) => (i === along ? -s : s)),
    );
  }),
  /** All elements as one dimension, row-major: the same as `tl.reshape(x, n)`. */
  ravel: fn<<T extends number | boolean>(x: T) => T>("x", (cx, [x]) => {
    const v = tileArg(cx, x, "the argument of tl.ravel");
    return reshape(cx, v, [numel(shapeOf(v))]);
  }),
  /** Tiles and scalars broadcast to one shape: a list of as many. */
  broadcast: fn<<T extends number | boolean>(a: T, b: T) => readonly [T, T]>("a, b", (cx, [a, b]) => {
    const [x, y] = [
      toValue(cx, a, "the first argument of tl.broadcast"),
      toValue(cx, b, "the second argument of tl.broadcast"),
    ];
    const shape = commonShape([shapeOf(x), shapeOf(y)]);
    if (!shape) return cx.fail(`tl.broadcast cannot bring ${describe(x)} and ${describe(y)} to one shape`);
    return [x, y].map((v) => fitTo(cx, v, typeOf(v).dtype, shape, "tl.broadcast"));
  }),
};
