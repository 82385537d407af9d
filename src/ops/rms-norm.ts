// RMS normalisation (Zhang and Sennrich, 2019). Its gradients are `rms-norm-backward.ts`.

import { constexpr, dim, f64, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { emptyLike, type Operator, operator, sameShape, showShape, type Tensor } from "../tensor/index.js";
import { rmsNormGradients } from "./rms-norm-backward.js";
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
    const { cols } = extent(input, shape);
    const [dx, dw] = rmsNormGradients(rowMajor(input), grad, null, weight, eps, cols);
    return [dx, weight ? dw.view([...shape]) : dw];
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
