// Adapters: what they compute, which parameters learn, PEFT's files, merging. The formula is checked by hand on the host.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { QWEN3 } from "../../test/built.js";
import "../chips/index.js";
import type { Linear } from "../nn/index.js";
import { fillUniform } from "../ops/random-kernels.js";
import { Generator, loadChip, scope } from "../runtime/index.js";
import { noGrad, tensor, type Tensor } from "../tensor/index.js";
import { openFolder } from "./folder.js";
import { createModel, loadModel, saveModel } from "./load.js";
import { adapterParameters, attachLora, loadAdapter, type LoraOptions } from "./lora.js";
import { safetensorsChunks } from "./safetensors.js";
import { characterTokenizer } from "./tokenizer.js";
import type { LanguageModel } from "./transformer.js";

await loadChip("wasm");
const dir = mkdtempSync(join(tmpdir(), "vexil-lora-"));
afterAll(() => rmSync(dir, { recursive: true }));
const live: LanguageModel[] = [];
afterEach(() => {
  for (const m of live.splice(0)) m.dispose();
});

const OPTIONS: LoraOptions = { rank: 3, alpha: 6, dropout: 0, targets: ["q_proj", "v_proj"] };
const numbers = async (t: Tensor) => [...((await t.data()) as Float32Array)];
const logits = (m: LanguageModel) =>
  numbers(noGrad(() => scope(() => m.forward(tensor([[5n, 9n, 2n]], { device: "wasm" })))));

function base(adapter?: string): LanguageModel {
  const { model } = loadModel(QWEN3, {
    device: "wasm",
    requiresGrad: adapter === undefined,
    dtype: "f32",
    adapter,
  });
  live.push(model);
  return model;
}

/** The fixture with adapters, those of the output side no longer zero. */
function adapted(options = OPTIONS, model = base()): LanguageModel {
  const parameters = attachLora(model, options, { base: QWEN3, seed: 4 });
  const generator = new Generator(8);
  noGrad(() => {
    for (const [name, t] of parameters) if (name.includes("lora_B")) fillUniform(t, -0.2, 0.2, generator);
  });
  return model;
}

const largest = (a: readonly number[], b: readonly number[]) =>
  Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));

describe("an adapter", () => {
  it("adds nothing at first, then alpha / rank * x A^T B^T", async () => {
    const plain = await logits(base());
    const fresh = base();
    attachLora(fresh, OPTIONS, { base: QWEN3, seed: 4 });
    expect(await logits(fresh)).toEqual(plain);

    const model = adapted();
    expect(largest(await logits(model), plain)).toBeGreaterThan(0.01);
    const layer = model.namedModules().get("model.layers.0.self_attn.q_proj") as Linear;
    const [rows, columns] = layer.weight!.shape as [number, number];
    const x = Array.from({ length: columns }, (_, i) => Math.sin(i));
    const y = await numbers(noGrad(() => layer.forward(tensor([x], { device: "wasm", dtype: "f32" }))));
    const [w, a, b] = await Promise.all(
      [layer.weight!, layer.adapter!.loraA, layer.adapter!.loraB].map(numbers),
    );
    const dot = (m: readonly number[], row: number, v: readonly number[]) =>
      v.reduce((s, e, i) => s + e * m[row * v.length + i]!, 0);
    const small = Array.from({ length: 3 }, (_, r) => dot(a!, r, x));
    const wanted = Array.from({ length: rows }, (_, r) => dot(w!, r, x) + 2 * dot(b!, r, small));
    expect(largest(y, wanted)).toBeLessThan(1e-5);
  });

  it("alone learns", async () => {
    const model = adapted({ ...OPTIONS, targets: undefined });
    const y = model.forward(tensor([[5n, 9n, 2n]], { device: "wasm" }));
    y.sum().backward();
    const learning = new Set(adapterParameters(model).values());
    expect(learning.size).toBe(2 * 7 * model.config.mlps.length);
    for (const p of model.parameters()) expect(p.grad !== null).toBe(learning.has(p));
  });

  it("drops inputs while training only", async () => {
    const model = adapted({ ...OPTIONS, dropout: 0.5 });
    const plain = await logits(model);
    const run = (seed: number) =>
      numbers(
        noGrad(() =>
          scope(() =>
            model.forward(tensor([[5n, 9n, 2n]], { device: "wasm" }), {
              training: { generator: new Generator(seed) },
            }),
          ),
        ),
      );
    expect(await run(1)).toEqual(await run(1));
    expect(await run(1)).not.toEqual(await run(2));
    expect(await run(1)).not.toEqual(plain);
    expect(await logits(model)).toEqual(plain);
  });
});

describe("a PEFT folder", () => {
  it("has PEFT's names, loads again and merges to the same model", async () => {
    const model = adapted();
    const path = join(dir, "qv");
    await saveModel(path, model, characterTokenizer("01"));
    const config = JSON.parse(readFileSync(join(path, "adapter_config.json"), "utf8"));
    expect(config).toMatchObject({
      peft_type: "LORA",
      base_model_name_or_path: QWEN3,
      r: 3,
      lora_alpha: 6,
      target_modules: ["q_proj", "v_proj"],
      fan_in_fan_out: false,
    });
    expect([...adapterParameters(model).keys()].slice(0, 2)).toEqual([
      "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
      "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight",
    ]);
    const wanted = await logits(model);
    const again = base();
    attachLora(again, OPTIONS, { base: QWEN3, seed: 99 });
    loadAdapter(again, path);
    expect(await logits(again)).toEqual(wanted);
    expect(largest(await logits(base(path)), wanted)).toBeLessThan(1e-4);
  });

  it("names GPT-2's layers as its files do", () => {
    const model = createModel(
      { model_type: "gpt2", vocab_size: 9, n_embd: 8, n_layer: 1, n_head: 2, n_positions: 8 },
      { device: "wasm", seed: 1 },
    );
    live.push(model);
    const names = [
      ...attachLora(model, { ...OPTIONS, targets: ["c_attn"] }, { base: "gpt2", seed: 1 }).keys(),
    ];
    expect(names).toEqual(
      ["A", "B"].map((x) => `base_model.model.transformer.h.0.attn.c_attn.lora_${x}.weight`),
    );
  });

  it.each<[string, object, Record<string, number[]>, RegExp]>([
    ["another kind", { peft_type: "IA3" }, {}, /adapters of the kind "IA3" are not supported/],
    ["DoRA", { use_dora: true }, {}, /use_dora true is not supported/],
    ["no rank", { r: undefined }, {}, /r undefined and lora_alpha 6 must be numbers/],
    [
      "a layer that is not there",
      {},
      { "base_model.model.nowhere.lora_A.weight": [3, 8] },
      /tensor "base_model\.model\.nowhere\.lora_A\.weight" belongs to no linear layer/,
    ],
    [
      "another shape",
      {},
      {
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": [3, 8],
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": [3, 8],
      },
      /lora_B\.weight" is \[3,8\], but the model \(they were made for ORG\/BASE\) and r 3 in adapter_config\.json ask for \[128,3\]$/,
    ],
    [
      "another rank",
      { r: 2 },
      { "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": [128, 3] },
      /lora_B\.weight" is \[128,3\], but .* and r 2 in adapter_config\.json ask for \[128,2\]$/,
    ],
    [
      "half of an adapter",
      {},
      { "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": [128, 3] },
      /q_proj\.lora_A\.weight" is missing/,
    ],
    ["nothing in it", {}, {}, /adapter_model\.safetensors: there are no adapters in it/],
  ])("is refused with %s", (name, config, tensors, message) => {
    const path = join(dir, name);
    mkdirSync(path);
    const all = {
      peft_type: "LORA",
      base_model_name_or_path: "ORG/BASE",
      r: 3,
      lora_alpha: 6,
      bias: "none",
      modules_to_save: null,
      rank_pattern: {},
      ...config,
    };
    writeFileSync(join(path, "adapter_config.json"), JSON.stringify(all));
    const data = new Map(
      Object.entries(tensors).map(([n, shape]) => [
        n,
        { dtype: "f32" as const, shape, data: new Uint8Array(4 * shape[0]! * shape[1]!) },
      ]),
    );
    writeFileSync(
      join(path, "adapter_model.safetensors"),
      Buffer.concat([...safetensorsChunks(data)].map((c) => Buffer.from(c as Uint8Array))),
    );
    expect(() => base(path)).toThrow(message);
    expect(() => openFolder(path)).toThrow(
      /: low-rank adapters, not a model; give their model \(ORG\/BASE\) and --adapter /,
    );
  });

  it("is gone on with by the same layers, rank and alpha only", async () => {
    const path = join(dir, "go-on");
    await saveModel(path, adapted(), characterTokenizer("01"));
    const on = (options: Partial<LoraOptions>) => {
      const model = base();
      attachLora(model, { ...OPTIONS, ...options }, { base: QWEN3, seed: 1 });
      return () => loadAdapter(model, path);
    };
    expect(on({ rank: 2 })).toThrow(/rank 3 and alpha 6, those to go on with rank 2 and alpha 6/);
    expect(on({ alpha: 3 })).toThrow(/rank 3 and alpha 6, those to go on with rank 3 and alpha 3/);
    expect(on({ targets: ["q_proj"] })).toThrow(/v_proj\.lora_A\.weight" belongs to no layer that adapters/);
    expect(on({ targets: undefined })).toThrow(/_proj\.lora_A\.weight" is missing/);
  });

  it("needs a target that is there", () => {
    expect(() => attachLora(base(), { ...OPTIONS, targets: ["q_prj"] }, { base: "", seed: 1 })).toThrow(
      /no linear layer "q_prj"; it has q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj/,
    );
  });
});
