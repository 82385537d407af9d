// Mistral 7B (Jiang et al., 2023): Llama's blocks; every layer sees a window of tokens where the config names one.

import * as z from "zod";
import { decoder, decoderFields, gated, grouped, parseFields, size } from "../config.js";
import type { Family } from "../family.js";

const schema = z.object({ ...decoderFields, sliding_window: size.nullish().default(4096) }).loose();

export const mistral: Family = {
  type: "mistral",
  architecture: "MistralForCausalLM",
  parse(raw, file) {
    const c = parseFields(schema, raw, file);
    const attention = grouped(c, file, { window: () => c.sliding_window ?? undefined });
    return { ...decoder(c, raw, file, attention.headDim), attention, mlps: gated(c) };
  },
};
