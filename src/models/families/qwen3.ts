// Qwen3, dense (Qwen team, 2025): RMS norms of each query and key head, a head dimension of its own.

import * as z from "zod";
import {
  decoder,
  decoderFields,
  gated,
  type GroupedAttentionConfig,
  grouped,
  parseFields,
} from "../config.js";
import type { Family } from "../family.js";
import { windowFields, windowOf } from "./qwen2.js";

/** What the dense and the sparse models say of attention, beside the fields that all families share. */
export const qwen3Fields = { ...decoderFields, ...windowFields, attention_bias: z.boolean().default(false) };
const schema = z.object(qwen3Fields).loose();

/** @param headDim what it is where the file does not say; absent: the hidden size over the heads */
export const qwen3Attention = (
  c: z.infer<typeof schema>,
  file: string,
  headDim?: number,
): GroupedAttentionConfig =>
  grouped(c, file, {
    qkvBias: c.attention_bias,
    outBias: c.attention_bias,
    qkNorm: true,
    ...(headDim === undefined ? {} : { headDim }),
    window: windowOf(c),
  });

export const qwen3: Family = {
  type: "qwen3",
  architecture: "Qwen3ForCausalLM",
  parse(raw, file) {
    const c = parseFields(schema, raw, file);
    const attention = qwen3Attention(c, file, 128);
    return { ...decoder(c, raw, file, attention.headDim), attention, mlps: gated(c) };
  },
};
