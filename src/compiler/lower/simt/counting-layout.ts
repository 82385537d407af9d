// Where `countingSort` has its elements while it ranks them, and which chips and tiles it suits.

import { numel, type Op, type TileType } from "../../ir/index.js";
import { bitsOf, type Layout } from "./layout.js";
import type { SimtShape } from "./shape.js";

/** Elements that one thread ranks. */
export const RANKED = 16;

/** Every subgroup has elements that follow one another, and takes as many at once as it has lanes. */
export function rankLayout(shape: readonly number[], threads: number, subgroup: number): Layout {
  const bits = bitsOf(shape, 0);
  const lanes = Math.log2(subgroup);
  const groups = Math.log2(threads) - lanes;
  const last = bits.length - groups;
  return {
    shape,
    registers: bits.slice(lanes, last),
    threads: [...bits.slice(0, lanes), ...bits.slice(last)],
  };
}

/** Whether a chip sorts by counting: it compares lanes, and every thread has an element of its own and every bin a thread. */
export function countsNatively(op: Op, shape: SimtShape): boolean {
  const bins = op.attrs["bins"] as number;
  const n = numel((op.operands[0]!.type as TileType).shape);
  return (
    shape.matchLanes === true &&
    n >= shape.maxThreads &&
    bins <= shape.maxThreads &&
    bins >= 2 &&
    Number.isInteger(Math.log2(bins))
  );
}
