// Captured steps against steps made anew by the host: the same bits, while sequences come, go and grow beyond what attention was laid out
// for.

import { expect, it } from "vitest";
import "../chips/index.js";
import { loadChip, loadedChip, memoryStats, scope } from "../runtime/index.js";
import { noGrad, type Tensor } from "../tensor/index.js";
import { CapturedSteps } from "./captured-steps.js";
import { createModel } from "./load.js";
import { PagedStep } from "./paged-cache.js";

const device = "wasm";
await loadChip(device);
const base = { vocab_size: 97, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 80, rms_norm_eps: 1e-6, initializer_range: 0.3 }; // biome-ignore format: a list
const MODELS = {
  qwen3: { ...base, model_type: "qwen3", head_dim: 8, tie_word_embeddings: true },
  gpt2: { model_type: "gpt2", vocab_size: 97, n_embd: 32, n_layer: 2, n_head: 4, n_positions: 80, initializer_range: 0.3 },
  "llama, dynamic RoPE": { ...base, model_type: "llama", rope_scaling: { rope_type: "dynamic", factor: 4, original_max_position_embeddings: 16 } },
}; // biome-ignore format: a line each
/** Who runs in each step: two, one for long, two again. */
const RUNNING = [...Array(6).fill([0, 1]), ...Array(60).fill([1]), ...Array(4).fill([0, 1])] as number[][];
const inUse = (): number => memoryStats(loadedChip(device)).allocated;
const token = (i: number, at: number): number => (i * 31 + at * 17 + 5) % 97;

it.each(Object.entries(MODELS))("%s gives the bits of plain steps", async (name, raw) => {
  const model = createModel(raw, { device, seed: 3, requiresGrad: false });
  const [plain, repeated] = [model.newPagedCache(12, 8), model.newPagedCache(12, 8)];
  const captured = new CapturedSteps(model, repeated);
  const pages = [[11, 0], [3, 10, 2, 9, 1, 8, 4, 7, 5, 6]] as const; // biome-ignore format: one line
  const past = [0, 0];
  let hits = 0;
  const read = async (t: Tensor): Promise<Uint8Array> => new Uint8Array(await t.bytes());
  for (const running of RUNNING) {
    const byHost = (cache: typeof plain): Tensor => {
      const parts = running.map((i) => ({ pages: pages[i]!, past: past[i]!, tokens: [token(i, past[i]!)] }));
      return noGrad(() => scope(() => model.forwardStep(new PagedStep(cache, parts))));
    };
    const want = byHost(plain);
    const got = captured.run(running.map((i) => ({ pages: pages[i]!, past: past[i]!, token: token(i, past[i]!) }))); // biome-ignore format: one line
    if (got) hits++;
    const other = got ?? byHost(repeated);
    expect(await read(other)).toEqual(await read(want));
    want.dispose();
    if (!got) other.dispose();
    for (const i of running) past[i]!++;
  }
  // All but the first step at each length and number; here the frequencies of lengths beyond 64 are those of the length.
  expect(hits).toBe(name.includes("dynamic") ? 61 : RUNNING.length - 5);
  captured.dispose();
  // Recordings take memory while they are kept, and give all of it back.
  const again = new CapturedSteps(model, repeated);
  const start = { pages: pages[1], past: 0, token: 1 };
  expect(again.run([start])).toBeUndefined();
  const before = inUse();
  expect(again.run([start])?.shape).toEqual([1, 97]);
  expect(inUse()).toBeGreaterThan(before);
  again.dispose();
  expect(inUse()).toBe(before);
  // A context that is full is refused where steps are made.
  expect(captured.run([{ ...start, past: 80 }])).toBeUndefined();
  plain.dispose();
  repeated.dispose();
  model.dispose();
});
