// The router of a mixture of experts: scores, the limit to some groups of experts, top-k, and the weights of the chosen,
// forward and backward in one kernel each. What experts compute stands in `grouped-matmul.ts`.

import { constexpr, f32, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import {
  empty,
  emptyLike,
  isFloatDType,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { nextPowerOf2, rowMajor } from "./rows.js";

/** One program takes a token: its experts stand as a tile [groups, experts of a group]. */
const route = kernel(
  // biome-ignore format: one line per group
  { logits: ptr, bias: ptr, weights: ptr, experts: ptr, E: i32, G: i32, S: i32, scale: f32,
    GP: constexpr, SP: constexpr, K: constexpr, KP: constexpr, TOPG: constexpr, PAIRS: constexpr.bool, SIGMOID: constexpr.bool, BIAS: constexpr.bool,
    NORM: constexpr.bool },
  (
    { logits, bias, weights, experts, E, G, S, scale, GP, SP, K, KP, TOPG, PAIRS, SIGMOID, BIAS, NORM },
    tl,
  ) => {
    const token = tl.programId(0);
    const group = tl.col(tl.arange(0, GP));
    const place = tl.row(tl.arange(0, SP));
    const inside = group < G && place < S;
    const e = group * S + place;
    const x = tl.cast(tl.load(logits + token * E + e, inside, -Infinity), tl.f32);
    const top = tl.max(tl.max(x, 1), 0);
    const raised = tl.where(inside, SIGMOID ? tl.sigmoid(x) : tl.exp(x - top), 0);
    const score = SIGMOID ? raised : raised / tl.sum(tl.sum(raised, 1), 0);
    let choice = tl.where(
      inside,
      BIAS ? score + tl.cast(tl.load(bias + e, inside, 0), tl.f32) : score,
      -Infinity,
    );
    if (TOPG > 0) {
      // A group is as good as its best expert, or its best two together.
      const best = tl.max(choice, 1);
      let worth = best;
      if (PAIRS) {
        const at = tl.min(tl.where(choice === tl.col(best), place, SP), 1);
        const second = tl.max(tl.where(place === tl.col(at), -Infinity, choice), 1);
        worth = best + tl.where(second === -Infinity, 0, second);
      }
      const g = tl.arange(0, GP);
      let kept = tl.zeros([GP], tl.i32);
      let left = tl.where(g < G, worth, -Infinity);
      for (const _i of tl.staticRange(TOPG)) {
        const most = tl.max(left, 0);
        const at = tl.min(tl.where(left === most && kept === 0, g, GP), 0);
        kept = tl.where(g === at, 1, kept);
        left = tl.where(g === at, -Infinity, left);
      }
      choice = tl.where(tl.col(kept) === 1, choice, -Infinity);
    }
    const slot = tl.arange(0, KP);
    let chosen = tl.zeros([KP], tl.i32);
    let values = tl.zeros([KP]);
    let taken = tl.zeros([GP, SP], tl.i32);
    for (const k of tl.staticRange(K)) {
      const most = tl.max(tl.max(choice, 1), 0);
      const at = tl.min(tl.min(tl.where(choice === most && taken === 0 && inside, e, E), 1), 0);
      const own = tl.sum(tl.sum(tl.where(e === at && inside, score, 0), 1), 0);
      chosen = tl.where(slot === k, at, chosen);
      values = tl.where(slot === k, own, values);
      taken = tl.where(e === at && inside, 1, taken);
      choice = tl.where(e === at && inside, -Infinity, choice);
    }
    const total = NORM ? tl.sum(values, 0) + 1e-20 : tl.sum(values, 0) * 0 + 1;
    tl.store(weights + token * K + slot, (values / total) * scale, slot < K);
    tl.store(experts + token * K + slot, tl.cast(chosen, tl.i64), slot < K);
  },
  "moe_route",
);

const routeBackward = kernel(
  // biome-ignore format: one line per group
  { logits: ptr, experts: ptr, dw: ptr, dx: ptr, E: i32, scale: f32, EP: constexpr, K: constexpr, SIGMOID: constexpr.bool,
    NORM: constexpr.bool },
  ({ logits, experts, dw, dx, E, scale, EP, K, SIGMOID, NORM }, tl) => {
    const token = tl.programId(0);
    const e = tl.arange(0, EP);
    const x = tl.cast(tl.load(logits + token * E + e, e < E, -Infinity), tl.f32);
    const raised = tl.where(e < E, SIGMOID ? tl.sigmoid(x) : tl.exp(x - tl.max(x, 0)), 0);
    const score = SIGMOID ? raised : raised / tl.sum(raised, 0);
    // The gradients of the chosen scores, at their experts.
    let g = tl.zeros([EP]);
    let picked = tl.zeros([EP]);
    for (const k of tl.staticRange(K)) {
      const at = tl.cast(tl.load(experts + token * K + k), tl.i32);
      g = tl.where(e === at, tl.cast(tl.load(dw + token * K + k), tl.f32) * scale, g);
      picked = tl.where(e === at, score, picked);
    }
    if (NORM) {
      const total = tl.sum(picked, 0) + 1e-20;
      const share = tl.sum(g * picked, 0) / (total * total);
      g = tl.where(picked > 0, g / total - share, 0);
    }
    const d = SIGMOID ? g * score * (1 - score) : score * (g - tl.sum(g * score, 0));
    tl.store(dx + token * E + e, d, e < E);
  },
  "moe_route_backward",
);

const moeRouteBackward: Operator<
  (
    grad: Tensor,
    logits: Tensor,
    experts: Tensor,
    sigmoid: boolean,
    normalize: boolean,
    scale: number,
  ) => Tensor
> = operator({
  schema:
    "vexil::moe_route_backward(Tensor grad, Tensor logits, Tensor experts, bool sigmoid, bool normalize, float scale) -> Tensor",
  method: false,
  run: (
    grad: Tensor,
    logits: Tensor,
    experts: Tensor,
    sigmoid: boolean,
    normalize: boolean,
    scale: number,
  ) => {
    const x = rowMajor(logits);
    const [tokens, E] = x.shape as [number, number];
    const dx = emptyLike(x);
    routeBackward.launch([tokens], {
      logits: x, experts, dw: rowMajor(grad), dx, E, scale, EP: nextPowerOf2(E), K: experts.shape[1]!, SIGMOID: sigmoid,
      NORM: normalize,
    }); // biome-ignore format: one line per group
    return dx;
  },
  summary: "Gradient of moe_route",
});

export interface RouteOptions {
  /** How logits become scores; `softmax` over all experts. Default `softmax`. */
  readonly score?: "softmax" | "sigmoid";
  /** `[experts]`, added to the scores for the choice alone (DeepSeek-V3's balancing without a loss). */
  readonly bias?: Tensor | null;
  /** Into how many groups of neighbours the experts fall. Default 1. */
  readonly groups?: number;
  /** How many groups experts are taken from. Default: all. */
  readonly topGroups?: number;
  /** What a group is worth: its best score (`max`, DeepSeek-V2), or its two best together (`top2`, V3; default). */
  readonly groupScore?: "max" | "top2";
  /** Whether the weights of a token add up to `scale`. Default true. */
  readonly normalize?: boolean;
  /** Default 1. */
  readonly scale?: number;
}

/**
 * Chooses `topK` experts for each token: `[weights, experts]`, both `[tokens, topK]`, best first; f32 and i64. Of equal
 * scores the first expert wins. Gradients go to the logits through the weights.
 *
 * @param logits `[tokens, experts]`, any float dtype; computed in f32
 * @throws RangeError for shapes and counts that do not fit
 * @example const [w, e] = moeRoute(router(x), 8, { score: "sigmoid", groups: 8, topGroups: 4, bias, scale: 2.5 });
 */
export const moeRoute: Operator<(logits: Tensor, topK: number, options?: RouteOptions) => [Tensor, Tensor]> =
  operator({
    schema:
      'vexil::moe_route(Tensor logits, int top_k, *, str score="softmax", Tensor? bias=None, int groups=1, int top_groups=0, str group_score="top2", bool normalize=True, float scale=1) -> (Tensor, Tensor)',
    method: false,
    run: (
      logits: Tensor,
      K: number,
      scoring: string,
      bias: Tensor | null,
      groups: number,
      topGroups: number,
      groupScore: string,
      normalize: boolean,
      scale: number,
    ) => {
      if (logits.ndim !== 2 || !isFloatDType(logits.dtype))
        throw new RangeError(
          `moe_route: logits are floats of shape [tokens, experts], not ${logits.dtype} ${showShape(logits.shape)}`,
        );
      const [tokens, E] = logits.shape as [number, number];
      if (groups < 1 || E % groups !== 0)
        throw new RangeError(`moe_route: ${E} experts do not fall into ${groups} equal groups`);
      const limit = topGroups === 0 ? groups : topGroups;
      if (limit < 1 || limit > groups)
        throw new RangeError(`moe_route: topGroups is between 1 and the ${groups} groups, not ${topGroups}`);
      const S = E / groups;
      if (K < 1 || K > limit * S)
        throw new RangeError(
          `moe_route: topK is between 1 and the ${limit * S} experts to choose from, not ${K}`,
        );
      if (bias && (bias.ndim !== 1 || bias.shape[0] !== E))
        throw new RangeError(`moe_route: the bias has shape [${E}], not ${showShape(bias.shape)}`);
      if (scoring !== "softmax" && scoring !== "sigmoid")
        throw new RangeError(`moe_route: score is softmax or sigmoid, not ${scoring}`);
      if (groupScore !== "max" && groupScore !== "top2")
        throw new RangeError(`moe_route: groupScore is max or top2, not ${groupScore}`);
      const weights = empty([tokens, K], { dtype: "f32", device: logits.device });
      const experts = empty([tokens, K], { dtype: "i64", device: logits.device });
      const x = rowMajor(logits);
      if (tokens > 0)
        route.launch([tokens], {
          logits: x, bias: bias ? rowMajor(bias) : x, weights, experts, E, G: groups, S, scale, GP: nextPowerOf2(groups), SP: nextPowerOf2(S),
          K, KP: nextPowerOf2(K), TOPG: limit === groups ? 0 : limit, PAIRS: groupScore === "top2", SIGMOID: scoring === "sigmoid",
          BIAS: bias !== null, NORM: normalize,
        }); // biome-ignore format: one line per group
      return [weights, experts];
    },
    derivative: {
      nullGrads: true,
      save: (args, outputs) => [args[0] as Tensor, outputs[1]!],
      backward: (ctx, grad) => {
        const [, , scoring, , , , , normalize, scale] = ctx.args;
        const [logits, experts] = ctx.saved as [Tensor, Tensor];
        if (!grad) return [null, null];
        return [
          moeRouteBackward(
            grad,
            logits,
            experts,
            scoring === "sigmoid",
            normalize as boolean,
            scale as number,
          ),
          null,
        ];
      },
    },
    summary: "Chooses experts for tokens, and their weights",
  });
