// Models with integers in place of matrices: written, loaded again, and near the model they come from.

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import "../chips/index.js";
import { loadChip } from "../runtime/index.js";
import { openFolder, saveFolder } from "./folder.js";
import { loadModel, openParameters, parameterShapes } from "./load.js";
import { perplexity } from "./perplexity.js";
import { quantizeModel } from "./quantize.js";

const QWEN3 = join(import.meta.dirname, "../../test/fixtures/models/qwen3");
const device = "wasm";
let dir: string;
beforeAll(async () => {
  await loadChip(device);
  dir = fs.mkdtempSync(join(tmpdir(), "vexil-quantize-"));
});
afterAll(() => fs.rmSync(dir, { recursive: true }));

it.each([
  [8, 32, 0.005],
  [8, 0, 0.01],
  [4, 32, 0.05],
] as const)("%i bits, groups of %i", async (bits, groupSize, limit) => {
  const out = join(dir, `${bits}-${groupSize}`);
  expect(await quantizeModel(openFolder(QWEN3), out, { bits, groupSize, device })).toBe(14);
  const [a, b] = [loadModel(QWEN3, { device }), loadModel(out, { device })];
  const ids = a.tokenizer.encode("Returns a new tensor with the sine of the elements of input.");
  const [before, after] = [await perplexity(a.model, ids), await perplexity(b.model, ids)];
  expect(Math.abs(after / before - 1)).toBeLessThan(limit);
  expect(after).not.toBe(before);
  expect(b.model.namedParameters().get("model.layers.0.mlp.up_proj.weight_packed")!.dtype).toBe(
    bits === 8 ? "i8" : "u8",
  );
  expect(() => loadModel(out, { device, requiresGrad: true })).toThrow(/integer weights cannot be trained/);
  await expect(
    quantizeModel(openFolder(out), join(dir, "twice"), { bits, groupSize, device }),
  ).rejects.toThrow(/integers already/);
  a.model.dispose();
  b.model.dispose();
});

it("makes integers of an output matrix of its own, with bits of their own", async () => {
  // The fixture with its embeddings as a matrix of the output beside them.
  const from = openFolder(QWEN3);
  const { config, files } = openParameters(from);
  const tensors = new Map(
    [...parameterShapes(config, device)].map(([name, shape]) => [name, files.read(name, shape)]),
  );
  tensors.set("lm_head.weight", tensors.get("model.embed_tokens.weight")!);
  files[Symbol.dispose]();
  const [untied, out] = [join(dir, "untied"), join(dir, "output")];
  saveFolder(untied, {
    config: { ...config.raw, tie_word_embeddings: false },
    generation: from.generation,
    tokenizer: from.tokenizer(),
    tensors,
  });
  const options = { bits: 4, outputBits: 8, groupSize: 32, device } as const;
  expect(await quantizeModel(openFolder(untied), out, options)).toBe(15);
  const [a, b] = [loadModel(untied, { device }), loadModel(out, { device })];
  const parameters = b.model.namedParameters();
  expect(parameters.get("lm_head.weight_packed")!.dtype).toBe("i8");
  expect(parameters.get("model.layers.0.mlp.up_proj.weight_packed")!.dtype).toBe("u8");
  const ids = a.tokenizer.encode("Returns a new tensor with the sine of the elements of input.");
  const [before, after] = [await perplexity(a.model, ids), await perplexity(b.model, ids)];
  expect(Math.abs(after / before - 1)).toBeLessThan(0.05);
  a.model.dispose();
  b.model.dispose();
});
