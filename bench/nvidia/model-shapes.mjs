// The models that are measured, by the fields of a config.json, and what a token of each cannot do without.

import { PRESETS } from "../../dist/models/presets.js";

export const SHAPES = {
  "Qwen3-8B": { ...PRESETS["qwen3-8b"], vocab_size: 151936 },
  "Qwen3-0.6B": { ...PRESETS["qwen3-0.6b"], vocab_size: 151936 },
  "Llama-100M": { ...PRESETS["llama-100m"], vocab_size: 32000, max_position_embeddings: 2048, rms_norm_eps: 1e-6, rope_theta: 1e4 },
}; // biome-ignore format: a line each

const headDim = (c) => c.head_dim ?? c.hidden_size / c.num_attention_heads;

/** Weights of the matrices that every token passes: those of the blocks, and the output matrix. */
export function weightsOf(c) {
  const d = headDim(c);
  const attention = c.hidden_size * d * (2 * c.num_attention_heads + 2 * c.num_key_value_heads);
  const blocks = c.num_hidden_layers * (attention + 3 * c.hidden_size * c.intermediate_size);
  return { blocks, output: c.vocab_size * c.hidden_size };
}

/** Bits of the output matrix where the blocks have integers: more of them matter there. */
export const OUTPUT_BITS = 8;

/** Bytes that decoding a token must read: weights of `bits` in the blocks, the output matrix, keys and values. */
export function decodeBytes(c, bits, context, group = 128) {
  const { blocks, output } = weightsOf(c);
  const outputBits = bits < 16 ? OUTPUT_BITS : 16;
  const scales = bits < 16 ? (4 * (blocks + output)) / group : 0;
  const cache = 2 * 2 * c.num_hidden_layers * c.num_key_value_heads * headDim(c) * context;
  return (blocks * bits + output * outputBits) / 8 + scales + cache;
}

/** Operations of `rows` sequences of `tokens`: two for each weight and token, and causal attention's half of the products. */
export function forwardFlops(c, rows, tokens, { outputs = rows * tokens } = {}) {
  const { blocks, output } = weightsOf(c);
  const attention =
    (4 * rows * c.num_attention_heads * headDim(c) * tokens * tokens * c.num_hidden_layers) / 2;
  return 2 * blocks * rows * tokens + 2 * output * outputs + attention;
}

/** The parts of bench/nvidia/models.mjs, small enough for a try where `quick` is set. */
export const MODEL_SIZES = {
  decoding: { model: "Qwen3-8B", context: 1024, tokens: 64 },
  prefill: { model: "Qwen3-8B", tokens: 4096 },
  training: { model: "Qwen3-0.6B", rows: 8, tokens: 2048, steps: 6 },
  learning: { model: "Llama-100M", rows: 8, tokens: 512, steps: 5000, every: 100, rate: 6e-4, warm: 200, decay: 0.1, betas: [0.9, 0.95], eps: 1e-8, successors: 4, symbols: 2048, spread: 32, skew: 3 },
}; // biome-ignore format: a line each
