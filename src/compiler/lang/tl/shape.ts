// Functions of `tl` that change a tile's shape.

import { numel, showType } from "../../ir/index.js";
import { broadcast, toValue, typeOf } from "../coerce.js";
import { isList } from "../value.js";
import { axisArg, constInt, fn, shapeArg, tileArg } from "./define.js";

type Shape = number | readonly number[];

const reshape = (what: string) =>
  fn<<T extends number | boolean>(x: T, shape: Shape) => T>("x, shape", (cx, [x, shape]) => {
    const v = tileArg(cx, x, `the argument of ${what}`);
    const to = shapeArg(cx, shape, `the shape of ${what}`);
    if (numel(to) !== numel(typeOf(v).shape))
      cx.fail(
        `${what} keeps the elements: ${showType(v.type)} has ${numel(typeOf(v).shape)}, [${to.join(",")}] has ${numel(to)}`,
      );
    return cx.b.value("reshape", [v], { shape: to });
  });

export const shapes = {
  /** Inserts a dimension of 1 at `axis` (negative: from the end). `[N]` at 0 is `[1,N]`, at 1 `[N,1]`. */
  expandDims: fn<<T extends number | boolean>(x: T, axis: number) => T>("x, axis", (cx, [x, axis]) => {
    const v = toValue(cx, x, "the argument of tl.expandDims");
    const rank = typeOf(v).shape.length + 1;
    if (rank === 1) return broadcast(cx, v, [1], "tl.expandDims");
    return cx.b.value("expandDims", [v], { axis: axisArg(cx, axis, rank, "the axis of tl.expandDims") });
  }),
  /** A tile `[N]` as a row: `[1,N]`. */
  row: fn<<T extends number | boolean>(x: T) => T>("x", (cx, [x]) => {
    const v = tileArg(cx, x, "the argument of tl.row");
    if (typeOf(v).shape.length !== 1)
      cx.fail(`tl.row takes a tile [N], not ${showType(v.type)}`, "Use tl.expandDims.");
    return cx.b.value("expandDims", [v], { axis: 0 });
  }),
  /** A tile `[N]` as a column: `[N,1]`. */
  col: fn<<T extends number | boolean>(x: T) => T>("x", (cx, [x]) => {
    const v = tileArg(cx, x, "the argument of tl.col");
    if (typeOf(v).shape.length !== 1)
      cx.fail(`tl.col takes a tile [N], not ${showType(v.type)}`, "Use tl.expandDims.");
    return cx.b.value("expandDims", [v], { axis: 1 });
  }),
  /** Repeats a scalar, or dimensions of 1, up to `shape`. */
  broadcastTo: fn<<T extends number | boolean>(x: T, shape: Shape) => T>("x, shape", (cx, [x, shape]) =>
    broadcast(
      cx,
      toValue(cx, x, "the argument of tl.broadcastTo"),
      shapeArg(cx, shape, "the shape of tl.broadcastTo"),
      "tl.broadcastTo",
    ),
  ),
  /** The same elements in row-major order as another shape. */
  reshape: reshape("tl.reshape"),
  /** The same as {@link reshape}. */
  view: reshape("tl.view"),
  /** Reorders dimensions: result dimension `i` is dimension `order[i]` of `x`. */
  permute: fn<<T extends number | boolean>(x: T, order: readonly number[]) => T>(
    "x, order",
    (cx, [x, order]) => {
      const v = tileArg(cx, x, "the argument of tl.permute");
      const rank = typeOf(v).shape.length;
      const list = isList(order) ? order.map((d) => axisArg(cx, d, rank, "a dimension of tl.permute")) : [];
      if (new Set(list).size !== rank || list.length !== rank)
        cx.fail(
          `tl.permute needs each of the ${rank} dimensions of ${showType(v.type)} once, not [${list.join(", ")}]`,
        );
      return cx.b.value("permute", [v], { order: list });
    },
  ),
  /** Turns a matrix over: `[M,N]` becomes `[N,M]`. Of higher ranks the last two dimensions, or `a` and `b`. */
  trans: fn<<T extends number | boolean>(x: T, a?: number, b?: number) => T>("x, a?, b?", (cx, [x, a, b]) => {
    const v = tileArg(cx, x, "the argument of tl.trans");
    const rank = typeOf(v).shape.length;
    if (rank < 2) cx.fail(`tl.trans takes a tile of 2 dimensions or more, not ${showType(v.type)}`);
    const i = axisArg(cx, a ?? -2, rank, "a dimension of tl.trans");
    const j = axisArg(cx, b ?? -1, rank, "a dimension of tl.trans");
    const order = typeOf(v).shape.map((_, d) => (d === i ? j : d === j ? i : d));
    return cx.b.value("permute", [v], { order });
  }),
  /** The length of a dimension of a tile, known at compile time. */
  size: fn<(x: number | boolean, axis: number) => number>("x, axis", (cx, [x, axis]) => {
    const { shape } = typeOf(toValue(cx, x, "the argument of tl.size"));
    return shape[axisArg(cx, constInt(cx, axis, "the axis of tl.size"), shape.length, "the axis of tl.size")];
  }),
};
