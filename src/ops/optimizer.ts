// The kernels of optimizers: AdamW's update and the clipping of gradients. The optimizer itself stands in `nn/`.

import { constexpr, f32, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { empty, type Operator, operator, showShape, type Tensor } from "../tensor/index.js";
import { nextPowerOf2, rowMajor } from "./rows.js";

const update = kernel(
  // biome-ignore format: one line per group
  { p: ptr, g: ptr, m: ptr, v: ptr, scale: ptr, n: i32, lr: f32, b1: f32, b2: f32, eps: f32, decay: f32, c1: f32, c2: f32,
    BLOCK: constexpr, SCALED: constexpr.bool },
  ({ p, g, m, v, scale, n, lr, b1, b2, eps, decay, c1, c2, BLOCK, SCALED }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const inside = at < n;
    let grad = tl.cast(tl.load(g + at, inside, 0), tl.f32);
    if (SCALED) grad = grad * tl.load(scale);
    const param = tl.cast(tl.load(p + at, inside, 0), tl.f32);
    const mean = b1 * tl.load(m + at, inside, 0) + (1 - b1) * grad;
    const square = b2 * tl.load(v + at, inside, 0) + (1 - b2) * grad * grad;
    tl.store(m + at, mean, inside);
    tl.store(v + at, square, inside);
    const denominator = tl.sqrt(square) / c2 + eps;
    tl.store(p + at, param * (1 - lr * decay) - (lr / c1) * (mean / denominator), inside);
  },
  "adamw",
);

/**
 * One AdamW update in place (Loshchilov and Hutter, 2019), as `torch.optim.AdamW` computes it.
 *
 * @param self the parameter: any float dtype, row-major; computed in f32
 * @param grad its gradient, multiplied by `gradScale` (0-dimensional f32) where given
 * @param expAvg, expAvgSq the moments: f32, row-major, of the same shape
 */
export const adamwStep_: Operator<
  (
    self: Tensor,
    grad: Tensor,
    expAvg: Tensor,
    expAvgSq: Tensor,
    options: {
      lr: number;
      beta1: number;
      beta2: number;
      eps: number;
      weightDecay: number;
      /** The number of this step, from 1. */
      step: number;
      gradScale?: Tensor | null | undefined;
    },
  ) => Tensor
> = operator({
  schema:
    "vexil::adamw_step_(Tensor(a!) self, Tensor grad, Tensor(b!) exp_avg, Tensor(c!) exp_avg_sq, *, float lr, float beta1, float beta2, float eps, float weight_decay, int step, Tensor? grad_scale=None) -> Tensor(a!)",
  method: false,
  run: (
    self: Tensor,
    grad: Tensor,
    expAvg: Tensor,
    expAvgSq: Tensor,
    lr: number,
    beta1: number,
    beta2: number,
    eps: number,
    weightDecay: number,
    step: number,
    gradScale: Tensor | null,
  ) => {
    // biome-ignore format: one line per group
    for (const [what, t] of [["parameter", self], ["first moment", expAvg], ["second moment", expAvgSq]] as const)
      if (!t.isContiguous || t.numel !== grad.numel) throw new RangeError(`adamw: the ${what} ${showShape(t.shape)} must be row-major and of the gradient's size ${showShape(grad.shape)}`);
    const n = self.numel;
    if (n === 0) return self;
    const BLOCK = Math.min(
      self.chip.capabilities.elementsPerProgram,
      Math.max(256, nextPowerOf2(n / self.chip.capabilities.threads)),
    );
    update.launch([Math.ceil(n / BLOCK)], {
      p: self, g: rowMajor(grad), m: expAvg, v: expAvgSq, scale: gradScale ?? expAvg, n, lr, b1: beta1, b2: beta2, eps,
      decay: weightDecay, c1: 1 - beta1 ** step, c2: Math.sqrt(1 - beta2 ** step), BLOCK, SCALED: gradScale !== null,
    }); // biome-ignore format: one line per group
    return self;
  },
  derivative: "none",
  summary: "AdamW update in place",
});

const squares = kernel(
  { g: ptr, out: ptr, slot: i32, n: i32, BLOCK: constexpr },
  ({ g, out, slot, n, BLOCK }, tl) => {
    let acc = tl.zeros([BLOCK]);
    for (let start = 0; start < n; start += BLOCK) {
      const at = start + tl.arange(0, BLOCK);
      const x = tl.cast(tl.load(g + at, at < n, 0), tl.f32);
      acc += x * x;
    }
    tl.store(out + slot, tl.sum(acc, 0));
  },
  "sum_of_squares",
);

const combine = kernel(
  { parts: ptr, norm: ptr, scale: ptr, n: i32, most: f32, BLOCK: constexpr },
  ({ parts, norm, scale, n, most, BLOCK }, tl) => {
    const at = tl.arange(0, BLOCK);
    const total = tl.sqrt(tl.sum(tl.load(parts + at, at < n, 0), 0));
    tl.store(norm, total);
    tl.store(scale, tl.minimum(most / (total + 1e-6), 1));
  },
  "clip_coefficient",
);

/**
 * The common norm of tensors and the factor that brings it down to `maxNorm`, both 0-dimensional f32, computed
 * on the chip so that nobody waits. PyTorch: `torch.nn.utils.clip_grad_norm_`. The sum's order is fixed.
 */
export const clipCoefficient: Operator<(tensors: readonly Tensor[], maxNorm: number) => [Tensor, Tensor]> =
  operator({
    schema: "vexil::clip_coefficient(Tensor[] tensors, float max_norm) -> (Tensor, Tensor)",
    method: false,
    run: (tensors: readonly Tensor[], maxNorm: number) => {
      const device = tensors[0]?.device;
      if (device === undefined) throw new RangeError("clip_coefficient: there are no gradients");
      const parts = empty([tensors.length], { dtype: "f32", device });
      const norm = empty([], { dtype: "f32", device });
      const scale = empty([], { dtype: "f32", device });
      tensors.forEach((t, slot) => {
        squares.launch([1], { g: rowMajor(t), out: parts, slot, n: t.numel, BLOCK: 1024 });
      });
      const BLOCK = Math.max(8, nextPowerOf2(tensors.length));
      combine.launch([1], { parts, norm, scale, n: tensors.length, most: Math.min(maxNorm, 3e38), BLOCK });
      return [norm, scale];
    },
    derivative: "none",
    summary: "Norm of gradients and the factor that clips it",
  });
