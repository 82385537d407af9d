// Qwen2 and Qwen2.5 (Qwen team, 2024): Llama's blocks with biases on queries, keys and values.

import * as z from "zod";
import { type DecoderFields, decoder, decoderFields, gated, grouped, parseFields, size } from "../config.js";
import type { Family } from "../family.js";

/** Which layers see a window only, as the configs of all Qwen families say it. */
export const windowFields = {
  use_sliding_window: z.boolean().default(false),
  sliding_window: size.nullish(),
  max_window_layers: z.number().int().min(0).default(28),
  layer_types: z.array(z.enum(["full_attention", "sliding_attention"])).nullish(),
};

export function windowOf(
  c: DecoderFields & z.infer<z.ZodObject<typeof windowFields>>,
): (layer: number) => number | undefined {
  const window = c.use_sliding_window ? (c.sliding_window ?? undefined) : undefined;
  return (i) =>
    (c.layer_types ? c.layer_types[i] === "sliding_attention" : i >= c.max_window_layers)
      ? window
      : undefined;
}

const schema = z.object({ ...decoderFields, ...windowFields }).loose();

export const qwen2: Family = {
  type: "qwen2",
  architecture: "Qwen2ForCausalLM",
  parse(raw, file) {
    const c = parseFields(schema, raw, file);
    const attention = grouped(c, file, { qkvBias: true, window: windowOf(c) });
    return { ...decoder(c, raw, file, attention.headDim), attention, mlps: gated(c) };
  },
};
