// Products of integer weights on chips with matrix units: the integers are exact in the input's dtype, so the units multiply them as
// they are, and the scale of a group comes after the sum over the group. Other chips: `quantized-kernel.ts`.

import { constexpr, dim, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import type { Tensor } from "../tensor/index.js";
import { BLOCK_COLUMNS, blockOf, programsAtOnce } from "./few-rows-kernel.js";
import { elements } from "./quantized-kernel.js";

/** `y[m, n] = sum over k of x[m, k] * q[n, k] * s[n, g]`; the layout of `q` is that of `rowsByIntegers`. */
const product = kernel(
  // biome-ignore format: one line per operand
  {
    x: ptr, sx: dim, q: ptr, s: ptr, y: ptr, M: i32, N: dim, K: dim, half: dim, groups: i32,
    BM: constexpr, BN: constexpr, BK: constexpr, SHIFT: constexpr, BITS: constexpr, SPLIT: constexpr,
    BLOCKS: constexpr, PROGRAMS: constexpr, BY_ROW: constexpr.bool, WHOLE: constexpr.bool, IN: constexpr.dtype, elements,
  },
  (
    // biome-ignore format: one line per group
    { x, sx, q, s, y, M, N, K, half, groups,
      BM, BN, BK, SHIFT, BITS, SPLIT, BLOCKS, PROGRAMS, BY_ROW, WHOLE, IN, elements },
    tl,
  ) => {
    // Programs that read the same columns follow one another.
    const m = tl.programId(0) * BM + tl.arange(0, BM);
    const n = tl.programId(1) * BN + tl.arange(0, BN);
    // Rows past the end read the last one again: then only the end of a row of integers needs masks.
    const row = tl.minimum(n, N - 1);
    const xRow = tl.row(tl.minimum(m, M - 1) * sx);
    let acc = tl.zeros([BN, BM]);
    for (const first of tl.range(0, half, BLOCKS * BK, { split: SPLIT, programs: PROGRAMS }))
      for (const i of tl.staticRange(BLOCKS)) {
        const k = first + i * BK;
        const ks = k + tl.arange(0, BK);
        const raw = tl.load(q + tl.col(row * half) + tl.row(ks), WHOLE || tl.row(ks < half), 0, {
          early: true,
          eviction: "first",
        });
        for (const h of tl.staticRange(BITS === 8 ? 1 : 2)) {
          const at = h * half + ks;
          const own = tl.load(x + tl.col(at) + xRow, WHOLE || tl.col(ks < half && at < K), 0);
          const group = BY_ROW ? 0 : (h * half + k) >> SHIFT;
          const scale = tl.cast(
            tl.load(s + row * groups + group, WHOLE || row * 0 + group < groups, 0, { early: true }),
            "f32",
          );
          const sum = tl.dot(tl.cast(elements(raw, h, BITS), IN), own);
          acc = tl.fma(sum, tl.broadcastTo(tl.col(scale), [BN, BM]), acc);
        }
      }
    tl.store(y + tl.row(m * N) + tl.col(n), acc, tl.col(n < N) && tl.row(m < M));
  },
  "integers_on_units",
);

/** The most shares of a sum: two elements in a byte take more registers, as do two blocks a turn. */
const SHARES = { 8: 16, 4: 8 } as const;
/** Summed bytes of one turn at most. */
const SUMMED = 128;
/** So many programs for each of the chip's threads are few. */
const FEW = 2;
/** More rows than these take the registers of programs side by side. */
const FEW_ROWS = 16;

/** Groups of a power of two are found by a shift; 0 where a row is one. */
export const shiftOf = (groupSize: number): number => (groupSize === 0 ? 0 : Math.log2(groupSize));

export interface IntegerProduct {
  readonly x: Tensor;
  readonly q: Tensor;
  readonly s: Tensor;
  readonly y: Tensor;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly bits: 4 | 8;
  /** Bytes of a row, groups of one, and elements of a group; 0: the whole row. */
  readonly half: number;
  readonly groups: number;
  readonly groupSize: number;
}

/** Launches the product if the chip multiplies the input's dtype on matrix units; tells whether it did. */
export function launchIntegersOnUnits(p: IntegerProduct): boolean {
  const { x, y, M, N, half } = p;
  const { chip, dtype } = y;
  if (!chip.capabilities.matrixDtypes?.includes(dtype) || x.dtype !== dtype) return false;
  const BK = p.groupSize === 0 ? SUMMED : Math.min(SUMMED, p.groupSize);
  // Where a launch has few programs, each has the registers for two blocks a turn.
  const columns = Math.ceil(N / BLOCK_COLUMNS);
  const BLOCKS = columns <= FEW * chip.capabilities.threads && half % (2 * BK) === 0 ? 2 : 1;
  const shares = SHARES[BLOCKS === 2 ? 4 : p.bits];
  const { BM, BN, SPLIT } = blockOf(chip, { M, N, turns: Math.ceil(half / (BLOCKS * BK)) }, shares);
  const atOnce = programsAtOnce(chip, Math.ceil(M / BM) * columns, { BM, SPLIT });
  const PROGRAMS = BLOCKS === 2 && M > FEW_ROWS ? FEW : atOnce;
  if (Math.ceil(N / BN) > chip.capabilities.maxGrid[1]) return false;
  product.launch([Math.ceil(M / BM), Math.ceil(N / BN)], {
    x, sx: p.K, q: p.q, s: p.s, y, M, N, K: p.K, half, groups: p.groups,
    BM, BN, BK, SHIFT: shiftOf(p.groupSize), BITS: p.bits, SPLIT, BLOCKS, PROGRAMS, BY_ROW: p.groupSize === 0,
    WHOLE: half % BK === 0 && p.K * p.bits === half * 8, IN: dtype,
  }); // biome-ignore format: one line per group
  return true;
}
