// GPT-2 (Radford et al., 2019): learned positions, layer norms, biases everywhere, one matrix for query, key and value.
// Its files hold matrices as [in, out].

import * as z from "zod";
import { ACTIVATIONS, commonFields, eosIds, ModelConfigError, parseFields, size } from "../config.js";
import type { Family } from "../family.js";

const schema = z
  .object({
    ...commonFields,
    n_positions: size.default(1024),
    n_embd: size,
    n_layer: size,
    n_head: size,
    n_inner: size.nullish(),
    activation_function: z.enum(ACTIVATIONS).default("gelu_new"),
    layer_norm_epsilon: z.number().positive().default(1e-5),
    tie_word_embeddings: z.boolean().default(true),
    scale_attn_weights: z.literal(true).default(true),
    scale_attn_by_inverse_layer_idx: z.literal(false).default(false),
  })
  .loose();

const layer = "transformer.h.#";

export const gpt2: Family = {
  type: "gpt2",
  architecture: "GPT2LMHeadModel",
  prefix: "transformer.",
  names: {
    "model.embed_tokens": "transformer.wte",
    "model.embed_positions": "transformer.wpe",
    "model.layers.#.input_layernorm": `${layer}.ln_1`,
    "model.layers.#.self_attn.qkv_proj": `${layer}.attn.c_attn`,
    "model.layers.#.self_attn.o_proj": `${layer}.attn.c_proj`,
    "model.layers.#.post_attention_layernorm": `${layer}.ln_2`,
    "model.layers.#.mlp.up_proj": `${layer}.mlp.c_fc`,
    "model.layers.#.mlp.down_proj": `${layer}.mlp.c_proj`,
    "model.norm": "transformer.ln_f",
  },
  transposed: ["self_attn.qkv_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"].map(
    (m) => `model.layers.#.${m}`,
  ),
  parse(raw, file) {
    const c = parseFields(schema, raw, file);
    if (c.n_embd % c.n_head !== 0)
      throw new ModelConfigError(`${file}: n_embd ${c.n_embd} is not a multiple of n_head ${c.n_head}`);
    return {
      family: "gpt2",
      vocabSize: c.vocab_size,
      hiddenSize: c.n_embd,
      maxPositions: c.n_positions,
      causal: true,
      norm: { kind: "layer", eps: c.layer_norm_epsilon, place: "pre" },
      positions: "learned",
      tokenTypes: 0,
      attention: {
        kind: "grouped",
        heads: c.n_head,
        kvHeads: c.n_head,
        headDim: c.n_embd / c.n_head,
        qkvBias: true,
        outBias: true,
        qkNorm: false,
        joined: true,
        windows: [],
      },
      mlps: Array.from({ length: c.n_layer }, () => ({
        kind: "plain" as const,
        size: c.n_inner ?? 4 * c.n_embd,
        activation: c.activation_function,
        bias: true,
      })),
      tieEmbeddings: c.tie_word_embeddings,
      pooler: false,
      predictLayers: 0,
      initializerRange: c.initializer_range,
      eosIds: eosIds(c.eos_token_id),
      raw: raw as Record<string, unknown>,
    };
  },
};
