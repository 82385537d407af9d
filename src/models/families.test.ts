// Every family against transformers: the fixtures of scripts/make-model-fixtures.py, and bad configs and weights.

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { onEachChip } from "../ops/testing/chips.js";
import { loadChip, scope } from "../runtime/index.js";
import { noGrad, type Tensor, tensor } from "../tensor/index.js";
import { familyOf, supportedFamilies } from "./families/index.js";
import { openFolder, readJson, saveFolder, Weights } from "./folder.js";
import { loadWeights, readTensors, saveModel } from "./load.js";
import { toFiles } from "./parameters.js";
import type { TextTokenizer } from "./tokenizer.js";
import type { LanguageModel } from "./transformer.js";

const ROOT = join(import.meta.dirname, "../../test/fixtures/models/families");
const NAMES = fs.readdirSync(ROOT).sort();
const shared = join(import.meta.dirname, "../../../shared/models");

const idsOn = (ids: readonly bigint[], device: string): Tensor =>
  tensor(BigInt64Array.from(ids), { shape: [1, ids.length], device });

function reference(folder: string) {
  using w = new Weights([join(folder, "reference.safetensors")]);
  const ids = [...new BigInt64Array(w.read("ids", [1, 12]).data.buffer.slice(0))];
  const floats = (name: string, rows: number) => new Float32Array(w.read(name, [rows, 40]).data.buffer);
  return {
    ids,
    logits: floats("logits", ids.length),
    ahead: w.has("ahead") ? floats("ahead", ids.length - 1) : undefined,
  };
}

/** The largest difference over the largest expected value. */
function off(got: ArrayLike<number | bigint>, want: Float32Array): number {
  expect(got.length).toBe(want.length);
  const largest = want.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  return want.reduce((m, x, i) => Math.max(m, Math.abs(x - Number(got[i]))), 0) / largest;
}

const read = async (t: Tensor) => Array.from(await t.data(), Number);
const compute = (fn: () => Tensor) => noGrad(() => scope(fn));

// What is no chip's matter runs on one that every machine has, whatever chips are chosen.
beforeAll(() => loadChip("wasm"));

await onEachChip((device) => {
  describe.each(NAMES)("%s", (name) => {
    const folder = join(ROOT, name);
    const load = () => loadWeights(openFolder(folder), { device, dtype: "f32" });

    it("computes transformers' logits", async () => {
      const { ids, logits, ahead } = reference(folder);
      const model = load();
      expect(off(await read(compute(() => model.forward(idsOn(ids, device)))), logits)).toBeLessThan(2e-5);
      if (ahead) {
        const two = noGrad(() => scope(() => model.forwardAhead(idsOn(ids, device))));
        expect(off(await read(two[0]!), logits)).toBeLessThan(2e-5);
        expect(off(await read(two[1]!), ahead)).toBeLessThan(2e-5);
      }
      model.dispose();
    });

    it("computes the same in pieces, with a cache", async () => {
      // Angles that stretch with the length make earlier keys others than those that a whole run sees.
      const stretches = name === "llama-dynamic";
      const { ids, logits } = reference(folder);
      const model = load();
      const cache = model.newCache(1, ids.length);
      const got: number[] = [];
      for (const [from, to] of stretches
        ? [[0, 12]]
        : [
            [0, 5],
            [5, 6],
            [6, 10],
            [10, 11],
            [11, 12],
          ])
        got.push(
          ...(await read(compute(() => model.forward(idsOn(ids.slice(from, to), device), { cache })))),
        );
      expect(off(got, logits)).toBeLessThan(2e-5);
      cache.dispose();
      model.dispose();
    });

    it("has gradients for every parameter that takes part", async () => {
      const model = loadWeights(openFolder(folder), { device, dtype: "f32", requiresGrad: true });
      const { ids } = reference(folder);
      scope(() => model.forward(idsOn(ids, device)).sum().backward());
      const without = [...model.namedParameters()].filter(([, p]) => p.grad === null).map(([n]) => n);
      expect(without.filter((n) => !/^predict|e_score_correction_bias$/.test(n))).toEqual([]);
      model.dispose();
    });
  });
});

describe("folders", () => {
  it.each(NAMES)("%s is written under the names it was read by", async (name) => {
    const from = openFolder(join(ROOT, name));
    const model = loadWeights(from, { device: "wasm" });
    const dir = fs.mkdtempSync(join(tmpdir(), "vexil-family-"));
    const { config } = model;
    saveFolder(dir, {
      config: config.raw,
      tensors: toFiles(familyOf(config.raw, ""), config, await readTensors(model.namedParameters())),
    });
    using before = from.weights();
    using after = openFolder(dir).weights();
    expect(after.names.sort()).toEqual(before.names.sort());
    for (const n of before.names) expect(after.entry(n)).toMatchObject(before.entry(n));
    for (const n of before.names) expect(after.bytes(n)).toEqual(before.bytes(n));
    fs.rmSync(dir, { recursive: true });
    model.dispose();
  });

  it("keeps the dtype that is stored, or converts", () => {
    const folder = openFolder(join(ROOT, "aquila"));
    for (const [dtype, want] of [
      [undefined, "bf16"],
      ["f32", "f32"],
      ["f16", "f16"],
    ] as const) {
      const model = loadWeights(folder, { device: "wasm", dtype });
      expect(new Set(model.parameters().map((p) => p.dtype))).toEqual(new Set([want]));
      model.dispose();
    }
  });
});

describe.skipIf(!fs.existsSync(shared))("names in the wild", () => {
  it.each([
    ["gpt2", (n: string) => n.replace(/^transformer\./, "")],
    [
      "bert",
      (n: string) =>
        `bert.${n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")}`,
    ],
  ])("%s with other prefixes", async (name, rename) => {
    const from = openFolder(join(shared, name));
    const dir = fs.mkdtempSync(join(tmpdir(), "vexil-family-"));
    using w = from.weights();
    const tensors = new Map(w.names.map((n) => [rename(n), { ...w.entry(n), data: w.bytes(n) }]));
    saveFolder(dir, { config: from.config as Record<string, unknown>, tensors });
    const [a, b] = [loadWeights(from, { device: "wasm" }), loadWeights(openFolder(dir), { device: "wasm" })];
    const run = (m: LanguageModel) => read(compute(() => m.hidden(idsOn([5n, 6n, 7n], "wasm"))));
    expect(await run(b)).toEqual(await run(a));
    fs.rmSync(dir, { recursive: true });
  });

  it("bert ignores padding that a mask hides, and pools", async () => {
    const model = loadWeights(openFolder(join(shared, "bert")), { device: "wasm" });
    const alone = compute(() => model.hidden(idsOn([5n, 6n, 7n], "wasm")));
    const mask = tensor([1, 1, 1, 0, 0], { shape: [1, 5], dtype: "bool", device: "wasm" });
    const padded = compute(() => model.hidden(idsOn([5n, 6n, 7n, 0n, 0n], "wasm"), { mask }).narrow(1, 0, 3));
    expect(off(await read(padded), Float32Array.from(await read(alone)))).toBeLessThan(1e-5);
    expect(compute(() => model.pooled(alone)).shape).toEqual([1, 64]);
    expect(() => model.forward(idsOn([5n], "wasm"))).toThrow(/"bert" do not predict a next token/);
  });
});

describe("bad configs and weights", () => {
  const raw = (name: string) => readJson(join(ROOT, name, "config.json")) as Record<string, unknown>;
  it.each<[string, Record<string, unknown>, RegExp]>([
    ["aquila", { hidden_size: -1 }, /x\/config\.json: hidden_size/],
    ["aquila", { num_key_value_heads: 3 }, /4 heads are not a multiple of 3/],
    ["aquila", { head_dim: 33 }, /33 is not an even number/],
    ["aquila", { model_type: "llama9" }, /"llama9" is not supported \(supported: llama, /],
    ["aquila", { model_type: 5 }, /no "model_type"/],
    ["llama-linear", { rope_parameters: { rope_type: "spiral" } }, /RoPE of type "spiral" is not supported/],
    ["llama-linear", { rope_parameters: { rope_type: "linear" } }, /"linear" needs "factor"/],
    ["llama-llama3", { rope_parameters: { rope_type: "llama3", factor: 2 } }, /needs "low_freq_factor"/],
    ["mistral-window", { sliding_window: 0 }, /sliding_window/],
    ["deepseek-v3-yarn", { n_group: 3 }, /n_routed_experts 4 is not a multiple of n_group 3/],
    ["deepseek-v3-yarn", { topk_group: 9 }, /topk_group 9 of 2/],
    ["deepseek-v3-yarn", { num_experts_per_tok: 4 }, /4 is more than 1 groups hold/],
  ])("%s with %j", (name, change, message) => {
    const changed = { ...raw(name), ...change };
    expect(() => familyOf(changed, "x/config.json").parse(changed, "x/config.json")).toThrow(message);
  });

  it("names a tensor with its shape and the expected one", () => {
    const folder = openFolder(join(ROOT, "aquila"));
    const wrong = { ...folder, config: { ...raw("aquila"), intermediate_size: 25 } };
    expect(() => loadWeights(wrong, { device: "wasm" })).toThrow(
      /aquila\/model\.safetensors: tensor "model\.layers\.0\.mlp\.gate_proj\.weight" is \[24,16\], but config\.json asks for \[25,16\]/,
    );
    const more = { ...folder, config: { ...raw("aquila"), num_hidden_layers: 3 } };
    expect(() => loadWeights(more, { device: "wasm" })).toThrow(
      /tensor "model\.layers\.2\.input_layernorm\.weight" is missing/,
    );
  });

  it("refuses weights of other quantizations by name", () => {
    const folder = openFolder(join(ROOT, "aquila"));
    const config = { ...raw("aquila"), quantization_config: { quant_method: "awq", bits: 4 } };
    expect(() => loadWeights({ ...folder, config }, { device: "wasm" })).toThrow(/quantized by "awq"/);
  });

  it("lists nine families", () => {
    expect(supportedFamilies().sort()).toEqual([
      "aquila",
      "bert",
      "deepseek_v3",
      "gpt2",
      "llama",
      "mistral",
      "qwen2",
      "qwen3",
      "qwen3_moe",
    ]);
  });
});

// A save through the public function, since the trainer uses it.
it("saves with a config that says the dtype", async () => {
  const model = loadWeights(openFolder(join(ROOT, "llama-linear")), { device: "wasm", dtype: "f32" });
  const dir = fs.mkdtempSync(join(tmpdir(), "vexil-family-"));
  const tokenizer = { eosIds: [1], files: { tokenizer: {} } } as unknown as TextTokenizer;
  await saveModel(dir, model, tokenizer);
  expect(readJson(join(dir, "config.json"))).toMatchObject({ dtype: "float32", model_type: "llama" });
  fs.rmSync(dir, { recursive: true });
  model.dispose();
});
