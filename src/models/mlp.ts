// What stands behind attention in a block: a gated or plain pair of linear layers, or many of them with a router.

import { forwardGated, Linear, type MakeParameter, Module } from "../nn/index.js";
import { add, gelu, groupedMm, linear, moeApply, moeRoute, mul, relu, silu, siluMul } from "../ops/index.js";
import { callOperator, type Tensor } from "../tensor/index.js";
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
    if (this.#activation === "silu")
      return this.downProj.forward(forwardGated(this.gateProj, this.upProj, x));
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
    return moeRoute(linear(f32(x), f32(this.weight)), perToken, {
      score: router.score,
      bias: this.eScoreCorrectionBias ?? null,
      groups: router.groups,
      topGroups: router.groupsKept,
      normalize: router.normalize,
      scale: router.scale,
    });
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

  /** `[tokens, hidden] -> [tokens, hidden]`: tokens are brought to their experts and back. */
  forward(x: Tensor, weights: Tensor, chosen: Tensor): Tensor {
    const { experts, activation } = this.#config;
    const by = (rows: Tensor, matrices: Tensor, ends: Tensor): Tensor =>
      groupedMm(rows, matrices.transpose(1, 2), ends);
    return moeApply(x, weights, chosen, experts, (rows, ends) => {
      const middle = activateAndMul(activation, by(rows, this.gateProj, ends), by(rows, this.upProj, ends));
      return by(middle, this.downProj, ends);
    });
  }
}

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
