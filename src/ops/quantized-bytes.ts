// Products of integer weights with activations that are rounded to bytes on the way, a scale for each group of a row: products of
// bytes are summed exactly, several in one instruction where a chip has it, and each group's sum is scaled in f32. An accuracy traded for speed;
// `quantizedLinear` says when. Activations as they are: `quantized-kernel.ts`.
//
// A result is summed group by group in f32 whatever the blocks are, so a row has the same bits alone as among others.

import { constexpr, dim, helper, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { empty, type Tensor } from "../tensor/index.js";
import type { IntegerProduct } from "./quantized-units.js";

/**
 * Rows of `x` as bytes: each group's largest magnitude becomes 127, the others the nearest integer, ties to even. Groups follow one
 * another in a row of `q`. Scales stand by group first, `rows` of each; so does `sums`, what a group's bytes stand for together. Elements past the end of a row are 0.
 */
const toBytes = kernel(
  // biome-ignore format: one line per operand
  { x: ptr, q: ptr, s: ptr, sums: ptr, K: i32, groups: i32, rows: i32, G: constexpr, GS: constexpr, SUMS: constexpr.bool },
  ({ x, q, s, sums, K, groups, rows, G, GS, SUMS }, tl) => {
    const m = tl.programId(1);
    const g = tl.programId(0) * G + tl.arange(0, G);
    const at = tl.col(g) * GS + tl.row(tl.arange(0, GS));
    const v = tl.cast(tl.load(x + m * K + at, at < K, 0), "f32");
    const scale = tl.max(tl.abs(v), 1, { propagateNan: true }) / 127;
    const unit = tl.where(tl.col(scale) > 0, v / tl.col(tl.where(scale > 0, scale, 1)), 0);
    const byte = tl.cast(tl.clamp(tl.round(unit), -127, 127), "i32");
    const inside = tl.col(g < groups);
    tl.store(q + m * groups * GS + at, tl.cast(byte, "i8"), inside && at >= 0);
    tl.store(s + g * rows + m, scale, g < groups);
    if (SUMS) tl.store(sums + g * rows + m, tl.cast(tl.sum(byte, 1), "f32") * scale, g < groups);
  },
  "rows_to_bytes",
);

/** Elements of one half of a row of weights as bytes: `quantized.ts` has the layout. */
const bytes = helper((tl, raw: number, half: number, bits: number) => {
  if (bits === 8) return raw;
  const nibble = half === 0 ? tl.cast(raw, "i32") & 15 : tl.cast(raw, "i32") >> 4;
  return tl.cast((nibble ^ 8) - 8, "i8");
});

/**
 * `y[m, n] = sum over g of sx[m, g] * s[n, g] * (sum over k in g of a[m, k] * q[n, k])`, less what zero points stand for. Activations `a` have
 * `xGroups` groups of `GS` in a row; `PER` of them share a scale of the weights, or with 0 all.
 */
const product = kernel(
  // biome-ignore format: one line per operand
  {
    a: ptr, sx: ptr, sums: ptr, q: ptr, s: ptr, z: ptr, y: ptr, M: i32, N: i32, half: dim, groups: i32, xGroups: i32, rows: i32,
    BM: constexpr, BN: constexpr, GS: constexpr, PER: constexpr, BITS: constexpr, WHOLE: constexpr.bool, ZEROS: constexpr.bool, bytes,
  },
  (
    // biome-ignore format: one line per group
    { a, sx, sums, q, s, z, y, M, N, half, groups, xGroups, rows,
      BM, BN, GS, PER, BITS, WHOLE, ZEROS, bytes },
    tl,
  ) => {
    // Programs that read the same weights follow one another.
    const m = tl.programId(0) * BM + tl.arange(0, BM);
    const n = tl.programId(1) * BN + tl.arange(0, BN);
    // Rows past the end read the last one again.
    const xRow = tl.minimum(m, M - 1);
    const row = tl.minimum(n, N - 1);
    let acc = tl.zeros([BN, BM]);
    for (let k = 0; k < half; k += GS) {
      const ks = k + tl.arange(0, GS);
      const raw = tl.load(q + tl.col(row * half) + tl.row(ks), WHOLE || tl.row(ks) < half, 0);
      for (const h of tl.staticRange(BITS === 8 ? 1 : 2)) {
        const run = tl.floorDiv(h * half + k, GS);
        const group = PER === 0 ? 0 : tl.floorDiv(run, PER);
        const inside = WHOLE || row * 0 + group < groups;
        const scale = tl.cast(tl.load(s + row * groups + group, inside, 0), "f32");
        const own = tl.load(sx + run * rows + m);
        const right = tl.load(a + tl.row(xRow * (xGroups * GS)) + tl.col(run * GS + tl.arange(0, GS)));
        const sum = tl.dot(bytes(raw, h, BITS), right, tl.zeros([BN, BM], "i32"));
        acc = tl.fma(tl.cast(sum, "f32"), tl.col(scale) * tl.row(own), acc);
        if (ZEROS) {
          const less = tl.cast(tl.load(z + row * groups + group, inside, 0), "f32") * (0 - scale);
          const all = tl.load(sums + run * rows + m);
          acc = acc + tl.col(less) * tl.row(all);
        }
      }
    }
    tl.store(y + tl.row(m * N) + tl.col(n), acc, tl.col(n < N) && tl.row(m < M));
  },
  "bytes_by_integers",
);

/** Elements that share a scale where the weights have one for each row, and the most that do. */
const [LEAST, MOST] = [32, 128];
/** Elements of a row that one program rounds. */
const ROUNDED = 1024;
/** Rows, at least and at most, and columns of one program: its sums stay in the nearest cache. */
const [FEWEST, ROWS, COLUMNS] = [8, 32, 64];

/** What a product of integers takes, and the zero points of the groups, where they have some. */
export interface ByteProduct extends IntegerProduct {
  readonly zeros: Tensor | null;
}

/** Launches the product; tells whether rows can be cut into groups of activations. All tensors are row-major. */
export function launchBytes(p: ByteProduct): boolean {
  const { x, q, s, zeros, y, M, N, K, bits, half, groups, groupSize } = p;
  const { device } = y;
  const GS = groupSize === 0 ? LEAST : Math.min(groupSize, MOST);
  if (bits === 4 && half % GS !== 0) return false;
  // Where an odd group is the last, the high bits of its bytes are padding.
  const xGroups = bits === 4 ? (2 * half) / GS : Math.ceil(K / GS);
  const BM = Math.min(ROWS, Math.max(FEWEST, 2 ** Math.ceil(Math.log2(M))));
  const rows = Math.ceil(M / BM) * BM;
  const a = empty([M, xGroups * GS], { dtype: "i8", device });
  const sx = empty([xGroups, rows], { dtype: "f32", device });
  const sums = zeros && empty([xGroups, rows], { dtype: "f32", device });
  const G = Math.min(ROUNDED / GS, 2 ** Math.ceil(Math.log2(xGroups)));
  toBytes.launch([Math.ceil(xGroups / G), M], {
    x, q: a, s: sx, sums: sums ?? sx, K, groups: xGroups, rows, G, GS, SUMS: zeros !== null,
  }); // biome-ignore format: one line per group
  product.launch([Math.ceil(M / BM), Math.ceil(N / COLUMNS)], {
    a, sx, sums: sums ?? sx, q, s, z: zeros ?? s, y, M, N, half, groups, xGroups, rows,
    BM, BN: COLUMNS, GS, PER: groupSize === 0 ? 0 : groupSize / GS, BITS: bits,
    WHOLE: half % GS === 0 && K * bits === half * 8 && K % GS === 0, ZEROS: zeros !== null,
  }); // biome-ignore format: one line per group
  for (const t of [a, sx, sums]) t?.dispose();
  return true;
}
