// The kernels that find where the largest or smallest element stands, and bring gradients back there.

import { constexpr, dim, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { empty, type Tensor } from "../tensor/index.js";
import { orderDtype, startOf, walk, type Walk } from "./reduce-kernel.js";

/** One program takes `ROWS` results, or, of part `programId(1)`, `length` elements of each. */
const search = kernel(
  // biome-ignore format: one line per group
  { x: ptr, from: ptr, values: ptr, indices: ptr, K: i32, K1: i32, sk0: dim, sk1: dim, R: i32, sr: dim, length: dim,
    MAX: constexpr.bool, UNIT: constexpr.bool, FROM: constexpr.bool, ROWS: constexpr, COLS: constexpr, T: constexpr.dtype, INIT: constexpr },
  (
    { x, from, values, indices, K, K1, sk0, sk1, R, sr, length, MAX, UNIT, FROM, ROWS, COLS, T, INIT },
    tl,
  ) => {
    const k = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const inside = k < K;
    const base = x + tl.col(tl.floorDiv(k, K1) * sk0 + (k % K1) * sk1);
    const part = tl.programId(1);
    const first = part * length;
    const end = tl.minimum(first + length, R);
    let best = tl.full([ROWS], INIT, T);
    let where = tl.zeros([ROWS], tl.i32) + first;
    for (let j = first; j < end; j += COLS) {
      const r = tl.row(j + tl.arange(0, COLS));
      const mask = tl.col(inside) && r < end;
      const raw = tl.cast(tl.load(base + (UNIT ? r : r * sr), mask, 0), T);
      const v = tl.where(mask, raw, INIT);
      const top = MAX ? tl.max(v, 1, { propagateNan: true }) : tl.min(v, 1, { propagateNan: true });
      const better = (MAX ? top > best : top < best) || (tl.isnan(top) && !tl.isnan(best));
      // Few blocks hold a new extreme: only they are searched for its place.
      if (tl.any(better, 0)) {
        const at = MAX ? tl.argmax(v, 1, { propagateNan: true }) : tl.argmin(v, 1, { propagateNan: true });
        where = tl.where(better, j + at, where);
        best = tl.where(better, top, best);
      }
    }
    tl.store(values + part * K + k, best, inside);
    if (FROM) tl.store(indices + part * K + k, tl.load(from + where * K + k, inside, 0), inside);
    else tl.store(indices + part * K + k, tl.cast(where, tl.i64), inside);
  },
  "search_extreme",
);

/** The same where threads share a program: each finds the first best of what it reads, and they meet at the end. */
const searchWide = kernel(
  // biome-ignore format: one line per group
  { x: ptr, values: ptr, indices: ptr, K1: i32, sk0: dim, sk1: dim, R: dim, MAX: constexpr.bool, FLOAT: constexpr.bool,
    LINE: constexpr.bool, COLS: constexpr, T: constexpr.dtype, INIT: constexpr },
  ({ x, values, indices, K1, sk0, sk1, R, MAX, FLOAT, LINE, COLS, T, INIT }, tl) => {
    const k = tl.programId(0);
    const base = x + (LINE ? k * sk1 : tl.floorDiv(k, K1) * sk0 + (k % K1) * sk1);
    const own = tl.arange(0, COLS);
    let best = tl.full([COLS], INIT, T);
    let where = tl.zeros([COLS], tl.i32);
    for (let j = tl.cast(0, tl.i32); j < R; j += COLS) {
      const r = j + own;
      const raw = tl.cast(tl.load(base + r, r < R, FLOAT ? INIT : 0), T);
      const v = FLOAT ? raw : tl.where(r < R, raw, INIT);
      // Not "better": one comparison tells of NaN, too.
      const stays = (MAX ? v <= best : v >= best) || tl.isnan(best);
      where = tl.where(stays, where, j);
      best = tl.where(stays, best, v);
    }
    const top = MAX ? tl.max(best, 0, { propagateNan: true }) : tl.min(best, 0, { propagateNan: true });
    const equal = best === top || (tl.isnan(top) && tl.isnan(best));
    tl.store(values + k, top);
    tl.store(indices + k, tl.cast(tl.min(tl.where(equal, where + own, 2147483647), 0), tl.i64));
  },
  "search_extreme_wide",
);

/** Rows that a program of many threads searches by itself, so many elements at once. */
const [WIDE_LEAST, WIDE_MOST, WIDE_BLOCK] = [1024, 65536, 1024];

const LONG = 32768;
const bucket = (n: number): number => (n <= 16 ? 16 : n <= 128 ? 128 : 1024);

/** Values and i64 indices, one for each result in one dimension; of equal elements the first, of NaNs the first. */
export function launchSearch(w: Walk, kind: "max" | "min", from?: Tensor): [Tensor, Tensor] {
  const { tensor: x, R1: R } = w;
  const K = w.K0 * w.K1;
  const T = orderDtype(x.dtype);
  const { device } = x;
  const { threads, programThreads = 1, elementsPerProgram } = x.chip.capabilities;
  const wide = from === undefined && w.sr1 === 1 && R >= WIDE_LEAST && R <= WIDE_MOST;
  if (programThreads > 1 && wide && K >= threads) {
    const values = empty([K], { dtype: x.dtype, device });
    const indices = empty([K], { dtype: "i64", device });
    searchWide.launch([K], {
      x, values, indices, K1: w.K1, sk0: w.sk0, sk1: w.sk1, R, MAX: kind === "max",
      FLOAT: T === "f32" || T === "f64", LINE: w.K0 === 1, COLS: WIDE_BLOCK, T, INIT: startOf(kind, T),
    }); // biome-ignore format: one line
    return [values, indices];
  }
  // One long row: wide blocks, at the end of each of which lanes are combined one by one.
  const COLS = K === 1 && R >= LONG ? Math.min(4096, Math.max(1024, elementsPerProgram)) : bucket(R);
  const ROWS = COLS === 16 ? 16 : COLS === 128 ? 8 : K === 1 ? 1 : 4;
  const programs = Math.ceil(K / ROWS);
  let parts = 1;
  if (from === undefined && programs < 2 * threads && R * K >= 32768)
    parts = Math.min(Math.ceil((4 * threads) / programs), Math.floor((R * K) / 16384));
  const length = Math.max(1, Math.ceil(R / parts));
  if (parts > 1) parts = Math.ceil(R / length);
  const values = empty([parts * K], { dtype: x.dtype, device });
  const indices = empty([parts * K], { dtype: "i64", device });
  search.launch([programs, parts], {
    x,
    from: from ?? indices,
    values,
    indices,
    K,
    K1: w.K1,
    sk0: w.sk0,
    sk1: w.sk1,
    R,
    sr: w.sr1,
    length,
    MAX: kind === "max",
    UNIT: w.sr1 === 1,
    FROM: from !== undefined,
    ROWS,
    COLS,
    T,
    INIT: startOf(kind, T),
  });
  if (parts === 1) return [values, indices];
  return launchSearch(walk(values.view([parts, K]), [0], true), kind, indices);
}

/** `dx[o, r, i] = r == index[o, i] ? grad[o, i] : 0`, all row-major. */
const place = kernel(
  { grad: ptr, index: ptr, dx: ptr, n: i32, R: i32, inner: i32, BLOCK: constexpr },
  ({ grad, index, dx, n, R, inner, BLOCK }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const inside = at < n;
    const outer = tl.floorDiv(at, R * inner);
    const from = outer * inner + (at % inner);
    const r = tl.floorDiv(at, inner) % R;
    const own = tl.cast(tl.load(index + from, inside, 0), tl.i32) === r;
    tl.store(dx + at, tl.where(own, tl.load(grad + from, inside, 0), 0), inside);
  },
  "place_gradient",
);

/** Writes `grad` where `index` says along `dim` of row-major `dx`, 0 elsewhere; `grad` and `index` are row-major. */
export function launchPlace(grad: Tensor, index: Tensor, dx: Tensor, dim: number): void {
  const n = dx.numel;
  if (n === 0) return;
  const inner = dx.shape.slice(dim + 1).reduce((m, d) => m * d, 1);
  const BLOCK = n <= 1024 ? 256 : 4096;
  place.launch([Math.ceil(n / BLOCK)], { grad, index, dx, n, R: dx.shape[dim] ?? 1, inner, BLOCK });
}
