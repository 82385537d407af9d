// Losses with a margin: of pairs, triples, classes and sets of labels. Halves are computed in f32. The semantics are those
// of torch.nn.functional.* of the same name.

import {
  callOperator,
  isFloatDType,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { add, minimum, mul, sub } from "./binary.js";
import { lt } from "./compare.js";
import { zeros } from "./creation.js";
import { pairwiseDistance } from "./distances.js";
import { gather } from "./gather.js";
import { checkReduction, narrowed, reduced, type Reduction, widened } from "./loss-reduction.js";
import { pointwise } from "./pointwise.js";
import { mean, sum } from "./reduce.js";
import { cumsum } from "./scan.js";
import { scatterAdd } from "./scatter.js";
import { neg, relu } from "./unary.js";

type Options = { reduction?: Reduction; margin?: number };

const hingePair = pointwise(
  (tl, x, y, margin) =>
    tl.where(y !== 1, tl.maximum(margin - x, 0, { propagateNan: true }), 0) + tl.where(y !== -1, x, 0),
  {
    name: "hinge_embedding",
    over: [0],
    grad: (tl, x, y, margin, g) => [
      tl.where(y !== 1 && margin - x >= 0, -g, 0) + tl.where(y !== -1, g, 0),
      0 * g,
      0 * g,
    ],
  },
);
/** self where the target is 1, `max(0, margin - self)` where it is -1. PyTorch: `F.hinge_embedding_loss`. */
export const hingeEmbeddingLoss: Operator<(self: Tensor, target: Tensor, options?: Options) => Tensor> =
  operator({
    schema:
      'hinge_embedding_loss(Tensor self, Tensor target, float margin=1.0, str reduction="mean") -> Tensor',
    method: false,
    run: (self: Tensor, target: Tensor, margin: number, reduction: string) => {
      checkReduction("hinge_embedding_loss", reduction);
      return narrowed(reduced(hingePair(widened(self), target, margin), reduction), self);
    },
    derivative: "composite",
    opinfo: ["nn.functional.hinge_embedding_loss"],
    stage: "stable",
    summary: "Hinge loss of distances",
  });

const ranking = pointwise(
  (tl, a, b, y, margin) => tl.maximum(margin - y * (a - b), 0, { propagateNan: true }),
  {
    name: "margin_ranking",
    promote: "intToFloat",
    over: [0, 1, 2],
    grad: (tl, a, b, y, margin, g) => {
      const s = tl.where(margin - y * (a - b) >= 0, g, 0);
      return [-s * y, s * y, -s * (a - b), 0 * g];
    },
  },
);
const aboveMargin = pointwise((tl, x, margin) => tl.maximum(x + margin, 0), {
  name: "above_margin",
  promote: "intToFloat",
  over: [0],
});
/** `max(0, -target * (input1 - input2) + margin)`. PyTorch: `F.margin_ranking_loss`. */
export const marginRankingLoss: Operator<
  (input1: Tensor, input2: Tensor, target: Tensor, options?: Options) => Tensor
> = operator({
  schema:
    'margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, str reduction="mean") -> Tensor',
  method: false,
  run: (a: Tensor, b: Tensor, target: Tensor, margin: number, reduction: string) => {
    checkReduction("margin_ranking_loss", reduction);
    // Integers wrap in their own dtype first.
    const losses = isFloatDType(a.dtype)
      ? ranking(widened(a), widened(b), widened(target), margin)
      : aboveMargin(mul(neg(target), sub(a, b)), margin);
    return narrowed(reduced(losses, reduction), a);
  },
  derivative: "composite",
  opinfo: ["nn.functional.margin_ranking_loss"],
  stage: "stable",
  summary: "Whether the right one of two is larger, by a margin",
});

const times = pointwise((_tl, a, b) => a * b, { name: "times" });
const cosineOf = pointwise((tl, p, a, b) => p / tl.sqrt((a + 1e-12) * (b + 1e-12)), {
  name: "cosine_of",
  promote: "intToFloat",
});
const byTarget = pointwise(
  (tl, cos, y, margin) => {
    const target = tl.cast(y, tl.f32);
    const unlike = tl.maximum(cos - margin, 0, { propagateNan: true });
    return tl.where(target === 1, 1 - cos, tl.where(target === -1, unlike, 0));
  },
  {
    name: "cosine_embedding",
    over: [0],
    grad: (tl, cos, y, margin, g) => {
      const target = tl.cast(y, tl.f32);
      return [tl.where(target === 1, -g, tl.where(target === -1 && cos - margin >= 0, g, 0)), 0 * g, 0 * g];
    },
  },
);
/**
 * `1 - cos` of pairs whose target is 1, `max(0, cos - margin)` of those whose target is -1. PyTorch:
 * `F.cosine_embedding_loss`.
 */
export const cosineEmbeddingLoss: Operator<
  (input1: Tensor, input2: Tensor, target: Tensor, options?: Options) => Tensor
> = operator({
  schema:
    'cosine_embedding_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, str reduction="mean") -> Tensor',
  method: false,
  run: (a: Tensor, b: Tensor, target: Tensor, margin: number, reduction: string) => {
    checkReduction("cosine_embedding_loss", reduction);
    if (a.ndim !== target.ndim + 1)
      throw new RangeError(
        `cosine_embedding_loss: ${showShape(a.shape)} needs one target for each vector, not ${showShape(target.shape)}`,
      );
    const dim = [target.ndim];
    const [x, y] = [widened(a), widened(b)];
    const total = (t: Tensor): Tensor => sum(t, dim);
    const cos = cosineOf(total(mul(x, y)), total(mul(x, x)), total(mul(y, y)));
    return narrowed(reduced(byTarget(cos, target, margin), reduction), a);
  },
  derivative: "composite",
  opinfo: ["nn.functional.cosine_embedding_loss"],
  stage: "stable",
  summary: "Loss of the angles of pairs",
});

const excess = pointwise(
  (tl, near, far, margin) => tl.maximum(margin + near - far, 0, { propagateNan: true }),
  {
    name: "triplet_margin",
    over: [0, 1],
    grad: (tl, near, far, margin, g) => {
      const s = tl.where(margin + near - far >= 0, g, 0);
      return [s, -s, 0 * g];
    },
  },
);
/** `max(0, margin + |anchor - positive| - |anchor - negative|)` with p-norms. PyTorch: `F.triplet_margin_loss`. */
export const tripletMarginLoss: Operator<
  (
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    options?: Options & { p?: number; eps?: number; swap?: boolean },
  ) => Tensor
> = operator({
  schema:
    'triplet_margin_loss(Tensor anchor, Tensor positive, Tensor negative, float margin=1.0, float p=2, float eps=1e-06, bool swap=False, str reduction="mean") -> Tensor',
  method: false,
  run: (
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: number,
    p: number,
    eps: number,
    swap: boolean,
    reduction: string,
  ) => {
    checkReduction("triplet_margin_loss", reduction);
    const [a, b, c] = [anchor, positive, negative];
    const near = pairwiseDistance(a, b, p, eps);
    let far = pairwiseDistance(a, c, p, eps);
    if (swap) far = minimum(far, pairwiseDistance(b, c, p, eps));
    // Narrow floats are rounded at every step, as PyTorch's.
    const losses = near.itemSize < 4 ? relu(sub(add(near, margin), far)) : excess(near, far, margin);
    return narrowed(reduced(losses, reduction), anchor);
  },
  derivative: "composite",
  opinfo: ["nn.functional.triplet_margin_loss"],
  stage: "stable",
  summary: "Loss of distances to a like and an unlike one",
});

/** Hinge of all classes but the target's own. */
const overOthers = pointwise(
  (tl, x, own, target, column, margin, p) => {
    const z = tl.maximum(margin - own + x, 0, { propagateNan: true });
    return tl.where(column === target, 0, tl.where(p === 1, z, z * z));
  },
  {
    name: "multi_margin",
    over: [0, 1],
    grad: (tl, x, own, target, column, margin, p, g) => {
      const z = margin - own + x;
      const s = tl.where(column === target || z <= 0, 0, g * tl.where(p === 1, 1, 2 * z));
      return [s, -s, 0 * g, 0 * g, 0 * g, 0 * g];
    },
  },
);
const over = pointwise((_tl, x, n) => x / n, { name: "over_classes", over: [0] });
/** `sum_j max(0, margin - x[target] + x[j])^p / classes` over the other classes. PyTorch: `F.multi_margin_loss`. */
export const multiMarginLoss: Operator<
  (
    self: Tensor,
    target: Tensor,
    p?: number,
    margin?: number,
    weight?: Tensor | null,
    options?: Options & { weight?: Tensor | null },
  ) => Tensor
> = operator({
  schema:
    'multi_margin_loss(Tensor self, Tensor target, Scalar p=1, Scalar margin=1, Tensor? weight=None, str reduction="mean") -> Tensor',
  method: false,
  run: (
    self: Tensor,
    target: Tensor,
    p: number,
    margin: number,
    weight: Tensor | null,
    reduction: string,
  ) => {
    checkReduction("multi_margin_loss", reduction);
    if (p !== 1 && p !== 2) throw new RangeError(`multi_margin_loss: p is 1 or 2, not ${p}`);
    const rows = widened(self.ndim < 2 ? self.view([1, -1]) : self);
    const classes = rows.shape[1]!;
    const ids = target.reshape([-1, 1]);
    const columns = callOperator("arange", classes, { dtype: "i64", device: self.device }) as Tensor;
    let each = overOthers(rows, gather(rows, 1, ids), ids, columns, margin, p);
    if (weight) {
      const own = callOperator("index_select", widened(weight), 0, target.reshape([-1])) as Tensor;
      each = times(each, own.unsqueeze(1));
    }
    const losses = over(sum(each, [1]), classes);
    const result = reduction === "none" ? losses.view([...target.shape]) : reduced(losses, reduction);
    return narrowed(result, self);
  },
  derivative: "composite",
  opinfo: ["nn.functional.multi_margin_loss"],
  stage: "stable",
  summary: "Hinge loss of classes",
});

const labelHinge = pointwise(
  (tl, own, x, known, taken) => tl.where(known === 0 && taken === 0, tl.maximum(1 - own + x, 0), 0),
  {
    name: "multilabel_margin",
    over: [0, 1],
    grad: (tl, own, x, known, taken, g) => {
      const s = tl.where(known === 0 && taken === 0 && 1 - own + x > 0, g, 0);
      return [-s, s, 0 * g, 0 * g];
    },
  },
);
const atLeast0 = pointwise((tl, x) => tl.maximum(x, 0), { name: "known_label", promote: "none" });
const isKnown = pointwise((tl, ended) => tl.cast(ended === 0, tl.i64), {
  name: "is_label",
  promote: "none",
  outputs: ["i64"],
});
/**
 * Hinge of each label over each class that is none. A row's labels stand before its first negative number. PyTorch:
 * `F.multilabel_margin_loss`.
 */
export const multilabelMarginLoss: Operator<(self: Tensor, target: Tensor, options?: Options) => Tensor> =
  operator({
    schema: 'multilabel_margin_loss(Tensor self, Tensor target, str reduction="mean") -> Tensor',
    method: false,
    run: (self: Tensor, target: Tensor, reduction: string) => {
      checkReduction("multilabel_margin_loss", reduction);
      const one = self.ndim < 2;
      const x = widened(one ? self.reshape([1, -1]) : self);
      const labels = one ? target.reshape([1, -1]) : target;
      const ended = cumsum(lt(labels, 0), 1);
      const ids = atLeast0(labels);
      const taken = scatterAdd(zeros(x.shape, { dtype: "i64", device: x.device }), 1, ids, isKnown(ended));
      const own = gather(x, 1, ids);
      const each = labelHinge(own.unsqueeze(2), x.unsqueeze(1), ended.unsqueeze(2), taken.unsqueeze(1));
      const losses = over(sum(each, [1, 2]), x.shape[1]!);
      return narrowed(one ? losses.view([]) : reduced(losses, reduction), self);
    },
    derivative: "composite",
    opinfo: ["nn.functional.multilabel_margin_loss"],
    stage: "stable",
    summary: "Hinge loss of sets of labels",
  });

const labelLogits = pointwise(
  (tl, x, y) => {
    const low = tl.log1p(tl.exp(-tl.abs(x)));
    return y * (tl.maximum(-x, 0) + low) + (1 - y) * (tl.maximum(x, 0) + low);
  },
  { name: "multilabel_soft_margin", grad: (tl, x, y, g) => [g * (tl.sigmoid(x) - y), -g * x] },
);
/** The mean over classes of the binary cross entropy of logits. PyTorch: `F.multilabel_soft_margin_loss`. */
export const multilabelSoftMarginLoss: Operator<
  (
    self: Tensor,
    target: Tensor,
    weight?: Tensor | null,
    options?: Options & { weight?: Tensor | null },
  ) => Tensor
> = operator({
  schema:
    'multilabel_soft_margin_loss(Tensor self, Tensor target, Tensor? weight=None, str reduction="mean") -> Tensor',
  method: false,
  run: (self: Tensor, target: Tensor, weight: Tensor | null, reduction: string) => {
    checkReduction("multilabel_soft_margin_loss", reduction);
    let each = labelLogits(widened(self), widened(target));
    if (weight) each = times(each, widened(weight));
    return narrowed(reduced(each.ndim === 0 ? each : mean(each, [-1]), reduction), self);
  },
  derivative: "composite",
  opinfo: ["nn.functional.multilabel_soft_margin_loss"],
  stage: "stable",
  summary: "Binary cross entropy of each label",
});
