// The gradient of an embedding's table where many threads share a program (GPUs): indices are brought into order by counting, then each
// run of equal ones is summed by programs of its own, in the order in which they stood. `embedding.ts` has the way for few threads.

import { constexpr, i32, i64, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { empty, type Tensor } from "../tensor/index.js";
import { zeros } from "./creation.js";
import { nextPowerOf2 } from "./rows.js";

/** How many indices come before each: smaller ones, and equal ones that stand further ahead. Everybody against everybody. */
const place = kernel(
  { ids: ptr, order: ptr, sorted: ptr, n: i32, ROWS: constexpr, COLS: constexpr },
  ({ ids, order, sorted, n, ROWS, COLS }, tl) => {
    const i = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const own = tl.cast(tl.load(ids + i, i < n, 0), tl.i64);
    let before = tl.zeros([ROWS], tl.i32);
    for (let start = 0; start < n; start += COLS) {
      const j = start + tl.arange(0, COLS);
      const other = tl.row(tl.cast(tl.load(ids + j, j < n, 0), tl.i64));
      const first = other < tl.col(own) || (other === tl.col(own) && tl.row(j) < tl.col(i));
      before += tl.sum(tl.where(first && tl.row(j < n), 1, 0), 1);
    }
    tl.store(order + before, i, i < n);
    tl.store(sorted + before, own, i < n);
  },
  "embedding_places",
);

/** A program whose index begins a run adds up the run's rows; the others have nothing to do. */
const sumRuns = kernel(
  // biome-ignore format: one line per group
  { dy: ptr, order: ptr, sorted: ptr, dw: ptr, n: i32, cols: i32, table: i64, padding: i64,
    ROWS: constexpr, COLS: constexpr, T: constexpr.dtype, SCALED: constexpr.bool },
  ({ dy, order, sorted, dw, n, cols, table, padding, ROWS, COLS, T, SCALED }, tl) => {
    const s = tl.programId(0);
    const id = tl.load(sorted + s);
    const previous = tl.load(sorted + s - 1, s > 0, -1);
    if ((s === 0 || previous !== id) && id >= 0 && id < table && id !== padding) {
      const c = tl.programId(1) * COLS + tl.arange(0, COLS);
      const own = c < cols;
      let sum = tl.zeros([COLS], T);
      let many = 0;
      let at = s;
      let more = true;
      while (more) {
        const rows = at + tl.arange(0, ROWS);
        const same = rows < n && tl.load(sorted + rows, rows < n, 0) === id;
        const from = tl.load(order + rows, same, 0);
        const mask = tl.col(same) && tl.row(own);
        sum += tl.sum(tl.cast(tl.load(dy + tl.col(from * cols) + tl.row(c), mask, 0), T), 0);
        many += tl.sum(tl.where(same, 1, 0), 0);
        at += ROWS;
        more = at < n && tl.load(sorted + at, at < n, 0) === id;
      }
      if (SCALED) sum = sum / tl.cast(many, T);
      tl.store(dw + id * cols + c, sum, own);
    }
  },
  "embedding_runs",
);

/** More indices than this are not counted against each other. */
export const MOST_COUNTED = 2 ** 17;

/**
 * @param dy `[n, cols]` row-major
 * @param ids `[n]` row-major, whole numbers
 * @param o `padding`: an index that gets nothing; `scaled`: each row is divided by how often it is looked up
 * @returns `[table, cols]` of `dtype`
 */
export function gradientByRuns(
  dy: Tensor,
  ids: Tensor,
  o: { readonly table: number; readonly cols: number; readonly padding: number; readonly scaled: boolean; readonly dtype: "f32" | "f64" }, // biome-ignore format: one line
): Tensor {
  const { table, cols, padding, scaled, dtype } = o;
  const { device } = dy;
  const n = ids.numel;
  const dw = zeros([table, cols], { dtype, device });
  if (n === 0 || dw.numel === 0) return dw;
  const order = empty([n], { dtype: "i32", device });
  const sorted = empty([n], { dtype: "i64", device });
  const ROWS = 32;
  place.launch([Math.ceil(n / ROWS)], { ids, order, sorted, n, ROWS, COLS: 128 });
  const COLS = Math.min(512, Math.max(16, nextPowerOf2(cols)));
  sumRuns.launch([n, Math.ceil(cols / COLS)], {
    dy, order, sorted, dw, n, cols, table, padding, ROWS: 4, COLS, T: dtype, SCALED: scaled,
  }); // biome-ignore format: one line per group
  return dw;
}
