// Products of a few rows with a large matrix: the matrix streams from memory once, unpacked and in its own dtype, and
// is not copied anywhere. Larger products, batches, and matrices that are contiguous along neither axis are left to
// `matmul-kernel.ts`.
//
// The order in which a result is summed depends on K, the layout and the chip alone, never on how many rows there are.

import { dotAccumulator } from "../compiler/ir/ops/reduce.js";
import { constexpr, dim, i32, ptr } from "../compiler/lang/index.js";
import { type Chip, kernel, tuningOf } from "../runtime/index.js";
import { isFloatDType, type Tensor } from "../tensor/index.js";

/**
 * `y[m, n] = sum over k of x[m, k] * w[n, k]`: both are contiguous along k, which the vectors lie along, in blocks of `RUNS`
 * runs of `BK / RUNS` elements. One row or two go run by run, and what follows is fetched meanwhile. More rows share a block;
 * if it is `NARROW` they share a widened copy of it. The order of a sum is the same in each way.
 */
const alongK = kernel(
  // biome-ignore format: one line per operand
  {
    x: ptr, sx: dim, w: ptr, sw: dim, y: ptr, sym: i32, syn: i32, M: i32, N: i32, K: i32,
    BM: constexpr, BN: constexpr, BK: constexpr, RUNS: constexpr, FEW: constexpr.bool, NARROW: constexpr.bool, WHOLE: constexpr.bool,
    EARLY: constexpr.bool, ACC: constexpr.dtype,
  },
  ({ x, sx, w, sw, y, sym, syn, M, N, K, BM, BN, BK, RUNS, FEW, NARROW, WHOLE, EARLY, ACC }, tl) => {
    const ms = tl.arange(0, BM);
    const ns = tl.programId(0) * BN + tl.arange(0, BN);
    // Rows past the end read the last one again: then only the end of K needs masks.
    const xRow = tl.expandDims(tl.col(tl.minimum(ms, M - 1) * sx), 0);
    const wRow = tl.expandDims(tl.col(tl.minimum(ns, N - 1) * sw), 1);
    const runs = tl.col(tl.arange(0, RUNS)) * (BK / RUNS) + tl.row(tl.arange(0, BK / RUNS));
    let acc = tl.zeros([BN, BM], ACC);
    for (let k = 0; k < K; k += BK) {
      const ks = tl.expandDims(tl.row(k + tl.arange(0, BK)), 0);
      const at = tl.expandDims(k + runs, 0);
      if (FEW) {
        const each = tl.expandDims(at, 0);
        const a = tl.cast(tl.load(x + tl.expandDims(xRow, 2) + each, WHOLE || each < K, 0), ACC);
        const b = tl.cast(
          tl.load(w + tl.expandDims(wRow, 2) + each, WHOLE || each < K, 0, { early: EARLY }),
          ACC,
        );
        acc += tl.sum(tl.reshape(b * a, [BN, BM, BK]), 2);
      } else if (NARROW) {
        const a = tl.cast(tl.load(x + xRow + ks, WHOLE || ks < K, 0), ACC);
        const b = tl.cast(tl.load(w + wRow + at, WHOLE || at < K, 0), ACC);
        acc += tl.sum(tl.reshape(b, [BN, 1, BK]) * a, 2);
      } else {
        const a = tl.cast(tl.load(x + xRow + ks, WHOLE || ks < K, 0), ACC);
        const b = tl.cast(tl.load(w + wRow + ks, WHOLE || ks < K, 0), ACC);
        acc += tl.sum(b * a, 2);
      }
    }
    const [rows, cols] = [tl.row(ms), tl.col(ns)];
    tl.store(y + rows * sym + cols * syn, acc, rows < M && cols < N);
  },
  "few_rows_along_k",
);

/** `y[m, n] = sum over k of x[m, k] * w[k, n]`: `w` is contiguous along n, which the vectors lie along. */
const alongN = kernel(
  // biome-ignore format: one line per operand
  {
    x: ptr, sxm: dim, sxk: dim, w: ptr, sw: dim, y: ptr, sym: i32, syn: i32, M: i32, N: i32, K: i32,
    BM: constexpr, BN: constexpr, BK: constexpr, REST: constexpr, ACC: constexpr.dtype,
  },
  ({ x, sxm, sxk, w, sw, y, sym, syn, M, N, K, BM, BN, BK, REST, ACC }, tl) => {
    const ms = tl.arange(0, BM);
    const ns = tl.row(tl.programId(0) * BN + tl.arange(0, BN));
    const xRows = x + tl.expandDims(tl.col(tl.minimum(ms, M - 1) * sxm), 0);
    const wCols = w + tl.expandDims(ns, 0);
    const inside = tl.expandDims(ns < N, 0);
    const whole = K - (K % BK);
    let acc = tl.zeros([BM, BN], ACC);
    for (let k = 0; k < whole; k += BK) {
      const ks = tl.expandDims(tl.col(k + tl.arange(0, BK)), 1);
      const a = tl.cast(tl.load(xRows + ks * sxk), ACC);
      acc += tl.sum(a * tl.cast(tl.load(wCols + ks * sw, inside, 0), ACC), 0);
    }
    if (REST > 0) {
      const ks = tl.expandDims(tl.col(whole + tl.arange(0, REST)), 1);
      const a = tl.cast(tl.load(xRows + ks * sxk, ks < K, 0), ACC);
      acc += tl.sum(a * tl.cast(tl.load(wCols + ks * sw, inside && ks < K, 0), ACC), 0);
    }
    const rows = tl.col(ms);
    tl.store(y + rows * sym + ns * syn, acc, rows < M && ns < N);
  },
  "few_rows_along_n",
);

/** A matrix by its tensor and the strides, in elements, of its two indices. */
export interface Strided {
  readonly tensor: Tensor;
  readonly rowStride: number;
  readonly colStride: number;
}

/** The most rows that share one pass over the matrix. */
const FEW_ROWS = 32;
/** The most rows of a product of which each has the same bits whatever the others are, and how many; undefined where that says nothing. */
export const rowsAlike = (chip: Chip): number | undefined =>
  chip.capabilities.streamsSums ? FEW_ROWS : undefined;
/** Matrices smaller than this stay in the nearest cache: packing them costs nothing to speak of. */
const LEAST_ELEMENTS = 4096;
/** Summed elements in one turn, and the columns of one program, where the matrix is contiguous along k. */
const K_BLOCK = 1024;
const K_COLUMNS = 8;
/** Elements of one run of such a block, and the rows from which on widening narrow elements once pays. */
const RUN = 128;
const LONG_RUN = 512;
const SHARED_ROWS = 4;
/** The same for a matrix that is contiguous along n: accumulators of all rows stay in a nearby cache. */
const N_BLOCK = 1024;
const SHORT = 64;
const N_SUMS = 8192;
const LEAST_N_COLUMNS = 64;

const powerFrom = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(n, 1)));

/**
 * Launches `y = x @ w` for `[M, K] @ [K, N]` of floats if a kernel for few rows suits it; tells whether it did. The
 * dtypes may differ: the sum is in f32 (f64 for an f64 result).
 */
export function launchFewRows(
  x: Strided,
  w: Strided,
  y: Strided,
  size: { readonly M: number; readonly N: number; readonly K: number },
): boolean {
  const { M, N, K } = size;
  const { chip } = y.tensor;
  if (!chip.capabilities.streamsSums || K === 0) return false;
  if (![x, w, y].every((t) => isFloatDType(t.tensor.dtype))) return false;
  if (M > FEW_ROWS) {
    if (N > FEW_ROWS) return false;
    // Few columns are few rows of the transposed product.
    return launchFewRows(flip(w), flip(x), flip(y), { M: N, N: M, K });
  }
  if (N * K < LEAST_ELEMENTS) return false;
  const common = { x: x.tensor, w: w.tensor, y: y.tensor, sym: y.rowStride, syn: y.colStride, M, N, K };
  const ACC = dotAccumulator(y.tensor.dtype);
  const BM = powerFrom(M);
  if (w.rowStride === 1 && x.colStride === 1) {
    const BK = Math.min(K_BLOCK, Math.max(powerFrom(K), 16));
    const strides = { sx: x.rowStride, sw: w.colStride };
    const NARROW = w.tensor.dtype !== ACC;
    // One row by narrow elements goes column by column: memory gives most where it is read in its order.
    // Of a single run the sum would be in another order.
    const EARLY = M === 1 && NARROW && BK > LONG_RUN && chip.capabilities.sumsByRow === true;
    const RUNS = Math.max(1, BK / (EARLY ? LONG_RUN : RUN));
    const how = { RUNS, FEW: BM < SHARED_ROWS && BK > RUN, NARROW, WHOLE: K % BK === 0, EARLY };
    // What is fetched ahead, the columns of the next program, stays in the nearest cache until it is needed.
    const BN = EARLY ? 1 : how.FEW ? K_COLUMNS / 2 : K_COLUMNS;
    alongK.launch([Math.ceil(N / BN)], { ...common, ...strides, BM, BN, BK, ...how, ACC });
    return true;
  }
  if (w.colStride !== 1) return false;
  const most = Math.max(LEAST_N_COLUMNS, Math.min(sumsOf(chip, size) / BM, 4096));
  const share = powerFrom(Math.ceil(N / chip.capabilities.threads));
  const BN = Math.min(most, Math.max(LEAST_N_COLUMNS, share));
  const BK = blockOf(K);
  const REST = K % BK === 0 ? 0 : powerFrom(K % BK);
  const strides = { sxm: x.rowStride, sxk: x.colStride, sw: w.rowStride };
  alongN.launch([Math.ceil(N / BN)], { ...common, ...strides, BM, BN, BK, REST, ACC });
  return true;
}

/** Results that a program adds up where the matrix is contiguous along n: what the chip's tuning tables say, else {@link N_SUMS}. */
function sumsOf(chip: Chip, size: Readonly<Record<"M" | "N" | "K", number>>): number {
  const sums = tuningOf(chip, "few_rows", size)?.["SUMS"] ?? N_SUMS;
  if (typeof sums === "number" && sums >= 1 && Number.isInteger(Math.log2(sums))) return sums;
  throw new RangeError(
    `the tuning table of ${chip.name}: SUMS of few_rows must be a power of two, not ${sums}`,
  );
}

/** A power of two that divides K if one of 64 or more does, else one that leaves a short rest. */
function blockOf(K: number): number {
  for (let b = N_BLOCK; b >= SHORT; b /= 2) if (K % b === 0) return b;
  return Math.min(SHORT, 2 ** Math.floor(Math.log2(K)));
}

const flip = ({ tensor, rowStride, colStride }: Strided): Strided => ({
  tensor,
  rowStride: colStride,
  colStride: rowStride,
});
