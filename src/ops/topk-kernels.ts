// The largest or smallest elements of long rows, without sorting them. A row is cut into blocks, of which only the best
// element is found at first: one reading of the row. None but the `k` blocks with the best of these can hold one of the
// `k` best elements, and of blocks with equal best elements the first ones suffice. What these few blocks hold is
// sorted as a tile. The best blocks are found in the same way.

import type { DType } from "../compiler/ir/index.js";
import { constexpr, helper, i32, ptr } from "../compiler/lang/index.js";
import { type Chip, kernel, scope } from "../runtime/index.js";
import { empty, type Tensor } from "../tensor/index.js";
import { keyOf } from "./radix-sort.js";
import { nextPowerOf2 } from "./rows.js";

/** The keys of a tile where there are elements, else what comes last. */
const keysOf = helper(
  (tl, v: number, there: boolean, float: boolean, signed: boolean, bits: number, down: boolean, K: DType) => {
    const one = tl.cast(1, tl.i64);
    const most = tl.cast((one << (signed ? bits - 1 : bits)) - 1, K);
    const least = tl.cast(signed ? one << (bits - 1) : one - 1, K);
    return tl.where(there, tl.sortKey(float ? tl.where(v === 0, 0, v) : v), down ? least : most);
  },
);

const bestOfBlocks = kernel(
  // biome-ignore format: one line per group
  { x: ptr, best: ptr, n: i32, blocks: i32, keysOf, ROWS: constexpr, B: constexpr, BITS: constexpr,
    SIGNED: constexpr.bool, FLOAT: constexpr.bool, DOWN: constexpr.bool, K: constexpr.dtype },
  ({ x, best, n, blocks, keysOf, ROWS, B, BITS, SIGNED, FLOAT, DOWN, K }, tl) => {
    const row = tl.programId(1);
    const block = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const at = tl.col(block) * B + tl.row(tl.arange(0, B));
    const there = at < n;
    const key = keysOf(tl.load(x + row * n + at, there, 0), there, FLOAT, SIGNED, BITS, DOWN, K);
    tl.store(best + row * blocks + block, DOWN ? tl.max(key, 1) : tl.min(key, 1), block < blocks);
  },
  "best_of_blocks",
);

const bestInBlocks = kernel(
  // biome-ignore format: one line per group
  { x: ptr, chosen: ptr, values: ptr, indices: ptr, n: i32, blocks: i32, k: i32, keysOf, TOP: constexpr, B: constexpr,
    BITS: constexpr, SIGNED: constexpr.bool, FLOAT: constexpr.bool, DOWN: constexpr.bool, K: constexpr.dtype },
  ({ x, chosen, values, indices, n, blocks, k, keysOf, TOP, B, BITS, SIGNED, FLOAT, DOWN, K }, tl) => {
    const row = tl.programId(0);
    const slot = tl.arange(0, TOP);
    // In the order of their places, so that of equal elements the first one stays the first.
    const block = tl.sort(
      tl.where(slot < k, tl.cast(tl.load(chosen + row * k + slot, slot < k, 0), tl.i32), blocks),
    );
    const at = tl.col(block) * B + tl.row(tl.arange(0, B));
    const there = at < n;
    const key = keysOf(tl.load(x + row * n + at, there, 0), there, FLOAT, SIGNED, BITS, DOWN, K);
    const [, place] = tl.topk([tl.ravel(key), tl.ravel(at)], TOP, 0, { largest: DOWN });
    tl.store(values + row * k + slot, tl.load(x + row * n + place, slot < k, 0), slot < k);
    tl.store(indices + row * k + slot, tl.cast(place, tl.i64), slot < k);
  },
  "best_in_blocks",
);

/** The most elements that are sorted at last; fewer where all threads wait for the few that sort. */
const [SORTED, SORTED_TOGETHER] = [8192, 4096];

/** Elements of a block, so that as many blocks are compared as elements sorted; 0 if there would be too many. */
export function blockOf(n: number, k: number, chip: Chip): number {
  const top = nextPowerOf2(k);
  const B = 2 ** Math.round(Math.log2(Math.sqrt(n / top)));
  const { programThreads = 1 } = chip.capabilities;
  const most = (programThreads > 1 ? SORTED_TOGETHER : SORTED) / top;
  return Math.min(B, most, 256) < 16 ? 0 : Math.min(B, most, 256);
}

/**
 * The `k` best elements of each row of a row-major `[rows, n]` in order and their i64 places, where {@link blockOf} is
 * not 0.
 *
 * @param next finds the `k` best of the rows of a `[rows, blocks]`
 */
export function topkRows(
  x: Tensor,
  rows: number,
  n: number,
  k: number,
  DOWN: boolean,
  next: (best: Tensor, k: number) => [Tensor, Tensor],
): [Tensor, Tensor] {
  const { device, dtype } = x;
  const B = blockOf(n, k, x.chip);
  const blocks = Math.ceil(n / B);
  const key = keyOf(dtype);
  const values = empty([rows, k], { dtype, device });
  const indices = empty([rows, k], { dtype: "i64", device });
  scope(() => {
    const best = empty([rows, blocks], { dtype: key.K, device });
    const ROWS = Math.max(1, Math.floor(Math.min(x.chip.capabilities.elementsPerProgram, 4096) / B));
    bestOfBlocks.launch([Math.ceil(blocks / ROWS), rows], { x, best, n, blocks, ROWS, B, DOWN, ...key });
    const [, chosen] = next(best, k);
    // biome-ignore format: one line per group
    bestInBlocks.launch([rows], {
      x, chosen, values, indices, n, blocks, k, TOP: nextPowerOf2(k), B, DOWN, ...key,
    });
  });
  return [values, indices];
}
