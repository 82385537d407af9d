// The one model of all families: token embeddings, a stack of blocks, an output matrix, as a ModelConfig declares them.
// A family is a declaration in `families/`. Names of parameters are Llama's; what a family's files call them stands there too.

import type { DType } from "../compiler/ir/dtype.js";
import {
  Embedding,
  LayerNorm,
  type IntegerMatrix,
  Linear,
  type LoraAdapter,
  type MakeParameter,
  Module,
  RMSNorm,
  activationDType,
  withActivationDType,
} from "../nn/index.js";
import { add, arange, cat, indexSelect, linear, quantizedLinear, tanh } from "../ops/index.js";
import { callOperator, isGradEnabled, type Tensor } from "../tensor/index.js";
import { type Attention, GroupedAttention, LatentAttention, type Place } from "./attention.js";
import type { ModelConfig } from "./config.js";
import { KvCache } from "./kv-cache.js";
import { makeMlp, type Mlp } from "./mlp.js";
import { PagedCache, type PagedCacheShape, type StepInputs } from "./paged-cache.js";
import { Rope } from "./rope.js";
import { dropped, recomputed, type Training } from "./training.js";

const castTo = (t: Tensor, dtype: DType | undefined): Tensor =>
  dtype === undefined || t.dtype === dtype ? t : (callOperator("_to_copy", t, { dtype }) as Tensor);

type Norm = RMSNorm | LayerNorm;

function makeNorm(make: MakeParameter, name: string, c: ModelConfig): Norm {
  const Kind = c.norm.kind === "rms" ? RMSNorm : LayerNorm;
  return new Kind(make, name, c.hiddenSize, c.norm.eps);
}

function normOfSum(norm: Norm, y: Tensor, x: Tensor): [normed: Tensor, sum: Tensor] {
  const h = add(x, y);
  return [norm.forward(h), h];
}

/** Attention and an MLP around a stream of hidden states, each with a norm before it or behind it. */
class Layer extends Module {
  readonly inputLayernorm: Norm;
  readonly selfAttn: Attention;
  readonly postAttentionLayernorm: Norm;
  readonly mlp: Mlp;
  readonly #place: "pre" | "post";

  constructor(make: MakeParameter, name: string, c: ModelConfig, layer: number) {
    super();
    const a = c.attention;
    this.#place = c.norm.place;
    this.inputLayernorm = makeNorm(make, `${name}.input_layernorm`, c);
    this.selfAttn =
      a.kind === "grouped"
        ? new GroupedAttention(make, `${name}.self_attn`, c, a, layer)
        : new LatentAttention(make, `${name}.self_attn`, c, a, layer);
    this.postAttentionLayernorm = makeNorm(make, `${name}.post_attention_layernorm`, c);
    this.mlp = makeMlp(make, `${name}.mlp`, c.hiddenSize, c.mlps[layer] ?? c.mlps.at(-1)!);
  }

  forward(x: Tensor, place: Place): Tensor {
    return recomputed(place.training, "full", (h) => this.#forward(h, place), [x]);
  }

  /**
   * For inference with norms before: takes and gives sums `x + y` that are not made yet, since the norm that follows makes them.
   * @returns x and y of its own sum
   */
  step(x: Tensor, y: Tensor | undefined, place: Place): [x: Tensor, y: Tensor] {
    const first = this.inputLayernorm as RMSNorm;
    const [normed, h] = y ? first.forwardSum(y, x) : [first.forward(x), x];
    const [again, sum] = (this.postAttentionLayernorm as RMSNorm).forwardSum(this.selfAttn.forward(normed, place), h); // biome-ignore format: one line
    return [sum, this.mlp.forward(again)];
  }

  /** Whether {@link step} can be. */
  get steps(): boolean {
    return this.#place === "pre" && this.inputLayernorm instanceof RMSNorm && this.postAttentionLayernorm instanceof RMSNorm; // biome-ignore format: one condition
  }

  #forward(x: Tensor, place: Place): Tensor {
    const { training } = place;
    const attention = (h: Tensor) => dropped(this.selfAttn.forward(h, place), "residual", training);
    const mlp = (h: Tensor) =>
      dropped(
        recomputed(training, "selective", (m) => this.mlp.forward(m), [h]),
        "residual",
        training,
      );
    if (this.#place === "post") {
      const h = this.inputLayernorm.forward(add(x, attention(x)));
      return this.postAttentionLayernorm.forward(add(h, mlp(h)));
    }
    const y = attention(this.inputLayernorm.forward(x));
    const norm = this.postAttentionLayernorm;
    const [normed, h] = norm instanceof RMSNorm ? norm.forwardSum(y, x) : normOfSum(norm, y, x);
    return add(h, mlp(normed));
  }
}

/** Embeddings and blocks: token ids to hidden states. */
class Stack extends Module {
  readonly embedTokens: Embedding;
  readonly embedPositions: Embedding | undefined;
  readonly embedTypes: Embedding | undefined;
  readonly embedNorm: Norm | undefined;
  readonly layers: Layer[];
  readonly norm: Norm | undefined;

  constructor(make: MakeParameter, c: ModelConfig) {
    super();
    this.embedTokens = new Embedding(make, "model.embed_tokens", c.vocabSize, c.hiddenSize);
    if (c.positions === "learned")
      this.embedPositions = new Embedding(make, "model.embed_positions", c.maxPositions, c.hiddenSize);
    if (c.tokenTypes > 0)
      // A few rows, always as floats.
      this.embedTypes = new Embedding(
        (...row) => make(...row),
        "model.embed_types",
        c.tokenTypes,
        c.hiddenSize,
      );
    if (c.norm.place === "post") this.embedNorm = makeNorm(make, "model.embed_norm", c);
    this.layers = c.mlps.map((_, i) => new Layer(make, `model.layers.${i}`, c, i));
    if (c.norm.place === "pre") this.norm = makeNorm(make, "model.norm", c);
  }

  /** @param at i64 `[tokens]` positions, or how many tokens stand before these */
  embed(ids: Tensor, at: Tensor | number, dtype: DType | undefined): Tensor {
    const [, tokens] = ids.shape as [number, number];
    let x = castTo(this.embedTokens.forward(ids), dtype);
    if (this.embedPositions) {
      const positions =
        typeof at === "number" ? arange(at, at + tokens, 1, { dtype: "i64", device: ids.device }) : at;
      x = add(x, castTo(this.embedPositions.forward(positions), dtype));
    }
    // All tokens are of the first segment.
    if (this.embedTypes) x = add(x, this.embedTypes.weight!.narrow(0, 0, 1));
    return this.embedNorm ? this.embedNorm.forward(x) : x;
  }

  forward(ids: Tensor, at: Tensor | number, place: Place, dtype: DType | undefined): Tensor {
    let x = dropped(this.embed(ids, at, dtype), "embedding", place.training);
    const launches = (x.chip.capabilities.programThreads ?? 1) > 1;
    if (launches && !place.training && !isGradEnabled() && this.layers.every((l) => l.steps)) {
      let y: Tensor | undefined;
      for (const layer of this.layers) [x, y] = layer.step(x, y, place);
      return y ? add(x, y) : x;
    }
    for (const layer of this.layers) x = layer.forward(x, place);
    return x;
  }
}

/**
 * A layer behind the last that predicts one token further (DeepSeek-V3, 2024, section 2.2): from the hidden states and
 * the embeddings of the tokens that come next.
 */
class PredictLayer extends Module {
  readonly enorm: Norm;
  readonly hnorm: Norm;
  readonly ehProj: Linear;
  readonly layer: Layer;
  readonly norm: Norm;

  constructor(make: MakeParameter, name: string, c: ModelConfig, layer: number) {
    super();
    this.enorm = makeNorm(make, `${name}.enorm`, c);
    this.hnorm = makeNorm(make, `${name}.hnorm`, c);
    this.ehProj = new Linear(make, `${name}.eh_proj`, 2 * c.hiddenSize, c.hiddenSize);
    this.layer = new Layer(make, `${name}.layer`, c, layer);
    this.norm = makeNorm(make, `${name}.norm`, c);
  }

  forward(hidden: Tensor, embedded: Tensor, place: Place): Tensor {
    const joined = cat([this.enorm.forward(embedded), this.hnorm.forward(hidden)], -1);
    return this.layer.forward(this.ehProj.forward(joined), place);
  }
}

export interface ForwardOptions {
  /** Where keys and values are kept; its length grows by the number of tokens. */
  readonly cache?: KvCache;
  /** Bool `[batch, tokens]`: false hides padding from all tokens. */
  readonly mask?: Tensor;
  /** For training: dropout, and what the backward pass computes again. */
  readonly training?: Training | undefined;
}

/**
 * A language model of any family.
 *
 * @example
 * const logits = model.forward(tensor([[1n, 2n, 3n]]));   // [1, 3, vocab]
 */
export class LanguageModel extends Module {
  readonly model: Stack;
  /** Absent where the embeddings are tied: then they serve as the output weights too. */
  readonly lmHead: Linear | undefined;
  readonly pooler: Linear | undefined;
  readonly predict: PredictLayer[];
  readonly config: ModelConfig;
  readonly #activations: "f32" | "f16" | "bf16" | undefined;
  readonly #rope: Rope | undefined;
  /** Tied embeddings as the integers that the file holds, where it does: the output reads a quarter of the floats' bytes. */
  readonly #tiedHead: IntegerMatrix | undefined;
  #lora: { readonly base: string; readonly adapters: readonly LoraAdapter[] } | undefined;

  /** @param activations what it computes in, if not the dtype of its embeddings */
  constructor(config: ModelConfig, make: MakeParameter, activations?: "f32" | "f16" | "bf16") {
    super();
    this.config = config;
    this.#activations = activations;
    this.model = new Stack(make, config);
    if (config.causal && !config.tieEmbeddings)
      this.lmHead = new Linear(make, "lm_head", config.hiddenSize, config.vocabSize);
    else if (config.causal) this.#tiedHead = this.model.embedTokens.integers;
    if (config.pooler)
      this.pooler = new Linear(make, "pooler", config.hiddenSize, config.hiddenSize, { bias: true });
    const first = config.mlps.length;
    this.predict = Array.from(
      { length: config.predictLayers },
      (_, i) => new PredictLayer(make, `predict.${i}`, config, first + i),
    );
    if (config.positions !== "learned") this.#rope = new Rope(config.positions, this.device);
  }

  /** The low-rank adapters on its layers, while these alone are trained (`lora.ts`), and the folder of the model below. */
  get lora(): { readonly base: string; readonly adapters: readonly LoraAdapter[] } | undefined {
    return this.#lora;
  }
  set lora(lora: { readonly base: string; readonly adapters: readonly LoraAdapter[] } | undefined) {
    this.#lora = lora;
  }

  get device(): string {
    return this.model.embedTokens.device;
  }

  /** An empty cache that fits the model, for `batch` sequences of equal length of at most `capacity` tokens. */
  newCache(batch: number, capacity: number): KvCache {
    return new KvCache({ batch, capacity, ...this.cacheShape() });
  }

  /** What a token's keys and values are: for caches in pages too. */
  cacheShape(): PagedCacheShape {
    const a = this.config.attention;
    const shape =
      a.kind === "grouped"
        ? { kvHeads: a.kvHeads, headDim: a.headDim, valueDim: a.headDim }
        : (this.model.layers[0]!.selfAttn as LatentAttention).cacheShape();
    const { device } = this;
    const dtype = this.#activations ?? this.model.embedTokens.dtype;
    return {
      layers: this.model.layers.length,
      ...shape,
      device,
      dtype: dtype as "f32" | "f16" | "bf16",
    };
  }

  /** An empty cache in pages that fits the model. */
  newPagedCache(pages: number, pageSize: number): PagedCache {
    return new PagedCache(this.cacheShape(), pages, pageSize);
  }

  /** Makes the tables that steps of sequences up to this length look up, so that one can be captured. */
  prepareFor(length: number): void {
    this.#rope?.at(0, length);
  }

  /**
   * Runs new tokens of several sequences and gives the logits of the next token of each: `[sequences, vocab]`.
   * @throws RangeError when a sequence does not fit the context
   */
  forwardStep(step: StepInputs): Tensor {
    const { spans } = step;
    const longest = Math.max(...spans.map((p) => p.past + p.count));
    if (longest > this.config.maxPositions)
      throw new RangeError(`${longest} tokens do not fit the context of ${this.config.maxPositions}`);
    const place = {
      rope: this.#rope?.among(step.positions, spans),
      cache: undefined,
      step,
      causal: this.config.causal,
      mask: undefined,
      training: undefined,
    };
    const x = this.model.forward(step.ids, step.positions, place, this.#activations);
    const last = indexSelect(x.squeeze(0), 0, step.last);
    // A row a sequence: rounding so few activations makes the largest of the products slower.
    return withActivationDType("keep", () =>
      this.#logits(this.model.norm ? this.model.norm.forward(last) : last),
    );
  }

  /**
   * Logits of the next token at each place.
   * @param ids `[batch, tokens]` i64; with a cache, the tokens that follow those in it
   * @param options.lastOnly compute the logits of the last place only
   * @returns `[batch, tokens, vocab]`, or `[batch, 1, vocab]` with `lastOnly`
   * @throws RangeError when the tokens do not fit the context, or the family predicts no next token
   */
  forward(ids: Tensor, options: ForwardOptions & { readonly lastOnly?: boolean } = {}): Tensor {
    const x = this.hidden(ids, options);
    const tokens = ids.shape[1]!;
    return this.#logits(options.lastOnly ? x.narrow(1, tokens - 1, 1) : x);
  }

  /**
   * The last hidden state of each token, `[batch, tokens, hidden]`: what embeddings of texts are made of.
   * @throws RangeError when the tokens do not fit the context
   */
  hidden(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const x = this.#states(ids, options);
    return this.model.norm ? this.model.norm.forward(x) : x;
  }

  /** A vector per sequence, `[batch, hidden]`, of the first token's state; for families with a pooler. */
  pooled(hidden: Tensor): Tensor {
    if (!this.pooler) throw new RangeError(`models of the family "${this.config.family}" have no pooler`);
    return tanh(this.pooler.forward(hidden.select(1, 0)));
  }

  /**
   * Logits of the next token at each place, and of the token after it by each layer behind the last: `[batch, tokens, vocab]`,
   * then `[batch, tokens - 1, vocab]` and so on.
   * @throws RangeError where the model has no such layers, or fewer tokens than they look ahead
   */
  forwardAhead(ids: Tensor, options: Pick<ForwardOptions, "training"> = {}): Tensor[] {
    const { training } = options;
    const ahead = this.predict.length;
    if (ahead === 0) throw new RangeError("the model has no layers that predict further tokens");
    if (ids.shape[1]! <= ahead)
      throw new RangeError(`${ids.shape[1]} tokens are too few for ${ahead} layers that look ahead`);
    let x = this.hidden(ids, options);
    const out = [this.#logits(x)];
    // Each layer takes the last one's states, normed, with the embeddings of the tokens one further.
    for (const [i, layer] of this.predict.entries()) {
      const tokens = ids.shape[1]! - i - 1;
      const embedded = this.model.embed(ids.narrow(1, i + 1, tokens), 0, this.#activations);
      const next = dropped(embedded, "embedding", training);
      const place = this.placeOf(0, tokens, options);
      x = layer.norm.forward(layer.forward(x.narrow(1, 0, tokens), next, place));
      out.push(this.#logits(x));
    }
    return out;
  }

  #states(ids: Tensor, options: ForwardOptions): Tensor {
    const { config } = this;
    const { cache } = options;
    const tokens = ids.shape[1]!;
    const past = cache?.length ?? 0;
    if (past + tokens > config.maxPositions)
      throw new RangeError(`${past + tokens} tokens do not fit the context of ${config.maxPositions}`);
    const { training } = options;
    for (const a of this.#lora?.adapters ?? []) a.generator = training && (training.generator ?? null);
    const x = this.model.forward(ids, past, this.placeOf(past, tokens, options), this.#activations);
    cache?.advance(tokens);
    return x;
  }

  /** Where `tokens` tokens behind `past` others stand: what layers are told when they are run one by one. */
  placeOf(past: number, tokens: number, { cache, mask, training }: ForwardOptions = {}): Place {
    return {
      rope: this.#rope?.at(past, tokens),
      cache,
      step: undefined,
      causal: this.config.causal,
      mask: mask?.unsqueeze(1).unsqueeze(1),
      training,
    };
  }

  #logits(x: Tensor): Tensor {
    if (!this.config.causal)
      throw new RangeError(`models of the family "${this.config.family}" do not predict a next token`);
    if (this.lmHead) return this.lmHead.forward(x);
    const q = this.#tiedHead;
    if (!q) return linear(x, this.model.embedTokens.weight!);
    return quantizedLinear(x, q.packed, q.scales, q.zeros ?? null, null, {
      groupSize: q.groupSize,
      activationDtype: activationDType(),
    });
  }

  override dispose(): void {
    super.dispose();
    this.#rope?.dispose();
    for (const t of [this.#tiedHead?.packed, this.#tiedHead?.scales, this.#tiedHead?.zeros]) t?.dispose();
  }
}
