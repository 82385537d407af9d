import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ConfigError, describeKeys, parseConfig, readConfig } from "./config.js";

const good = {
  model: { config: { model_type: "qwen3" } },
  data: { train: "sums.jsonl" },
  output: "out",
  steps: 100,
};

describe("parseConfig", () => {
  it("fills in defaults and resolves paths", () => {
    const c = parseConfig(good, "c.yaml", "/somewhere");
    expect(c).toMatchObject({
      batch_size: 32,
      betas: [0.9, 0.95],
      output: "/somewhere/out",
      data: { train: "/somewhere/sums.jsonl" },
    });
  });

  it.each([
    [{ ...good, learningRate: 1 }, 'c.yaml: unknown key "learningRate", did you mean "learning_rate"?'],
    [
      { ...good, data: { ...good.data, evalute: "x" } },
      'c.yaml: unknown key "data.evalute", did you mean "evaluate"?',
    ],
    [{ ...good, steps: "many" }, "c.yaml: steps: "],
    [{ ...good, model: {} }, "c.yaml: model: give either folder, or preset or config"],
    [
      { ...good, model: { folder: "a", preset: "gpt2" } },
      "c.yaml: model: give either folder, or preset or config",
    ],
    [{ ...good, model: { preset: "gpt3" } }, "c.yaml: model.preset: "],
    [
      { ...good, model: { preset: "gpt2", config: { n_layr: 1 } } },
      'c.yaml: model.config: gpt2 has no field "n_layr", did you mean "n_layer"?',
    ],
    [{ ...good, model: { config: "none.json" } }, "c.yaml: model.config: /none.json: there is no such file"],
    [{ ...good, betas: [0.9, 1] }, "c.yaml: betas.1"],
    [{ ...good, evaluate_every: 5 }, "c.yaml: evaluate_every needs data.evaluate"],
    [
      { ...good, data: { train: "a", evaluate: "b" }, early_stopping: { patience: 2 } },
      "c.yaml: early_stopping needs evaluate_every",
    ],
    [
      { ...good, early_stopping: { patiense: 2 } },
      'unknown key "early_stopping.patiense", did you mean "patience"?',
    ],
    [{ ...good, skip_spikes: { factor: 1 } }, "c.yaml: skip_spikes.factor: "],
    [
      { ...good, schedule: "wsd", decay_shape: "exponential" },
      "c.yaml: decay_shape exponential needs a min_learning",
    ],
    ["text", "c.yaml: "],
    [null, "c.yaml: "],
  ])("refuses %j", (raw, message) => {
    expect(() => parseConfig(raw, "c.yaml", "/")).toThrow(ConfigError);
    expect(() => parseConfig(raw, "c.yaml", "/")).toThrow(message);
  });

  it("takes a new model's shape by name, from a file, or both", () => {
    const shape = (model: unknown) => parseConfig({ ...good, model }, "c.yaml", "/").model.config;
    expect(shape({ preset: "gpt2" })).toMatchObject({ model_type: "gpt2", n_embd: 768 });
    expect(shape({ preset: "gpt2", config: { n_layer: 2 } })).toMatchObject({ n_embd: 768, n_layer: 2 });
    expect(shape({ preset: "gpt2", config: { n_inner: 96 } })).toMatchObject({ n_inner: 96 });
    const folder = mkdtempSync(join(tmpdir(), "vexil-config-"));
    try {
      const file = join(folder, "config.json");
      writeFileSync(file, JSON.stringify({ model_type: "llama", hidden_size: 8 }));
      expect(shape({ config: file })).toEqual({ model_type: "llama", hidden_size: 8 });
      for (const [text, why] of [
        ["{", "JSON"],
        ["[1]", "it holds no JSON object"],
      ] as const) {
        writeFileSync(file, text);
        expect(() => shape({ config: file })).toThrow(ConfigError);
        expect(() => shape({ config: file })).toThrow(why);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("describes every key", () => {
    for (const row of describeKeys()) expect(row.description, row.key).not.toBe("");
  });
});

describe("readConfig", () => {
  it("names the file and the line", () => {
    const dir = mkdtempSync(join(tmpdir(), "vexil-config-"));
    const file = join(dir, "c.yaml");
    expect(() => readConfig(file)).toThrow(/c\.yaml: there is no such file/);
    writeFileSync(file, "steps: 3\n  model: [");
    expect(() => readConfig(file)).toThrow(/c\.yaml: .*line/s);
    rmSync(dir, { recursive: true });
  });
});
