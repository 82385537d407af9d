// Qwen3, dense (Qwen team, 2025): RMS norms of each query and key head, a head dimension of its own.

import { z } from "zod";
import { decoder, decoderFields, gated, grouped, parseFields } from "../config.js";
import type { Family } from "../family.js";
import { windowFields, windowOf } from "./qwen2.js";

const schema = z
  .object({ ...decoderFields, ...windowFields, attention_bias: z.boolean().default(false) })
  .loose();

export const qwen3: Family = {
  type: "qwen3",
  architecture: "Qwen3ForCausalLM",
  parse(raw, file) {
    const c = parseFields(schema, raw, file);
    const attention = grouped(c, file, {
      qkvBias: c.attention_bias,
      outBias: c.attention_bias,
      qkNorm: true,
      headDim: 128,
      window: windowOf(c),
    });
    return { ...decoder(c, raw, file, attention.headDim), attention, mlps: gated(c) };
  },
};
