// BERT (Devlin et al., 2018): an encoder. Every token sees all others; norms stand behind attention and MLP.

import * as z from "zod";
import { ACTIVATIONS, commonFields, eosIds, ModelConfigError, parseFields, size } from "../config.js";
import type { Family } from "../family.js";

const schema = z
  .object({
    ...commonFields,
    hidden_size: size,
    intermediate_size: size,
    num_hidden_layers: size,
    num_attention_heads: size,
    hidden_act: z.enum(ACTIVATIONS).default("gelu"),
    max_position_embeddings: size.default(512),
    type_vocab_size: size.default(2),
    layer_norm_eps: z.number().positive().default(1e-12),
    position_embedding_type: z.literal("absolute").default("absolute"),
    is_decoder: z.literal(false).default(false),
  })
  .loose();

const layer = "encoder.layer.#";

export const bert: Family = {
  type: "bert",
  architecture: "BertModel",
  prefix: "bert.",
  names: {
    "model.embed_tokens": "embeddings.word_embeddings",
    "model.embed_positions": "embeddings.position_embeddings",
    "model.embed_types": "embeddings.token_type_embeddings",
    "model.embed_norm": "embeddings.LayerNorm",
    "model.layers.#.self_attn.q_proj": `${layer}.attention.self.query`,
    "model.layers.#.self_attn.k_proj": `${layer}.attention.self.key`,
    "model.layers.#.self_attn.v_proj": `${layer}.attention.self.value`,
    "model.layers.#.self_attn.o_proj": `${layer}.attention.output.dense`,
    "model.layers.#.input_layernorm": `${layer}.attention.output.LayerNorm`,
    "model.layers.#.mlp.up_proj": `${layer}.intermediate.dense`,
    "model.layers.#.mlp.down_proj": `${layer}.output.dense`,
    "model.layers.#.post_attention_layernorm": `${layer}.output.LayerNorm`,
    pooler: "pooler.dense",
  },
  parse(raw, file) {
    const c = parseFields(schema, raw, file);
    if (c.hidden_size % c.num_attention_heads !== 0)
      throw new ModelConfigError(
        `${file}: hidden_size ${c.hidden_size} is not a multiple of ${c.num_attention_heads} heads`,
      );
    return {
      family: "bert",
      vocabSize: c.vocab_size,
      hiddenSize: c.hidden_size,
      maxPositions: c.max_position_embeddings,
      causal: false,
      norm: { kind: "layer", eps: c.layer_norm_eps, place: "post" },
      positions: "learned",
      tokenTypes: c.type_vocab_size,
      attention: {
        kind: "grouped",
        heads: c.num_attention_heads,
        kvHeads: c.num_attention_heads,
        headDim: c.hidden_size / c.num_attention_heads,
        qkvBias: true,
        outBias: true,
        qkNorm: false,
        joined: false,
        windows: [],
      },
      mlps: Array.from({ length: c.num_hidden_layers }, () => ({
        kind: "plain" as const,
        size: c.intermediate_size,
        activation: c.hidden_act,
        bias: true,
      })),
      tieEmbeddings: true,
      pooler: true,
      predictLayers: 0,
      initializerRange: c.initializer_range,
      eosIds: eosIds(c.eos_token_id),
      raw: raw as Record<string, unknown>,
    };
  },
};
