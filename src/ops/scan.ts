// Running sums along a dimension.

import type { DType } from "../compiler/ir/index.js";
import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import {
  emptyLike,
  isFloatDType,
  type Method,
  normalizeDim,
  type Operator,
  operator,
  type Tensor,
} from "../tensor/index.js";
import { computeDtype, rowMajor } from "./rows.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    cumsum: Method<typeof cumsum>;
  }
}

/** Rows of `cols` elements, `inner` apart; with `BACK` from the last to the first. */
const scan = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, rows: i32, cols: i32, inner: i32,
    ROWS: constexpr, COLS: constexpr, UNIT: constexpr.bool, BACK: constexpr.bool, T: constexpr.dtype },
  ({ x, y, rows, cols, inner, ROWS, COLS, UNIT, BACK, T }, tl) => {
    const row = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const inside = tl.col(row < rows);
    const base = tl.col(UNIT ? row * cols : tl.floorDiv(row, inner) * (inner * cols) + (row % inner));
    let carry = tl.zeros([ROWS], T);
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      const mask = inside && c < cols;
      const place = BACK ? cols - 1 - c : c;
      const at = base + (UNIT ? place : place * inner);
      const v = tl.cast(tl.load(x + at, mask, 0), T);
      tl.store(y + at, tl.cumsum(v, 1) + tl.col(carry), mask);
      carry += tl.sum(v, 1);
    }
  },
  "cumsum",
);

function run(self: Tensor, dim: number, dtype: DType | null, BACK: boolean): Tensor {
  const x = rowMajor(self);
  const out = dtype ?? (isFloatDType(x.dtype) ? x.dtype : "i64");
  const y = emptyLike(x, { dtype: out });
  const d = normalizeDim(dim, x.ndim);
  if (x.numel === 0) return y;
  const cols = x.shape[d] ?? 1;
  const inner = x.shape.slice(d + 1).reduce((n, m) => n * m, 1);
  const rows = x.numel / cols;
  const COLS = cols <= 16 ? 16 : 256;
  const ROWS = COLS === 16 ? 16 : 4;
  const T = isFloatDType(out) ? computeDtype(out) : "i64";
  scan.launch([Math.ceil(rows / ROWS)], { x, y, rows, cols, inner, ROWS, COLS, UNIT: inner === 1, BACK, T });
  return y;
}

const cumsumBack: Operator<(self: Tensor, dim: number) => Tensor> = operator({
  schema: "vexil::cumsum_back(Tensor self, int dim) -> Tensor",
  method: false,
  run: (self: Tensor, dim: number) => run(self, dim, null, true),
  derivative: { backward: (ctx, grad) => [cumsum(grad, ctx.args[1] as number)] },
  summary: "Running sums along a dimension, from its end",
});

/** Running sums along `dim`, each including its own element. Integers and bools give i64. PyTorch: `torch.cumsum`. */
export const cumsum: Operator<(self: Tensor, dim: number, options?: { dtype?: DType | null }) => Tensor> =
  operator({
    schema: "cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
    run: (self: Tensor, dim: number, dtype: DType | null) => run(self, dim, dtype, false),
    derivative: { backward: (ctx, grad) => [cumsumBack(grad, ctx.args[1] as number)] },
    opinfo: ["cumsum"],
    stage: "stable",
    summary: "Running sums along a dimension",
  });
