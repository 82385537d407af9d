// A captured decoding step against steps made anew by the host: the same tokens, for several sequences at once.

import { describe, expect, it } from "vitest";
import "../chips/index.js";
import { argmax } from "../ops/index.js";
import { loadChip, scope } from "../runtime/index.js";
import { noGrad } from "../tensor/index.js";
import { DecodeGraph } from "./decode-graph.js";
import { createModel } from "./load.js";
import { PagedStep } from "./paged-cache.js";
import { take } from "./take.js";
import type { LanguageModel } from "./transformer.js";

const device = "wasm";
await loadChip(device);
const raw = { model_type: "qwen3", vocab_size: 97, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8, max_position_embeddings: 64, rms_norm_eps: 1e-6, initializer_range: 0.3, tie_word_embeddings: true }; // biome-ignore format: a list
const PROMPTS = [
  [5, 9, 70, 12, 33],
  [1, 44],
];
const PAGES = [
  [3, 0, 5, 7],
  [6, 2, 1, 4],
];

/** What greedy decoding gives when the host makes each step. */
async function plainly(model: LanguageModel, count: number): Promise<number[][]> {
  const cache = model.newPagedCache(8, 4);
  const said: number[][] = [[], []];
  let tokens = PROMPTS;
  let past = [0, 0];
  for (let i = 0; i < count; i++) {
    const parts = tokens.map((t, b) => ({ pages: PAGES[b]!, past: past[b]!, tokens: t }));
    const next = await take(
      noGrad(() => scope(() => argmax(model.forwardStep(new PagedStep(cache, parts)), -1))),
    );
    past = past.map((p, b) => p + tokens[b]!.length);
    tokens = [[Number(next[0])], [Number(next[1])]];
    for (const b of [0, 1]) said[b]!.push(tokens[b]![0]!);
  }
  cache.dispose();
  return said;
}

describe("a captured decoding step", () => {
  it.each([undefined, { bits: 8, groupSize: 16 }] as const)(
    "says what plain steps say, integers %j",
    async (integers) => {
      const model = createModel(raw, { device, seed: 3, requiresGrad: false, integers });
      const want = await plainly(model, 8);
      const cache = model.newPagedCache(8, 4);
      const parts = PROMPTS.map((tokens, b) => ({ pages: PAGES[b]!, past: 0, tokens }));
      const first = await take(
        noGrad(() => scope(() => argmax(model.forwardStep(new PagedStep(cache, parts)), -1))),
      );
      const starts = PROMPTS.map((t, b) => ({ pages: PAGES[b]!, past: t.length, token: Number(first[b]) }));
      const decode = new DecodeGraph(model, cache, starts, { room: 16 });
      // Once more from the same place: keys and values are written anew.
      for (let turn = 0; turn < 2; turn++) {
        for (let i = 0; i < 7; i++) decode.step();
        expect(await decode.tokens()).toEqual(want.map((w) => w.slice(1)));
        decode.set(starts);
      }
      expect(() => decode.set([starts[0]!])).toThrow(/decodes 2 sequences, not 1/);
      expect(() => decode.set(starts.map((s) => ({ ...s, past: 16 })))).toThrow(
        /has 17 tokens; there is room for 16/,
      );
      for (let i = 0; i < 11; i++) decode.step();
      expect(() => decode.step()).toThrow(/room for 16 tokens/);
      decode.dispose();
      model.dispose();
    },
  );
});
