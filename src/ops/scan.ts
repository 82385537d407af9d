// Running sums along a dimension.

import type { DType } from "../compiler/ir/index.js";
import { constexpr, dim, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import {
  empty,
  emptyLike,
  isFloatDType,
  type Method,
  normalizeDim,
  type Operator,
  operator,
  type Tensor,
} from "../tensor/index.js";
import { computeDtype, rowMajor } from "./rows.js";
import { streams } from "./streaming.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    cumsum: Method<typeof cumsum>;
  }
}

/**
 * Rows of `cols` elements, each in `parts` parts of `length` that start at `sums[row, part - 1]`; with `BACK` from the
 * last to the first. With `TOTAL` only the sum of each part is written, to `y`.
 */
const scanRows = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, sums: ptr, rows: i32, cols: dim, parts: i32, length: dim,
    ROWS: constexpr, COLS: constexpr, BACK: constexpr.bool, PARTS: constexpr.bool, TOTAL: constexpr.bool,
    STREAM: constexpr.bool, T: constexpr.dtype },
  ({ x, y, sums, rows, cols, parts, length, ROWS, COLS, BACK, PARTS, TOTAL, STREAM, T }, tl) => {
    const r = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const inside = r < rows * parts;
    const row = PARTS ? tl.floorDiv(r, parts) : r;
    const part = PARTS ? r % parts : tl.zeros([ROWS], tl.i32);
    const base = tl.col(row * cols);
    const first = tl.col(part * length);
    const end = tl.minimum(first + length, cols);
    let carry = tl.zeros([ROWS], T);
    if (PARTS && !TOTAL) carry += tl.load(sums + r - 1, inside && part > 0, 0);
    for (let start = 0; start < length; start += COLS) {
      const c = first + tl.row(start + tl.arange(0, COLS));
      const mask = tl.col(inside) && c < end;
      const at = base + (BACK ? cols - 1 - c : c);
      const v = tl.cast(tl.load(x + at, mask, 0), T);
      if (!TOTAL)
        tl.store(y + at, tl.cumsum(v, 1) + tl.col(carry), mask, { cache: STREAM ? "streaming" : "all" });
      carry += tl.sum(v, 1);
    }
    if (TOTAL) tl.store(y + r, carry, inside);
  },
  "cumsum",
);

/** Columns of `cols` elements that stand `inner` apart, `WIDTH` neighbours at a time. */
const scanColumns = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, cols: dim, inner: dim,
    WIDTH: constexpr, STEPS: constexpr, BACK: constexpr.bool, STREAM: constexpr.bool, T: constexpr.dtype },
  ({ x, y, cols, inner, WIDTH, STEPS, BACK, STREAM, T }, tl) => {
    const k = tl.programId(0) * WIDTH + tl.arange(0, WIDTH);
    const base = tl.programId(1) * (cols * inner);
    let carry = tl.zeros([WIDTH], T);
    for (let start = 0; start < cols; start += STEPS) {
      const c = tl.col(start + tl.arange(0, STEPS));
      const mask = tl.row(k) < inner && c < cols;
      const at = base + (BACK ? cols - 1 - c : c) * inner + tl.row(k);
      const v = tl.cast(tl.load(x + at, mask, 0), T);
      tl.store(y + at, tl.cumsum(v, 0) + tl.row(carry), mask, { cache: STREAM ? "streaming" : "all" });
      carry += tl.sum(v, 0);
    }
  },
  "cumsum_columns",
);

/** Elements of a row that one program should at least take before rows are cut into parts. */
const LEAST_PART = 16384;
/** So many rows are work for all threads as they are. */
const FEW_ROWS = 64;

function launchRows(x: Tensor, y: Tensor, rows: number, cols: number, BACK: boolean, T: DType): void {
  const COLS = cols <= 16 ? 16 : 256;
  const ROWS = COLS === 16 ? 16 : 4;
  let parts = 1;
  // Few long rows: the sums of their parts first. The order of the sums depends on shapes alone.
  if (rows < FEW_ROWS && cols >= 4 * LEAST_PART)
    parts = Math.ceil(cols / (LEAST_PART * Math.ceil(cols / (1024 * LEAST_PART))));
  const length = Math.ceil(cols / parts / COLS) * COLS;
  parts = Math.ceil(cols / length);
  const PARTS = parts > 1;
  const grid = [Math.ceil((rows * parts) / ROWS)];
  const shared = { x, rows, cols, parts, length: PARTS ? length : cols, ROWS, COLS, BACK, PARTS, T };
  let sums = y;
  if (PARTS) {
    const own = empty([rows, parts], { dtype: T, device: x.device });
    scanRows.launch(grid, { ...shared, y: own, sums: own, TOTAL: true, STREAM: false });
    sums = emptyLike(own);
    launchRows(own, sums, rows, parts, false, T);
  }
  scanRows.launch(grid, { ...shared, y, sums, TOTAL: false, STREAM: streams(y, [x]) });
}

function run(self: Tensor, dim: number, dtype: DType | null, BACK: boolean): Tensor {
  const x = rowMajor(self);
  const out = dtype ?? (isFloatDType(x.dtype) ? x.dtype : "i64");
  const y = emptyLike(x, { dtype: out });
  const d = normalizeDim(dim, x.ndim);
  if (x.numel === 0) return y;
  const cols = x.shape[d] ?? 1;
  const inner = x.shape.slice(d + 1).reduce((n, m) => n * m, 1);
  const rows = x.numel / cols;
  const T = isFloatDType(out) ? computeDtype(out) : "i64";
  const outer = rows / inner;
  if (inner === 1) launchRows(x, y, rows, cols, BACK, T);
  else {
    const WIDTH = inner <= 16 ? 16 : 128;
    const most = x.chip.capabilities.maxGrid[1];
    for (let at = 0; at < outer; at += most) {
      const count = Math.min(most, outer - at);
      const part = (t: Tensor): Tensor => t.view([outer, cols * inner]).narrow(0, at, count);
      scanColumns.launch([Math.ceil(inner / WIDTH), count], {
        x: part(x),
        y: part(y),
        cols,
        inner,
        WIDTH,
        STEPS: WIDTH === 16 ? 64 : 16,
        BACK,
        STREAM: streams(y, [x]),
        T,
      });
    }
  }
  return y;
}

const cumsumBack: Operator<(self: Tensor, dim: number) => Tensor> = operator({
  schema: "vexil::cumsum_back(Tensor self, int dim) -> Tensor",
  replay: true,
  method: false,
  run: (self: Tensor, dim: number) => run(self, dim, null, true),
  derivative: { backward: (ctx, grad) => [cumsum(grad, ctx.args[1] as number)] },
  summary: "Running sums along a dimension, from its end",
});

/** Running sums along `dim`, each including its own element. Integers and bools give i64. PyTorch: `torch.cumsum`. */
export const cumsum: Operator<(self: Tensor, dim: number, options?: { dtype?: DType | null }) => Tensor> =
  operator({
    schema: "cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
    replay: true,
    run: (self: Tensor, dim: number, dtype: DType | null) => run(self, dim, dtype, false),
    derivative: { backward: (ctx, grad) => [cumsumBack(grad, ctx.args[1] as number)] },
    opinfo: ["cumsum"],
    stage: "stable",
    summary: "Running sums along a dimension",
  });
