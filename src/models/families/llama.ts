// Llama 1 to 3: grouped-query attention, rotary positions, SwiGLU (Touvron et al., 2023; Llama team, 2024).

import * as z from "zod";
import { decoder, decoderFields, gated, grouped, parseFields } from "../config.js";
import type { Family } from "../family.js";

const schema = z
  .object({
    ...decoderFields,
    attention_bias: z.boolean().default(false),
    mlp_bias: z.boolean().default(false),
  })
  .loose();

export const llama: Family = {
  type: "llama",
  architecture: "LlamaForCausalLM",
  parse(raw, file) {
    const c = parseFields(schema, raw, file);
    const attention = grouped(c, file, { qkvBias: c.attention_bias, outBias: c.attention_bias });
    return { ...decoder(c, raw, file, attention.headDim), attention, mlps: gated(c, c.mlp_bias) };
  },
};
