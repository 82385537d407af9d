// Tokens of several sequences in one step against each sequence alone: chunks of prompts and single tokens mixed, pages in
// any order.

import { afterAll, describe, expect, it } from "vitest";
import { noGrad, tensor } from "../tensor/index.js";
import { createModel } from "./load.js";
import { PagedCache, PagedStep } from "./paged-cache.js";
import type { LanguageModel } from "./transformer.js";
import "../chips/index.js";
import { loadChip, scope } from "../runtime/index.js";

await loadChip("wasm");
const base = { vocab_size: 97, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 64, rms_norm_eps: 1e-6, initializer_range: 0.3 }; // biome-ignore format: a list
const CONFIGS: Record<string, Record<string, unknown>> = {
  qwen3: { ...base, model_type: "qwen3", head_dim: 8, tie_word_embeddings: true },
  mistral: { ...base, model_type: "mistral", sliding_window: 6 },
  "llama, dynamic RoPE": { ...base, model_type: "llama", max_position_embeddings: 64, rope_scaling: { rope_type: "dynamic", factor: 4, original_max_position_embeddings: 16 } },
  gpt2: { model_type: "gpt2", vocab_size: 97, n_embd: 32, n_layer: 2, n_head: 4, n_positions: 64, initializer_range: 0.3 },
  "deepseek-v3, whose cache holds the small vectors": { ...base, model_type: "deepseek_v3", q_lora_rank: 12, kv_lora_rank: 16, qk_nope_head_dim: 8, qk_rope_head_dim: 4, v_head_dim: 8, n_routed_experts: 8, n_shared_experts: 1, num_experts_per_tok: 2, moe_intermediate_size: 16, first_k_dense_replace: 1, n_group: 2, topk_group: 1 },
}; // biome-ignore format: a line each

const models: LanguageModel[] = [];
afterAll(() => {
  for (const m of models) m.dispose();
});

/** The logits of the next token after all of `tokens`, computed at once. */
async function alone(model: LanguageModel, tokens: readonly number[]): Promise<number[]> {
  const y = noGrad(() =>
    scope(() =>
      model.forward(
        tensor(BigInt64Array.from(tokens, BigInt), { shape: [1, tokens.length], device: "wasm" }),
        {
          lastOnly: true,
        },
      ),
    ),
  );
  return [...((await y.data()) as Float32Array)];
}

describe.each(Object.entries(CONFIGS))("%s", (_name, raw) => {
  it("gives each sequence what it gets alone", async () => {
    const model = createModel(raw, { device: "wasm", seed: 3 });
    models.push(model);
    const cache = model.newPagedCache(32, 4);
    const texts = [7, 30, 1].map((n, i) => Array.from({ length: n }, (_, k) => (k * 31 + i * 17 + 5) % 97));
    // Pages from both ends, so that no sequence has neighbours.
    const pages = [[3, 31, 5], [9, 8, 30, 1, 0, 2, 4, 29], [12]];
    // The second sequence comes in chunks while the others decode; dynamic frequencies are those of the time when a key is
    // written, so there each comes whole.
    const steps = raw["rope_scaling"]
      ? [[7, 30, 1]]
      : [
          [7, 11, 0],
          [0, 19, 1],
        ];
    const past = [0, 0, 0];
    for (const counts of steps) {
      const active = [0, 1, 2].filter((i) => counts[i]! > 0);
      const logits = noGrad(() =>
        scope(() =>
          model.forwardStep(
            new PagedStep(
              cache,
              active.map((i) => ({
                pages: pages[i]!,
                past: past[i]!,
                tokens: texts[i]!.slice(past[i]!, past[i]! + counts[i]!),
              })),
            ),
          ),
        ),
      );
      const rows = (await logits.data()) as Float32Array;
      for (const [r, i] of active.entries()) {
        past[i]! += counts[i]!;
        const want = await alone(model, texts[i]!.slice(0, past[i]!));
        const got = rows.subarray(r * 97, (r + 1) * 97);
        const scale = Math.max(...want.map(Math.abs));
        expect(Math.max(...want.map((w, k) => Math.abs(w - got[k]!))) / scale).toBeLessThan(1e-5);
      }
    }
    cache.dispose();
  });
});

it("keeps one small vector a token of latent attention, not every head's key and value", () => {
  const model = models.find((m) => m.config.attention.kind === "latent")!;
  expect(model.cacheShape()).toMatchObject({ kvHeads: 1, headDim: 16 + 4, valueDim: 16, shared: true });
  expect(PagedCache.bytesPerToken(model.cacheShape())).toBe(2 * 20 * 4);
});
