// Shared planning for kernels that work on rows: how many rows and columns one program takes.

import type { DType } from "../compiler/ir/index.js";
import { dotAccumulator } from "../compiler/ir/ops/reduce.js";
import { callOperator, contiguousStrides, Tensor } from "../tensor/index.js";

/** The dtype in which floats of `d` are computed: f32 for the half types. */
export const computeDtype = (d: DType): DType => (d === "f64" ? "f64" : "f32");

/** The dtype in which sums of `d` are kept. */
export const sumDtype = dotAccumulator;

export const nextPowerOf2 = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, n)));

/** How a kernel over `[rows, cols]` is cut: `ROWS x COLS` elements at a time, `programs` programs. */
export interface RowPlan {
  readonly ROWS: number;
  readonly COLS: number;
  readonly programs: number;
}

/**
 * @param most the widest block of columns; wider rows are walked in steps
 */
export function planRows(t: Tensor, rows: number, cols: number, most = 4096): RowPlan {
  const COLS = Math.min(most, Math.max(8, nextPowerOf2(cols)));
  const target = Math.max(COLS, Math.min(t.chip.capabilities.elementsPerProgram, 16384));
  // Enough programs for all threads, few enough rows in each to stay in cache.
  const perThread = nextPowerOf2(Math.ceil(rows / (4 * t.chip.capabilities.threads)));
  const ROWS = Math.max(1, Math.min(Math.floor(target / COLS), perThread));
  return { ROWS, COLS, programs: Math.ceil(rows / ROWS) };
}

/** The tensor itself if its elements stand in row-major order, else a copy that does. */
export const rowMajor = (t: Tensor): Tensor =>
  t.isContiguous ? t : (callOperator("contiguous", t) as Tensor);

/**
 * The memory of a row-major tensor that nobody else keeps, under another shape. Unlike a view the result owns the
 * memory, so that an operator may return it and its caller free it.
 */
export const reshaped = (t: Tensor, shape: readonly number[]): Tensor =>
  new Tensor({
    storage: t.storage,
    shape,
    strides: contiguousStrides(shape),
    offset: t.offset,
    dtype: t.dtype,
  });
