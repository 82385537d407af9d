// Layer normalisation (Ba, Kiros and Hinton, 2016), forward and backward in one kernel each.

import { constexpr, dim, f64, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import {
  callOperator,
  empty,
  emptyLike,
  type Operator,
  operator,
  sameShape,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { sum } from "./reduce.js";
import { computeDtype, planRows, rowMajor } from "./rows.js";
import { streams } from "./streaming.js";

/** Also leaves each row's mean and reciprocal deviation for the backward pass. */
const forward = kernel(
  // biome-ignore format: one line per group
  { x: ptr, w: ptr, b: ptr, y: ptr, mean: ptr, rstd: ptr, rows: i32, cols: dim, eps: f64,
    ROWS: constexpr, COLS: constexpr, WEIGHT: constexpr.bool, BIAS: constexpr.bool, STREAM: constexpr.bool, T: constexpr.dtype },
  ({ x, w, b, y, mean, rstd, rows, cols, eps, ROWS, COLS, WEIGHT, BIAS, STREAM, T }, tl) => {
    const row = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const base = tl.col(row * cols);
    const inside = tl.col(row) < rows;
    const n = tl.cast(cols, T);
    let total = tl.zeros([ROWS], T);
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      total += tl.sum(tl.cast(tl.load(x + base + c, inside && c < cols, 0), T), 1);
    }
    const m = total / n;
    let squares = tl.zeros([ROWS], T);
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      const mask = inside && c < cols;
      const d = tl.where(mask, tl.cast(tl.load(x + base + c, mask, 0), T) - tl.col(m), 0);
      squares += tl.sum(d * d, 1);
    }
    const scale = tl.rsqrt(squares / n + tl.cast(eps, T));
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      const mask = inside && c < cols;
      const d = tl.cast(tl.load(x + base + c, mask, 0), T) - tl.col(m);
      const g = WEIGHT ? tl.cast(tl.load(w + c, c < cols, 0), T) : 1;
      const shift = BIAS ? tl.cast(tl.load(b + c, c < cols, 0), T) : 0;
      tl.store(y + base + c, d * tl.col(scale) * g + shift, mask, { cache: STREAM ? "streaming" : "all" });
    }
    tl.store(mean + row, m, row < rows);
    tl.store(rstd + row, scale, row < rows);
  },
  "layer_norm",
);

/** Input gradients, and each program's share of the weight's and the bias's. */
const backward = kernel(
  // biome-ignore format: one line per group
  { x: ptr, w: ptr, dy: ptr, mean: ptr, rstd: ptr, dx: ptr, dw: ptr, db: ptr, rows: i32, cols: dim, perProgram: i32,
    ROWS: constexpr, COLS: constexpr, WEIGHT: constexpr.bool, T: constexpr.dtype },
  ({ x, w, dy, mean, rstd, dx, dw, db, rows, cols, perProgram, ROWS, COLS, WEIGHT, T }, tl) => {
    const first = tl.programId(0) * perProgram;
    const n = tl.cast(cols, T);
    const share = tl.programId(0) * cols;
    for (let start = 0; start < cols; start += COLS) {
      const c = start + tl.arange(0, COLS);
      tl.store(dw + share + c, tl.zeros([COLS], T), c < cols);
      tl.store(db + share + c, tl.zeros([COLS], T), c < cols);
    }
    for (let r = first; r < first + perProgram; r += ROWS) {
      const row = r + tl.arange(0, ROWS);
      const base = tl.col(row * cols);
      const own = row < rows && row < first + perProgram;
      const inside = tl.col(own);
      const m = tl.col(tl.load(mean + row, own, 0));
      const scale = tl.col(tl.load(rstd + row, own, 0));
      let total = tl.zeros([ROWS], T);
      let product = tl.zeros([ROWS], T);
      for (let start = 0; start < cols; start += COLS) {
        const c = tl.row(start + tl.arange(0, COLS));
        const mask = inside && c < cols;
        const v = (tl.cast(tl.load(x + base + c, mask, 0), T) - m) * scale;
        const g =
          tl.cast(tl.load(dy + base + c, mask, 0), T) *
          (WEIGHT ? tl.cast(tl.load(w + c, c < cols, 0), T) : 1);
        total += tl.sum(g, 1);
        product += tl.sum(v * g, 1);
      }
      for (let start = 0; start < cols; start += COLS) {
        const c = tl.row(start + tl.arange(0, COLS));
        const mask = inside && c < cols;
        const v = (tl.cast(tl.load(x + base + c, mask, 0), T) - m) * scale;
        const d = tl.cast(tl.load(dy + base + c, mask, 0), T);
        const g = d * (WEIGHT ? tl.cast(tl.load(w + c, c < cols, 0), T) : 1);
        tl.store(dx + base + c, (g - (tl.col(total) + v * tl.col(product)) / n) * scale, mask);
        const k = start + tl.arange(0, COLS);
        tl.store(dw + share + k, tl.load(dw + share + k, k < cols, 0) + tl.sum(d * v, 0), k < cols);
        tl.store(db + share + k, tl.load(db + share + k, k < cols, 0) + tl.sum(d, 0), k < cols);
      }
    }
  },
  "layer_norm_backward",
);

function extent(x: Tensor, shape: readonly number[]): { rows: number; cols: number } {
  const tail = x.shape.slice(x.ndim - shape.length);
  if (shape.length === 0 || shape.length > x.ndim || !sameShape(tail, shape))
    throw new RangeError(
      `layer_norm: the input ${showShape(x.shape)} does not end in the normalized shape ${showShape(shape)}`,
    );
  const cols = shape.reduce((n, d) => n * d, 1);
  return { rows: cols === 0 ? 0 : x.numel / cols, cols };
}

const layerNormBackward: Operator<
  (
    grad: Tensor,
    input: Tensor,
    shape: readonly number[],
    weight: Tensor | null,
    mean: Tensor,
    rstd: Tensor,
  ) => [Tensor, Tensor, Tensor]
> = operator({
  schema:
    "vexil::layer_norm_backward(Tensor grad, Tensor input, int[] normalized_shape, Tensor? weight, Tensor mean, Tensor rstd) -> (Tensor, Tensor, Tensor)",
  replay: true,
  method: false,
  run: (
    grad: Tensor,
    input: Tensor,
    shape: readonly number[],
    weight: Tensor | null,
    mean: Tensor,
    rstd: Tensor,
  ) => {
    const { rows, cols } = extent(input, shape);
    const x = rowMajor(input);
    const dx = emptyLike(x);
    const T = computeDtype(x.dtype);
    if (rows === 0) {
      const zeros = callOperator("zeros", [...shape], { dtype: T, device: x.device }) as Tensor;
      return [dx, zeros, zeros];
    }
    const { ROWS, COLS } = planRows(x, rows, cols);
    const programs = Math.max(1, Math.min(Math.ceil(rows / ROWS), 2 * x.chip.capabilities.threads));
    const perProgram = Math.ceil(rows / programs / ROWS) * ROWS;
    const dw = empty([programs, cols], { dtype: T, device: x.device });
    const db = empty([programs, cols], { dtype: T, device: x.device });
    backward.launch([programs], {
      x,
      w: weight ? rowMajor(weight) : x,
      dy: rowMajor(grad),
      mean,
      rstd,
      dx,
      dw,
      db,
      rows,
      cols,
      perProgram,
      ROWS,
      COLS,
      WEIGHT: weight !== null,
      T,
    });
    return [dx, sum(dw, [0]).view([...shape]), sum(db, [0]).view([...shape])];
  },
  summary: "Gradients of layer_norm",
});

const layerNormRows: Operator<
  (
    input: Tensor,
    shape: readonly number[],
    weight: Tensor | null,
    bias: Tensor | null,
    eps: number,
  ) => [Tensor, Tensor, Tensor]
> = operator({
  schema:
    "vexil::layer_norm_rows(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps) -> (Tensor, Tensor, Tensor)",
  replay: true,
  method: false,
  run: (input: Tensor, shape: readonly number[], weight: Tensor | null, bias: Tensor | null, eps: number) => {
    const { rows, cols } = extent(input, shape);
    const x = rowMajor(input);
    const y = emptyLike(x);
    const T = computeDtype(x.dtype);
    const mean = empty([rows], { dtype: T, device: x.device });
    const rstd = empty([rows], { dtype: T, device: x.device });
    if (x.numel === 0) return [y, mean, rstd];
    const { ROWS, COLS, programs } = planRows(x, rows, cols);
    forward.launch([programs], {
      x,
      w: weight ? rowMajor(weight) : x,
      b: bias ? rowMajor(bias) : x,
      y,
      mean,
      rstd,
      rows,
      cols,
      eps,
      ROWS,
      COLS,
      WEIGHT: weight !== null,
      BIAS: bias !== null,
      STREAM: streams(y, [x]),
      T,
    });
    return [y, mean, rstd];
  },
  derivative: {
    save: (args, outputs) => {
      const [input, , weight] = args as unknown as [Tensor, unknown, Tensor | null];
      return [input, outputs[1]!, outputs[2]!, ...(weight ? [weight] : [])];
    },
    backward: (ctx, grad) => {
      const [input, mean, rstd, weight] = ctx.saved as [Tensor, Tensor, Tensor, Tensor | undefined];
      const shape = ctx.args[1] as readonly number[];
      const [dx, dw, db] = layerNormBackward(grad, input, shape, weight ?? null, mean, rstd);
      return [dx, weight ? dw : null, ctx.args[3] === null ? null : db];
    },
  },
  summary: "layer_norm with the rows' means and reciprocal deviations",
});

/**
 * `(x - mean(x)) / sqrt(var(x) + eps) * weight + bias` over the trailing dimensions `normalizedShape`; the variance
 * is the biased one. Shapes: `[..., *normalizedShape]`. PyTorch: `F.layer_norm`.
 */
export const layerNorm: Operator<
  (
    input: Tensor,
    normalizedShape: readonly number[],
    weight?: Tensor | null,
    bias?: Tensor | null,
    eps?: number,
  ) => Tensor
> = operator({
  schema:
    "layer_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05) -> Tensor",
  method: false,
  run: (input: Tensor, shape: readonly number[], weight: Tensor | null, bias: Tensor | null, eps: number) => {
    for (const [what, t] of [
      ["weight", weight],
      ["bias", bias],
    ] as const)
      if (t && !sameShape(t.shape, shape))
        throw new RangeError(
          `layer_norm: the ${what} ${showShape(t.shape)} must have the normalized shape ${showShape(shape)}`,
        );
    return layerNormRows(input, shape, weight, bias, eps)[0];
  },
  derivative: "composite",
  opinfo: ["nn.functional.layer_norm"],
  stage: "stable",
  summary: "Layer normalisation over trailing dimensions",
});

/** {@link layerNorm} with the rows' means and reciprocal deviations, of length 1 in the normalized dimensions. */
operator({
  schema:
    "native_layer_norm(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps) -> (Tensor, Tensor, Tensor)",
  method: false,
  run: (input: Tensor, shape: readonly number[], weight: Tensor | null, bias: Tensor | null, eps: number) => {
    const [y, mean, rstd] = layerNormRows(input, shape, weight, bias, eps);
    const stats = input.shape.map((n, d) => (d < input.ndim - shape.length ? n : 1));
    const asInput = (t: Tensor): Tensor => {
      const s = t.view(stats);
      return s.dtype === input.dtype ? s : (callOperator("_to_copy", s, { dtype: input.dtype }) as Tensor);
    };
    return [y, asInput(mean), asInput(rstd)];
  },
  derivative: "composite",
  opinfo: ["native_layer_norm"],
  stage: "stable",
  summary: "Layer normalisation with the rows' statistics",
});
