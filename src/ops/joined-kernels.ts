// Several products of the same few rows in one launch, on chips with matrix units: with matrices side by side (queries, keys and values),
// and the two halves of a gated MLP with what becomes of them. A launch costs as much as megabytes of a matrix. One product of its own:
// `few-rows-kernel.ts`, and of integers `quantized-units.ts`, which these follow in the order of their sums.

import { constexpr, dim, helper, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import type { Tensor } from "../tensor/index.js";
import { blockOf, programsAtOnce } from "./few-rows-kernel.js";
import { elements } from "./quantized-kernel.js";
import { shiftOf } from "./quantized-units.js";

/** The sums of a block of columns: floats, or integers `q` in the layout of `rowsByIntegers` with their scales. */
const sumOf = helper(
  (
    tl,
    x: number,
    sx: number,
    q: number,
    s: number,
    m: number,
    M: number,
    n: number,
    N: number,
    K: number,
    half: number,
    groups: number,
    BM: number,
    BN: number,
    BK: number,
    SHIFT: number,
    BITS: number,
    SPLIT: number,
    PROGRAMS: number,
    WHOLE: boolean,
    IN: string,
    elements: (raw: number, half: number, bits: number) => number,
  ) => {
    // Rows past the end read the last one again: then only the end of K needs masks.
    const row = tl.minimum(n, N - 1);
    const rows = q + tl.col(row * half);
    const columns = x + tl.row(tl.minimum(m, M - 1) * sx);
    let acc = tl.zeros([BN, BM]);
    for (const k of tl.range(0, half, BK, { split: SPLIT, programs: PROGRAMS })) {
      const ks = k + tl.arange(0, BK);
      const raw = tl.load(rows + tl.row(ks), WHOLE || tl.row(ks < half), 0, {
        early: true,
        eviction: "first",
      });
      if (BITS === 16) {
        const right = tl.load(columns + tl.col(ks), WHOLE || tl.col(ks < half), 0);
        acc = tl.dot(raw, right, acc);
      } else {
        for (const h of tl.staticRange(BITS === 8 ? 1 : 2)) {
          const at = h * half + ks;
          const right = tl.load(columns + tl.col(at), WHOLE || tl.col(ks < half && at < K), 0);
          const group = SHIFT === 0 ? 0 : (h * half + k) >> SHIFT;
          const scale = tl.cast(
            tl.load(s + row * groups + group, WHOLE || row * 0 + group < groups, 0, { early: true }),
            "f32",
          );
          const sum = tl.dot(tl.cast(elements(raw, h, BITS), IN as never), right);
          acc = tl.fma(sum, tl.broadcastTo(tl.col(scale), [BN, BM]), acc);
        }
      }
    }
    return acc;
  },
);

/** `y_i[m, n] = sum over k of x[m, k] * w_i[n, k]` for two or three matrices. */
const sideBySide = kernel(
  // biome-ignore format: one line per operand
  {
    x: ptr, sx: dim, q0: ptr, q1: ptr, q2: ptr, s0: ptr, s1: ptr, s2: ptr, y0: ptr, y1: ptr, y2: ptr,
    M: i32, N0: dim, N1: dim, N2: dim, K: dim, half: dim, groups: i32,
    COUNT: constexpr, BM: constexpr, BN: constexpr, BK: constexpr, SHIFT: constexpr, BITS: constexpr, SPLIT: constexpr,
    PROGRAMS: constexpr, WHOLE: constexpr.bool, IN: constexpr.dtype, sumOf, elements,
  },
  (
    // biome-ignore format: one line per group
    { x, sx, q0, q1, q2, s0, s1, s2, y0, y1, y2, M, N0, N1, N2, K, half, groups,
      COUNT, BM, BN, BK, SHIFT, BITS, SPLIT, PROGRAMS, WHOLE, IN, sumOf, elements },
    tl,
  ) => {
    const m = tl.programId(0) * BM + tl.arange(0, BM);
    const block = tl.programId(1);
    const first = tl.cdiv(N0, BN);
    const second = first + tl.cdiv(N1, BN);
    if (block < first) {
      const n = block * BN + tl.arange(0, BN);
      // biome-ignore format: one line
      const acc = sumOf(x, sx, q0, s0, m, M, n, N0, K, half, groups, BM, BN, BK, SHIFT, BITS, SPLIT, PROGRAMS, WHOLE, IN, elements);
      tl.store(y0 + tl.row(m * N0) + tl.col(n), acc, tl.col(n < N0) && tl.row(m < M));
    } else if (COUNT === 2 || block < second) {
      const n = (block - first) * BN + tl.arange(0, BN);
      // biome-ignore format: one line
      const acc = sumOf(x, sx, q1, s1, m, M, n, N1, K, half, groups, BM, BN, BK, SHIFT, BITS, SPLIT, PROGRAMS, WHOLE, IN, elements);
      tl.store(y1 + tl.row(m * N1) + tl.col(n), acc, tl.col(n < N1) && tl.row(m < M));
    } else {
      const n = (block - second) * BN + tl.arange(0, BN);
      // biome-ignore format: one line
      const acc = sumOf(x, sx, q2, s2, m, M, n, N2, K, half, groups, BM, BN, BK, SHIFT, BITS, SPLIT, PROGRAMS, WHOLE, IN, elements);
      tl.store(y2 + tl.row(m * N2) + tl.col(n), acc, tl.col(n < N2) && tl.row(m < M));
    }
  },
  "products_side_by_side",
);

/** `y[m, n] = silu(g) * u`, g and u products with integers, rounded as two would be. */
const gated = kernel(
  // biome-ignore format: one line per operand
  {
    x: ptr, sx: dim, q0: ptr, q1: ptr, s0: ptr, s1: ptr, y: ptr, M: i32, N: dim, K: dim, half: dim, groups: i32,
    BM: constexpr, BN: constexpr, BK: constexpr, SHIFT: constexpr, BITS: constexpr, SPLIT: constexpr,
    PROGRAMS: constexpr, WHOLE: constexpr.bool, IN: constexpr.dtype, elements,
  },
  (
    // biome-ignore format: one line per group
    { x, sx, q0, q1, s0, s1, y, M, N, K, half, groups,
      BM, BN, BK, SHIFT, BITS, SPLIT, PROGRAMS, WHOLE, IN, elements },
    tl,
  ) => {
    const m = tl.programId(0) * BM + tl.arange(0, BM);
    const n = tl.programId(1) * BN + tl.arange(0, BN);
    const row = tl.minimum(n, N - 1);
    const columns = x + tl.row(tl.minimum(m, M - 1) * sx);
    let gate = tl.zeros([BN, BM]);
    let up = tl.zeros([BN, BM]);
    for (const k of tl.range(0, half, BK, { split: SPLIT, programs: PROGRAMS })) {
      const ks = k + tl.arange(0, BK);
      const inside = WHOLE || tl.row(ks < half);
      const raw0 = tl.load(q0 + tl.col(row * half) + tl.row(ks), inside, 0, {
        early: true,
        eviction: "first",
      });
      const raw1 = tl.load(q1 + tl.col(row * half) + tl.row(ks), inside, 0, {
        early: true,
        eviction: "first",
      });
      for (const h of tl.staticRange(BITS === 8 ? 1 : 2)) {
        const at = h * half + ks;
        const right = tl.load(columns + tl.col(at), WHOLE || tl.col(ks < half && at < K), 0);
        const group = SHIFT === 0 ? 0 : (h * half + k) >> SHIFT;
        const known = WHOLE || row * 0 + group < groups;
        const scale0 = tl.cast(tl.load(s0 + row * groups + group, known, 0, { early: true }), "f32");
        const scale1 = tl.cast(tl.load(s1 + row * groups + group, known, 0, { early: true }), "f32");
        const sum0 = tl.dot(tl.cast(elements(raw0, h, BITS), IN), right);
        const sum1 = tl.dot(tl.cast(elements(raw1, h, BITS), IN), right);
        gate = tl.fma(sum0, tl.broadcastTo(tl.col(scale0), [BN, BM]), gate);
        up = tl.fma(sum1, tl.broadcastTo(tl.col(scale1), [BN, BM]), up);
      }
    }
    const g = tl.cast(tl.cast(gate, IN), "f32");
    const u = tl.cast(tl.cast(up, IN), "f32");
    tl.store(y + tl.row(m * N) + tl.col(n), g * tl.sigmoid(g) * u, tl.col(n < N) && tl.row(m < M));
  },
  "gated_products",
);

/** A matrix `[N, K]`: floats of the input's dtype, or integers with their scales. */
export interface Matrix {
  readonly w: Tensor;
  readonly scales?: Tensor;
}

/** The most rows: more are served better by a product each. */
export const ROWS = 16;
/** Elements or bytes of a row that one turn takes at most, and elements of one access. */
const [TURN, NEAR] = [128, 16];

/** What the kernels have in common; undefined where they do not suit. `x` is `[M, K]` with rows side by side. `gated`: two matrices in each program. */
function common(x: Tensor, list: readonly Matrix[], groupSize: number, gated = false) {
  const { chip, dtype } = x;
  const [M, K] = x.shape as [number, number];
  const [{ w, scales }] = list as [Matrix];
  const BITS = scales === undefined ? 16 : w.dtype === "i8" ? 8 : 4;
  const half = w.shape[1]!;
  const same = list.every(
    (one) =>
      one.w.dtype === w.dtype &&
      one.w.shape[1] === half &&
      one.w.isContiguous &&
      (one.scales === undefined
        ? one.w.dtype === dtype
        : one.scales.isContiguous &&
          one.scales.dtype === scales?.dtype &&
          one.scales.shape[1] === scales.shape[1]),
  );
  const suits = chip.capabilities.matrixDtypes?.includes(dtype) && M > 0 && M <= ROWS && K % NEAR === 0;
  if (!suits || !same || half % NEAR !== 0 || !x.isContiguous) return undefined;
  // Two matrices take twice the registers; of four bits, with twice the input, too many for programs side by side.
  const most = gated && BITS === 4 ? TURN / 2 : TURN;
  const BK = BITS === 16 || groupSize === 0 ? most : Math.min(most, groupSize);
  const columns = list.reduce((n, one) => n + one.w.shape[0]!, 0);
  const size = { M, N: columns, turns: Math.ceil(half / BK) };
  const block = blockOf(chip, size, BITS === 4 ? 8 : 16);
  const rows = gated ? list[0]!.w.shape[0]! : columns;
  return {
    ...block,
    PROGRAMS: BITS === 16 ? 0 : programsAtOnce(chip, Math.ceil(M / block.BM) * Math.ceil(rows / block.BN), block),
    x, sx: K, M, K, half, groups: scales?.shape[1] ?? 1, BK, SHIFT: shiftOf(groupSize), BITS,
    WHOLE: half % BK === 0 && (BITS === 16 || K * BITS === half * 8), IN: dtype,
  }; // biome-ignore format: one line per group
}

/** Launches `y_i = x @ w_i.T` for two or three matrices if this way suits them; tells whether it did. */
export function launchSideBySide(
  x: Tensor,
  list: readonly Matrix[],
  ys: readonly Tensor[],
  groupSize: number,
): boolean {
  const shared = list.length === 2 || list.length === 3 ? common(x, list, groupSize) : undefined;
  if (!shared) return false;
  const [a, b] = list as [Matrix, Matrix];
  const c = list[2] ?? b;
  const N = [a, b, c].map((one) => one.w.shape[0]!) as [number, number, number];
  const blocks = N.slice(0, list.length).reduce((n, one) => n + Math.ceil(one / shared.BN), 0);
  sideBySide.launch([Math.ceil(shared.M / shared.BM), blocks], {
    ...shared,
    q0: a.w, q1: b.w, q2: c.w, s0: a.scales ?? x, s1: b.scales ?? x, s2: c.scales ?? x,
    y0: ys[0]!, y1: ys[1]!, y2: ys[2] ?? ys[1]!, N0: N[0], N1: N[1], N2: N[2], COUNT: list.length,
  }); // biome-ignore format: one line per group
  return true;
}

/** Launches `y = silu(x @ gate.T) * (x @ up.T)` if this way suits it; tells whether it did. */
export function launchGated(x: Tensor, gate: Matrix, up: Matrix, y: Tensor, groupSize: number): boolean {
  const shared = common(x, [gate, up], groupSize, true);
  const N = gate.w.shape[0]!;
  if (!shared || up.w.shape[0] !== N) return false;
  gated.launch([Math.ceil(shared.M / shared.BM), Math.ceil(N / shared.BN)], {
    ...shared, q0: gate.w, q1: up.w, s0: gate.scales ?? x, s1: up.scales ?? x, y, N,
  }); // biome-ignore format: one line per group
  return true;
}
