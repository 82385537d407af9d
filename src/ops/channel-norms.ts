// Normalisation over the elements of channels, groups of channels or windows of them: batch, group, instance and local
// response normalisation. Halves are computed in f32. Layer and RMS normalisation are `layer-norm.ts` and `rms-norm.ts`.

import {
  callOperator,
  empty,
  isFloatDType,
  noGrad,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { clone, copy_ } from "./cast.js";
import { layerNorm } from "./layer-norm.js";
import { narrowed, widened } from "./loss-reduction.js";
import { constantPadNd } from "./pad.js";
import { pointwise } from "./pointwise.js";
import { mean, sum } from "./reduce.js";

const squaredDistance = pointwise((_tl, x, m) => (x - m) * (x - m), { name: "squared_distance" });
const reciprocalRoot = pointwise((tl, v, eps) => tl.rsqrt(v + eps), { name: "reciprocal_root", over: [0] });
const centred = pointwise((_tl, x, m, r) => (x - m) * r, { name: "centred" });
const affine = pointwise((_tl, x, w, b) => x * w + b, { name: "affine" });
const scaled = pointwise((_tl, x, w) => x * w, { name: "scaled" });
const shifted = pointwise((_tl, x, b) => x + b, { name: "shifted" });
const blended = pointwise((_tl, old, now, momentum) => old * (1 - momentum) + now * momentum, {
  name: "running_statistic",
  over: [0],
});

/** A value for each channel, in a shape that broadcasts over `[batch, channels, ...]`. */
const wide = (t: Tensor, rank: number): Tensor =>
  t.view([-1, ...new Array<number>(Math.max(0, rank - 2)).fill(1)]);

function byChannel(y: Tensor, weight: Tensor | null, bias: Tensor | null): Tensor {
  const [w, b] = [weight && wide(widened(weight), y.ndim), bias && wide(widened(bias), y.ndim)];
  if (w && b) return affine(y, w, b);
  return w ? scaled(y, w) : b ? shifted(y, b) : y;
}

interface Normalized {
  readonly out: Tensor;
  readonly mean: Tensor;
  readonly rstd: Tensor;
}

/** Normalises by the batch, and moves the running statistics (of the unbiased variance) towards it. */
function overBatch(
  input: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  momentum: number,
  eps: number,
): Normalized {
  const x = widened(input);
  const dims = x.shape.flatMap((_, d) => (d === 1 ? [] : [d]));
  const exact = mean(x, dims, true);
  const v = mean(squaredDistance(x, exact), dims, true);
  // The statistics are results too, in the dtype of the parameters; the output is what follows from them.
  const like = weight ?? runningMean ?? input;
  const [m, r] = [narrowed(exact, like), narrowed(reciprocalRoot(v, eps), like)];
  const out = narrowed(byChannel(centred(x, widened(m), widened(r)), weight, bias), input);
  const count = x.numel / Math.max(1, x.shape[1]!);
  noGrad(() => {
    if (runningMean) copy_(runningMean, blended(widened(runningMean), exact.view([-1]), momentum));
    if (!runningVar) return;
    const unbiased = scaled(
      v.view([-1]),
      callOperator("full", [], count / (count - 1), { dtype: v.dtype, device: v.device }) as Tensor,
    );
    copy_(runningVar, blended(widened(runningVar), unbiased, momentum));
  });
  return { out, mean: m.view([-1]), rstd: r.view([-1]) };
}

function byRunning(
  input: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  eps: number,
): Tensor {
  if (!runningMean || !runningVar)
    throw new TypeError("batch_norm: without training it needs runningMean and runningVar");
  const x = widened(input);
  const m = wide(widened(runningMean), x.ndim);
  const r = wide(reciprocalRoot(widened(runningVar), eps), x.ndim);
  return narrowed(byChannel(centred(x, m, r), weight, bias), input);
}

function checkChannels(op: string, input: Tensor, all: readonly (Tensor | null)[]): void {
  if (input.ndim < 2 || !isFloatDType(input.dtype))
    throw new TypeError(
      `${op} takes floats of [batch, channels, ...], not ${input.dtype} of ${showShape(input.shape)}`,
    );
  for (const t of all)
    if (t && t.numel !== input.shape[1])
      throw new RangeError(
        `${op}: ${showShape(t.shape)} does not fit the ${input.shape[1]} channels of ${showShape(input.shape)}`,
      );
}

type Optional = Tensor | null;

/**
 * `(x - mean) / sqrt(var + eps) * weight + bias` for each channel of `[batch, channels, ...]` (Ioffe and Szegedy, 2015).
 * While training by the statistics of the batch, towards which the running ones are moved in place; else by those.
 * PyTorch: `F.batch_norm`, with ATen's order of arguments.
 */
export const batchNorm: Operator<
  (
    input: Tensor,
    weight: Optional,
    bias: Optional,
    runningMean: Optional,
    runningVar: Optional,
    training: boolean,
    momentum?: number,
    eps?: number,
  ) => Tensor
> = operator({
  schema:
    "batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool training, float momentum=0.1, float eps=1e-05) -> Tensor",
  method: false,
  run: (
    input: Tensor,
    weight: Optional,
    bias: Optional,
    runningMean: Optional,
    runningVar: Optional,
    training: boolean,
    momentum: number,
    eps: number,
  ) => {
    if (input.numel === 0) return clone(input);
    checkChannels("batch_norm", input, [weight, bias, runningMean, runningVar]);
    return training
      ? overBatch(input, weight, bias, runningMean, runningVar, momentum, eps).out
      : byRunning(input, weight, bias, runningMean, runningVar, eps);
  },
  derivative: "composite",
  opinfo: [
    {
      op: "nn.functional.batch_norm",
      adapt: (input, args, k) => {
        const [m, v, w, b] = ["running_mean", "running_var", "weight", "bias"].map(
          (n, i) => args[i] ?? k[n] ?? null,
        );
        return [input, w, b, m, v, k["training"] ?? false, k["momentum"] ?? 0.1, k["eps"] ?? 1e-5];
      },
    },
  ],
  stage: "stable",
  summary: "Batch normalisation",
});

/** Results of {@link batchNorm} with the mean and reciprocal deviation of the batch; without training those are empty. */
const native = (
  input: Tensor,
  weight: Optional,
  bias: Optional,
  runningMean: Optional,
  runningVar: Optional,
  training: boolean,
  momentum: number,
  eps: number,
): [Tensor, Tensor, Tensor] => {
  checkChannels("native_batch_norm", input, [weight, bias, runningMean, runningVar]);
  if (training) {
    const y = overBatch(input, weight, bias, runningMean, runningVar, momentum, eps);
    return [y.out, y.mean, y.rstd];
  }
  const { dtype } = weight ?? runningMean ?? input;
  const none = (): Tensor => empty([0], { dtype, device: input.device });
  return [byRunning(input, weight, bias, runningMean, runningVar, eps), none(), none()];
};

operator({
  schema:
    "native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool training, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
  method: false,
  run: native as (...args: unknown[]) => unknown,
  derivative: "composite",
  opinfo: ["native_batch_norm"],
  stage: "stable",
  summary: "Batch normalisation with the batch's statistics",
});
operator({
  schema:
    "_native_batch_norm_legit(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool training, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
  method: false,
  run: native as (...args: unknown[]) => unknown,
  derivative: "composite",
  opinfo: [
    {
      op: "_native_batch_norm_legit",
      // The form without running statistics: weight, bias, training, momentum, eps.
      adapt: (input, args) =>
        typeof args[2] === "boolean"
          ? [input, args[0], args[1], null, null, ...args.slice(2)]
          : [input, ...args],
    },
  ],
  stage: "stable",
  summary: "Batch normalisation with the batch's statistics",
});
operator({
  schema:
    "_batch_norm_with_update(Tensor input, Tensor? weight, Tensor? bias, Tensor running_mean, Tensor running_var, float momentum, float eps) -> (Tensor, Tensor, Tensor, Tensor)",
  method: false,
  run: (
    input: Tensor,
    weight: Optional,
    bias: Optional,
    m: Tensor,
    v: Tensor,
    momentum: number,
    eps: number,
  ) => [
    ...native(input, weight, bias, m, v, true, momentum, eps),
    empty([0], { dtype: "u8", device: input.device }),
  ],
  derivative: "composite",
  opinfo: ["_batch_norm_with_update"],
  stage: "stable",
  summary: "Batch normalisation of training",
});

/**
 * Normalises each sample's channels in groups (Wu and He, 2018), then scales and shifts each channel. PyTorch:
 * `F.group_norm`.
 */
export const groupNorm: Operator<
  (input: Tensor, numGroups: number, weight?: Optional, bias?: Optional, eps?: number) => Tensor
> = operator({
  schema:
    "group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05) -> Tensor",
  method: false,
  run: (input: Tensor, groups: number, weight: Optional, bias: Optional, eps: number) => {
    checkChannels("group_norm", input, [weight, bias]);
    const [batch, channels] = input.shape as [number, number];
    if (groups < 1 || channels % groups !== 0)
      throw new RangeError(`group_norm: ${channels} channels do not divide into ${groups} groups`);
    const x = widened(input);
    const size = batch * groups === 0 ? 1 : x.numel / (batch * groups);
    const y = layerNorm(x.reshape([batch * groups, size]), [size], null, null, eps).view([...x.shape]);
    return narrowed(byChannel(y, weight, bias), input);
  },
  derivative: "composite",
  opinfo: ["nn.functional.group_norm"],
  stage: "stable",
  summary: "Normalisation of groups of channels",
});

/** {@link batchNorm} of each sample by itself. PyTorch: `F.instance_norm`. */
export const instanceNorm: Operator<
  (
    input: Tensor,
    runningMean?: Optional,
    runningVar?: Optional,
    weight?: Optional,
    bias?: Optional,
    useInputStats?: boolean,
    momentum?: number,
    eps?: number,
  ) => Tensor
> = operator({
  schema:
    "instance_norm(Tensor input, Tensor? running_mean=None, Tensor? running_var=None, Tensor? weight=None, Tensor? bias=None, bool use_input_stats=True, float momentum=0.1, float eps=1e-05) -> Tensor",
  method: false,
  run: (
    input: Tensor,
    runningMean: Optional,
    runningVar: Optional,
    weight: Optional,
    bias: Optional,
    useInputStats: boolean,
    momentum: number,
    eps: number,
  ) => {
    checkChannels("instance_norm", input, [weight, bias, runningMean, runningVar]);
    if (!useInputStats) return byRunning(input, weight, bias, runningMean, runningVar, eps);
    const [batch, channels, ...rest] = input.shape as [number, number, ...number[]];
    // Each sample's channels are channels of their own; running statistics move towards the samples' mean.
    const each = (t: Optional): Optional => t && (callOperator("repeat", t, [batch]) as Tensor);
    const [m, v] = noGrad(() => [each(runningMean), each(runningVar)]);
    const x = input.reshape([1, batch * channels, ...rest]);
    const y = overBatch(x, each(weight), each(bias), m!, v!, momentum, eps).out;
    noGrad(() => {
      for (const [t, all] of [
        [runningMean, m],
        [runningVar, v],
      ] as const)
        if (t && all) copy_(t, mean(all.view([batch, channels]), [0]));
    });
    return y.view([...input.shape]);
  },
  derivative: "composite",
  opinfo: ["nn.functional.instance_norm"],
  stage: "stable",
  summary: "Normalisation of each sample's channels",
});

const square = pointwise((_tl, x) => x * x, { name: "square_of" });
const wholeShare = pointwise((tl, x, n) => tl.floorDiv(x - (x % n), n), { name: "window_mean", over: [0] });
const share = pointwise((_tl, x, n) => x / n, { name: "window_mean", over: [0] });
const damped = pointwise((tl, x, m, alpha, beta, k) => x * tl.pow(k + alpha * m, -beta), {
  name: "local_response_norm",
  promote: "intToFloat",
  over: [0, 1],
});
/** Divided by `(k + alpha * mean of squares)^beta` over `size` neighbouring channels. PyTorch: `F.local_response_norm`. */
export const localResponseNorm: Operator<
  (input: Tensor, size: number, alpha?: number, beta?: number, k?: number) => Tensor
> = operator({
  schema:
    "local_response_norm(Tensor input, int size, float alpha=0.0001, float beta=0.75, float k=1.0) -> Tensor",
  method: false,
  run: (input: Tensor, size: number, alpha: number, beta: number, k: number) => {
    if (input.ndim < 3)
      throw new RangeError(`local_response_norm takes [batch, channels, ...], not ${showShape(input.shape)}`);
    if (input.numel === 0) return clone(input);
    const x = widened(input);
    const pads = new Array<number>(2 * (x.ndim - 1)).fill(0);
    pads[pads.length - 2] = Math.floor(size / 2);
    pads[pads.length - 1] = Math.floor((size - 1) / 2);
    const total = sum(constantPadNd(square(x), pads).unfold(1, size, 1), [-1]);
    const m = isFloatDType(x.dtype) ? share(total, size) : wholeShare(total, size);
    return narrowed(damped(x, m, alpha, beta, k), input);
  },
  derivative: "composite",
  opinfo: ["nn.functional.local_response_norm"],
  stage: "stable",
  summary: "Normalisation by neighbouring channels",
});
