// The Qwen3 family (dense): grouped-query attention with per-head RMS norms, rotary positions, SwiGLU.
// Source: the Qwen3 technical report (2025) and the field names of its `config.json`.

import { Embedding, Linear, type MakeParameter, Module, RMSNorm } from "../nn/index.js";
import { add, linear, rotary, scaledDotProductAttention, siluMul } from "../ops/index.js";
import { keep, type Tensor } from "../tensor/index.js";
import type { Qwen3Config } from "./config.js";
import type { KvCache } from "./kv-cache.js";
import { type RopeTables, ropeTables } from "./rope.js";

/** Where the tokens of a call stand, and what came before them. */
interface Place {
  readonly cos: Tensor;
  readonly sin: Tensor;
  readonly cache: KvCache | undefined;
  /** Tokens before these, all in the cache. */
  readonly past: number;
}

class Attention extends Module {
  readonly qProj: Linear;
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly oProj: Linear;
  readonly qNorm: RMSNorm;
  readonly kNorm: RMSNorm;
  readonly #config: Qwen3Config;
  readonly #layer: number;

  constructor(make: MakeParameter, name: string, c: Qwen3Config, layer: number) {
    super();
    this.#config = c;
    this.#layer = layer;
    this.qProj = new Linear(make, `${name}.q_proj`, c.hiddenSize, c.heads * c.headDim);
    this.kProj = new Linear(make, `${name}.k_proj`, c.hiddenSize, c.kvHeads * c.headDim);
    this.vProj = new Linear(make, `${name}.v_proj`, c.hiddenSize, c.kvHeads * c.headDim);
    this.oProj = new Linear(make, `${name}.o_proj`, c.heads * c.headDim, c.hiddenSize);
    this.qNorm = new RMSNorm(make, `${name}.q_norm`, c.headDim, c.normEps);
    this.kNorm = new RMSNorm(make, `${name}.k_norm`, c.headDim, c.normEps);
  }

  forward(x: Tensor, place: Place): Tensor {
    const { heads, kvHeads, headDim } = this.#config;
    const [batch, tokens] = x.shape as [number, number, number];
    const split = (t: Tensor, n: number) => t.view([batch, tokens, n, headDim]);
    // [batch, heads, tokens, headDim]
    const q = rotary(
      this.qNorm.forward(split(this.qProj.forward(x), heads)).transpose(1, 2),
      place.cos,
      place.sin,
    );
    let k = rotary(
      this.kNorm.forward(split(this.kProj.forward(x), kvHeads)).transpose(1, 2),
      place.cos,
      place.sin,
    );
    let v = split(this.vProj.forward(x), kvHeads).transpose(1, 2);
    if (place.cache) [k, v] = place.cache.append(this.#layer, k, v);
    const y = scaledDotProductAttention(q, k, v, {
      // One new token sees everything before it, so only longer runs need the mask.
      isCausal: tokens > 1,
      enableGqa: kvHeads !== heads,
    });
    return this.oProj.forward(y.transpose(1, 2).reshape([batch, tokens, heads * headDim]));
  }
}

class Mlp extends Module {
  readonly gateProj: Linear;
  readonly upProj: Linear;
  readonly downProj: Linear;

  constructor(make: MakeParameter, name: string, c: Qwen3Config) {
    super();
    this.gateProj = new Linear(make, `${name}.gate_proj`, c.hiddenSize, c.intermediateSize);
    this.upProj = new Linear(make, `${name}.up_proj`, c.hiddenSize, c.intermediateSize);
    this.downProj = new Linear(make, `${name}.down_proj`, c.intermediateSize, c.hiddenSize);
  }

  forward(x: Tensor): Tensor {
    return this.downProj.forward(siluMul(this.gateProj.forward(x), this.upProj.forward(x)));
  }
}

class Layer extends Module {
  readonly inputLayernorm: RMSNorm;
  readonly selfAttn: Attention;
  readonly postAttentionLayernorm: RMSNorm;
  readonly mlp: Mlp;

  constructor(make: MakeParameter, name: string, c: Qwen3Config, layer: number) {
    super();
    this.inputLayernorm = new RMSNorm(make, `${name}.input_layernorm`, c.hiddenSize, c.normEps);
    this.selfAttn = new Attention(make, `${name}.self_attn`, c, layer);
    this.postAttentionLayernorm = new RMSNorm(
      make,
      `${name}.post_attention_layernorm`,
      c.hiddenSize,
      c.normEps,
    );
    this.mlp = new Mlp(make, `${name}.mlp`, c);
  }

  forward(x: Tensor, place: Place): Tensor {
    const h = add(x, this.selfAttn.forward(this.inputLayernorm.forward(x), place));
    return add(h, this.mlp.forward(this.postAttentionLayernorm.forward(h)));
  }
}

class Decoder extends Module {
  readonly embedTokens: Embedding;
  readonly layers: Layer[];
  readonly norm: RMSNorm;

  constructor(make: MakeParameter, c: Qwen3Config) {
    super();
    this.embedTokens = new Embedding(make, "model.embed_tokens", c.vocabSize, c.hiddenSize);
    this.layers = Array.from({ length: c.layers }, (_, i) => new Layer(make, `model.layers.${i}`, c, i));
    this.norm = new RMSNorm(make, "model.norm", c.hiddenSize, c.normEps);
  }

  forward(ids: Tensor, place: Place): Tensor {
    let x = this.embedTokens.forward(ids);
    for (const layer of this.layers) x = layer.forward(x, place);
    return this.norm.forward(x);
  }
}

/**
 * A Qwen3 language model.
 *
 * @example
 * const logits = model.forward(tensor([[1n, 2n, 3n]]));   // [1, 3, vocab]
 */
export class Qwen3 extends Module {
  readonly model: Decoder;
  /** Absent where the embeddings are tied: then they serve as the output weights too. */
  readonly lmHead: Linear | undefined;
  readonly config: Qwen3Config;
  #rope: RopeTables | undefined;

  constructor(config: Qwen3Config, make: MakeParameter) {
    super();
    this.config = config;
    this.model = new Decoder(make, config);
    if (!config.tieEmbeddings) this.lmHead = new Linear(make, "lm_head", config.hiddenSize, config.vocabSize);
  }

  get device(): string {
    return this.model.embedTokens.weight.device;
  }

  /**
   * Logits of the next token at each place.
   * @param ids `[batch, tokens]` i64; with a cache, the tokens that follow those in it (one, or a first prompt)
   * @param options.cache where keys and values are kept; its length grows by `tokens`
   * @param options.lastOnly compute the logits of the last place only
   * @returns `[batch, tokens, vocab]`, or `[batch, 1, vocab]` with `lastOnly`
   * @throws RangeError when the tokens do not fit the context
   */
  forward(ids: Tensor, options: { cache?: KvCache; lastOnly?: boolean } = {}): Tensor {
    const { config } = this;
    const { cache } = options;
    const tokens = ids.shape[1]!;
    const past = cache?.length ?? 0;
    if (past + tokens > config.maxPositions)
      throw new RangeError(`${past + tokens} tokens do not fit the context of ${config.maxPositions}`);
    if (past > 0 && tokens > 1)
      throw new RangeError("a cache that holds tokens takes one new token at a time");
    const rope = this.#tables(past + tokens);
    let x = this.model.forward(ids, {
      cos: rope.cos.narrow(0, past, tokens),
      sin: rope.sin.narrow(0, past, tokens),
      cache,
      past,
    });
    cache?.advance(tokens);
    if (options.lastOnly) x = x.narrow(1, tokens - 1, 1);
    return linear(x, this.lmHead?.weight ?? this.model.embedTokens.weight);
  }

  /** Rotary tables for at least so many positions; grown by doubling, kept between calls. */
  #tables(positions: number): RopeTables {
    if (!this.#rope || this.#rope.cos.shape[0]! < positions) {
      const size = Math.min(this.config.maxPositions, Math.max(64, 2 ** Math.ceil(Math.log2(positions))));
      this.#rope = ropeTables(size, this.config.headDim, this.config.ropeTheta, this.device);
      keep(this.#rope.cos);
      keep(this.#rope.sin);
    }
    return this.#rope;
  }
}
