// The kernel of matrix products and its launch: strided, batched, any dtype. What PyTorch calls them stands in `matmul.ts`.

import { constexpr, dim, helper, i32, ptr } from "../compiler/lang/index.js";
import { dotAccumulator } from "../compiler/ir/ops/reduce.js";
import { allowsTf32, type Chip, kernel, tuningOf } from "../runtime/index.js";
import type { DType } from "../compiler/ir/index.js";
import type { Tensor } from "../tensor/index.js";
import { launchFewRowsOnUnits } from "./few-rows-kernel.js";
import { launchFewRows } from "./matvec-kernel.js";

/**
 * `c[z] = a[z] @ b[z]` by blocks of the result; strides are free, so transposes cost nothing. A program computes `TILES` (up to three)
 * blocks side by side, for which it brings the left side once.
 */
const product = kernel(
  // biome-ignore format: one line per operand
  {
    a: ptr, saz: dim, sam: dim, sak: dim,
    b: ptr, sbz: dim, sbk: dim, sbn: dim,
    c: ptr, scz: dim, scm: dim, scn: dim,
    M: i32, N: dim, K: dim,
    BM: constexpr, BN: constexpr, BK: constexpr, TILES: constexpr, GROUP: constexpr, EVEN: constexpr.bool, IN: constexpr.dtype, ACC: constexpr.dtype, TF32: constexpr.bool,
    times: helper((tl, x: number, y: number, acc: number, IN: DType, TF32: boolean) =>
      tl.dot(x, tl.cast(y, IN), acc, { inputPrecision: TF32 ? "tf32" : "ieee" })),
  },
  (
    // biome-ignore format: as above
    { a, saz, sam, sak, b, sbz, sbk, sbn, c, scz, scm, scn, M, N, K, BM, BN, BK, TILES, GROUP, EVEN, IN, ACC, TF32, times },
    tl,
  ) => {
    const z = tl.programId(2);
    // Bands of GROUP blocks of rows, one after another: what runs at once then reads few rows and few columns.
    const band = GROUP * tl.numPrograms(1);
    const at = tl.programId(1) * tl.numPrograms(0) + tl.programId(0);
    const top = GROUP > 0 ? tl.floorDiv(at, band) * GROUP : 0;
    const high = tl.minimum(tl.numPrograms(0) - top, GROUP);
    const i = GROUP > 0 ? top + ((at % band) % high) : tl.programId(0);
    const j = GROUP > 0 ? tl.floorDiv(at % band, high) : tl.programId(1);
    const rows = tl.col(i * BM + tl.arange(0, BM));
    const cols = tl.row(j * (TILES * BN) + tl.arange(0, BN));
    const ks = tl.arange(0, BK);
    // M is no `dim`: it grows with the batch, and code would be made for each kind. Where `a` is turned its copies need to know.
    const height = EVEN ? tl.multipleOf(M, 16) : M;
    const aRows = a + z * saz + rows * sam;
    const bCols = b + z * sbz + cols * sbn;
    let acc = tl.zeros([BM, BN], ACC);
    let acc1 = tl.zeros([TILES > 1 ? BM : 1, BN], ACC);
    let acc2 = tl.zeros([TILES > 2 ? BM : 1, BN], ACC);
    for (let k = 0; k < K; k += BK) {
      const ak = tl.row(k + ks);
      const bk = tl.col(k + ks);
      const x = tl.cast(tl.load(aRows + ak * sak, rows < height && ak < K, 0), IN);
      const y = bCols + bk * sbk;
      acc = times(x, tl.load(y, bk < K && cols < N, 0), acc, IN, TF32);
      if (TILES > 1) acc1 = times(x, tl.load(y + BN * sbn, bk < K && cols + BN < N, 0), acc1, IN, TF32);
      if (TILES > 2)
        acc2 = times(x, tl.load(y + 2 * BN * sbn, bk < K && cols + 2 * BN < N, 0), acc2, IN, TF32);
    }
    const out = c + z * scz + rows * scm + cols * scn;
    tl.store(out, acc, rows < M && cols < N);
    if (TILES > 1) tl.store(out + BN * scn, acc1, rows < M && cols + BN < N);
    if (TILES > 2) tl.store(out + 2 * BN * scn, acc2, rows < M && cols + 2 * BN < N);
  },
  "matmul",
);

/** What a block costs besides its rows: the other side of the product is packed for each block anew. */
const BLOCK_COST = 16;

/** The power of two from `least` to `most` that cuts `n` into blocks with little padding, and few of them. */
export function blockFor(n: number, most: number, least: number): number {
  const fits = Math.max(least, Math.min(most, 2 ** Math.ceil(Math.log2(Math.max(n, 1)))));
  const cost = (b: number): number => Math.ceil(n / b) * (b + BLOCK_COST);
  let best = fits;
  for (let b = fits / 2; b >= least; b /= 2) if (cost(b) < cost(best)) best = b;
  return best;
}

/** How much longer the right side takes where its columns are contiguous, as a layer's weights are: it is turned on the way. */
const TURNED_COST = 2.5;
/** Blocks side by side in one program. */
const MOST_TILES = 3;
/** Elements of the result that a program computes: more than these fall out of the second cache. */
const MOST_SUMS = 512 * 512;

/**
 * How to cut a product for threads that pack what they read: blocks of `BM` x `BN` or halves of these, up to {@link MOST_TILES} of them side
 * by side in a program. The threads are to end together, and little is to be packed again and again.
 */
export function cutFor(
  threads: number,
  { batch, M, N }: { readonly batch: number; readonly M: number; readonly N: number },
  [mostM, mostN]: readonly [number, number],
  turned: boolean,
): readonly [BM: number, BN: number, TILES: number] {
  const right = BLOCK_COST * (turned ? TURNED_COST : 1);
  let best: readonly [number, number, number] = [mostM, mostN, 1];
  let least = Number.POSITIVE_INFINITY;
  for (let BM = mostM; BM === mostM || BM >= LEAST_SIDE; BM /= 2)
    for (let BN = mostN; BN === mostN || BN >= LEAST_SIDE; BN /= 2)
      for (let tiles = 1; tiles <= MOST_TILES; tiles++) {
        const columns = BN * tiles;
        if (tiles > 1 && (columns > N || BM < LEAST_SIDE || BM * columns > MOST_SUMS)) break;
        const programs = batch * Math.ceil(M / BM) * Math.ceil(N / columns);
        const cost = Math.ceil(programs / threads) * (BM * columns + right * columns + BLOCK_COST * BM);
        if (cost < least) [best, least] = [[BM, BN, tiles], cost];
      }
  return best;
}

/** Blocks of the result are not cut below this for the sake of more threads. */
const LEAST_SIDE = 64;
const LEAST_SHARED = LEAST_SIDE ** 2;
/** The share of the threads' time that may be lost to a last round that does not fill them. */
const MOST_IDLE = 0.1;

/**
 * Halves blocks of the result until the threads have about the same number of them.
 *
 * @param narrow square blocks become narrow rather than low. The right side is packed once for each block of rows; where its
 *   columns are contiguous, as a layer's weights are, it is turned on the way, which takes four times as long.
 */
function shareBlocks(
  threads: number,
  { batch, M, N }: { readonly batch: number; readonly M: number; readonly N: number },
  [BM, BN]: readonly [number, number],
  narrow: boolean,
): readonly [number, number] {
  const blocks = batch * Math.ceil(M / BM) * Math.ceil(N / BN);
  const rounds = blocks / threads;
  const even = rounds >= (1 - MOST_IDLE) * Math.ceil(rounds);
  if (even || BM * BN <= LEAST_SHARED) return [BM, BN];
  const halved: [number, number] = BN > BM || (narrow && BN === BM) ? [BM, BN / 2] : [BM / 2, BN];
  return shareBlocks(threads, { batch, M, N }, halved, narrow);
}

/** A matrix, or a batch of them (`batchStride` 0 repeats one): a tensor and the strides of its last two dimensions. */
export interface Matrices {
  readonly tensor: Tensor;
  readonly batchStride: number;
  readonly rowStride: number;
  readonly colStride: number;
}

/** The last two dimensions of a tensor as matrices, the one before as the batch. */
export function matricesOf(t: Tensor): Matrices {
  const n = t.ndim;
  return {
    tensor: t,
    batchStride: n > 2 ? t.strides[n - 3]! : 0,
    rowStride: t.strides[n - 2]!,
    colStride: t.strides[n - 1]!,
  };
}

/** Whether operands may lose bits, as {@link setFloat32MatmulPrecision} allows. */
const roundsToTf32 = (dtype: DType): boolean => dtype === "f32" && allowsTf32();

/** The same turned. */
const flip = (x: Matrices): Matrices => ({ ...x, rowStride: x.colStride, colStride: x.rowStride });

/** Block sizes `[M, N, K]`. */
export type Block = readonly [number, number, number];

/**
 * The largest block `[M, N, K]` for a product, and how many blocks of rows make a band (0: none): what the chip's tuning tables say,
 * else what suits the chip.
 *
 * @param turned the right operand's columns are contiguous, as a layer's weights are
 */
function dotBlockFor(
  chip: Chip,
  dtype: DType,
  M: number,
  N: number,
  K: number,
  turned: boolean,
): readonly [number, number, number, number] {
  const use = tuningOf(chip, "matmul", {
    dtype: roundsToTf32(dtype) ? "tf32" : dtype,
    M,
    N,
    K,
    turned,
  });
  const suits = chip.capabilities.dotBlock;
  if (use === undefined) return [...suits, 0];
  const one = (name: string, otherwise: number): number => {
    const n = use[name] ?? otherwise;
    if (typeof n === "number" && Number.isInteger(n) && n >= 1) return n;
    throw new RangeError(
      `the tuning table of ${chip.name}: ${name} of matmul must be a whole number from 1, not ${n}`,
    );
  };
  const band = use["GROUP"] === undefined ? 0 : one("GROUP", 0);
  return [one("BM", suits[0]), one("BN", suits[1]), one("BK", suits[2]), band];
}

/**
 * Launches `c[z] = a[z] @ b[z]` for `[M,K] @ [K,N]`, `batch` times. All live on one chip; `a` and `b` have the dtype of `c`, or
 * a narrower one that is widened on the way.
 *
 * @param block the largest block `[M, N, K]` instead of the tables' and the chip's
 */
export function launchProduct(
  a: Matrices,
  b: Matrices,
  c: Matrices,
  size: { readonly batch: number; readonly M: number; readonly N: number; readonly K: number },
  block?: Block,
): void {
  const { batch, M, N, K } = size;
  if (batch === 0 || M === 0 || N === 0) return;
  if (block === undefined && batch === 1) {
    if (launchFewRows(a, b, c, size) || launchFewRowsOnUnits(a, b, c, size)) return;
    // Few columns are few rows of the transposed product.
    if (N < M && launchFewRowsOnUnits(flip(b), flip(a), flip(c), { M: N, N: M, K })) return;
  }
  const { dtype, chip } = c.tensor;
  const turned = b.colStride !== 1;
  const [mostM, mostN, mostK, group] = block ? [...block, 0] : dotBlockFor(chip, dtype, M, N, K, turned);
  const whole = [blockFor(M, mostM, 1), blockFor(N, mostN, 8)] as const;
  const { threads, programThreads = 1, sharedBytes } = chip.capabilities;
  // Bands of programs and blocks side by side in one are two ways to read less: tables that ask for bands are for programs of many threads.
  const packs = programThreads === 1 && sharedBytes === undefined && group === 0;
  const [BM, BN, TILES] = packs
    ? cutFor(threads, size, whole, turned)
    : [...shareBlocks(threads, size, whole, programThreads === 1), 1];
  const BK = blockFor(K, mostK, 8);
  product.launch([Math.ceil(M / BM), Math.ceil(N / (BN * TILES)), batch], {
    a: a.tensor,
    saz: a.batchStride,
    sam: a.rowStride,
    sak: a.colStride,
    b: b.tensor,
    sbz: b.batchStride,
    sbk: b.rowStride,
    sbn: b.colStride,
    c: c.tensor,
    scz: c.batchStride,
    scm: c.rowStride,
    scn: c.colStride,
    M,
    N,
    K,
    BM,
    BN,
    BK,
    TILES,
    GROUP: group,
    EVEN: a.rowStride === 1 && a.colStride !== 1 && M % 16 === 0,
    IN: dtype,
    ACC: dotAccumulator(dtype),
    TF32: roundsToTf32(dtype),
  });
}
