// Sorting along a dimension: short lines as tiles with `tl.sort`, long ones by digits (`radix-sort.ts`). The operators
// stand in `sort.ts`.

import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { kernel, scope } from "../runtime/index.js";
import { callOperator, empty, type Tensor } from "../tensor/index.js";
import { around } from "./index-kernels.js";
import { keyOf, radixSort } from "./radix-sort.js";
import { nextPowerOf2, reshaped, rowMajor } from "./rows.js";
import { blockOf, topkRows } from "./topk-kernels.js";

/** Longer lines are sorted by digits in memory. */
const LONGEST = 2048;

const tiles = kernel(
  // biome-ignore format: one line per group
  { x: ptr, values: ptr, indices: ptr, lines: i32, n: i32, inner: i32, k: i32, ROWS: constexpr, COLS: constexpr, TOP: constexpr,
    BITS: constexpr, SIGNED: constexpr.bool, FLOAT: constexpr.bool, DOWN: constexpr.bool, K: constexpr.dtype },
  ({ x, values, indices, lines, n, inner, k, ROWS, COLS, TOP, BITS, SIGNED, FLOAT, DOWN, K }, tl) => {
    const line = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const outer = tl.floorDiv(line, inner);
    const rest = line - outer * inner;
    const from = x + tl.col(outer * (n * inner) + rest);
    const c = tl.row(tl.arange(0, COLS));
    const there = tl.col(line < lines);
    const v = tl.load(from + c * inner, there && c < n, 0);
    const key = tl.sortKey(FLOAT ? tl.where(v === 0, 0, v) : v);
    // What fills the tile goes behind all elements: equal keys keep their order.
    const one = tl.cast(1, tl.i64);
    const most = tl.cast((one << (SIGNED ? BITS - 1 : BITS)) - 1, K);
    const least = tl.cast(SIGNED ? one << (BITS - 1) : one - 1, K);
    const keys = tl.where(c < n, key, DOWN ? least : most);
    const count = c + tl.zeros([ROWS, COLS], tl.i32);
    const [, order] = tl.topk([keys, count], TOP, 1, { largest: DOWN });
    const at = tl.row(tl.arange(0, TOP));
    const mask = there && at < k;
    const to = tl.col(outer * (k * inner) + rest) + at * inner;
    tl.store(values + to, tl.load(from + order * inner, mask, 0), mask);
    tl.store(indices + to, tl.cast(order, tl.i64), mask);
  },
  "sort_tiles",
);

/** The first `k` of each line along `dim` in order, and their i64 places; lines of at most {@link LONGEST}. */
function sortTiles(x: Tensor, dim: number, k: number, DOWN: boolean): [Tensor, Tensor] {
  const { outer, length: n, inner } = around(x.shape, dim);
  const shape = x.shape.map((d, i) => (i === dim ? k : d));
  const values = empty(shape, { dtype: x.dtype, device: x.device });
  const indices = empty(shape, { dtype: "i64", device: x.device });
  const lines = outer * inner;
  const COLS = nextPowerOf2(n);
  const { elementsPerProgram, threads } = x.chip.capabilities;
  const share = nextPowerOf2(Math.ceil(lines / threads));
  const ROWS = Math.max(1, Math.min(Math.floor(Math.min(elementsPerProgram, 1024) / COLS), share));
  // biome-ignore format: one line per group
  tiles.launch([Math.ceil(lines / ROWS)], {
    x, values, indices, lines, n, inner, k, ROWS, COLS, TOP: nextPowerOf2(k), DOWN, ...keyOf(x.dtype),
  });
  return [values, indices];
}

/** Empty results of an empty selection. */
function nothing(self: Tensor, dim: number, k: number): [Tensor, Tensor] {
  const shape = self.shape.map((d, i) => (i === dim ? k : d));
  const { device } = self;
  return [empty(shape, { dtype: self.dtype, device }), empty(shape, { dtype: "i64", device })];
}

/** Works on rows along the last dimension of a row-major tensor; the results have `k` elements in each. */
function byRows(
  self: Tensor,
  dim: number,
  run: (x: Tensor, rows: number) => [Tensor, Tensor],
): [Tensor, Tensor] {
  const last = self.ndim - 1;
  const turn = (t: Tensor): Tensor =>
    rowMajor(dim === last ? t : (callOperator("transpose.int", t, dim, last) as Tensor));
  return scope(() => {
    const x = turn(self);
    const results = run(x, x.numel / self.shape[dim]!);
    return results.map((t) => {
      const back = turn(rowMajor(t).view([...x.shape.slice(0, -1), t.shape[1]!]));
      return reshaped(back, back.shape);
    });
  }) as [Tensor, Tensor];
}

/**
 * The elements along `dim` in order (NaN as the largest), and the i64 places that they came from; equal elements keep
 * their order.
 */
export function sortAlong(self: Tensor, dim: number, descending: boolean): [Tensor, Tensor] {
  const n = self.shape[dim] ?? 1;
  if (self.numel === 0) return nothing(self, dim, n);
  if (n <= LONGEST) return sortTiles(rowMajor(self), dim, n, descending);
  return byRows(self, dim, (x, rows) => radixSort(x, rows, n, descending));
}

/** The first `k` of {@link sortAlong}. */
export function topkAlong(self: Tensor, dim: number, descending: boolean, k: number): [Tensor, Tensor] {
  const n = self.shape[dim] ?? 1;
  if (self.numel === 0 || k === 0) return nothing(self, dim, k);
  if (n <= LONGEST) return sortTiles(rowMajor(self), dim, k, descending);
  return byRows(self, dim, (x, rows) => {
    if (blockOf(n, k, x.chip) > 0)
      return topkRows(x, rows, n, k, descending, (best, k) => topkAlong(best, 1, descending, k));
    const [values, indices] = radixSort(x, rows, n, descending);
    return [values.narrow(1, 0, k), indices.narrow(1, 0, k)];
  });
}
