// Products of integer weights on chips with matrix units: the integers are exact in the input's dtype, so the units multiply them as
// they are, and the scale of a group comes after the sum over the group. Other chips: `quantized-kernel.ts`.

import { constexpr, dim, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { empty, type Tensor } from "../tensor/index.js";
import { joinRows, rowBlock, shareRows } from "./few-rows-kernel.js";
import { elements } from "./quantized-kernel.js";

/** `y[c, m, n] = sum over the k of part c of x[m, k] * q[n, k] * s[n, g]`; the layout of `q` is that of `rowsByIntegers`. */
const partial = kernel(
  // biome-ignore format: one line per operand
  {
    x: ptr, sx: dim, q: ptr, s: ptr, y: ptr, size: dim, M: i32, N: dim, K: dim, half: dim, groups: i32, length: dim,
    BM: constexpr, BN: constexpr, BK: constexpr, GS: constexpr, BITS: constexpr, BY_ROW: constexpr.bool, IN: constexpr.dtype, elements,
  },
  (
    { x, sx, q, s, y, size, M, N, K, half, groups, length, BM, BN, BK, GS, BITS, BY_ROW, IN, elements },
    tl,
  ) => {
    const n = tl.programId(0) * BN + tl.arange(0, BN);
    const part = tl.programId(1);
    const m = tl.programId(2) * BM + tl.arange(0, BM);
    const row = tl.minimum(n, N - 1);
    const start = part * length;
    const end = tl.minimum(start + length, half);
    let acc = tl.zeros([BN, BM]);
    for (let k = start; k < end; k += BK) {
      const ks = k + tl.arange(0, BK);
      const raw = tl.load(q + tl.col(row * half) + tl.row(ks), tl.col(n < N) && tl.row(ks < end), 0);
      for (const h of tl.staticRange(BITS === 8 ? 1 : 2)) {
        const at = h * half + ks;
        const own = tl.load(x + tl.col(at) + tl.row(m * sx), tl.col(ks < end && at < K) && tl.row(m < M), 0);
        const group = BY_ROW ? 0 : tl.floorDiv(h * half + k, GS);
        const scale = tl.cast(tl.load(s + row * groups + group, row * 0 + group < groups, 0), "f32");
        acc = acc + tl.dot(tl.cast(elements(raw, h, BITS), IN), own) * tl.col(scale);
      }
    }
    tl.store(y + part * size + tl.row(m * N) + tl.col(n), acc, tl.col(n < N) && tl.row(m < M));
  },
  "integers_on_units",
);

/** Columns of one block, and summed bytes of one turn at most. */
const [COLUMNS, SUMMED] = [64, 128];

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
  const { chip, dtype, device } = y;
  if (!chip.capabilities.matrixDtypes?.includes(dtype) || x.dtype !== dtype) return false;
  const BK = p.groupSize === 0 ? SUMMED : Math.min(SUMMED, p.groupSize);
  const { BM, blocks } = rowBlock(M);
  const columns = Math.ceil(N / COLUMNS);
  const { parts, length } = shareRows(chip, columns, half, BK);
  const args = {
    x, sx: p.K, q: p.q, s: p.s, size: M * N, M, N, K: p.K, half, groups: p.groups, length,
    BM, BN: COLUMNS, BK, GS: p.groupSize, BITS: p.bits, BY_ROW: p.groupSize === 0, IN: dtype,
  }; // biome-ignore format: one line per group
  if (parts === 1) {
    partial.launch([columns, 1, blocks], { ...args, y });
    return true;
  }
  const some = empty([parts, M, N], { dtype: "f32", device });
  partial.launch([columns, parts, blocks], { ...args, y: some });
  joinRows(some, y, { M, N, sym: N, syn: 1 });
  return true;
}
