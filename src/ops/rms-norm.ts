// RMS normalisation (Zhang and Sennrich, 2019), forward and backward in one kernel each.

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
import { computeDtype, planRows, rowMajor } from "./rows.js";
import { streams } from "./streaming.js";

const forward = kernel(
  // biome-ignore format: one line per group
  { x: ptr, w: ptr, y: ptr, rows: i32, cols: dim, eps: f64,
    ROWS: constexpr, COLS: constexpr, WEIGHT: constexpr.bool, STREAM: constexpr.bool, T: constexpr.dtype },
  ({ x, w, y, rows, cols, eps, ROWS, COLS, WEIGHT, STREAM, T }, tl) => {
    const row = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const base = tl.col(row * cols);
    const inside = tl.col(row) < rows;
    let squares = tl.zeros([ROWS], T);
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      const v = tl.cast(tl.load(x + base + c, inside && c < cols, 0), T);
      squares += tl.sum(v * v, 1);
    }
    const scale = tl.col(tl.rsqrt(squares / tl.cast(cols, T) + tl.cast(eps, T)));
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      const v = tl.cast(tl.load(x + base + c, inside && c < cols, 0), T);
      const g = WEIGHT ? tl.cast(tl.load(w + c, c < cols, 0), T) : 1;
      tl.store(y + base + c, v * scale * g, inside && c < cols, { cache: STREAM ? "streaming" : "all" });
    }
  },
  "rms_norm",
);

/** Input gradients, and each program's share of the weight's. */
const backward = kernel(
  // biome-ignore format: one line per group
  { x: ptr, w: ptr, dy: ptr, dx: ptr, dw: ptr, rows: i32, cols: dim, eps: f64, perProgram: i32,
    ROWS: constexpr, COLS: constexpr, WEIGHT: constexpr.bool, T: constexpr.dtype },
  ({ x, w, dy, dx, dw, rows, cols, eps, perProgram, ROWS, COLS, WEIGHT, T }, tl) => {
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
      const inside = tl.col(row) < rows && tl.col(row) < first + perProgram;
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
      const scale = tl.rsqrt(squares / n + tl.cast(eps, T));
      const shift = tl.col((product * scale * scale * scale) / n);
      for (let start = 0; start < cols; start += COLS) {
        const c = tl.row(start + tl.arange(0, COLS));
        const mask = inside && c < cols;
        const v = tl.cast(tl.load(x + base + c, mask, 0), T);
        const d = tl.cast(tl.load(dy + base + c, mask, 0), T);
        const g = d * (WEIGHT ? tl.cast(tl.load(w + c, c < cols, 0), T) : 1);
        tl.store(dx + base + c, g * tl.col(scale) - v * shift, mask);
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
  { x: ptr, w: ptr, dy: ptr, dx: ptr, dw: ptr, rows: i32, cols: dim, eps: f64, perProgram: i32,
    ROWS: constexpr, COLS: constexpr, WEIGHT: constexpr.bool, T: constexpr.dtype },
  ({ x, w, dy, dx, dw, rows, cols, eps, perProgram, ROWS, COLS, WEIGHT, T }, tl) => {
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
      const scale = tl.rsqrt(tl.sum(v * v, 1) / n + tl.cast(eps, T));
      const shift = (tl.sum(v * g, 1) * scale * scale * scale) / n;
      tl.store(dx + at, g * tl.col(scale) - v * tl.col(shift), mask);
      sums += d * v * tl.col(scale);
    }
    if (WEIGHT) tl.store(dw + tl.programId(0) * cols + c, tl.sum(sums, 0), own);
  },
  "rms_norm_backward",
);

/** Elements of a row in one block of {@link backwardOnce}, and of all its rows. */
const [ONCE, ONCE_ALL] = [4096, 2048];

/** Machine epsilons: what PyTorch takes where `eps` is left out. */
const EPSILON: Readonly<Record<string, number>> = {
  f64: 2 ** -52,
  f32: 2 ** -23,
  f16: 2 ** -10,
  bf16: 2 ** -7,
};

function extent(x: Tensor, shape: readonly number[]): { rows: number; cols: number } {
  const tail = x.shape.slice(x.ndim - shape.length);
  if (shape.length === 0 || shape.length > x.ndim || !sameShape(tail, shape))
    throw new RangeError(
      `rms_norm: the input ${showShape(x.shape)} does not end in the normalized shape ${showShape(shape)}`,
    );
  const cols = shape.reduce((n, d) => n * d, 1);
  return { rows: cols === 0 ? 0 : x.numel / cols, cols };
}

const rmsNormBackward: Operator<
  (
    grad: Tensor,
    input: Tensor,
    shape: readonly number[],
    weight: Tensor | null,
    eps: number,
  ) => [Tensor, Tensor]
> = operator({
  schema:
    "vexil::rms_norm_backward(Tensor grad, Tensor input, int[] normalized_shape, Tensor? weight, float eps) -> (Tensor, Tensor)",
  replay: true,
  method: false,
  run: (grad: Tensor, input: Tensor, shape: readonly number[], weight: Tensor | null, eps: number) => {
    const { rows, cols } = extent(input, shape);
    const x = rowMajor(input);
    const dy = rowMajor(grad);
    const dx = emptyLike(x);
    const T = computeDtype(x.dtype);
    const { threads, programThreads = 1 } = x.chip.capabilities;
    const once = programThreads > 1 && cols <= ONCE;
    const plan = planRows(x, rows, cols);
    const { COLS } = plan;
    const ROWS = once ? Math.max(1, ONCE_ALL / COLS) : plan.ROWS;
    const programs = Math.max(1, Math.min(Math.ceil(rows / ROWS), (once ? 8 : 2) * threads));
    const perProgram = Math.ceil(rows / programs / ROWS) * ROWS;
    const dw = empty([programs, cols], { dtype: T, device: x.device });
    if (rows > 0)
      (once ? backwardOnce : backward).launch([programs], {
        x,
        w: weight ? rowMajor(weight) : x,
        dy,
        dx,
        dw,
        rows,
        cols,
        eps,
        perProgram,
        ROWS,
        COLS,
        WEIGHT: weight !== null,
        T,
      });
    if (!weight) return [dx, dw];
    const total =
      rows > 0
        ? (callOperator("sum.dim_IntList", dw, [0]) as Tensor)
        : (callOperator("zeros", [cols], { dtype: T, device: x.device }) as Tensor);
    return [dx, total.view([...shape])];
  },
  summary: "Gradients of rms_norm",
});

/**
 * `x / sqrt(mean(x^2) + eps) * weight` over the trailing dimensions `normalizedShape`. Shapes: `[..., *normalizedShape]`.
 * `eps` defaults to the dtype's machine epsilon. PyTorch: `F.rms_norm`.
 */
export const rmsNorm: Operator<
  (input: Tensor, normalizedShape: readonly number[], weight?: Tensor | null, eps?: number | null) => Tensor
> = operator({
  schema: "rms_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor",
  replay: true,
  method: false,
  run: (input: Tensor, shape: readonly number[], weight: Tensor | null, eps: number | null) => {
    const { rows, cols } = extent(input, shape);
    if (weight && !sameShape(weight.shape, shape))
      throw new RangeError(
        `rms_norm: the weight ${showShape(weight.shape)} must have the normalized shape ${showShape(shape)}`,
      );
    const x = rowMajor(input);
    const y = emptyLike(x);
    if (x.numel === 0) return y;
    const { ROWS, COLS, programs } = planRows(x, rows, cols);
    forward.launch([programs], {
      x,
      w: weight ? rowMajor(weight) : x,
      y,
      rows,
      cols,
      eps: eps ?? EPSILON[x.dtype]!,
      ROWS,
      COLS,
      WEIGHT: weight !== null,
      STREAM: streams(y, [x]),
      T: computeDtype(x.dtype),
    });
    return y;
  },
  derivative: {
    save: (args) => {
      const [input, , weight] = args as unknown as [Tensor, unknown, Tensor | null];
      return weight ? [input, weight] : [input];
    },
    backward: (ctx, grad) => {
      const [input, weight] = ctx.saved as [Tensor, Tensor | undefined];
      const shape = ctx.args[1] as readonly number[];
      const eps = (ctx.args[3] as number | null) ?? EPSILON[input.dtype]!;
      const [dx, dw] = rmsNormBackward(grad, input, shape, weight ?? null, eps);
      return [ctx.needs[0] ? dx : null, weight && ctx.needs[1] ? dw : null];
    },
  },
  opinfo: ["nn.functional.rms_norm"],
  stage: "stable",
  summary: "Root mean square normalisation over trailing dimensions",
});
