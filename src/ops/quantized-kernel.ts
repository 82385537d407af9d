// Kernels of integer weights: products of a few rows with them, and the ways there and back. What the operators are
// called and how the integers stand in memory is said in `quantized.ts`.
//
// Weights become f32 numbers times their scale before they are multiplied; the f32 matrix exists nowhere. For one row or
// two that happens in registers, in the loop that multiplies; for more a scratch tile of them is made, which the rows share.
// Both add in one order, so a row has the same bits alone as among others.

import { constexpr, dim, helper, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";

/** Elements of one half of the row as numbers: all of an int8, or four bits of a byte with their sign. */
export const elements = helper((tl, raw: number, half: number, bits: number) => {
  if (bits === 8) return tl.cast(raw, "f32");
  const nibble = half === 0 ? tl.cast(raw, "i32") & 15 : tl.cast(raw, "i32") >> 4;
  return tl.cast((nibble ^ 8) - 8, "f32");
});

/**
 * `y[m, n] = sum over k of x[m, k] * (q[n, k] - z[n, g]) * s[n, g]` where g is k's group. A row of `q` is `HALVES` runs of
 * `half` elements, one above the other in the bits of its bytes. A block of bytes is `GB` runs of `GS`, each of one group;
 * a group has `GROUP` elements, or with 0 the whole row. `SHARED`: rows share widened weights.
 * `WHOLE`: rows have no padding and are a whole number of blocks.
 */
export const rowsByIntegers = kernel(
  // biome-ignore format: one line per operand
  {
    x: ptr, sx: dim, q: ptr, s: ptr, z: ptr, y: ptr, M: i32, N: i32, K: dim, half: dim, groups: i32,
    BM: constexpr, BN: constexpr, GB: constexpr, GS: constexpr, GROUP: constexpr, BITS: constexpr,
    WHOLE: constexpr.bool, SHARED: constexpr.bool, ZEROS: constexpr.bool, EARLY: constexpr.bool, elements,
  },
  (
    // biome-ignore format: as above
    { x, sx, q, s, z, y, M, N, K, half, groups, BM, BN, GB, GS, GROUP, BITS, WHOLE, SHARED, ZEROS, EARLY, elements },
    tl,
  ) => {
    const ms = tl.programId(1) * BM + tl.arange(0, BM);
    const ns = tl.programId(0) * BN + tl.arange(0, BN);
    const row = tl.minimum(ns, N - 1);
    const xRow = tl.expandDims(tl.col(tl.minimum(ms, M - 1) * sx), 0);
    const qRows = q + tl.expandDims(tl.col(row * half), 1);
    const groupRows = tl.expandDims(tl.col(row * groups), 1);
    let acc = tl.zeros([BN, BM], "f32");
    for (let k = 0; k < half; k += GB * GS) {
      const inBlock = tl.col(tl.arange(0, GB)) * GS + tl.row(tl.arange(0, GS));
      const at = tl.expandDims(k + inBlock, 0);
      const raw = tl.load(qRows + at, WHOLE || at < half, 0);
      let products = 0;
      for (const h of tl.staticRange(BITS === 8 ? 1 : 2)) {
        const run = tl.floorDiv(h * half + k, GS) + tl.arange(0, GB);
        const group = GROUP === 0 ? tl.zeros([GB], "i32") : GROUP === GS ? run : tl.floorDiv(run, GROUP / GS);
        const gs = tl.expandDims(tl.col(group), 0);
        const scale = tl.cast(tl.load(s + groupRows + gs, WHOLE || gs < groups, 0, { early: EARLY }), "f32");
        let w = elements(raw, h, BITS);
        if (ZEROS)
          w = w - tl.cast(tl.load(z + groupRows + gs, WHOLE || gs < groups, 0, { early: EARLY }), "f32");
        w = w * scale;
        if (SHARED) {
          const flat = tl.expandDims(tl.row(k + tl.arange(0, GB * GS)), 0);
          const inside = WHOLE || (flat < half && h * half + flat < K);
          const a = tl.cast(tl.load(x + xRow + (h * half + flat), inside, 0), "f32");
          const part = tl.reshape(w, [BN, 1, GB * GS]) * a;
          products = h === 0 ? part : products + part;
        } else {
          const runs = tl.expandDims(at, 0);
          const inside = WHOLE || (runs < half && h * half + runs < K);
          const a = tl.cast(tl.load(x + tl.expandDims(xRow, 2) + (h * half + runs), inside, 0), "f32");
          const part = tl.expandDims(w, 1) * a;
          products = h === 0 ? part : products + part;
        }
      }
      acc += tl.sum(SHARED ? products : tl.reshape(products, [BN, BM, GB * GS]), 2);
    }
    const [rows, cols] = [tl.row(ms), tl.col(ns)];
    tl.store(y + rows * N + cols, acc, rows < M && cols < N);
  },
  "rows_by_integers",
);

/** `y[n, k] = (q[n, k] - z[n, g]) * s[n, g]`. */
export const widen = kernel(
  // biome-ignore format: one line per operand
  {
    q: ptr, s: ptr, z: ptr, y: ptr, K: i32, half: i32, groups: i32, size: i32,
    BLOCK: constexpr, BITS: constexpr, ZEROS: constexpr.bool, elements,
  },
  ({ q, s, z, y, K, half, groups, size, BLOCK, BITS, ZEROS, elements }, tl) => {
    const n = tl.programId(0);
    const at = tl.programId(1) * BLOCK + tl.arange(0, BLOCK);
    const raw = tl.load(q + n * half + at, at < half, 0);
    for (const h of tl.staticRange(BITS === 8 ? 1 : 2)) {
      const k = h * half + at;
      const inside = at < half && k < K;
      const g = n * groups + tl.floorDiv(k, size);
      let w = elements(raw, h, BITS);
      if (ZEROS) w = w - tl.cast(tl.load(z + g, inside, 0), "f32");
      tl.store(y + n * K + k, w * tl.cast(tl.load(s + g, inside, 0), "f32"), inside);
    }
  },
  "widen_integers",
);

/**
 * The scale of each group: its largest magnitude becomes `MOST`. One program per group. Rows come first in the grids here: a
 * vocabulary has more of them than a second axis holds.
 */
export const scalesOf = kernel(
  { x: ptr, s: ptr, K: i32, groups: i32, size: i32, MOST: constexpr, BLOCK: constexpr },
  ({ x, s, K, groups, size, MOST, BLOCK }, tl) => {
    const n = tl.programId(0);
    const g = tl.programId(1);
    const end = tl.minimum(K, (g + 1) * size);
    let most = tl.zeros([1], "f32");
    for (let k = g * size; k < end; k += BLOCK) {
      const at = k + tl.arange(0, BLOCK);
      const v = tl.abs(tl.cast(tl.load(x + n * K + at, at < end, 0), "f32"));
      most = tl.maximum(most, tl.max(v, 0));
    }
    tl.store(s + n * groups + g + tl.arange(0, 1), most / MOST);
  },
  "scales_of_groups",
);

/** The integers nearest to `x[n, k] / s[n, g]`, ties to even, in the layout of {@link rowsByIntegers}. */
export const narrow = kernel(
  // biome-ignore format: one line per operand
  {
    x: ptr, s: ptr, q: ptr, K: i32, half: i32, groups: i32, size: i32, BLOCK: constexpr, BITS: constexpr,
    nearest: helper((tl, x: number, s: number, k: number, inside: boolean, n: number, K: number, groups: number, size: number, most: number) => {
      const v = tl.cast(tl.load(x + n * K + k, inside, 0), "f32");
      const scale = tl.load(s + n * groups + tl.floorDiv(k, size), inside, 1);
      const unit = tl.where(scale > 0, v / tl.where(scale > 0, scale, 1), 0);
      return tl.cast(tl.clamp(tl.round(unit), 0 - most, most), "i32");
    }),
  },
  ({ x, s, q, K, half, groups, size, BLOCK, BITS, nearest }, tl) => {
    const n = tl.programId(0);
    const at = tl.programId(1) * BLOCK + tl.arange(0, BLOCK);
    const low = nearest(x, s, at, at < half && at < K, n, K, groups, size, BITS === 8 ? 127 : 7);
    if (BITS === 8) tl.store(q + n * half + at, tl.cast(low, "i8"), at < half);
    else {
      const k = half + at;
      const high = nearest(x, s, k, at < half && k < K, n, K, groups, size, 7);
      tl.store(q + n * half + at, tl.cast((low & 15) | ((high & 15) << 4), "u8"), at < half);
    }
  },
  "narrow_to_integers",
);
