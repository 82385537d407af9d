// The fused kernels of cross entropy with class indices: one pass over the logits each way, nothing of their
// size is kept but the logits. What PyTorch's `cross_entropy` adds to that stands in `loss.ts`.

import { constexpr, dim, i32, i64, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { empty, emptyLike, type Operator, operator, showShape, type Tensor } from "../tensor/index.js";
import { computeDtype, planRows, rowMajor } from "./rows.js";

const forward = kernel(
  // biome-ignore format: one line per group
  { x: ptr, target: ptr, loss: ptr, lse: ptr, rows: i32, cols: dim, ignore: i64, ROWS: constexpr, COLS: constexpr, T: constexpr.dtype },
  ({ x, target, loss, lse, rows, cols, ignore, ROWS, COLS, T }, tl) => {
    const row = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const inside = row < rows;
    const base = x + tl.col(row * cols);
    let top = tl.full([ROWS], -Infinity, T);
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      const v = tl.cast(tl.load(base + c, tl.col(inside) && c < cols, -Infinity), T);
      top = tl.maximum(top, tl.max(v, 1));
    }
    let sum = tl.zeros([ROWS], T);
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      const mask = tl.col(inside) && c < cols;
      const v = tl.cast(tl.load(base + c, mask, 0), T);
      sum += tl.sum(tl.where(mask, tl.exp(v - tl.col(top)), 0), 1);
    }
    const total = tl.log(sum) + top;
    const t = tl.load(target + row, inside, ignore);
    const counts = inside && t !== ignore && t >= 0 && t < cols;
    const own = tl.cast(tl.load(x + row * cols + tl.cast(t, tl.i32), counts, 0), T);
    tl.store(loss + row, tl.where(t === ignore, 0, tl.where(counts, total - own, NaN)), inside);
    tl.store(lse + row, total, inside);
  },
  "cross_entropy",
);

const backward = kernel(
  // biome-ignore format: one line per group
  { x: ptr, target: ptr, lse: ptr, dloss: ptr, step: dim, dx: ptr, rows: i32, cols: dim, ignore: i64, ROWS: constexpr, COLS: constexpr, T: constexpr.dtype },
  ({ x, target, lse, dloss, step, dx, rows, cols, ignore, ROWS, COLS, T }, tl) => {
    const row = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const inside = row < rows;
    const t = tl.load(target + row, inside, ignore);
    const d = tl.where(t !== ignore, tl.cast(tl.load(dloss + row * step, inside, 0), T), 0);
    const total = tl.cast(tl.load(lse + row, inside, 0), T);
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      const mask = tl.col(inside) && c < cols;
      const at = tl.col(row * cols) + c;
      const p = tl.exp(tl.cast(tl.load(x + at, mask, 0), T) - tl.col(total));
      const hit = tl.where(tl.cast(c, tl.i64) === tl.col(t), 1, 0);
      tl.store(dx + at, (p - hit) * tl.col(d), mask);
    }
  },
  "cross_entropy_backward",
);

export const crossEntropyRowsBackward: Operator<
  (grad: Tensor, self: Tensor, target: Tensor, lse: Tensor, ignoreIndex: number) => Tensor
> = operator({
  schema:
    "vexil::cross_entropy_rows_backward(Tensor grad, Tensor self, Tensor target, Tensor lse, int ignore_index) -> Tensor",
  method: false,
  run: (grad: Tensor, self: Tensor, target: Tensor, lse: Tensor, ignore: number) => {
    const [rows, cols] = self.shape as [number, number];
    const x = rowMajor(self);
    const dx = emptyLike(x);
    if (x.numel === 0) return dx;
    const { ROWS, COLS, programs } = planRows(x, rows, cols);
    backward.launch([programs], {
      x,
      target: rowMajor(target),
      lse,
      dloss: grad,
      step: grad.strides[0]!,
      dx,
      rows,
      cols,
      ignore,
      ROWS,
      COLS,
      T: computeDtype(x.dtype),
    });
    return dx;
  },
  summary: "Gradient of cross_entropy_rows",
});

/**
 * `-log(softmax(row)[target])` of each row; 0 where the target is `ignoreIndex`, NaN where it is no class.
 *
 * @param self logits `[rows, classes]`
 * @param target i64 `[rows]`
 * @returns losses `[rows]` and log-sum-exps `[rows]` (no gradient), f32 (f64 for f64)
 */
export const crossEntropyRows: Operator<
  (self: Tensor, target: Tensor, ignoreIndex?: number) => [Tensor, Tensor]
> = operator({
  schema: "vexil::cross_entropy_rows(Tensor self, Tensor target, int ignore_index=-100) -> (Tensor, Tensor)",
  method: false,
  run: (self: Tensor, target: Tensor, ignore: number) => {
    if (self.ndim !== 2 || target.ndim !== 1 || target.shape[0] !== self.shape[0] || target.dtype !== "i64")
      throw new RangeError(
        `cross_entropy: needs logits [rows, classes] and i64 targets [rows], not ${showShape(self.shape)} and ${target.dtype} ${showShape(target.shape)}`,
      );
    const [rows, cols] = self.shape as [number, number];
    const T = computeDtype(self.dtype);
    const loss = empty([rows], { dtype: T, device: self.device });
    const lse = empty([rows], { dtype: T, device: self.device });
    if (self.numel === 0) return [loss, lse];
    const x = rowMajor(self);
    const { ROWS, COLS, programs } = planRows(x, rows, cols);
    forward.launch([programs], { x, target: rowMajor(target), loss, lse, rows, cols, ignore, ROWS, COLS, T });
    return [loss, lse];
  },
  derivative: {
    save: (args, outputs) => [args[0] as unknown as Tensor, args[1] as unknown as Tensor, outputs[1]!],
    backward: (ctx, grad) => {
      const [self, target, lse] = ctx.saved as [Tensor, Tensor, Tensor];
      return [crossEntropyRowsBackward(grad!, self, target, lse, ctx.args[2] as number), null];
    },
  },
  summary: "Cross entropy of rows of logits with class indices",
});
