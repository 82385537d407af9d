// The attention of language models: heads in groups, with their variations, and DeepSeek's latent attention.

import { forwardEach, Linear, type MakeParameter, Module, RMSNorm } from "../nn/index.js";
import { cat, flashAttention, joinsProducts, matmul, rotary } from "../ops/index.js";
import { callOperator, type Tensor } from "../tensor/index.js";
import type { GroupedAttentionConfig, LatentAttentionConfig, ModelConfig } from "./config.js";
import type { KvCache } from "./kv-cache.js";
import type { StepInputs } from "./paged-cache.js";
import type { RopeTables } from "./rope.js";
import { recomputed, type Training } from "./training.js";

/** Where the tokens of a call stand, and what came before them. */
export interface Place {
  /** Absent where positions are added to the embeddings. */
  readonly rope: RopeTables | undefined;
  readonly cache: KvCache | undefined;
  /** Instead of a cache: the tokens belong to several sequences, whose keys stand in pages. */
  readonly step: StepInputs | undefined;
  readonly causal: boolean;
  /** Bool `[batch, 1, 1, tokens]`: false hides a token from all (padding). */
  readonly mask: Tensor | undefined;
  /** Absent where nothing is trained. */
  readonly training: Training | undefined;
}

export interface Attention extends Module {
  /** `[batch, tokens, hidden] -> [batch, tokens, hidden]` */
  forward(x: Tensor, place: Place): Tensor;
}

/** `[batch, tokens, heads * size] -> [batch, heads, tokens, size]` */
const splitHeads = (t: Tensor, heads: number, size: number): Tensor =>
  t.view([t.shape[0]!, t.shape[1]!, heads, size]).transpose(1, 2);

/** Each head's vector normed, with heads beside tokens as the projections gave them: so the norm reads rows as they stand. */
const normed = (t: Tensor, norm: RMSNorm | undefined): Tensor =>
  norm ? norm.forward(t.transpose(1, 2)).transpose(1, 2) : t;

/** The other way. */
const joinHeads = (t: Tensor): Tensor => {
  const [batch, heads, tokens, size] = t.shape as [number, number, number, number];
  return t.transpose(1, 2).reshape([batch, tokens, heads * size]);
};

const turned = (t: Tensor, place: Place): Tensor =>
  place.rope ? rotary(t, place.rope.cos, place.rope.sin) : t;

/** Attention of new tokens to themselves and to those before them, `[batch, heads, tokens, size]` each. */
function attend(
  place: Place,
  layer: number,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: { readonly window?: readonly [number, number]; readonly scale?: number },
): Tensor {
  if (place.step) return place.step.attend(layer, q, k, v, options);
  const [keys, values] = place.cache ? place.cache.append(layer, k, v) : [k, v];
  const { training } = place;
  return flashAttention(q, keys, values, {
    isCausal: place.causal,
    attnMask: place.mask ?? null,
    dropoutP: training?.dropout?.attention ?? 0,
    generator: training?.generator ?? null,
    ...options,
  });
}

export class GroupedAttention extends Module implements Attention {
  readonly qkvProj: Linear | undefined;
  readonly qProj: Linear | undefined;
  readonly kProj: Linear | undefined;
  readonly vProj: Linear | undefined;
  readonly oProj: Linear;
  readonly qNorm: RMSNorm | undefined;
  readonly kNorm: RMSNorm | undefined;
  readonly #config: GroupedAttentionConfig;
  readonly #layer: number;

  constructor(make: MakeParameter, name: string, c: ModelConfig, a: GroupedAttentionConfig, layer: number) {
    super();
    this.#config = a;
    this.#layer = layer;
    const { heads, kvHeads, headDim } = a;
    const project = (part: string, outHeads: number) =>
      new Linear(make, `${name}.${part}`, c.hiddenSize, outHeads * headDim, { bias: a.qkvBias });
    if (a.joined) this.qkvProj = project("qkv_proj", heads + 2 * kvHeads);
    else {
      this.qProj = project("q_proj", heads);
      this.kProj = project("k_proj", kvHeads);
      this.vProj = project("v_proj", kvHeads);
    }
    this.oProj = new Linear(make, `${name}.o_proj`, heads * headDim, c.hiddenSize, { bias: a.outBias });
    if (a.qkNorm) {
      this.qNorm = new RMSNorm(make, `${name}.q_norm`, headDim, c.norm.eps);
      this.kNorm = new RMSNorm(make, `${name}.k_norm`, headDim, c.norm.eps);
    }
  }

  forward(x: Tensor, place: Place): Tensor {
    const window = this.#config.windows[this.#layer];
    const quick = this.#stepped(x, place, window);
    if (quick) return this.oProj.forward(quick);
    const core = (q: Tensor, k: Tensor, v: Tensor): Tensor => {
      const [query, key] = [turned(normed(q, this.qNorm), place), turned(normed(k, this.kNorm), place)];
      return attend(place, this.#layer, query, key, v, {
        ...(window === undefined ? {} : { window: [window - 1, place.causal ? 0 : window - 1] }),
      });
    };
    const y = recomputed(place.training, "selective", core, this.#project(x));
    return this.oProj.forward(joinHeads(y));
  }

  /** All between the projections of a step, in as few launches as the chip likes; undefined where steps are taken one by one. */
  #stepped(x: Tensor, place: Place, window: number | undefined): Tensor | undefined {
    const { step, rope } = place;
    const { heads, kvHeads, headDim } = this.#config;
    const [batch, tokens] = x.shape as [number, number];
    if (!step?.attendProjected || !rope || this.qkvProj || !this.qNorm !== !this.kNorm || !joinsProducts(x)) return undefined; // biome-ignore format: one condition
    const [q, k, v] = forwardEach([this.qProj!, this.kProj!, this.vProj!], x) as [Tensor, Tensor, Tensor];
    const [query, key] = [this.qNorm, this.kNorm];
    const parts = {
      q: q.view([tokens, heads, headDim]),
      k: k.view([tokens, kvHeads, headDim]),
      v: v.view([tokens, kvHeads, headDim]),
      norms: query && key ? { query: query.weight, key: key.weight, eps: query.eps } : undefined,
      ...rope,
    };
    const y = step.attendProjected(this.#layer, parts, window === undefined ? {} : { window: [window - 1, place.causal ? 0 : window - 1] }); // biome-ignore format: one line
    return y?.reshape([batch, tokens, heads * headDim]);
  }

  /** Queries, keys and values `[batch, heads, tokens, headDim]`. */
  #project(x: Tensor): [Tensor, Tensor, Tensor] {
    const { heads, kvHeads, headDim } = this.#config;
    if (!this.qkvProj) {
      const [q, k, v] = forwardEach([this.qProj!, this.kProj!, this.vProj!], x) as [Tensor, Tensor, Tensor];
      return [
        splitHeads(q, heads, headDim),
        splitHeads(k, kvHeads, headDim),
        splitHeads(v, kvHeads, headDim),
      ];
    }
    // Cut before the heads are taken apart: the gradients of the three stand by tokens, and join in one pass.
    const counts = [heads, kvHeads, kvHeads];
    const parts = this.qkvProj.forward(x).splitWithSizes(
      counts.map((n) => n * headDim),
      -1,
    );
    const [q, k, v] = parts.map((t, i) => splitHeads(t, counts[i]!, headDim)) as [Tensor, Tensor, Tensor];
    return [this.qNorm?.forward(q) ?? q, this.kNorm?.forward(k) ?? k, v];
  }
}

/**
 * Multi-head latent attention (DeepSeek-V2, 2024): keys and values come from one small vector per token, and a part of
 * each key, the same for all heads, carries the position.
 */
export class LatentAttention extends Module implements Attention {
  readonly qProj: Linear | undefined;
  readonly qAProj: Linear | undefined;
  readonly qALayernorm: RMSNorm | undefined;
  readonly qBProj: Linear | undefined;
  readonly kvAProjWithMqa: Linear;
  readonly kvALayernorm: RMSNorm;
  readonly kvBProj: Linear;
  readonly oProj: Linear;
  readonly #config: LatentAttentionConfig;
  readonly #scale: number;
  readonly #layer: number;

  constructor(make: MakeParameter, name: string, c: ModelConfig, a: LatentAttentionConfig, layer: number) {
    super();
    this.#config = a;
    this.#layer = layer;
    const { heads, qRank, kvRank, plainDim, ropeDim, valueDim } = a;
    const queries = heads * (plainDim + ropeDim);
    // The norms of the small vectors keep this epsilon whatever the config says, as in transformers.
    const eps = 1e-6;
    if (qRank === undefined) this.qProj = new Linear(make, `${name}.q_proj`, c.hiddenSize, queries);
    else {
      this.qAProj = new Linear(make, `${name}.q_a_proj`, c.hiddenSize, qRank, { bias: a.bias });
      this.qALayernorm = new RMSNorm(make, `${name}.q_a_layernorm`, qRank, eps);
      this.qBProj = new Linear(make, `${name}.q_b_proj`, qRank, queries);
    }
    const down = `${name}.kv_a_proj_with_mqa`;
    this.kvAProjWithMqa = new Linear(make, down, c.hiddenSize, kvRank + ropeDim, { bias: a.bias });
    this.kvALayernorm = new RMSNorm(make, `${name}.kv_a_layernorm`, kvRank, eps);
    this.kvBProj = new Linear(make, `${name}.kv_b_proj`, kvRank, heads * (plainDim + valueDim));
    this.oProj = new Linear(make, `${name}.o_proj`, heads * valueDim, c.hiddenSize, { bias: a.bias });
    const { positions } = c;
    const grown = positions !== "learned" && positions.type === "yarn" ? positions.scoreFactor : 1;
    this.#scale = grown / Math.sqrt(plainDim + ropeDim);
  }

  forward(x: Tensor, place: Place): Tensor {
    const { heads, kvRank, plainDim, ropeDim, valueDim } = this.#config;
    const queries = this.qProj
      ? this.qProj.forward(x)
      : this.qBProj!.forward(this.qALayernorm!.forward(this.qAProj!.forward(x)));
    const down = this.kvAProjWithMqa.forward(x);
    if (this.#isAbsorbed && (place.cache || place.step))
      return this.oProj.forward(joinHeads(this.#overLatents(queries, down, place)));
    const up = this.kvBProj.forward(this.kvALayernorm.forward(down.narrow(-1, 0, kvRank)));
    const core = (queries: Tensor, down: Tensor, up: Tensor): Tensor => {
      const q = splitHeads(queries, heads, plainDim + ropeDim);
      const kv = splitHeads(up, heads, plainDim + valueDim);
      const position = this.#turn(
        splitHeads(down.narrow(-1, kvRank, ropeDim).contiguous(), 1, ropeDim),
        place,
      );
      const k = cat([kv.narrow(-1, 0, plainDim), position.expand([-1, heads, -1, -1])], -1);
      const v = kv.narrow(-1, plainDim, valueDim);
      const turnedQ = cat(
        [q.narrow(-1, 0, plainDim), this.#turn(q.narrow(-1, plainDim, ropeDim), place)],
        -1,
      );
      return attend(place, this.#layer, turnedQ, k, v, { scale: this.#scale });
    };
    const y = recomputed(place.training, "selective", core, [queries, down, up]);
    return this.oProj.forward(joinHeads(y));
  }

  /** What a token takes in a cache: the small vector and the key's part with position; with integers for weights, all heads. */
  cacheShape(): {
    readonly kvHeads: number;
    readonly headDim: number;
    readonly valueDim: number;
    readonly shared: boolean;
  } {
    const { heads, kvRank, plainDim, ropeDim, valueDim } = this.#config;
    return this.#isAbsorbed
      ? { kvHeads: 1, headDim: kvRank + ropeDim, valueDim: kvRank, shared: true }
      : { kvHeads: heads, headDim: plainDim + ropeDim, valueDim, shared: false };
  }

  /** The matrix that makes keys and values can be used on the other side: on queries, and on what attention gives. */
  get #isAbsorbed(): boolean {
    return this.kvBProj.weight !== undefined && !this.kvBProj.adapter;
  }

  /**
   * Attention with the small vectors themselves as keys and values, one head of them for all (section 2.1.3 of the paper):
   * `q . (K c) = (K^T q) . c`, and the sum of `V c` is `V` times the sum of `c`.
   */
  #overLatents(queries: Tensor, down: Tensor, place: Place): Tensor {
    const { heads, kvRank, plainDim, ropeDim, valueDim } = this.#config;
    const q = splitHeads(queries, heads, plainDim + ropeDim);
    const both = this.kvBProj.weight!.view([heads, plainDim + valueDim, kvRank]);
    const like = (t: Tensor): Tensor =>
      t.dtype === q.dtype ? t : (callOperator("_to_copy", t, { dtype: q.dtype }) as Tensor);
    const small = this.kvALayernorm.forward(down.narrow(-1, 0, kvRank)).unsqueeze(1);
    const position = this.#turn(splitHeads(down.narrow(-1, kvRank, ropeDim).contiguous(), 1, ropeDim), place);
    const asked = matmul(q.narrow(-1, 0, plainDim), like(both.narrow(1, 0, plainDim)));
    const turnedQ = cat([asked, this.#turn(q.narrow(-1, plainDim, ropeDim), place)], -1);
    const y = attend(place, this.#layer, turnedQ, cat([small, position], -1), small, { scale: this.#scale });
    return matmul(y, like(both.narrow(1, plainDim, valueDim)).transpose(1, 2));
  }

  #turn(t: Tensor, place: Place): Tensor {
    if (!this.#config.interleaved) return turned(t, place);
    // Pairs of neighbours become pairs across the halves; queries and keys alike, so the scores stay the same.
    const [batch, heads, tokens, size] = t.shape as [number, number, number, number];
    const pairs = t.reshape([batch, heads, tokens, size / 2, 2]).transpose(-1, -2);
    return turned(pairs.reshape([batch, heads, tokens, size]), place);
  }
}
