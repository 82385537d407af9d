// DeepSeek-V3 and R1 (DeepSeek-AI, 2024): latent attention; after a few dense layers many routed experts, chosen within
// the best groups by sigmoid scores with a bias, and shared ones; layers behind the last that predict further tokens.

import * as z from "zod";
import {
  decoder,
  decoderFields,
  type ExpertsConfig,
  gated,
  ModelConfigError,
  parseFields,
  size,
} from "../config.js";
import type { Family } from "../family.js";

const count = z.number().int().min(0);
const schema = z
  .object({
    ...decoderFields,
    max_position_embeddings: size.default(4096),
    attention_bias: z.boolean().default(false),
    q_lora_rank: size.nullish(),
    kv_lora_rank: size,
    qk_nope_head_dim: size,
    qk_rope_head_dim: size,
    v_head_dim: size,
    rope_interleave: z.boolean().default(true),
    n_routed_experts: size,
    n_shared_experts: count.nullish(),
    num_experts_per_tok: size,
    moe_intermediate_size: size,
    first_k_dense_replace: count.default(3),
    n_group: size.default(8),
    topk_group: size.default(4),
    norm_topk_prob: z.boolean().default(true),
    routed_scaling_factor: z.number().default(2.5),
    num_nextn_predict_layers: count.default(0),
  })
  .loose();

export const deepseekV3: Family = {
  type: "deepseek_v3",
  architecture: "DeepseekV3ForCausalLM",
  parse(raw, file) {
    const c = parseFields(schema, raw, file);
    const fail = (why: string): never => {
      throw new ModelConfigError(`${file}: ${why}`);
    };
    if (c.qk_rope_head_dim % 2 !== 0) fail(`qk_rope_head_dim ${c.qk_rope_head_dim} is not an even number`);
    if (c.n_routed_experts % c.n_group !== 0)
      fail(`n_routed_experts ${c.n_routed_experts} is not a multiple of n_group ${c.n_group}`);
    if (c.topk_group > c.n_group) fail(`topk_group ${c.topk_group} of ${c.n_group} groups`);
    if (c.num_experts_per_tok > (c.n_routed_experts / c.n_group) * c.topk_group)
      fail(`num_experts_per_tok ${c.num_experts_per_tok} is more than ${c.topk_group} groups hold`);
    const experts: ExpertsConfig = {
      kind: "experts",
      experts: c.n_routed_experts,
      perToken: c.num_experts_per_tok,
      size: c.moe_intermediate_size,
      activation: c.hidden_act,
      sharedSize: c.moe_intermediate_size * (c.n_shared_experts ?? 0),
      router: {
        score: "sigmoid",
        choiceBias: true,
        groups: c.n_group,
        groupsKept: c.topk_group,
        normalize: c.norm_topk_prob,
        scale: c.routed_scaling_factor,
      },
    };
    return {
      ...decoder(c, raw, file, c.qk_rope_head_dim),
      attention: {
        kind: "latent",
        heads: c.num_attention_heads,
        qRank: c.q_lora_rank ?? undefined,
        kvRank: c.kv_lora_rank,
        plainDim: c.qk_nope_head_dim,
        ropeDim: c.qk_rope_head_dim,
        valueDim: c.v_head_dim,
        bias: c.attention_bias,
        interleaved: c.rope_interleave,
      },
      mlps: gated(c).map((dense, i) => (i < c.first_k_dense_replace ? dense : experts)),
      predictLayers: c.num_nextn_predict_layers,
    };
  },
};
