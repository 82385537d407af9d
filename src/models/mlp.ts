// What stands behind attention in a block: a gated or plain pair of linear layers, or many of them with a router.

import { Linear, type MakeParameter, Module } from "../nn/index.js";
import {
  add,
  bmm,
  div,
  gather,
  gelu,
  indexSelect,
  linear,
  maskedFill,
  mul,
  onesLike,
  relu,
  scatter,
  sigmoid,
  silu,
  siluMul,
  softmax,
  sum,
  topk,
  zeros,
} from "../ops/index.js";
import { callOperator, noGrad, type Tensor } from "../tensor/index.js";
import type { Activation, ExpertsConfig, MlpConfig } from "./config.js";

const ACT: Readonly<Record<Activation, (x: Tensor) => Tensor>> = {
  silu,
  relu,
  gelu: (x) => gelu(x),
  gelu_new: (x) => gelu(x, { approximate: "tanh" }),
  gelu_pytorch_tanh: (x) => gelu(x, { approximate: "tanh" }),
};

const activateAndMul = (name: Activation, gate: Tensor, up: Tensor): Tensor =>
  name === "silu" ? siluMul(gate, up) : mul(ACT[name](gate), up);

export interface Mlp extends Module {
  /** `[batch, tokens, hidden] -> [batch, tokens, hidden]` */
  forward(x: Tensor): Tensor;
}

interface LayerSizes {
  readonly size: number;
  readonly activation: Activation;
  readonly bias?: boolean;
}

/** `down(act(gate(x)) * up(x))` (Shazeer, 2020). */
export class GatedMlp extends Module implements Mlp {
  readonly gateProj: Linear;
  readonly upProj: Linear;
  readonly downProj: Linear;
  readonly #activation: Activation;

  constructor(make: MakeParameter, name: string, hidden: number, c: LayerSizes) {
    super();
    const bias = { bias: c.bias ?? false };
    this.#activation = c.activation;
    this.gateProj = new Linear(make, `${name}.gate_proj`, hidden, c.size, bias);
    this.upProj = new Linear(make, `${name}.up_proj`, hidden, c.size, bias);
    this.downProj = new Linear(make, `${name}.down_proj`, c.size, hidden, bias);
  }

  forward(x: Tensor): Tensor {
    return this.downProj.forward(
      activateAndMul(this.#activation, this.gateProj.forward(x), this.upProj.forward(x)),
    );
  }
}

/** `down(act(up(x)))` */
export class PlainMlp extends Module implements Mlp {
  readonly upProj: Linear;
  readonly downProj: Linear;
  readonly #activation: Activation;

  constructor(make: MakeParameter, name: string, hidden: number, c: LayerSizes) {
    super();
    const bias = { bias: c.bias ?? false };
    this.#activation = c.activation;
    this.upProj = new Linear(make, `${name}.up_proj`, hidden, c.size, bias);
    this.downProj = new Linear(make, `${name}.down_proj`, c.size, hidden, bias);
  }

  forward(x: Tensor): Tensor {
    return this.downProj.forward(ACT[this.#activation](this.upProj.forward(x)));
  }
}

/** Chooses experts for tokens `[tokens, hidden]`. */
class Router extends Module {
  readonly weight: Tensor;
  readonly eScoreCorrectionBias: Tensor | undefined;
  readonly #config: ExpertsConfig;

  constructor(make: MakeParameter, name: string, hidden: number, c: ExpertsConfig) {
    super();
    this.#config = c;
    this.weight = make(`${name}.weight`, [c.experts, hidden], "normal");
    if (c.router.choiceBias)
      this.eScoreCorrectionBias = make(`${name}.e_score_correction_bias`, [c.experts], "zeros");
  }

  /** Weights and numbers of the chosen experts, `[tokens, perToken]` each; weights in f32. */
  forward(x: Tensor): [weights: Tensor, experts: Tensor] {
    const { perToken, router } = this.#config;
    const f32 = (t: Tensor) =>
      t.dtype === "f32" ? t : (callOperator("_to_copy", t, { dtype: "f32" }) as Tensor);
    const logits = linear(f32(x), f32(this.weight));
    const scores = router.score === "sigmoid" ? sigmoid(logits) : softmax(logits, -1);
    const chosen = noGrad(() => topk(this.#ranked(scores), perToken)[1]);
    let weights = gather(scores, 1, chosen);
    if (router.normalize) weights = div(weights, add(sum(weights, [-1], true), 1e-20));
    if (router.scale !== 1) weights = mul(weights, router.scale);
    return [weights, chosen];
  }

  /** The scores that the choice goes by: with the bias, those of groups that are out at minus infinity. */
  #ranked(scores: Tensor): Tensor {
    const { experts, router } = this.#config;
    const { groups, groupsKept } = router;
    const ranked = this.eScoreCorrectionBias ? add(scores, this.eScoreCorrectionBias) : scores;
    if (groups === groupsKept) return ranked;
    const size = experts / groups;
    const tokens = scores.shape[0]!;
    const byGroup = ranked.view([tokens, groups, size]);
    const [best] = topk(byGroup, Math.min(2, size));
    const ofGroup = sum(best, [-1]);
    const out = scatter(onesLike(ofGroup, { dtype: "bool" }), 1, topk(ofGroup, groupsKept)[1], false);
    return maskedFill(byGroup, out.unsqueeze(-1), -Infinity).reshape([tokens, experts]);
  }
}

/** The experts' matrices, one behind the other. */
class Experts extends Module {
  /** `[experts, size, hidden]` */
  readonly gateProj: Tensor;
  readonly upProj: Tensor;
  /** `[experts, hidden, size]` */
  readonly downProj: Tensor;
  readonly #config: ExpertsConfig;

  constructor(make: MakeParameter, name: string, hidden: number, c: ExpertsConfig) {
    super();
    this.#config = c;
    this.gateProj = make(`${name}.gate_proj`, [c.experts, c.size, hidden], "normal");
    this.upProj = make(`${name}.up_proj`, [c.experts, c.size, hidden], "normal");
    this.downProj = make(`${name}.down_proj`, [c.experts, hidden, c.size], "normal");
  }

  /** `[tokens, hidden] -> [tokens, hidden]` */
  forward(x: Tensor, weights: Tensor, chosen: Tensor): Tensor {
    const { experts, perToken } = this.#config;
    const tokens = x.shape[0]!;
    return tokens * perToken < experts ? this.#chosenOnly(x, weights, chosen) : this.#all(x, weights, chosen);
  }

  /** Every token passes every expert; a weight of 0 takes out those that were not chosen. */
  #all(x: Tensor, weights: Tensor, chosen: Tensor): Tensor {
    const { experts, activation } = this.#config;
    const [tokens, hidden] = x.shape as [number, number];
    const spread = scatter(
      zeros([tokens, experts], { dtype: weights.dtype, device: x.device }),
      1,
      chosen,
      weights,
    );
    const input = x.expand([experts, tokens, hidden]);
    const middle = activateAndMul(
      activation,
      bmm(input, this.gateProj.transpose(1, 2)),
      bmm(input, this.upProj.transpose(1, 2)),
    );
    const by = castLike(spread.t().unsqueeze(-1), middle);
    return sum(bmm(mul(middle, by), this.downProj.transpose(1, 2)), [0]);
  }

  /** The matrices of the few chosen experts are gathered: what decoding needs. */
  #chosenOnly(x: Tensor, weights: Tensor, chosen: Tensor): Tensor {
    const { perToken, activation } = this.#config;
    const [tokens, hidden] = x.shape as [number, number];
    const flat = chosen.reshape([tokens * perToken]);
    const of = (matrices: Tensor) => indexSelect(matrices, 0, flat).transpose(1, 2);
    const input = x
      .unsqueeze(1)
      .expand([tokens, perToken, hidden])
      .reshape([tokens * perToken, 1, hidden]);
    const middle = activateAndMul(activation, bmm(input, of(this.gateProj)), bmm(input, of(this.upProj)));
    const by = castLike(weights.reshape([tokens * perToken, 1, 1]), middle);
    return sum(bmm(mul(middle, by), of(this.downProj)).view([tokens, perToken, hidden]), [1]);
  }
}

const castLike = (t: Tensor, like: Tensor): Tensor =>
  t.dtype === like.dtype ? t : (callOperator("_to_copy", t, { dtype: like.dtype }) as Tensor);

/** A mixture of experts, with a layer beside it that every token passes where the family has one. */
export class ExpertsMlp extends Module implements Mlp {
  readonly gate: Router;
  readonly experts: Experts;
  readonly sharedExperts: GatedMlp | undefined;

  constructor(make: MakeParameter, name: string, hidden: number, c: ExpertsConfig) {
    super();
    this.gate = new Router(make, `${name}.gate`, hidden, c);
    this.experts = new Experts(make, `${name}.experts`, hidden, c);
    if (c.sharedSize > 0)
      this.sharedExperts = new GatedMlp(make, `${name}.shared_experts`, hidden, {
        size: c.sharedSize,
        activation: c.activation,
      });
  }

  forward(x: Tensor): Tensor {
    const flat = x.reshape([-1, x.shape.at(-1)!]);
    const [weights, chosen] = this.gate.forward(flat);
    const y = this.experts.forward(flat, weights, chosen).view(x.shape);
    return this.sharedExperts ? add(y, this.sharedExperts.forward(x)) : y;
  }
}

export function makeMlp(make: MakeParameter, name: string, hidden: number, c: MlpConfig): Mlp {
  switch (c.kind) {
    case "gated":
      return new GatedMlp(make, name, hidden, c);
    case "plain":
      return new PlainMlp(make, name, hidden, c);
    case "experts":
      return new ExpertsMlp(make, name, hidden, c);
    default:
      return c satisfies never;
  }
}
