// Qwen3-MoE (Qwen team, 2025): Qwen3's attention, experts in most layers, no shared one.

import * as z from "zod";
import { decoder, type ExpertsConfig, gated, ModelConfigError, parseFields, size } from "../config.js";
import type { Family } from "../family.js";
import { qwen3Attention, qwen3Fields } from "./qwen3.js";

const schema = z
  .object({
    ...qwen3Fields,
    num_experts: size.optional(),
    num_local_experts: size.optional(),
    num_experts_per_tok: size.default(8),
    moe_intermediate_size: size.default(768),
    decoder_sparse_step: size.default(1),
    mlp_only_layers: z.array(z.number().int().min(0)).nullish(),
    norm_topk_prob: z.boolean().default(false),
  })
  .loose();

export const qwen3Moe: Family = {
  type: "qwen3_moe",
  architecture: "Qwen3MoeForCausalLM",
  parse(raw, file) {
    const c = parseFields(schema, raw, file);
    const attention = qwen3Attention(c, file);
    const count = c.num_experts ?? c.num_local_experts ?? 128;
    if (c.num_experts_per_tok > count)
      throw new ModelConfigError(`${file}: num_experts_per_tok ${c.num_experts_per_tok} of ${count} experts`);
    const experts: ExpertsConfig = {
      kind: "experts",
      experts: count,
      perToken: c.num_experts_per_tok,
      size: c.moe_intermediate_size,
      activation: c.hidden_act,
      sharedSize: 0,
      router: {
        score: "softmax",
        choiceBias: false,
        groups: 1,
        groupsKept: 1,
        normalize: c.norm_topk_prob,
        scale: 1,
      },
    };
    const dense = (i: number) => c.mlp_only_layers?.includes(i) || (i + 1) % c.decoder_sparse_step !== 0;
    return {
      ...decoder(c, raw, file, attention.headDim),
      attention,
      mlps: gated(c).map((plain, i) => (dense(i) ? plain : experts)),
    };
  },
};
