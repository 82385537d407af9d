// Whole runs of each kind: packed text with a tokenizer trained on it, conversations with adapters, bf16 with dropout; each goes on
// from a checkpoint as if nothing had been.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { built, killLeftovers, QWEN3, temporaryFolder, vexil } from "../../test/built.js";
import { lossesOf, tiny, trainHere, writeSums } from "./testing/tiny.js";

afterAll(killLeftovers);
const folder = temporaryFolder();
writeSums(folder);
mkdirSync(join(folder, "texts"));
for (const name of ["a", "b", "c"])
  writeFileSync(
    join(folder, `texts/${name}.txt`),
    `The model ${name} learns the text of ${name}, and the text is short.\n`.repeat(6),
  );
const turn = (i: number) => ({
  messages: [
    { role: "user", content: `Returns ${i}?` },
    { role: "assistant", content: `the elements ${i} of input` },
  ],
});
writeFileSync(
  join(folder, "chat.jsonl"),
  Array.from({ length: 8 }, (_, i) => `${JSON.stringify(turn(i))}\n`).join(""),
);
const json = (...parts: string[]) => JSON.parse(readFileSync(join(folder, ...parts), "utf8"));
const bytes = (...parts: string[]) => readFileSync(join(folder, ...parts));

/** Trains at once, and in two halves; gives the losses of both. */
async function twice(name: string, more: object): Promise<[whole: number[], halves: number[]]> {
  const whole = lossesOf(
    await trainHere(folder, `${name}-whole`, {
      deterministic: true,
      steps: 4,
      schedule: "constant",
      ...more,
    }),
  );
  const half = { deterministic: true, schedule: "constant", ...more };
  const first = lossesOf(await trainHere(folder, `${name}-part`, { ...half, steps: 2 }));
  const rest = lossesOf(await trainHere(folder, `${name}-part`, { ...half, steps: 4 }, { resume: true }));
  return [whole, [...first, ...rest]];
}

it("packs texts and trains a tokenizer on them", async () => {
  const { vocab_size: _, ...config } = tiny.model.config;
  const [whole, halves] = await twice("packed", {
    model: { config: { ...config, max_position_embeddings: 32 } },
    tokenizer: { train: { vocab_size: 280 } },
    data: { train: "texts/*.txt", packed: true },
    batch_size: 4,
    sequence_length: 12,
  });
  expect(halves).toEqual(whole);
  expect(json("packed-whole/config.json").vocab_size).toBe(280);
  const { loadModel } = await built<typeof import("../models/index.js")>("models/index.js");
  const { model, tokenizer } = loadModel(join(folder, "packed-whole"), { device: "wasm" });
  expect(tokenizer.size).toBe(280);
  expect(tokenizer.encode("text").length).toBeLessThan(4);
  expect(bytes("packed-part/tokenizer.json").equals(bytes("packed-whole/tokenizer.json"))).toBe(true);
  model.dispose();
});

it("trains adapters on conversations, and leaves the model below alone", async () => {
  const [whole, halves] = await twice("lora", {
    model: { folder: QWEN3 },
    tokenizer: {},
    data: { train: "chat.jsonl" },
    lora: { rank: 4, dropout: 0.1, targets: ["q_proj", "v_proj"] },
    batch_size: 8,
    sequence_length: 64,
    learning_rate: 0.02,
  });
  expect(halves).toEqual(whole);
  expect(whole.at(-1)).toBeLessThan(whole[0]!);
  expect(existsSync(join(folder, "lora-whole/model.safetensors"))).toBe(false);
  expect(json("lora-whole/adapter_config.json")).toMatchObject({ r: 4, base_model_name_or_path: QWEN3 });
  expect(
    bytes("lora-part/adapter_model.safetensors").equals(bytes("lora-whole/adapter_model.safetensors")),
  ).toBe(true);
  const { loadModel } = await built<typeof import("../models/index.js")>("models/index.js");
  const { model } = loadModel(QWEN3, { device: "wasm", adapter: join(folder, "lora-whole") });
  model.dispose();
});

it("trains in bf16 with f32 copies, dropout and recomputation, in parts", async () => {
  const more = {
    dtype: "bf16",
    dropout: { attention: 0.1, residual: 0.1, embedding: 0.1 },
    accumulate: 2,
  };
  const [whole, halves] = await twice("bf16", { ...more, recompute: "selective" });
  expect(halves).toEqual(whole);
  expect(json("bf16-whole/config.json").dtype ?? "bfloat16").toBe("bfloat16");
  for (const file of ["model.safetensors", "checkpoint-4/optimizer.safetensors"])
    expect(bytes("bf16-part", file).equals(bytes("bf16-whole", file))).toBe(true);
  const [again] = await twice("bf16-full", { ...more, recompute: "full" });
  expect(again).toEqual(whole);
});

it("needs a model below adapters, and one way to a tokenizer", async () => {
  await expect(trainHere(folder, "no-base", { lora: {} })).rejects.toThrow(
    /lora: adapters belong to a model: give model\.folder/,
  );
  await expect(
    trainHere(folder, "two-ways", { tokenizer: { characters: "01", train: { vocab_size: 300 } } }),
  ).rejects.toThrow(/tokenizer: give one of characters and train, not both/);
});

it("takes a tokenizer and a file of tokens that commands made", async () => {
  const at = (name: string) => join(folder, name);
  const made = await vexil(["train-tokenizer", at("texts/*.txt"), at("words"), "--vocab-size", "280"]);
  expect(made).toMatchObject({ code: 0, stderr: expect.stringMatching(/wrote .*words: 280 tokens/) });
  const tokens = await vexil(["tokenize", at("texts/*.txt"), at("texts.npy"), "--model", at("words")]);
  expect(tokens).toMatchObject({ code: 0, stderr: expect.stringMatching(/tokens of 3 documents/) });
  const { vocab_size: _, ...config } = tiny.model.config;
  const more = {
    model: { config: { ...config, max_position_embeddings: 32 } },
    tokenizer: { folder: "words" },
    batch_size: 4,
    sequence_length: 12,
    steps: 2,
  };
  // The same tokens in the same pieces: the same losses.
  const packed = await trainHere(folder, "from-text", {
    ...more,
    data: { train: "texts/*.txt", packed: true },
  });
  const read = await trainHere(folder, "from-tokens", { ...more, data: { train: "texts.npy" } });
  expect(lossesOf(read)).toEqual(lossesOf(packed));
  expect(await vexil(["tokenize", at("texts/*.txt"), at("x.bin"), "--model", at("words")])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/x\.bin must end with \.npy/),
  });
});

it("trains DeepSeek-V3's layers that predict further tokens, and keeps them", async () => {
  const { num_hidden_layers: _l, num_key_value_heads: _k, head_dim: _d, ...shared } = tiny.model.config;
  const config = { ...shared, model_type: "deepseek_v3", tie_word_embeddings: false, num_hidden_layers: 1, kv_lora_rank: 8, q_lora_rank: null, qk_nope_head_dim: 4, qk_rope_head_dim: 4, v_head_dim: 4, n_routed_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 8, first_k_dense_replace: 1, n_group: 2, topk_group: 1, num_nextn_predict_layers: 1 }; // biome-ignore format: a list
  const more = { model: { config }, mtp: { weight: 0.5 } };
  const [whole, halves] = await twice("mtp", more);
  expect(halves).toEqual(whole);
  for (const file of ["model.safetensors", "checkpoint-4/optimizer.safetensors"])
    expect(bytes("mtp-part", file).equals(bytes("mtp-whole", file))).toBe(true);
  const { loadModel } = await built<typeof import("../models/index.js")>("models/index.js");
  const { model } = loadModel(join(folder, "mtp-whole"), { device: "wasm" });
  expect(model.predict).toHaveLength(1);
  model.dispose();
  // Another run goes on from the folder with them, and one that does not ask for them has no such loss.
  const on = await trainHere(folder, "mtp-on", { ...more, model: { folder: "mtp-whole" }, steps: 1 });
  const plain = await trainHere(folder, "mtp-plain", { model: { config }, steps: 1 });
  expect(lossesOf(on)[0]).toBeLessThan(whole[0]!);
  expect(lossesOf(plain)[0]).toBeLessThan(whole[0]! - 1);
  const [planned] = await trainHere(folder, "mtp-planned", more, { dryRun: true });
  expect(planned).toMatchObject({ type: "plan", plan: { loss: whole[0] } });
  for (const [model, other, message] of [
    [{ folder: "mtp-plain" }, {}, /mtp: the model has no layers that predict further tokens; /],
    [tiny.model, {}, /mtp: the model has no layers that predict further tokens; /],
    [
      { config: { ...config, num_nextn_predict_layers: 8 } },
      {},
      /mtp: the longest sequence has 6 inputs, too few to predict 8 further/,
    ],
    [{ config }, { mtp: { weight: -1 } }, /mtp\.weight: /],
  ] as const)
    await expect(trainHere(folder, "mtp-no", { mtp: {}, model, ...other })).rejects.toThrow(message);
});
