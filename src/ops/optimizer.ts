// The kernels of optimizers: AdamW's update and the clipping of gradients. The optimizer itself stands in `nn/`.

import { constexpr, f32, helper, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { empty, type Operator, operator, showShape, type Tensor } from "../tensor/index.js";
import { nextPowerOf2, rowMajor } from "./rows.js";

/** One element block of AdamW; {@link update} and {@link updateMany} share it. */
const step = helper(
  // biome-ignore format: one line per group
  (tl, p: number, g: number, m: number, v: number, at: number, inside: boolean, factor: number, lr: number, b1: number, b2: number,
    eps: number, decay: number, c1: number, c2: number) => {
    const grad = tl.cast(tl.load(g + at, inside, 0), tl.f32) * factor;
    const param = tl.cast(tl.load(p + at, inside, 0), tl.f32);
    const mean = b1 * tl.load(m + at, inside, 0) + (1 - b1) * grad;
    const square = b2 * tl.load(v + at, inside, 0) + (1 - b2) * grad * grad;
    tl.store(m + at, mean, inside);
    tl.store(v + at, square, inside);
    const denominator = tl.sqrt(square) / c2 + eps;
    tl.store(p + at, param * (1 - lr * decay) - (lr / c1) * (mean / denominator), inside);
  },
);

const update = kernel(
  // biome-ignore format: one line per group
  { p: ptr, g: ptr, m: ptr, v: ptr, scale: ptr, n: i32, lr: f32, b1: f32, b2: f32, eps: f32, decay: f32, c1: f32, c2: f32,
    BLOCK: constexpr, SCALED: constexpr.bool, step },
  ({ p, g, m, v, scale, n, lr, b1, b2, eps, decay, c1, c2, BLOCK, SCALED, step }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const factor = SCALED ? tl.load(scale) : tl.cast(1, tl.f32);
    step(p, g, m, v, at, at < n, factor, lr, b1, b2, eps, decay, c1, c2);
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

/** Tensors that one launch updates: buffers of a kernel are parameters, so their number is fixed. */
const SLOTS = 4;

const updateMany = kernel(
  // biome-ignore format: one line per tensor
  {
    p0: ptr, g0: ptr, m0: ptr, v0: ptr, n0: i32, d0: f32, e0: i32,
    p1: ptr, g1: ptr, m1: ptr, v1: ptr, n1: i32, d1: f32, e1: i32,
    p2: ptr, g2: ptr, m2: ptr, v2: ptr, n2: i32, d2: f32, e2: i32,
    p3: ptr, g3: ptr, m3: ptr, v3: ptr, n3: i32, d3: f32,
    scale: ptr, rates: ptr, lr: f32, b1: f32, b2: f32, eps: f32, c1: f32, c2: f32, BLOCK: constexpr, SCALED: constexpr.bool, READ: constexpr.bool, step,
  },
  // biome-ignore format: one line per tensor
  ({
    p0, g0, m0, v0, n0, d0, e0, p1, g1, m1, v1, n1, d1, e1, p2, g2, m2, v2, n2, d2, e2, p3, g3, m3, v3, n3, d3,
    scale, rates, lr, b1, b2, eps, c1, c2, BLOCK, SCALED, READ, step }, tl) => {
    const block = tl.programId(0);
    const factor = SCALED ? tl.load(scale) : tl.cast(1, tl.f32);
    const rate = READ ? tl.load(rates) : lr;
    const first = READ ? tl.load(rates + 1) : c1;
    const second = READ ? tl.load(rates + 2) : c2;
    // `e` says behind which block a tensor ends.
    if (block < e0) {
      const at = block * BLOCK + tl.arange(0, BLOCK);
      step(p0, g0, m0, v0, at, at < n0, factor, rate, b1, b2, eps, d0, first, second);
    } else if (block < e1) {
      const at = (block - e0) * BLOCK + tl.arange(0, BLOCK);
      step(p1, g1, m1, v1, at, at < n1, factor, rate, b1, b2, eps, d1, first, second);
    } else if (block < e2) {
      const at = (block - e1) * BLOCK + tl.arange(0, BLOCK);
      step(p2, g2, m2, v2, at, at < n2, factor, rate, b1, b2, eps, d2, first, second);
    } else {
      const at = (block - e2) * BLOCK + tl.arange(0, BLOCK);
      step(p3, g3, m3, v3, at, at < n3, factor, rate, b1, b2, eps, d3, first, second);
    }
  },
  "adamw_many",
);

/** What {@link adamwSteps_} reads in place of a learning rate and the number of a step. */
export const adamwRates = (lr: number, beta1: number, beta2: number, step: number): Float32Array =>
  Float32Array.of(lr, 1 - beta1 ** step, Math.sqrt(1 - beta2 ** step));

/**
 * One AdamW update of many tensors, a few of them in each launch: as {@link adamwStep_} for each, in the same arithmetic.
 * Lists of one length; parameters of one launch share their dtype, so neighbours of the same dtype are best.
 *
 * @param self parameters, row-major
 * @param grads their gradients, row-major or not
 * @param expAvgs, expAvgSqs the moments: f32, row-major
 * @param options as for one tensor; `weightDecay` has one number for each
 */
export const adamwSteps_: Operator<
  (
    self: readonly Tensor[],
    grads: readonly Tensor[],
    expAvgs: readonly Tensor[],
    expAvgSqs: readonly Tensor[],
    options: {
      lr: number;
      beta1: number;
      beta2: number;
      eps: number;
      weightDecay: readonly number[];
      /** The number of this step, from 1. */
      step: number;
      gradScale?: Tensor | null | undefined;
      /** f32 `[3]` in place of `lr` and `step`, for steps in a captured graph: see `adamwRates`. */
      rates?: Tensor | null | undefined;
    },
  ) => void
> = operator({
  schema:
    "vexil::adamw_steps_(Tensor(a!)[] self, Tensor[] grads, Tensor(b!)[] exp_avgs, Tensor(c!)[] exp_avg_sqs, *, float lr, float beta1, float beta2, float eps, float[] weight_decay, int step, Tensor? grad_scale=None, Tensor? rates=None) -> ()",
  method: false,
  run: (
    self: readonly Tensor[],
    grads: readonly Tensor[],
    expAvgs: readonly Tensor[],
    expAvgSqs: readonly Tensor[],
    lr: number,
    beta1: number,
    beta2: number,
    eps: number,
    weightDecay: readonly number[],
    number: number,
    gradScale: Tensor | null,
    rates: Tensor | null,
  ) => {
    if (rates && (rates.dtype !== "f32" || rates.numel !== 3 || !rates.isContiguous))
      throw new RangeError(`adamw: the rates are f32 [3], not ${rates.dtype} ${showShape(rates.shape)}`);
    for (const list of [grads, expAvgs, expAvgSqs, weightDecay])
      if (list.length !== self.length)
        throw new RangeError(
          `adamw: ${self.length} parameters, but ${list.length} of something that goes with them`,
        );
    self.forEach((p, i) => {
      for (const t of [p, expAvgs[i]!, expAvgSqs[i]!])
        if (!t.isContiguous || t.numel !== grads[i]!.numel)
          throw new RangeError(
            `adamw: parameter ${i} and its moments must be row-major and of the gradient's size ${showShape(grads[i]!.shape)}, not ${showShape(t.shape)}`,
          );
    });
    const live = self.map((_, i) => i).filter((i) => self[i]!.numel > 0);
    while (live.length > 0) {
      const { dtype, chip } = self[live[0]!]!;
      const same = (i: number): boolean =>
        self[i]!.dtype === dtype && grads[i]!.dtype === grads[live[0]!]!.dtype;
      const now = live.filter(same).slice(0, SLOTS);
      for (const i of now) live.splice(live.indexOf(i), 1);
      const most = Math.max(...now.map((i) => self[i]!.numel));
      const BLOCK = Math.min(
        chip.capabilities.elementsPerProgram,
        Math.max(256, nextPowerOf2(most / chip.capabilities.threads)),
      );
      const args: Record<string, unknown> = {
        scale: gradScale ?? expAvgs[now[0]!]!, rates: rates ?? expAvgs[now[0]!]!, lr, b1: beta1, b2: beta2, eps,
        c1: 1 - beta1 ** number, c2: Math.sqrt(1 - beta2 ** number), BLOCK, SCALED: gradScale !== null, READ: rates !== null,
      }; // biome-ignore format: one line per group
      let end = 0;
      for (let slot = 0; slot < SLOTS; slot++) {
        // Slots that are left over have no blocks.
        const i = now[slot];
        const at = i ?? now[0]!;
        const n = i === undefined ? 0 : self[i]!.numel;
        end += Math.ceil(n / BLOCK);
        Object.assign(args, {
          [`p${slot}`]: self[at]!, [`g${slot}`]: i === undefined ? args["g0"] : rowMajor(grads[at]!), [`m${slot}`]: expAvgs[at]!, [`v${slot}`]: expAvgSqs[at]!,
          [`n${slot}`]: n, [`d${slot}`]: weightDecay[at]!, ...(slot < SLOTS - 1 ? { [`e${slot}`]: end } : {}),
        }); // biome-ignore format: one line per group
      }
      updateMany.launch([end], args as Parameters<typeof updateMany.launch>[1]);
    }
  },
  derivative: "none",
  summary: "AdamW update of many tensors in place",
});

/** Elements that one program squares: enough for its launch, few enough for many programs. */
const SQUARED = 2 ** 16;

const squares = kernel(
  { g: ptr, out: ptr, slot: i32, n: i32, SHARE: constexpr, BLOCK: constexpr },
  ({ g, out, slot, n, SHARE, BLOCK }, tl) => {
    const from = tl.programId(0) * SHARE;
    const to = tl.minimum(n - from, SHARE);
    let acc = tl.zeros([BLOCK]);
    for (let start = 0; start < to; start += BLOCK) {
      const at = start + tl.arange(0, BLOCK);
      const x = tl.cast(tl.load(g + from + at, at < to, 0), tl.f32);
      acc += x * x;
    }
    tl.store(out + slot + tl.programId(0), tl.sum(acc, 0));
  },
  "sum_of_squares",
);

const combine = kernel(
  { parts: ptr, norm: ptr, scale: ptr, n: i32, most: f32, BLOCK: constexpr },
  ({ parts, norm, scale, n, most, BLOCK }, tl) => {
    let acc = tl.zeros([BLOCK]);
    for (let start = 0; start < n; start += BLOCK) {
      const at = start + tl.arange(0, BLOCK);
      acc += tl.load(parts + at, at < n, 0);
    }
    const total = tl.sqrt(tl.sum(acc, 0));
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
      const programs = tensors.map((t) => Math.max(1, Math.ceil(t.numel / SQUARED)));
      const n = programs.reduce((a, b) => a + b, 0);
      const parts = empty([n], { dtype: "f32", device });
      const norm = empty([], { dtype: "f32", device });
      const scale = empty([], { dtype: "f32", device });
      let slot = 0;
      tensors.forEach((t, i) => {
        squares.launch([programs[i]!], {
          g: rowMajor(t),
          out: parts,
          slot,
          n: t.numel,
          SHARE: SQUARED,
          BLOCK: 1024,
        });
        slot += programs[i]!;
      });
      combine.launch([1], { parts, norm, scale, n, most: Math.min(maxNorm, 3e38), BLOCK: 1024 });
      return [norm, scale];
    },
    derivative: "none",
    summary: "Norm of gradients and the factor that clips it",
  });
