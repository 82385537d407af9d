// Functions of `tl` over an axis of a tile.

import { type DType, DTYPES, isFloat, numel, type Value } from "../../ir/index.js";
import type { ReduceKind } from "../../ir/ops/reduce.js";
import { broadcast, typeOf } from "../coerce.js";
import type { Context } from "../context.js";
import { describe, type Val } from "../value.js";
import { axisArg, flag, fn, optionNames, tileArg } from "./define.js";

type ReduceOptions = {
  /** The axis stays, with length 1. */
  keepDims?: boolean;
};
type NanReduceOptions = ReduceOptions & {
  /** NaN if an element is NaN; by default NaN is ignored. */
  propagateNan?: boolean;
};
type IndexOptions = NanReduceOptions & {
  /** Of equal elements the first wins (default). `false` allows a chip to return any of them. */
  tieBreakLeft?: boolean;
};
type Reduce<O> = (x: number, axis?: number, options?: O) => number;

/** Sums of small integers and of half floats are kept in 32 bits. */
const accumulator = (d: DType): DType =>
  DTYPES[d].bits >= 32 ? d : isFloat(d) ? "f32" : DTYPES[d].kind === "uint" ? "u32" : "i32";

function reduce(
  cx: Context,
  kind: ReduceKind,
  what: string,
  [x, axis, options]: Val[],
  pick: 0 | 1 = 0,
): Value {
  const sums = kind === "sum" || kind === "prod";
  const extremes = !sums && kind !== "and" && kind !== "or" && kind !== "xor";
  const names = [...(extremes ? ["propagateNan"] : []), ...(pick === 1 ? ["tieBreakLeft"] : [])];
  optionNames(cx, options, what, ["keepDims", ...names]);
  if (pick === 1) flag(cx, options, "tieBreakLeft");
  let v = tileArg(cx, x, `the argument of ${what}`);
  const { shape, dtype } = typeOf(v);
  if (sums) v = cx.b.cast(v, accumulator(dtype));
  // Masks have no order of their own.
  else if (pick === 1 && dtype === "bool") v = cx.b.cast(v, "i32");
  let along = 0;
  if (axis === undefined) {
    if (shape.length > 1) v = cx.b.value("reshape", [v], { shape: [numel(shape)] });
  } else along = axisArg(cx, axis, shape.length, `the axis of ${what}`);
  const nan: Record<string, string> = extremes
    ? { nan: flag(cx, options, "propagateNan") ? "propagate" : "ignore" }
    : {};
  const r = cx.b.create("reduce", [v], { kind, axis: along, ...nan }).results[pick]!;
  if (!flag(cx, options, "keepDims")) return r;
  if (axis === undefined)
    return broadcast(
      cx,
      r,
      shape.map(() => 1),
      what,
    );
  return cx.b.value("expandDims", [r], { axis: along });
}

const over = <O = ReduceOptions>(kind: ReduceKind, what: string, pick: 0 | 1 = 0) =>
  fn<Reduce<O>>("x, axis?, options?", (cx, args) => reduce(cx, kind, what, args, pick));

const maskOver = (kind: "and" | "or", what: string) =>
  fn<(x: boolean, axis?: number, options?: ReduceOptions) => boolean>(
    "x, axis?, options?",
    (cx, [x, ...rest]) => {
      const v = tileArg(cx, x, `the argument of ${what}`);
      if (typeOf(v).dtype !== "bool")
        cx.fail(`${what} takes a mask, not ${describe(v)}`, "Compare: x !== 0.");
      return reduce(cx, kind, what, [v, ...rest]);
    },
  );

const scan = (kind: "sum" | "prod", what: string) =>
  fn<
    (
      x: number,
      axis: number,
      options?: { /** From the last element to the first. */ reverse?: boolean },
    ) => number
  >("x, axis, options?", (cx, [x, axis, options]) => {
    optionNames(cx, options, what, ["reverse"]);
    const v = tileArg(cx, x, `the argument of ${what}`);
    const { shape, dtype } = typeOf(v);
    return cx.b.value("scan", [cx.b.cast(v, accumulator(dtype))], {
      kind,
      axis: axisArg(cx, axis, shape.length, `the axis of ${what}`),
      reverse: flag(cx, options, "reverse"),
    });
  });

export const reductions = {
  /** The sum along an axis, which disappears (without an axis: of all elements). Narrow dtypes give i32, u32 or f32. */
  sum: over("sum", "tl.sum"),
  /** The product along an axis (without an axis: of all elements). Narrow dtypes give i32, u32 or f32. */
  prod: over("prod", "tl.prod"),
  /** The largest element along an axis. NaN is ignored, unless `{ propagateNan: true }`. */
  max: over<NanReduceOptions>("max", "tl.max"),
  /** The smallest element along an axis. NaN is ignored, unless `{ propagateNan: true }`. */
  min: over<NanReduceOptions>("min", "tl.min"),
  /** The index (i32) of the largest element along an axis; of equal ones the first. */
  argmax: over<IndexOptions>("argmax", "tl.argmax", 1),
  /** The index (i32) of the smallest element along an axis; of equal ones the first. */
  argmin: over<IndexOptions>("argmin", "tl.argmin", 1),
  /** The exclusive or of integers along an axis. */
  xorSum: over("xor", "tl.xorSum"),
  /** Whether the mask is true anywhere along an axis. */
  any: maskOver("or", "tl.any"),
  /** Whether the mask is true everywhere along an axis. */
  all: maskOver("and", "tl.all"),
  /** Running sums along an axis, each including its own element. Narrow dtypes give i32, u32 or f32. */
  cumsum: scan("sum", "tl.cumsum"),
  /** Running products along an axis, each including its own element. */
  cumprod: scan("prod", "tl.cumprod"),
};
