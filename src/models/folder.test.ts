import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { familyOf } from "./families/index.js";
import { openFolder, saveFolder, writeAtomic } from "./folder.js";

const fixture = join(import.meta.dirname, "../../test/fixtures/models/qwen3");
let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(join(tmpdir(), "vexil-folder-"));
});
afterEach(() => fs.rmSync(dir, { recursive: true }));

const copy = () => fs.cpSync(fixture, dir, { recursive: true });

describe("openFolder", () => {
  it("reads config, tokenizer and weights", () => {
    const folder = openFolder(fixture);
    const config = familyOf(folder.config, "config.json").parse(folder.config, "config.json");
    expect(config).toMatchObject({
      hiddenSize: 64,
      attention: { heads: 4, kvHeads: 2, headDim: 32, qkNorm: true },
      tieEmbeddings: true,
      positions: { type: "default", theta: 10000 },
    });
    expect(config.mlps).toHaveLength(2);
    using weights = folder.weights();
    const embed = weights.read("model.embed_tokens.weight", [config.vocabSize, config.hiddenSize]);
    expect(embed.dtype).toBe("f32");
    expect(embed.data.length).toBe(640 * 64 * 4);
    expect(folder.tokenizer().decode([592])).not.toBe("");
  });

  it("writes what it reads back", () => {
    const from = openFolder(fixture);
    using weights = from.weights();
    const shapes = new Map([["model.norm.weight", [64]]]);
    const tensors = new Map([...shapes].map(([name, shape]) => [name, weights.read(name, shape)]));
    saveFolder(dir, { config: from.config as Record<string, unknown>, tokenizer: from.tokenizer(), tensors });
    const again = openFolder(dir);
    using w = again.weights();
    expect([...w.read("model.norm.weight", [64]).data]).toEqual([...tensors.get("model.norm.weight")!.data]);
    expect(again.config).toEqual(from.config);
    expect(again.tokenizer().chat([{ role: "user", content: "x" }])).toContain("<|im_start|>user\nx");
    expect(fs.readdirSync(dir).some((f) => f.endsWith(".tmp"))).toBe(false);
  });

  it("reads shards through their index", () => {
    copy();
    fs.renameSync(join(dir, "model.safetensors"), join(dir, "model-00001-of-00001.safetensors"));
    fs.writeFileSync(
      join(dir, "model.safetensors.index.json"),
      JSON.stringify({ weight_map: { "model.norm.weight": "model-00001-of-00001.safetensors" } }),
    );
    using w = openFolder(dir).weights();
    expect(w.has("model.norm.weight")).toBe(true);
  });

  it.each<[string, () => void, RegExp]>([
    ["no folder", () => fs.rmSync(dir, { recursive: true }), /no such folder/],
    ["no config", () => {}, /config\.json: there is no such file/],
    ["damaged JSON", () => fs.writeFileSync(join(dir, "config.json"), "{"), /config\.json: not valid JSON/],
  ])("names what is wrong: %s", (_w, damage, message) => {
    damage();
    try {
      expect(() => openFolder(dir)).toThrow(message);
    } finally {
      fs.mkdirSync(dir, { recursive: true });
    }
  });

  it.each<[string, () => void, RegExp]>([
    ["no weights", () => fs.rmSync(join(dir, "model.safetensors")), /neither model\.safetensors nor/],
    [
      "truncated weights",
      () => fs.truncateSync(join(dir, "model.safetensors"), 1000),
      /model\.safetensors: truncated/,
    ],
    ["empty weights", () => fs.truncateSync(join(dir, "model.safetensors"), 0), /0 bytes are too few/],
  ])("names what is wrong with weights: %s", (_w, damage, message) => {
    copy();
    damage();
    expect(() => openFolder(dir).weights()).toThrow(message);
  });

  it("names a missing tensor and a wrong shape", () => {
    using w = openFolder(fixture).weights();
    expect(() => w.read("model.nope", [1])).toThrow(/tensor "model\.nope" is missing/);
    expect(() => w.read("model.norm.weight", [65])).toThrow(/is \[64\], but config\.json asks for \[65\]/);
  });

  it("leaves the old file when writing fails", () => {
    const path = join(dir, "x");
    writeAtomic(path, ["old"]);
    expect(() => writeAtomic(path, ["new", 5 as never])).toThrow();
    expect(fs.readFileSync(path, "utf8")).toBe("old");
    expect(fs.readdirSync(dir)).toEqual(["x"]);
  });
});
