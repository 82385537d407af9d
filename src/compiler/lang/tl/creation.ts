// Functions of `tl` that make values out of nothing.

import type { DType } from "../../ir/index.js";
import { fitTo, toValue, typeOf } from "../coerce.js";
import { constInt, dimension, dtypeArg, fn, shapeArg } from "./define.js";
import { describe } from "../value.js";

type Shape = number | readonly number[];

const axisOfGrid = (cx: Parameters<typeof constInt>[0], v: Parameters<typeof constInt>[1], what: string) => {
  const axis = constInt(cx, v ?? 0, `the axis of ${what}`);
  if (axis < 0 || axis > 2) cx.fail(`the axis of ${what} must be 0, 1 or 2, not ${axis}`);
  return axis;
};

export const creation = {
  /** This program's index along an axis of the grid (0, 1 or 2; default 0): an i32 scalar. */
  programId: fn<(axis?: number) => number>("axis?", (cx, [axis]) =>
    cx.b.value("programId", [], { axis: axisOfGrid(cx, axis, "tl.programId") }),
  ),
  /** The number of programs along an axis of the grid: an i32 scalar. */
  numPrograms: fn<(axis?: number) => number>("axis?", (cx, [axis]) =>
    cx.b.value("numPrograms", [], { axis: axisOfGrid(cx, axis, "tl.numPrograms") }),
  ),
  /**
   * The integers from `start` up to, not including, `end`: an i32 tile `[end - start]`. Both are known at compile
   * time and the length is a power of two.
   * @example const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
   */
  arange: fn<(start: number, end: number) => number>("start, end", (cx, [start, end]) => {
    const lo = constInt(cx, start, "the start of tl.arange");
    const hi = constInt(cx, end, "the end of tl.arange");
    dimension(cx, hi - lo, "the length of tl.arange");
    return cx.b.value("arange", [], { start: lo, end: hi });
  }),
  /** A tile of zeros (default dtype f32). Dimensions are powers of two known at compile time. */
  zeros: fn<(shape: Shape, dtype?: DType) => number>("shape, dtype?", (cx, [shape, dtype]) =>
    cx.b.constant(
      0,
      dtype === undefined ? "f32" : dtypeArg(cx, dtype, "the dtype of tl.zeros"),
      shapeArg(cx, shape, "the shape of tl.zeros"),
    ),
  ),
  /** Zeros of the shape and dtype of another tile. */
  zerosLike: fn<(x: number) => number>("x", (cx, [x]) => {
    const t = typeOf(toValue(cx, x, "the argument of tl.zerosLike"));
    return cx.b.constant(0, t.dtype, t.shape);
  }),
  /** A tile whose elements are all `value` (default dtype f32); the value may be a scalar of the run time. */
  full: fn<(shape: Shape, value: number, dtype?: DType) => number>(
    "shape, value, dtype?",
    (cx, [shape, value, dtype]) =>
      fitTo(
        cx,
        value,
        dtype === undefined ? "f32" : dtypeArg(cx, dtype, "the dtype of tl.full"),
        shapeArg(cx, shape, "the shape of tl.full"),
        "the value of tl.full",
      ),
  ),
  /** The smallest power of two that is at least `n`; `n` is known at compile time. */
  nextPowerOf2: fn<(n: number) => number>("n", (cx, [n]) => {
    if (typeof n !== "number")
      cx.fail(`tl.nextPowerOf2 needs a number known at compile time, not ${describe(n)}`);
    return 2 ** Math.ceil(Math.log2(Math.max(1, n as number)));
  }),
};
