// Products of a few rows with a large matrix on chips with matrix units: the matrix streams from memory once, its columns are the
// rows of what the units take, and parts of the sum go to several programs. `matvec-kernel.ts` is for chips without such units.
//
// The order in which a result is summed depends on N, K and the chip alone, never on how many rows there are.

import { constexpr, dim, i32, ptr } from "../compiler/lang/index.js";
import { type Chip, kernel } from "../runtime/index.js";
import { empty, type Tensor } from "../tensor/index.js";
import type { Matrices } from "./matmul-kernel.js";

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
