// GGUF files: written and read back, refused with a clear error whatever is wrong with them, and run by llama.cpp.

import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import "../../chips/index.js";
import { loadChip, scope } from "../../runtime/index.js";
import { noGrad, tensor } from "../../tensor/index.js";
import { openFolder } from "../folder.js";
import { loadModel, loadWeights, openParameters, parameterShapes } from "../load.js";
import { openModel } from "../open.js";
import { readSafetensors, SafetensorsError } from "../safetensors.js";
import type { LanguageModel } from "../transformer.js";
import { blockFloats, encode } from "./blocks.js";
import { writeGguf } from "./export.js";
import { bytesOf, GgufError, ggufChunks, parseGguf } from "./format.js";
import { half, toBrain, toHalf } from "./halves.js";
import type { WrittenType } from "./types.js";

const QWEN3 = join(import.meta.dirname, "../../../test/fixtures/models/qwen3");
const FAMILIES = join(import.meta.dirname, "../../../test/fixtures/models/families");
const SHARED = join(import.meta.dirname, "../../../../shared/models");
const LLAMA_CPP = process.env["VEXIL_LLAMA_CPP"] ?? join(import.meta.dirname, "../../../bench/peers");
const device = "wasm";
let dir: string;
beforeAll(async () => {
  await loadChip(device);
  dir = fs.mkdtempSync(join(tmpdir(), "vexil-gguf-"));
});
afterAll(() => fs.rmSync(dir, { recursive: true }));

function exported(path: string, type: WrittenType): string {
  const folder = openModel(path);
  const { config, files } = openParameters(folder);
  using open = files;
  const file = join(dir, `${path.replaceAll(/\W+/g, "-")}-${type}.gguf`);
  const shapes = parameterShapes(config, device);
  writeGguf(file, { name: "test", config, tokenizer: folder.tokenizer(), files: open, shapes, type });
  return file;
}

async function logits(model: LanguageModel, ids: readonly number[]): Promise<number[]> {
  const out = noGrad(() =>
    scope(() => model.forward(tensor(BigInt64Array.from(ids, BigInt), { shape: [1, ids.length], device }))),
  );
  return Array.from(await out.data(), Number);
}

/** The root of the mean square of the difference, over that of the expected values. */
function off(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let [d, all] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    d += (got[i]! - want[i]!) ** 2;
    all += want[i]! ** 2;
  }
  return Math.sqrt(d / all);
}

describe("a model written and read back", () => {
  it.each([
    ["F32", 1e-6],
    ["F16", 1e-3],
    ["BF16", 1e-2],
    ["Q8_0", 2e-2],
    ["Q4_0", 0.3],
  ] as const)("computes the same in %s", async (type, limit) => {
    const { model, tokenizer } = loadModel(QWEN3, { device });
    const again = loadModel(exported(QWEN3, type), { device });
    const ids = tokenizer.encode("def softmax(x):\n    return");
    const d = off(await logits(again.model, ids), await logits(model, ids));
    expect(d).toBeLessThan(limit);
    // A type that rounds has to show it: else the test would compare a file with itself.
    if (type !== "F32") expect(d).toBeGreaterThan(1e-7);
    model.dispose();
    again.model.dispose();
  });

  it("keeps the tokenizer, its special tokens and the chat template", () => {
    const from = openFolder(QWEN3).tokenizer();
    const to = openModel(exported(QWEN3, "Q8_0")).tokenizer();
    for (const text of ["a  b\n\tc 3.14159", "naïve — 你好, мир! 🙂", "<|im_start|>user\nx<|im_end|>"])
      expect(to.encode(text)).toEqual(from.encode(text));
    expect(to.eosIds).toEqual(from.eosIds);
    const talk = [{ role: "user", content: "x" }];
    expect(to.chat(talk)).toBe(from.chat(talk));
  });

  it.each(["llama-llama3", "llama-yarn", "llama-linear", "aquila"])(
    "keeps heads, biases and RoPE of %s",
    async (name) => {
      const folder = openFolder(join(FAMILIES, name));
      const { config, files } = openParameters(folder);
      using open = files;
      const file = join(dir, `${name}.gguf`);
      const tokenizer = openFolder(QWEN3).tokenizer();
      const write = () =>
        writeGguf(file, {
          name,
          config,
          tokenizer,
          files: open,
          shapes: parameterShapes(config, device),
          type: "F32",
        });
      // The tokenizer has more tokens than the model has rows.
      expect(write).toThrow(/has the id \d+, but the model has 40 rows/);
      const { tokenizer: json, config: settings } = tokenizer.files;
      const { model, ...rest } = json as { model: { vocab: Record<string, number> } };
      const vocab = Object.fromEntries(Object.entries(model.vocab).filter(([, id]) => id < 40));
      const small = {
        ...tokenizer,
        encode: () => [5],
        tokenId: () => undefined,
        files: { tokenizer: { ...rest, model: { ...model, vocab, merges: [] } }, config: settings! },
      };
      const other = small as unknown as typeof tokenizer;
      writeGguf(file, {
        name,
        config,
        tokenizer: other,
        files: open,
        shapes: parameterShapes(config, device),
        type: "F32",
      });
      // Llama 3's stretching is known for its own context only.
      if (name === "llama-llama3") {
        expect(() => openModel(file)).toThrow(/"rope_freqs\.weight" is not the stretching of Llama 3/);
        return;
      }
      const [a, b] = [
        loadWeights(folder, { device, dtype: "f32" }),
        loadWeights(openModel(file), { device }),
      ];
      const ids = [3, 14, 15, 9, 26, 5, 35, 8];
      expect(off(await logits(b, ids), await logits(a, ids))).toBeLessThan(1e-5);
      a.dispose();
      b.dispose();
    },
  );
});

describe("blocks", () => {
  const x = Float32Array.from({ length: 512 }, (_, i) => Math.sin(i * 12.9898) * (1 + (i >> 5)));
  it.each([
    ["Q8_0", 0.005],
    ["Q4_0", 0.08],
    ["Q4_K", 0.08],
  ] as const)("%s stays near the floats", (type, limit) => {
    expect(off(blockFloats(type, encode(type, x)), x)).toBeLessThan(limit);
    // A scale of -0 is what ggml writes too.
    const none = blockFloats(type, encode(type, new Float32Array(256)));
    expect(none.every((v) => v === 0)).toBe(true);
  });

  it("rounds halves and bfloat16 to the nearest, ties to even", () => {
    for (let h = 0; h < 0x7c00; h++) expect(toHalf(half(h))).toBe(h);
    expect(toHalf(2049)).toBe(toHalf(2048));
    expect(toHalf(65520)).toBe(0x7c00);
    expect(toBrain(1 + 2 ** -8)).toBe(0x3f80);
    expect(toBrain(1 + 3 * 2 ** -8)).toBe(0x3f82);
  });
});

describe("damaged files", () => {
  const good = () =>
    new Uint8Array(
      Buffer.concat([
        ...ggufChunks(
          new Map([
            ["general.architecture", { string: "llama" }],
            ["a.list", { strings: ["x", "y"] }],
            ["a.number", { u32: 7 }],
          ]),
          [
            { name: "one", type: "F32", shape: [2, 3], data: () => new Uint8Array(24) },
            { name: "two", type: "Q8_0", shape: [2, 32], data: () => new Uint8Array(68) },
          ],
        ),
      ]),
    );
  const parse = (b: Uint8Array) => parseGguf(bytesOf(b), "x.gguf");

  it("reads its own", () => {
    const h = parse(good());
    expect(h.metadata.get("a.list")).toEqual(["x", "y"]);
    expect(h.tensors.get("two")).toMatchObject({ type: "Q8_0", shape: [2, 32], bytes: 68 });
  });

  it("refuses every truncation with an error that names the file", () => {
    const b = good();
    const end = [...parse(b).tensors.values()].reduce((n, t) => Math.max(n, t.begin + t.bytes), 0);
    for (let n = 0; n < end; n++) expect(() => parse(b.subarray(0, n))).toThrow(/^x\.gguf: /);
  });

  it("never fails in another way, whatever bytes are changed", () => {
    const b = good();
    const edit = fc.tuple(
      fc.nat(b.length - 9),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.constantFrom(1, 4, 8),
    );
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        const copy = b.slice();
        for (const [at, value, width] of edits)
          for (let i = 0; i < width; i++) copy[at + i] = Number((value >> BigInt(8 * i)) & 255n);
        try {
          const h = parse(copy);
          const ranges = [...h.tensors.values()].sort((p, q) => p.begin - q.begin);
          ranges.forEach((t, i) => {
            expect(t.begin + t.bytes).toBeLessThanOrEqual(copy.length);
            if (i > 0 && t.bytes > 0 && ranges[i - 1]!.bytes > 0)
              expect(t.begin).toBeGreaterThanOrEqual(ranges[i - 1]!.begin + ranges[i - 1]!.bytes);
          });
        } catch (e) {
          expect(e).toBeInstanceOf(GgufError);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("names overlapping tensors", () => {
    const b = good();
    const at = Buffer.from(b).indexOf("two") + 3 + 4 + 16 + 4;
    new DataView(b.buffer).setBigUint64(at, 0n, true);
    expect(() => parse(b)).toThrow(/tensors "(one|two)" and "(one|two)" overlap/);
  });

  it("refuses safetensors with huge counts, overlaps and truncation in the same way", () => {
    const entry = fc.record({
      dtype: fc.constantFrom("F32", "BF16", "I64", "F7"),
      shape: fc.array(fc.oneof(fc.nat(5), fc.constantFrom(2 ** 31, 2 ** 53, -1, 1.5)), { maxLength: 3 }),
      data_offsets: fc.tuple(
        fc.oneof(fc.nat(64), fc.constant(2 ** 60)),
        fc.oneof(fc.nat(64), fc.constant(2 ** 60)),
      ),
    });
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ maxLength: 3 }), entry, { maxKeys: 3 }),
        fc.nat(64),
        fc.option(fc.nat()),
        (header, data, cut) => {
          const json = new TextEncoder().encode(JSON.stringify(header));
          const file = new Uint8Array(8 + json.length + data);
          new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
          file.set(json, 8);
          const given = cut === null ? file : file.subarray(0, cut % (file.length + 1));
          try {
            const s = readSafetensors(given, "x");
            for (const [name, t] of s.tensors) expect(s.data(name).length).toBe(t.end - t.begin);
          } catch (e) {
            expect(e).toBeInstanceOf(SafetensorsError);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});

const peer = fs.existsSync(join(LLAMA_CPP, "node_modules/node-llama-cpp")) && fs.existsSync(SHARED);
describe.skipIf(!peer)(
  `llama.cpp${peer ? "" : " (missing: node-llama-cpp, see scripts/llama-cpp.mjs)"}`,
  () => {
    const script = join(import.meta.dirname, "../../../scripts/llama-cpp.mjs");
    const llama = (...words: string[]): unknown =>
      JSON.parse(
        execFileSync("node", [script, ...words], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
      );

    it.each(["llama", "qwen2", "qwen3", "qwen3-moe", "gpt2"])(
      "decodes the same tokens of %s in F32",
      (name) => {
        const file = exported(join(SHARED, name), "F32");
        const { cases } = JSON.parse(fs.readFileSync(join(SHARED, name, "reference.json"), "utf8")) as {
          cases: { prompt: string; input_ids: number[]; greedy: number[] }[];
        };
        const prompts = JSON.stringify(cases.map((c) => c.input_ids));
        expect(llama("greedy", file, "24", prompts)).toEqual(cases.map((c) => c.greedy));
        expect(llama("tokens", file, JSON.stringify(cases.map((c) => c.prompt)))).toEqual(
          cases.map((c) => c.input_ids),
        );
      },
    );
  },
);
