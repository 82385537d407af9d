// The gradients of RMS normalisation (Zhang and Sennrich, 2019): of the plain one (`rms-norm.ts`) and of the one behind a
// residual addition (`add-rms-norm.ts`), whose input has a second gradient, of the stream that goes on.

import { constexpr, dim, f64, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { callOperator, empty, emptyLike, type Tensor } from "../tensor/index.js";
import { computeDtype, planRows, rowMajor } from "./rows.js";

/** Input gradients, and each program's share of the weight's. */
const backward = kernel(
  // biome-ignore format: one line per group
  { x: ptr, w: ptr, dy: ptr, ds: ptr, dx: ptr, dw: ptr, rows: i32, cols: dim, eps: f64, perProgram: i32,
    ROWS: constexpr, COLS: constexpr, WEIGHT: constexpr.bool, STREAM: constexpr.bool, T: constexpr.dtype },
  ({ x, w, dy, ds, dx, dw, rows, cols, eps, perProgram, ROWS, COLS, WEIGHT, STREAM, T }, tl) => {
    const first = tl.programId(0) * perProgram;
    const n = tl.cast(cols, T);
    if (WEIGHT) {
      for (let start = 0; start < cols; start += COLS) {
        const c = start + tl.arange(0, COLS);
        tl.store(dw + tl.programId(0) * cols + c, tl.zeros([COLS], T), c < cols);
      }
    }
    for (let r = first; r < first + perProgram; r += ROWS) {
      const row = r + tl.arange(0, ROWS);
      const base = tl.col(row * cols);
      const taken = row < rows && row < first + perProgram;
      const inside = tl.col(taken);
      let squares = tl.zeros([ROWS], T);
      let product = tl.zeros([ROWS], T);
      for (let start = 0; start < cols; start += COLS) {
        const c = tl.row(start + tl.arange(0, COLS));
        const mask = inside && c < cols;
        const v = tl.cast(tl.load(x + base + c, mask, 0), T);
        const g =
          tl.cast(tl.load(dy + base + c, mask, 0), T) *
          (WEIGHT ? tl.cast(tl.load(w + c, c < cols, 0), T) : 1);
        squares += tl.sum(v * v, 1);
        product += tl.sum(v * g, 1);
      }
      // Without eps the root of a row that is not there has no reciprocal, and its share of the sums is none.
      const scale = tl.where(taken, tl.rsqrt(squares / n + tl.cast(eps, T)), 0);
      const shift = tl.col((product * scale * scale * scale) / n);
      for (let start = 0; start < cols; start += COLS) {
        const c = tl.row(start + tl.arange(0, COLS));
        const mask = inside && c < cols;
        const v = tl.cast(tl.load(x + base + c, mask, 0), T);
        const d = tl.cast(tl.load(dy + base + c, mask, 0), T);
        const g = d * (WEIGHT ? tl.cast(tl.load(w + c, c < cols, 0), T) : 1);
        const through = g * tl.col(scale) - v * shift;
        const other = STREAM ? tl.cast(tl.load(ds + base + c, mask, 0), T) : 0;
        tl.store(dx + base + c, through + other, mask);
        if (WEIGHT) {
          const at = dw + tl.programId(0) * cols + start + tl.arange(0, COLS);
          const own = start + tl.arange(0, COLS) < cols;
          tl.store(at, tl.load(at, own, 0) + tl.sum(d * v * tl.col(scale), 0), own);
        }
      }
    }
  },
  "rms_norm_backward",
);

/** {@link backward} for rows of one block on chips whose threads share a program: rows are read once, sums stay in registers. */
const backwardOnce = kernel(
  // biome-ignore format: one line per group
  { x: ptr, w: ptr, dy: ptr, ds: ptr, dx: ptr, dw: ptr, rows: i32, cols: dim, eps: f64, perProgram: i32,
    ROWS: constexpr, COLS: constexpr, WEIGHT: constexpr.bool, STREAM: constexpr.bool, T: constexpr.dtype },
  ({ x, w, dy, ds, dx, dw, rows, cols, eps, perProgram, ROWS, COLS, WEIGHT, STREAM, T }, tl) => {
    const first = tl.programId(0) * perProgram;
    const end = tl.minimum(first + perProgram, rows);
    const n = tl.cast(cols, T);
    const c = tl.arange(0, COLS);
    const own = c < cols;
    const weight = WEIGHT ? tl.cast(tl.load(w + c, own, 0), T) : tl.full([COLS], 1, T);
    let sums = tl.zeros([ROWS, COLS], T);
    for (let r = first; r < end; r += ROWS) {
      const row = r + tl.arange(0, ROWS);
      const at = tl.col(row * cols) + tl.row(c);
      const mask = tl.col(row < end) && tl.row(own);
      const v = tl.cast(tl.load(x + at, mask, 0), T);
      const d = tl.cast(tl.load(dy + at, mask, 0), T);
      const g = d * tl.row(weight);
      const scale = tl.where(row < end, tl.rsqrt(tl.sum(v * v, 1) / n + tl.cast(eps, T)), 0);
      const shift = (tl.sum(v * g, 1) * scale * scale * scale) / n;
      const through = g * tl.col(scale) - v * tl.col(shift);
      const other = STREAM ? tl.cast(tl.load(ds + at, mask, 0), T) : 0;
      tl.store(dx + at, through + other, mask);
      sums += d * v * tl.col(scale);
    }
    if (WEIGHT) tl.store(dw + tl.programId(0) * cols + c, tl.sum(sums, 0), own);
  },
  "rms_norm_backward",
);

/** Elements of a row in one block of {@link backwardOnce}, and of all its rows. */
const [ONCE, ONCE_ALL] = [4096, 2048];

/**
 * The gradients of `x` and of the weight, `[cols]`; where there is no weight, the second is unspecified.
 *
 * @param through an addition to the gradient of `x`, of its shape
 */
export function rmsNormGradients(
  x: Tensor,
  grad: Tensor,
  through: Tensor | null,
  weight: Tensor | null,
  eps: number,
  cols: number,
): [Tensor, Tensor] {
  const dx = emptyLike(x);
  const rows = cols === 0 ? 0 : x.numel / cols;
  const T = computeDtype(x.dtype);
  const { threads, programThreads = 1 } = x.chip.capabilities;
  const once = programThreads > 1 && cols <= ONCE;
  const plan = planRows(x, rows, cols);
  const { COLS } = plan;
  const ROWS = once ? Math.max(1, ONCE_ALL / COLS) : plan.ROWS;
  const programs = Math.max(1, Math.min(Math.ceil(rows / ROWS), (once ? 8 : 2) * threads));
  const perProgram = Math.ceil(rows / programs / ROWS) * ROWS;
  const dw = empty([programs, cols], { dtype: T, device: x.device });
  if (rows === 0) return [dx, callOperator("zeros", [cols], { dtype: T, device: x.device }) as Tensor];
  (once ? backwardOnce : backward).launch([programs], {
    x, w: weight ? rowMajor(weight) : x, dy: rowMajor(grad), ds: through ? rowMajor(through) : x, dx, dw, rows, cols, eps,
    perProgram, ROWS, COLS, WEIGHT: weight !== null, STREAM: through !== null, T,
  }); // biome-ignore format: one line per group
  return [dx, weight ? (callOperator("sum.dim_IntList", dw, [0]) as Tensor) : dw];
}
