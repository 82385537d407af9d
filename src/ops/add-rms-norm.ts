// The residual stream of a transformer layer: add, then RMS normalisation, with one reading and one writing of the rows
// each way. The plain normalisation stands in `rms-norm.ts`.

import { constexpr, dim, f64, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { emptyLike, type Operator, operator, sameShape, showShape, type Tensor } from "../tensor/index.js";
import { rmsNormGradients } from "./rms-norm-backward.js";
import { computeDtype, planRows, rowMajor } from "./rows.js";

const forward = kernel(
  // biome-ignore format: one line per group
  { x: ptr, r: ptr, w: ptr, y: ptr, s: ptr, rows: i32, cols: dim, eps: f64,
    ROWS: constexpr, COLS: constexpr, WHOLE: constexpr.bool, EXACT: constexpr.bool, WEIGHT: constexpr.bool, D: constexpr.dtype, T: constexpr.dtype },
  ({ x, r, w, y, s, rows, cols, eps, ROWS, COLS, WHOLE, EXACT, WEIGHT, D, T }, tl) => {
    const row = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const base = tl.col(row * cols);
    const inside = tl.col(row) < rows;
    if (WHOLE) {
      // A row that is one block stays where it is. One that fills it needs no masks.
      const c = tl.row(tl.arange(0, COLS));
      const mask = EXACT ? ROWS === 1 || inside : inside && c < cols;
      const g = WEIGHT ? tl.cast(tl.load(w + c, EXACT || c < cols, 0, { early: true }), T) : 1;
      const added = tl.cast(
        tl.cast(tl.load(x + base + c, mask, 0), T) + tl.cast(tl.load(r + base + c, mask, 0), T),
        D,
      );
      const v = tl.cast(added, T);
      const scale = tl.col(tl.rsqrt(tl.sum(v * v, 1) / tl.cast(cols, T) + tl.cast(eps, T)));
      tl.store(s + base + c, added, mask);
      tl.store(y + base + c, v * scale * g, mask);
    } else {
      let squares = tl.zeros([ROWS], T);
      for (let start = 0; start < cols; start += COLS) {
        const c = tl.row(start + tl.arange(0, COLS));
        const mask = inside && c < cols;
        // Rounded as the sum that is kept, so that it does not matter whether the two steps are fused.
        const added = tl.cast(
          tl.cast(tl.load(x + base + c, mask, 0), T) + tl.cast(tl.load(r + base + c, mask, 0), T),
          D,
        );
        tl.store(s + base + c, added, mask);
        const v = tl.cast(added, T);
        squares += tl.sum(v * v, 1);
      }
      const scale = tl.col(tl.rsqrt(squares / tl.cast(cols, T) + tl.cast(eps, T)));
      for (let start = 0; start < cols; start += COLS) {
        const c = tl.row(start + tl.arange(0, COLS));
        const mask = inside && c < cols;
        const v = tl.cast(tl.load(s + base + c, mask, 0), T);
        const g = WEIGHT ? tl.cast(tl.load(w + c, c < cols, 0), T) : 1;
        tl.store(y + base + c, v * scale * g, mask);
      }
    }
  },
  "add_rms_norm",
);

/** The gradient of the sum is that of both addends. */
const addRmsNormBackward: Operator<
  (
    grad: Tensor,
    gradSum: Tensor | null,
    total: Tensor,
    weight: Tensor | null,
    eps: number,
  ) => [Tensor, Tensor]
> = operator({
  schema:
    "vexil::add_rms_norm_backward(Tensor grad, Tensor? grad_sum, Tensor total, Tensor? weight, float eps) -> (Tensor, Tensor)",
  method: false,
  run: (grad: Tensor, gradSum: Tensor | null, total: Tensor, weight: Tensor | null, eps: number) =>
    rmsNormGradients(rowMajor(total), grad, gradSum, weight, eps, total.shape.at(-1)!),
  summary: "Gradients of add_rms_norm",
});

/**
 * `total = input + residual` and its RMS normalisation over the last dimension, in one pass: `[normalised, total]`.
 *
 * @param input, residual one shape `[..., n]` and one float dtype
 * @param weight `[n]`
 * @param eps added to the mean of the squares
 * @throws RangeError where shapes or dtypes differ
 * @example const [h, stream] = addRmsNorm(attention, stream, norm.weight, 1e-6);
 */
export const addRmsNorm: Operator<
  (input: Tensor, residual: Tensor, weight?: Tensor | null, eps?: number) => [Tensor, Tensor]
> = operator({
  schema:
    "vexil::add_rms_norm(Tensor input, Tensor residual, Tensor? weight=None, float eps=1e-6) -> (Tensor, Tensor)",
  method: false,
  run: (input: Tensor, residual: Tensor, weight: Tensor | null, eps: number) => {
    const cols = input.shape.at(-1) ?? 0;
    if (input.ndim === 0 || !sameShape(input.shape, residual.shape) || input.dtype !== residual.dtype)
      throw new RangeError(
        `add_rms_norm: input ${input.dtype} ${showShape(input.shape)} and residual ${residual.dtype} ${showShape(residual.shape)} must have one shape and dtype`,
      );
    if (weight && !sameShape(weight.shape, [cols]))
      throw new RangeError(
        `add_rms_norm: the weight ${showShape(weight.shape)} must have the shape [${cols}]`,
      );
    const x = rowMajor(input);
    const y = emptyLike(x);
    const s = emptyLike(x);
    if (x.numel === 0) return [y, s];
    const rows = x.numel / cols;
    const { ROWS, COLS, programs } = planRows(x, rows, cols);
    forward.launch([programs], {
      x, r: rowMajor(residual), w: weight ? rowMajor(weight) : x, y, s, rows, cols, eps, ROWS, COLS,
      WHOLE: cols <= COLS, EXACT: cols === COLS, WEIGHT: weight !== null,
      D: x.dtype, T: computeDtype(x.dtype),
    }); // biome-ignore format: one line per group
    return [y, s];
  },
  derivative: {
    nullGrads: true,
    save: (args, outputs) => [outputs[1]!, ...(args[2] ? [args[2] as Tensor] : [])],
    backward: (ctx, grad, gradSum) => {
      const [total, weight] = ctx.saved as [Tensor, Tensor | undefined];
      if (!grad) return [gradSum, gradSum, null];
      const [d, dw] = addRmsNormBackward(grad, gradSum ?? null, total, weight ?? null, ctx.args[3] as number);
      return [d, d, weight && ctx.needs[2] ? dw : null];
    },
  },
  summary: "Residual addition and root mean square normalisation in one pass",
});
