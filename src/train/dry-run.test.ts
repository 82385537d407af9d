// Dry runs: what they say is what the run then has, and they write nothing.

import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { killLeftovers, temporaryFolder, vexil } from "../../test/built.js";
import type { TrainEvent } from "./events.js";
import { estimateMemory } from "./memory-model.js";
import { lossesOf, tiny, trainHere, writeSums } from "./testing/tiny.js";

afterAll(killLeftovers);
const folder = temporaryFolder();
writeSums(folder);

describe("a dry run", () => {
  it("says what the run then has, and writes nothing", async () => {
    const more = { accumulate: 2, data: { train: "sums.jsonl", evaluate: "held.jsonl" }, steps: 8 };
    const before = readdirSync(folder);
    const [event, ...others] = await trainHere(folder, "planned/deep", more, { dryRun: true });
    expect(others).toEqual([]);
    expect(readdirSync(folder)).toEqual(before);
    const { plan } = event as Extract<TrainEvent, { type: "plan" }>;
    expect(plan).toMatchObject({
      parameters: 2592,
      trained: 2592,
      examples: 64,
      epochs: 2,
      steps: 8,
      heldOut: { batches: 1, targets: 5 },
      memory: { weights: 4 * 2592, gradients: 4 * 2592, optimizer: 8 * 2592 },
      warnings: [],
    });
    expect(plan.parts.reduce((n, [, count]) => n + count, 0)).toBe(2592);
    expect(plan.batches.map(({ rows, columns }) => [rows, columns])).toEqual([
      [8, 6],
      [8, 6],
    ]);
    expect(plan.measuredPeak).toBeGreaterThan(16 * 2592 + plan.memory.activations);
    expect(plan.laterStep).toBeLessThan(plan.firstStep);
    const events = await trainHere(folder, "planned/deep", { ...more, steps: 1 });
    expect(lossesOf(events)).toEqual([plan.loss]);
    const again = await trainHere(folder, "planned/deep", more, { dryRun: true });
    const { plan: second } = again[0] as Extract<TrainEvent, { type: "plan" }>;
    expect(second.warnings).toEqual([expect.stringMatching(/planned\/deep has a checkpoint of step 1: /)]);
  });

  it("prints a table on stdout, and fails as the run would", async () => {
    const path = join(folder, "plan.yaml");
    writeFileSync(path, stringify({ ...tiny, output: "plan" }));
    const { code, stdout, stderr } = await vexil(["train", path, "--dry-run"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^parameters {5}2,592$/m);
    expect(stdout).toMatch(/^first batch {4}\[16, 6\], 34 targets; 96 tokens in a step$/m);
    expect(stdout).toMatch(/^memory {9}\d+\.\d KiB of \S+ GiB, measured$/m);
    expect(stdout).toMatch(
      /^time {11}about \d+s for 8 steps: \S+ m?s a step, [\d,]+ tokens\/s \(the first \S+ m?s\)$/m,
    );
    expect(existsSync(join(folder, "plan"))).toBe(false);
  });

  it.each<[string, object, RegExp]>([
    [
      "a model beyond the memory",
      { model: { config: { ...tiny.model.config, hidden_size: 65536, num_hidden_layers: 400 } } },
      /^the weights alone are \S+ GiB \([\d,]+ parameters\), and the chip wasm has \S+ GiB$/,
    ],
    ["data that is not there", { data: { train: "none.jsonl" } }, /none\.jsonl: there is no such file/],
    ["an output below a file", { output: "sums.jsonl/run" }, /sums\.jsonl is not a folder/],
  ])("refuses %s", async (_name, more, message) => {
    await expect(trainHere(folder, "refused", more, { dryRun: true })).rejects.toThrow(message);
    expect(existsSync(join(folder, "refused"))).toBe(false);
  });
});

describe("estimateMemory", () => {
  const parameters = [
    { name: "model.embed_tokens.weight", shape: [100, 8], bytes: 2, trained: true },
    { name: "model.layers.0.input_layernorm.weight", shape: [8], bytes: 2, trained: true },
    { name: "model.layers.0.mlp.up_proj.weight", shape: [32, 8], bytes: 2, trained: true },
    { name: "model.layers.0.mlp.down_proj.weight", shape: [8, 32], bytes: 2, trained: false },
  ];
  const sizes = { tokens: 10, activationBytes: 2, hiddenSize: 8, vocabSize: 100, expertsPerToken: 1 };

  it("counts f32 copies and gradients of bf16 weights, and only what is trained", () => {
    const master = estimateMemory({ parameters, master: true, recompute: "none", ...sizes });
    expect(master).toMatchObject({ weights: 2 * 1320, gradients: 4 * 1064, optimizer: 12 * 1064 });
    // A norm's input and output, up's and down's output, down's input; around them three hidden states, and the logits.
    expect(master.activations).toBe(10 * ((16 + 32 + 8 + 32 + 24) * 2 + 2 * 100 * 4));
    const none = estimateMemory({ parameters, master: false, recompute: "full", ...sizes });
    expect(none).toMatchObject({ gradients: 2 * 1064, optimizer: 8 * 1064 });
  });
});
