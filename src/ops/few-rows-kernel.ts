// Products of a few rows with a large matrix on chips with matrix units: the matrix streams from memory once, its columns are the
// rows of what the units take, and the sum is shared out: within a program where both operands follow memory along it, else to
// several programs. `matvec-kernel.ts` is for chips without such units.
//
// The order in which a result is summed depends on N, K and the chip, never on how many rows there are, up to 16 and from 17 on.

import { constexpr, dim, i32, ptr } from "../compiler/lang/index.js";
import { type Chip, kernel } from "../runtime/index.js";
import { empty, type Tensor } from "../tensor/index.js";
import type { Matrices } from "./matmul-kernel.js";

/** `y[m, n] = sum over k of x[m, k] * w[n, k]`, both contiguous along k. */
const alongK = kernel(
  // biome-ignore format: one line per operand
  {
    x: ptr, sx: dim, w: ptr, sw: dim, y: ptr, sym: dim, syn: dim, M: i32, N: i32, K: dim,
    BM: constexpr, BN: constexpr, BK: constexpr, SPLIT: constexpr, WHOLE: constexpr.bool,
  },
  ({ x, sx, w, sw, y, sym, syn, M, N, K, BM, BN, BK, SPLIT, WHOLE }, tl) => {
    // Programs that read the same columns follow one another.
    const m = tl.programId(0) * BM + tl.arange(0, BM);
    const n = tl.programId(1) * BN + tl.arange(0, BN);
    // Rows past the end read the last one again: then only the end of K needs masks.
    const rows = w + tl.col(tl.minimum(n, N - 1) * sw);
    const columns = x + tl.row(tl.minimum(m, M - 1) * sx);
    let acc = tl.zeros([BN, BM]);
    for (const k of tl.range(0, K, BK, { split: SPLIT })) {
      const ks = k + tl.arange(0, BK);
      const left = tl.load(rows + tl.row(ks), WHOLE || tl.row(ks < K), 0, { early: true, eviction: "first" });
      const right = tl.load(columns + tl.col(ks), WHOLE || tl.col(ks < K), 0);
      acc = tl.dot(left, right, acc);
    }
    tl.store(y + tl.row(m * sym) + tl.col(n * syn), acc, tl.col(n < N) && tl.row(m < M));
  },
  "few_rows_along_k",
);

/** `y[c, m, n] = sum over the k of part c of x[m, k] * w[k, n]`. */
const partial = kernel(
  // biome-ignore format: one line per operand
  {
    x: ptr, sxm: dim, sxk: dim, w: ptr, swk: dim, swn: dim, y: ptr, syc: dim, sym: dim, syn: dim,
    M: i32, N: i32, K: dim, length: dim, BM: constexpr, BN: constexpr, BK: constexpr,
  },
  ({ x, sxm, sxk, w, swk, swn, y, syc, sym, syn, M, N, K, length, BM, BN, BK }, tl) => {
    const part = tl.programId(1);
    const n = tl.programId(0) * BN + tl.arange(0, BN);
    const m = tl.arange(0, BM);
    const start = part * length;
    const end = tl.minimum(start + length, K);
    let acc = tl.zeros([BN, BM]);
    for (let k = start; k < end; k += BK) {
      const ks = k + tl.arange(0, BK);
      const left = tl.load(w + tl.col(n * swn) + tl.row(ks * swk), tl.col(n < N) && tl.row(ks < end), 0);
      const right = tl.load(x + tl.col(ks * sxk) + tl.row(m * sxm), tl.col(ks < end) && tl.row(m < M), 0);
      acc = tl.dot(left, right, acc);
    }
    tl.store(y + part * syc + tl.row(m * sym) + tl.col(n * syn), acc, tl.col(n < N) && tl.row(m < M));
  },
  "few_rows",
);

/** `y[m, n] = sum over c of parts[c, m, n]`, in order. */
const join = kernel(
  // biome-ignore format: one line per operand
  { parts: ptr, y: ptr, sym: dim, syn: dim, C: i32, M: i32, N: dim, size: dim, BLOCK: constexpr },
  ({ parts, y, sym, syn, C, M, N, size, BLOCK }, tl) => {
    const m = tl.programId(1);
    const n = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    let sum = tl.zeros([BLOCK]);
    for (let c = 0; c < C; c++) sum = sum + tl.load(parts + c * size + m * N + n, n < N && m < M, 0);
    tl.store(y + m * sym + n * syn, sum, n < N && m < M);
  },
  "few_rows_join",
);

/** The most rows. */
const ROWS = 64;
/** Columns of the matrix and summed elements of one block. */
const [BN, BK] = [64, 128];
/** Smaller matrices do not fill the chip anyway. */
const LEAST = 2 ** 18;
/** Programs for each of the chip's threads. */
const PROGRAMS = 6;
/** Blocks along K that one program takes at least. */
const LEAST_TURNS = 4;
const JOIN = 512;

/** Subgroups that keep one of the chip's threads busy, and how many share a sum. */
const SUBGROUPS = 32;
const [LEAST_SHARES, MOST_SHARES] = [4, 16];
/** The least and the most rows of a block, of which registers hold the sums, and its columns. */
const [LEAST_ROWS, BLOCK_ROWS] = [8, 32];
export const BLOCK_COLUMNS = 16;
/** The most rows that are read once for every few columns. */
const SHARED_ROWS = 16;
/** Elements of one access along K. */
const NEAR = 8;

/**
 * Blocks of a product whose sums are shared out within programs: rows of `x`, columns, and the shares. These follow from N and
 * `turns` alone, so a row has the same bits whatever stands beside it.
 */
export function blockOf(
  chip: Chip,
  { M, N, turns }: { readonly M: number; readonly N: number; readonly turns: number },
  mostShares: number = MOST_SHARES,
): { BM: number; BN: number; SPLIT: number } {
  const BM = Math.min(BLOCK_ROWS, Math.max(LEAST_ROWS, 2 ** Math.ceil(Math.log2(M))));
  const wanted = (SUBGROUPS * chip.capabilities.threads) / Math.ceil(N / BLOCK_COLUMNS);
  const most = Math.min(mostShares, 2 ** Math.floor(Math.log2(turns)));
  const SPLIT = Math.min(most, Math.max(LEAST_SHARES, 2 ** Math.floor(Math.log2(wanted))));
  return { BM, BN: BLOCK_COLUMNS, SPLIT };
}

/** Threads of a subgroup, and of all programs that run side by side at most. */
const [SUBGROUP, MOST_THREADS] = [32, 1024];

/**
 * How many programs are to run side by side so that all of a launch run at once; 0 where they are too many for that, or where more
 * rows take the registers.
 */
export function programsAtOnce(
  chip: Chip,
  programs: number,
  { BM, SPLIT }: { readonly BM: number; readonly SPLIT: number },
): number {
  const each = Math.ceil(programs / chip.capabilities.threads);
  return BM <= LEAST_ROWS && each * SPLIT * SUBGROUP <= MOST_THREADS ? each : 0;
}

/** Launches `y = x @ w` for `[M, K] @ [K, N]` if this way suits it; tells whether it did. */
export function launchFewRowsOnUnits(
  x: Matrices,
  w: Matrices,
  y: Matrices,
  size: { readonly M: number; readonly N: number; readonly K: number },
): boolean {
  const { M, N, K } = size;
  const { dtype, chip, device } = y.tensor;
  if (!chip.capabilities.matrixDtypes?.includes(dtype) || M > ROWS || N * K < LEAST) return false;
  if (x.tensor.dtype !== dtype || w.tensor.dtype !== dtype) return false;
  const aligned = [K, x.rowStride, w.colStride].every((n) => n % NEAR === 0);
  const fits = Math.ceil(N / BLOCK_COLUMNS) <= chip.capabilities.maxGrid[1];
  if (fits && M <= SHARED_ROWS && x.colStride === 1 && w.rowStride === 1 && aligned) {
    const block = blockOf(chip, { M, N, turns: Math.ceil(K / BK) });
    alongK.launch([Math.ceil(M / block.BM), Math.ceil(N / block.BN)], {
      x: x.tensor, sx: x.rowStride, w: w.tensor, sw: w.colStride, y: y.tensor, sym: y.rowStride, syn: y.colStride,
      M, N, K, ...block, BK, WHOLE: K % BK === 0,
    }); // biome-ignore format: one line per group
    return true;
  }
  const columns = Math.ceil(N / BN);
  const { parts, length } = shareRows(chip, columns, K, BK);
  const common = {
    x: x.tensor, sxm: x.rowStride, sxk: x.colStride, w: w.tensor, swk: w.rowStride, swn: w.colStride,
    M, N, K, length, BM: rowBlock(M).BM, BN, BK,
  }; // biome-ignore format: one line per group
  if (parts === 1) {
    partial.launch([columns, 1], { ...common, y: y.tensor, syc: 0, sym: y.rowStride, syn: y.colStride });
    return true;
  }
  const some: Tensor = empty([parts, M, N], { dtype: "f32", device });
  partial.launch([columns, parts], { ...common, y: some, syc: M * N, sym: N, syn: 1 });
  joinRows(some, y.tensor, { M, N, sym: y.rowStride, syn: y.colStride });
  return true;
}

/** The rows of one block, and how many blocks there are. */
export function rowBlock(M: number): { BM: number; blocks: number } {
  const BM = M <= 16 ? 16 : M <= 32 ? 32 : ROWS;
  return { BM, blocks: Math.ceil(M / BM) };
}

/** Cuts `K` summed elements into parts of `length`, for `columns` blocks of columns each: by shapes and the chip alone. */
export function shareRows(
  chip: Chip,
  columns: number,
  K: number,
  block: number,
): { parts: number; length: number } {
  const turns = Math.ceil(K / block);
  const wanted = Math.ceil((PROGRAMS * chip.capabilities.threads) / columns);
  const each = Math.max(LEAST_TURNS, Math.ceil(turns / Math.max(1, wanted)));
  return { parts: Math.ceil(turns / each), length: each * block };
}

/** Adds `parts` `[parts, M, N]` up. */
export function joinRows(
  parts: Tensor,
  y: Tensor,
  o: { readonly M: number; readonly N: number; readonly sym: number; readonly syn: number },
): void {
  const { M, N } = o;
  join.launch([Math.ceil(N / JOIN), M], { parts, y, ...o, C: parts.shape[0]!, size: M * N, BLOCK: JOIN });
}
