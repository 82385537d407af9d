// Losses: cross entropy with all of PyTorch's options, negative log likelihood, mean squared and absolute errors.

import { callOperator, type Operator, operator, showShape, type Tensor } from "../tensor/index.js";
import { crossEntropyRows } from "./cross-entropy-rows.js";
import { checkReduction, reduced, type Reduction } from "./loss-reduction.js";
import { pointwise } from "./pointwise.js";
import { sum } from "./reduce.js";
import { logSoftmax } from "./softmax.js";

const squared = pointwise((_tl, a, b) => (a - b) * (a - b), { name: "squared_error" });
const absolute = pointwise((tl, a, b) => tl.abs(a - b), {
  name: "absolute_error",
  grad: (tl, a, b, grad) => {
    const sign = tl.where(a > b, 1, tl.where(a < b, -1, 0));
    return [grad * sign, -grad * sign];
  },
});

export type { Reduction } from "./loss-reduction.js";

type ElementLoss = (self: Tensor, target: Tensor, options?: { reduction?: Reduction }) => Tensor;

/** `(self - target)^2`. PyTorch: `F.mse_loss`. */
export const mseLoss: Operator<ElementLoss> = operator({
  schema: 'mse_loss(Tensor self, Tensor target, str reduction="mean") -> Tensor',
  method: false,
  run: (self: Tensor, target: Tensor, reduction: string) => {
    checkReduction("mse_loss", reduction);
    return reduced(squared(self, target), reduction);
  },
  derivative: "composite",
  opinfo: ["nn.functional.mse_loss"],
  stage: "stable",
  summary: "Squared error",
});

/** `|self - target|`. PyTorch: `F.l1_loss`. */
export const l1Loss: Operator<ElementLoss> = operator({
  schema: 'l1_loss(Tensor self, Tensor target, str reduction="mean") -> Tensor',
  method: false,
  run: (self: Tensor, target: Tensor, reduction: string) => {
    checkReduction("l1_loss", reduction);
    return reduced(absolute(self, target), reduction);
  },
  derivative: "composite",
  opinfo: ["nn.functional.l1_loss"],
  stage: "stable",
  summary: "Absolute error",
});

const counted = pointwise((tl, target, ignore) => tl.cast(target !== ignore, tl.f32), {
  name: "counted",
  promote: "none",
  outputs: ["f32"],
});
const divide = pointwise((tl, a, b) => a / tl.cast(b, tl.dtypeOf(a)), { name: "divide_loss", over: [0] });
/** A class for ignored targets too, so that it can be looked up; their weight is 0. */
const known = pointwise((tl, target, ignore) => tl.where(target === ignore, 0, target), {
  name: "known_class",
  promote: "none",
  outputs: ["i64"],
});
const unlessIgnored = pointwise((tl, w, target, ignore) => tl.where(target === ignore, 0, w), {
  name: "unless_ignored",
  over: [0],
});
const minusProduct = pointwise((_tl, w, logp) => -w * logp, { name: "minus_product" });
const product = pointwise((_tl, a, b) => a * b, { name: "product" });
const blend = pointwise((_tl, own, all, s, classes) => (1 - s) * own + (s / classes) * all, {
  name: "label_smoothing",
});
const smoothed = pointwise((_tl, p, s, classes) => p * (1 - s) + s / classes, { name: "smoothed_target" });

const f32or64 = (t: Tensor): Tensor =>
  t.dtype === "f16" || t.dtype === "bf16" ? (callOperator("_to_copy", t, { dtype: "f32" }) as Tensor) : t;
const backTo = (t: Tensor, like: Tensor): Tensor =>
  t.dtype === like.dtype ? t : (callOperator("_to_copy", t, { dtype: like.dtype }) as Tensor);

/** The dimension of the classes: the first of one-dimensional input, else the second. */
const classDim = (t: Tensor): number => (t.ndim === 1 ? 0 : 1);

/** Class weights in the shape that broadcasts over input. */
function wideWeight(weight: Tensor, input: Tensor): Tensor {
  const d = classDim(input);
  return weight.view(input.shape.map((n, i) => (i === d ? n : 1)));
}

function checkTargets(op: string, input: Tensor, target: Tensor, weight: Tensor | null): void {
  const d = classDim(input);
  const want = input.shape.filter((_, i) => i !== d);
  if (target.dtype !== "i64") throw new TypeError(`${op}: class targets are i64, not ${target.dtype}`);
  if (input.ndim === 0 || showShape(want) !== showShape(target.shape))
    throw new RangeError(
      `${op}: input ${showShape(input.shape)} needs targets ${showShape(want)}, not ${showShape(target.shape)}`,
    );
  if (weight && (weight.ndim !== 1 || weight.shape[0] !== input.shape[d]))
    throw new RangeError(
      `${op}: ${input.shape[d]} classes need as many weights, not ${showShape(weight.shape)}`,
    );
}

/** Each element's weight: its class's, 0 where the target is ignored. */
function weightsOf(_logp: Tensor, target: Tensor, weight: Tensor | null, ignore: number): Tensor {
  if (!weight) return counted(target, ignore);
  const classes = known(target, ignore).view([-1]);
  const own = callOperator("index_select", f32or64(weight), 0, classes) as Tensor;
  return unlessIgnored(own.view([...target.shape]), target, ignore);
}

/** The log-probability of each element's class. */
function chosen(logp: Tensor, target: Tensor, ignore: number): Tensor {
  const d = classDim(logp);
  const classes = known(target, ignore).unsqueeze(d);
  return (callOperator("gather", logp, d, classes) as Tensor).squeeze(d);
}

/** Negative log likelihoods in f32 or f64. */
function likelihood(logp: Tensor, target: Tensor, w: Tensor, ignore: number, reduction: Reduction): Tensor {
  const losses = minusProduct(w, chosen(logp, target, ignore));
  if (reduction === "none") return losses;
  return reduction === "sum" ? sum(losses) : divide(sum(losses), sum(w));
}

type ClassOptions = { weight?: Tensor | null; ignoreIndex?: number; reduction?: Reduction };

/**
 * `-weight[target] * input[target]` for log-probabilities; the mean divides by the sum of the weights of the targets
 * that are not ignored.
 *
 * Shapes: input `[classes]`, `[batch, classes]` or `[batch, classes, ...]`, target (i64) without the dimension of the
 * classes. PyTorch: `F.nll_loss`.
 */
export const nllLoss: Operator<(input: Tensor, target: Tensor, options?: ClassOptions) => Tensor> = operator({
  schema:
    'nll_loss(Tensor input, Tensor target, Tensor? weight=None, int ignore_index=-100, str reduction="mean") -> Tensor',
  method: false,
  run: (input: Tensor, target: Tensor, weight: Tensor | null, ignore: number, reduction: string) => {
    checkReduction("nll_loss", reduction);
    checkTargets("nll_loss", input, target, weight);
    const logp = f32or64(input);
    return backTo(
      likelihood(logp, target, weightsOf(logp, target, weight, ignore), ignore, reduction),
      input,
    );
  },
  derivative: "composite",
  opinfo: ["nn.functional.nll_loss"],
  stage: "stable",
  summary: "Negative log likelihood",
});

/** The fused way: class indices, no weights, no smoothing. */
function plainCrossEntropy(input: Tensor, target: Tensor, ignore: number, reduction: Reduction): Tensor {
  const d = classDim(input);
  const rows = input.ndim > 2 ? input.movedim(1, -1).reshape([-1, input.shape[d]!]) : input;
  const [losses] = crossEntropyRows(
    input.ndim === 1 ? input.unsqueeze(0) : rows,
    target.reshape([-1]),
    ignore,
  );
  if (reduction === "none") return losses.view([...target.shape]);
  return reduction === "sum" ? sum(losses) : divide(sum(losses), sum(counted(target, ignore)));
}

function withProbabilities(
  input: Tensor,
  target: Tensor,
  weight: Tensor | null,
  smoothing: number,
  reduction: Reduction,
): Tensor {
  const d = classDim(input);
  if (showShape(target.shape) !== showShape(input.shape))
    throw new RangeError(
      `cross_entropy: class probabilities have the input's shape ${showShape(input.shape)}, not ${showShape(target.shape)}`,
    );
  const logp = logSoftmax(input, d);
  let p = target;
  if (smoothing > 0) p = smoothed(p, smoothing, input.shape[d]!);
  if (weight) p = product(p, wideWeight(weight, input));
  const losses = sum(minusProduct(p, logp), [d]);
  if (reduction === "none") return losses;
  const total = sum(losses);
  if (reduction === "sum") return total;
  return divide(total, Math.max(1, input.ndim === 1 ? 1 : input.numel / input.shape[d]!));
}

function smoothedCrossEntropy(
  input: Tensor,
  target: Tensor,
  weight: Tensor | null,
  ignore: number,
  smoothing: number,
  reduction: Reduction,
): Tensor {
  const d = classDim(input);
  const logp = logSoftmax(input, d);
  const w = weightsOf(logp, target, weight, ignore);
  const own = minusProduct(w, chosen(logp, target, ignore));
  let losses = own;
  if (smoothing > 0) {
    const each = weight ? product(logp, wideWeight(f32or64(weight), input)) : logp;
    const every = minusProduct(counted(target, ignore), sum(each, [d]));
    losses = blend(own, every, smoothing, input.shape[d]!);
  }
  if (reduction === "none") return losses;
  const total = sum(losses);
  return reduction === "sum" ? total : divide(total, sum(w));
}

/**
 * Cross entropy of logits and classes: `-log(softmax(input)[target])`. The mean is over the targets that are not
 * `ignoreIndex`, weighted by `weight`.
 *
 * Shapes: input `[classes]`, `[batch, classes]` or `[batch, classes, ...]`; target either i64 class indices without
 * the dimension of the classes, or floats of input's shape: probabilities.
 *
 * @param options.labelSmoothing share of the target that is spread over all classes, 0 to 1
 * @example crossEntropy(logits.view([-1, vocab]), targets.view([-1]), { ignoreIndex: -100 });
 *
 * PyTorch: `F.cross_entropy`.
 */
export const crossEntropy: Operator<
  (input: Tensor, target: Tensor, options?: ClassOptions & { labelSmoothing?: number }) => Tensor
> = operator({
  schema:
    'cross_entropy(Tensor input, Tensor target, Tensor? weight=None, int ignore_index=-100, str reduction="mean", float label_smoothing=0.0) -> Tensor',
  method: false,
  run: (
    input: Tensor,
    target: Tensor,
    weight: Tensor | null,
    ignore: number,
    reduction: string,
    smoothing: number,
  ) => {
    checkReduction("cross_entropy", reduction);
    if (!(smoothing >= 0 && smoothing <= 1))
      throw new RangeError(`cross_entropy: labelSmoothing is between 0 and 1, not ${smoothing}`);
    if (target.dtype !== "i64")
      return backTo(
        withProbabilities(f32or64(input), f32or64(target), weight && f32or64(weight), smoothing, reduction),
        input,
      );
    checkTargets("cross_entropy", input, target, weight);
    if (!weight && smoothing === 0) return backTo(plainCrossEntropy(input, target, ignore, reduction), input);
    return backTo(smoothedCrossEntropy(f32or64(input), target, weight, ignore, smoothing, reduction), input);
  },
  derivative: "composite",
  opinfo: ["nn.functional.cross_entropy"],
  stage: "stable",
  summary: "Cross entropy of logits with classes or probabilities",
});
