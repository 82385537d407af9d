// What a run computes in: what the configuration says, else what fits the model's files.

import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import "../chips/index.js";
import { openFolder } from "../models/folder.js";
import { loadWeights, saveModel } from "../models/load.js";
import { characterTokenizer } from "../models/tokenizer.js";
import { loadChip } from "../runtime/index.js";
import { parseConfig } from "./config.js";
import { runDType } from "./setup.js";

await loadChip("wasm");
const dir = mkdtempSync(join(tmpdir(), "vexil-dtype-"));
afterAll(() => rmSync(dir, { recursive: true }));
const BF16 = join(import.meta.dirname, "../../test/fixtures/models/families/aquila");
const run = (model: object, more: object = {}, checkpoint?: string) =>
  runDType(
    parseConfig({ model, data: { train: "x" }, output: "o", steps: 1, ...more }, "c", dir),
    checkpoint,
  );

it("follows the files, and never computes in f16 unasked", async () => {
  const model = loadWeights(openFolder(BF16), { device: "wasm", dtype: "f16" });
  const f16 = join(dir, "f16");
  await saveModel(f16, model, characterTokenizer("01"));
  model.dispose();
  expect(run({ folder: BF16 })).toBe("bf16");
  expect(run({ folder: f16 })).toBe("f32");
  expect(run({ folder: BF16 }, { dtype: "f32" })).toBe("f32");
  expect(run({ config: {} })).toBe("f32");
  // A checkpoint has its own; one of adapters holds no model.
  expect(run({ folder: f16 }, {}, BF16)).toBe("bf16");
  expect(run({ folder: f16 }, { lora: {} }, BF16)).toBe("f32");
});
