// Losses of single elements: an error of each prediction, then their mean or sum. Halves are computed in f32. The
// semantics are those of torch.nn.functional.* of the same name; squared and absolute errors and cross entropy are
// `loss.ts`, losses of pairs and triples `margin-losses.ts`.

import { isFloatDType, type Operator, operator, showShape, type Tensor } from "../tensor/index.js";
import { checkReduction, narrowed, reduced, type Reduction, widened } from "./loss-reduction.js";
import { add, mul, sub } from "./binary.js";
import { le } from "./compare.js";
import { pointwise } from "./pointwise.js";
import { logSigmoid } from "./smooth-activations.js";
import { maskedFill } from "./ternary.js";
import { exp, log, log1p, neg } from "./unary.js";

type Options = { reduction?: Reduction };

/** Whether PyTorch rounds at every step, where its losses are made of several operators. */
const isNarrow = (t: Tensor): boolean => isFloatDType(t.dtype) && t.itemSize < 4;

const smooth = pointwise(
  (tl, x, y, beta) => {
    const d = tl.abs(x - y);
    return tl.where(d < beta, (0.5 * d * d) / beta, d - 0.5 * beta);
  },
  {
    name: "smooth_l1",
    over: [0, 1],
    grad: (tl, x, y, beta, g) => {
      const d = x - y;
      const s = tl.where(tl.abs(d) < beta, d / beta, tl.where(d > 0, 1, tl.where(d < 0, -1, 0)));
      return [g * s, -g * s, 0 * g];
    },
  },
);
/** Half the squared error over `beta`, the absolute error less beta / 2 beyond `beta`. PyTorch: `F.smooth_l1_loss`. */
export const smoothL1Loss: Operator<
  (self: Tensor, target: Tensor, options?: Options & { beta?: number }) => Tensor
> = operator({
  schema: 'smooth_l1_loss(Tensor self, Tensor target, str reduction="mean", float beta=1.0) -> Tensor',
  method: false,
  run: (self: Tensor, target: Tensor, reduction: string, beta: number) => {
    checkReduction("smooth_l1_loss", reduction);
    if (!(beta >= 0)) throw new RangeError(`smooth_l1_loss: beta is 0 or more, not ${beta}`);
    return narrowed(reduced(smooth(widened(self), widened(target), beta), reduction), self);
  },
  derivative: "composite",
  opinfo: ["nn.functional.smooth_l1_loss"],
  stage: "stable",
  summary: "Squared error near 0, absolute error beyond",
});

const huber = pointwise(
  (tl, x, y, delta) => {
    const d = tl.abs(x - y);
    return tl.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta));
  },
  {
    name: "huber",
    over: [0, 1],
    grad: (tl, x, y, delta, g) => {
      const s = g * tl.clamp(x - y, -delta, delta, { propagateNan: true });
      return [s, -s, 0 * g];
    },
  },
);
/** Half the squared error, beyond `delta` a straight line (Huber, 1964). PyTorch: `F.huber_loss`. */
export const huberLoss: Operator<
  (self: Tensor, target: Tensor, options?: Options & { delta?: number }) => Tensor
> = operator({
  schema: 'huber_loss(Tensor self, Tensor target, str reduction="mean", float delta=1.0) -> Tensor',
  method: false,
  run: (self: Tensor, target: Tensor, reduction: string, delta: number) => {
    checkReduction("huber_loss", reduction);
    if (!(delta > 0)) throw new RangeError(`huber_loss: delta is above 0, not ${delta}`);
    return narrowed(reduced(huber(widened(self), widened(target), delta), reduction), self);
  },
  derivative: "composite",
  opinfo: ["nn.functional.huber_loss"],
  stage: "stable",
  summary: "Huber's loss",
});

/** Logarithms are at least -100, as PyTorch's. */
const entropy = pointwise(
  (tl, p, y) => {
    const own = tl.maximum(tl.log(p), -100, { propagateNan: true });
    const other = tl.maximum(tl.log1p(-p), -100, { propagateNan: true });
    return (y - 1) * other - y * own;
  },
  {
    name: "binary_cross_entropy",
    grad: (tl, p, y, g) => [(g * (p - y)) / tl.maximum((1 - p) * p, 1e-12), g * (tl.log1p(-p) - tl.log(p))],
  },
);
const times = pointwise((_tl, a, b) => a * b, { name: "weighted_loss" });

/** `-(y log p + (1 - y) log(1 - p))` of probabilities. PyTorch: `F.binary_cross_entropy`. */
export const binaryCrossEntropy: Operator<
  (self: Tensor, target: Tensor, weight?: Tensor | null, options?: Options) => Tensor
> = operator({
  schema:
    'binary_cross_entropy(Tensor self, Tensor target, Tensor? weight=None, str reduction="mean") -> Tensor',
  method: false,
  run: (self: Tensor, target: Tensor, weight: Tensor | null, reduction: string) => {
    checkReduction("binary_cross_entropy", reduction);
    if (self.ndim !== target.ndim || self.shape.some((n, d) => n !== target.shape[d]))
      throw new RangeError(
        `binary_cross_entropy: input ${showShape(self.shape)} and target ${showShape(target.shape)} differ`,
      );
    let losses = entropy(widened(self), widened(target));
    if (weight) losses = times(losses, widened(weight));
    return narrowed(reduced(losses, reduction), self);
  },
  derivative: "composite",
  opinfo: ["nn.functional.binary_cross_entropy"],
  stage: "stable",
  summary: "Binary cross entropy of probabilities",
});

const logits = pointwise(
  (tl, x, y) => (1 - y) * x + tl.maximum(-x, 0, { propagateNan: true }) + tl.log1p(tl.exp(-tl.abs(x))),
  { name: "bce_with_logits", grad: (tl, x, y, g) => [g * (tl.sigmoid(x) - y), -g * x] },
);
const weightedLogits = pointwise(
  (tl, x, y, w) => {
    const low = tl.maximum(-x, 0, { propagateNan: true }) + tl.log1p(tl.exp(-tl.abs(x)));
    return (1 - y) * x + (1 + (w - 1) * y) * low;
  },
  {
    name: "bce_with_logits_weighted",
    grad: (tl, x, y, w, g) => {
      const low = tl.maximum(-x, 0) + tl.log1p(tl.exp(-tl.abs(x)));
      return [g * (1 - y - (1 + (w - 1) * y) * tl.sigmoid(-x)), g * ((w - 1) * low - x), g * y * low];
    },
  },
);
/** Binary cross entropy of `sigmoid(self)`, without overflow. PyTorch: `F.binary_cross_entropy_with_logits`. */
export const binaryCrossEntropyWithLogits: Operator<
  (
    self: Tensor,
    target: Tensor,
    weight?: Tensor | null,
    posWeight?: Tensor | null,
    options?: Options,
  ) => Tensor
> = operator({
  schema:
    'binary_cross_entropy_with_logits(Tensor self, Tensor target, Tensor? weight=None, Tensor? pos_weight=None, str reduction="mean") -> Tensor',
  method: false,
  run: (self: Tensor, target: Tensor, weight: Tensor | null, posWeight: Tensor | null, reduction: string) => {
    checkReduction("binary_cross_entropy_with_logits", reduction);
    const [x, y] = [widened(self), widened(target)];
    let losses: Tensor;
    if (isNarrow(self) && posWeight) {
      const own = add(mul(sub(posWeight, 1), target), 1);
      losses = sub(mul(sub(1, target), self), mul(own, logSigmoid(self)));
    } else losses = posWeight ? weightedLogits(x, y, widened(posWeight)) : logits(x, y);
    if (weight) losses = times(losses, widened(weight));
    return narrowed(reduced(losses, reduction), self);
  },
  derivative: "composite",
  opinfo: ["nn.functional.binary_cross_entropy_with_logits"],
  stage: "stable",
  summary: "Binary cross entropy of logits",
});

const divergence = pointwise(
  (tl, x, y) => tl.where(y > 0, y * tl.log(y), tl.where(y === 0, 0, 0 / 0)) - y * x,
  { name: "kl_div", grad: (tl, x, y, g) => [-g * y, tl.where(y > 0, g * (tl.log(y) + 1 - x), 0)] },
);
const divergenceOfLogs = pointwise((tl, x, y) => tl.exp(y) * (y - x), { name: "kl_div_log" });
const divide = pointwise((_tl, a, n) => a / n, { name: "batch_mean" });
/** Kullback and Leibler's divergence of log-probabilities from target probabilities. PyTorch: `F.kl_div`. */
export const klDiv: Operator<
  (
    self: Tensor,
    target: Tensor,
    options?: { reduction?: Reduction | "batchmean"; logTarget?: boolean },
  ) => Tensor
> = operator({
  schema: 'kl_div(Tensor self, Tensor target, str reduction="mean", *, bool log_target=False) -> Tensor',
  method: false,
  run: (self: Tensor, target: Tensor, reduction: string, logTarget: boolean) => {
    const batch = reduction === "batchmean";
    if (!batch) checkReduction("kl_div", reduction);
    const losses = (logTarget ? divergenceOfLogs : divergence)(widened(self), widened(target));
    if (!batch) return narrowed(reduced(losses, reduction as Reduction), self);
    return narrowed(divide(reduced(losses, "sum"), self.ndim === 0 ? 1 : self.shape[0]!), self);
  },
  derivative: "composite",
  opinfo: ["nn.functional.kl_div"],
  stage: "stable",
  summary: "Kullback-Leibler divergence",
});

const softMargin = pointwise((tl, x, y) => tl.log1p(tl.exp(-y * x)), {
  name: "soft_margin",
  grad: (tl, x, y, g) => {
    const s = tl.sigmoid(-y * x);
    return [-g * y * s, -g * x * s];
  },
});
/** `log(1 + exp(-target * self))` for targets of 1 and -1. PyTorch: `F.soft_margin_loss`. */
export const softMarginLoss: Operator<(self: Tensor, target: Tensor, options?: Options) => Tensor> = operator(
  {
    schema: 'soft_margin_loss(Tensor self, Tensor target, str reduction="mean") -> Tensor',
    method: false,
    run: (self: Tensor, target: Tensor, reduction: string) => {
      checkReduction("soft_margin_loss", reduction);
      const losses = isNarrow(self)
        ? log1p(exp(mul(neg(target), self)))
        : softMargin(widened(self), widened(target));
      return narrowed(reduced(losses, reduction), self);
    },
    derivative: "composite",
    opinfo: ["nn.functional.soft_margin_loss"],
    stage: "stable",
    summary: "Logistic loss of two classes",
  },
);

const poissonLog = pointwise((tl, x, y) => tl.exp(x) - y * x, { name: "poisson_log", promote: "intToFloat" });
const poissonRate = pointwise((tl, x, y, eps) => x - y * tl.log(x + eps), {
  name: "poisson_rate",
  promote: "intToFloat",
  over: [0, 1],
});
/** Stirling's approximation of log(y!), for targets above 1. */
const stirling = pointwise(
  (tl, loss, y) => {
    const v = tl.maximum(y, 1);
    return loss + tl.where(y > 1, v * tl.log(v) - v + 0.5 * tl.log(6.283185307179586 * v), 0);
  },
  {
    name: "poisson_stirling",
    grad: (tl, _loss, y, g) => {
      const v = tl.maximum(y, 1);
      return [g, tl.where(y > 1, g * (tl.log(v) + 0.5 / v), 0)];
    },
  },
);
/** Negative log likelihood of Poisson's distribution, whose rate (or its logarithm) is `self`. PyTorch: `F.poisson_nll_loss`. */
export const poissonNllLoss: Operator<
  (
    self: Tensor,
    target: Tensor,
    options?: Options & { logInput?: boolean; full?: boolean; eps?: number },
  ) => Tensor
> = operator({
  schema:
    'poisson_nll_loss(Tensor self, Tensor target, bool log_input=True, bool full=False, float eps=1e-08, str reduction="mean") -> Tensor',
  method: false,
  run: (self: Tensor, target: Tensor, logInput: boolean, full: boolean, eps: number, reduction: string) => {
    checkReduction("poisson_nll_loss", reduction);
    const [x, y] = [widened(self), widened(target)];
    let losses =
      isNarrow(self) && logInput
        ? sub(exp(self), mul(target, self))
        : logInput
          ? poissonLog(x, y)
          : poissonRate(x, y, eps);
    if (full && isNarrow(self)) {
      const term = add(sub(mul(target, log(target)), target), mul(log(mul(target, 2 * Math.PI)), 0.5));
      losses = add(losses, maskedFill(term, le(target, 1), 0));
    } else if (full) losses = stirling(losses, y);
    const result = reduced(losses, reduction);
    return isFloatDType(self.dtype) ? narrowed(result, self) : result;
  },
  derivative: "composite",
  opinfo: ["nn.functional.poisson_nll_loss"],
  stage: "stable",
  summary: "Negative log likelihood of Poisson's distribution",
});

const gaussian = pointwise(
  (tl, x, y, v, eps, constant) => {
    const safe = tl.maximum(v, eps, { propagateNan: true });
    return 0.5 * (tl.log(safe) + ((x - y) * (x - y)) / safe) + constant;
  },
  {
    name: "gaussian_nll",
    over: [0, 1, 2],
    grad: (tl, x, y, v, eps, _constant, g) => {
      const safe = tl.maximum(v, eps);
      const d = (g * (x - y)) / safe;
      // The bound of the variance lets its gradient through.
      return [d, -d, (0.5 * (g - d * (x - y))) / safe, 0 * g, 0 * g];
    },
  },
);
/** Negative log likelihood of normal distributions of mean `self` and variance `var`. PyTorch: `F.gaussian_nll_loss`. */
export const gaussianNllLoss: Operator<
  (
    self: Tensor,
    target: Tensor,
    variance: Tensor,
    options?: Options & { full?: boolean; eps?: number },
  ) => Tensor
> = operator({
  schema:
    'gaussian_nll_loss(Tensor self, Tensor target, Tensor var, bool full=False, float eps=1e-06, str reduction="mean") -> Tensor',
  method: false,
  run: (self: Tensor, target: Tensor, variance: Tensor, full: boolean, eps: number, reduction: string) => {
    checkReduction("gaussian_nll_loss", reduction);
    // One variance for a row of predictions.
    const v = variance.ndim === self.ndim - 1 ? variance.unsqueeze(-1) : variance;
    const constant = full ? 0.5 * Math.log(2 * Math.PI) : 0;
    const losses = gaussian(widened(self), widened(target), widened(v), eps, constant);
    return narrowed(reduced(losses, reduction), self);
  },
  derivative: "composite",
  opinfo: ["nn.functional.gaussian_nll_loss"],
  stage: "stable",
  summary: "Negative log likelihood of normal distributions",
});
