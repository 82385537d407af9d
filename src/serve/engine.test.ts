// The engine in this thread: what it holds while it works, and that it lets go of it.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { QWEN3 } from "../../test/built.js";
import { openFolder } from "../models/folder.js";
import { quantizeModel } from "../models/quantize.js";
import { loadedChip, memoryStats } from "../runtime/index.js";
import type { GenerateEvent, GenerateRequest } from "./api.js";
import { type LocalEngine, loadEngine } from "./engine.js";

let engine: LocalEngine;
beforeAll(async () => {
  engine = await loadEngine({ model: QWEN3, chip: "wasm" });
  // The first request compiles and makes the rotary tables for the whole context.
  await collect(request("a", 255));
});
afterAll(() => engine.close());

const request = (text: string, maxTokens: number, more: Partial<GenerateRequest> = {}): GenerateRequest => ({
  prompt: { text },
  temperature: 0,
  topP: 1,
  topK: 0,
  stop: [],
  maxTokens,
  ...more,
});
async function collect(r: GenerateRequest, signal?: AbortSignal): Promise<GenerateEvent[]> {
  const events: GenerateEvent[] = [];
  for await (const e of engine.generate(r, signal)) events.push(e);
  return events;
}
const inUse = () => memoryStats(loadedChip("wasm")).allocated;
const busyPages = async () => {
  const { total, free } = (await engine.stats()).pages;
  return total - free;
};

it("frees what a request held, however it ends", async () => {
  const before = inUse();
  const events = await collect(request("a", 8));
  expect(events.at(-1)).toEqual({
    type: "end",
    reason: "length",
    usage: { promptTokens: 1, completionTokens: 8, cachedTokens: 0 },
  });
  expect(inUse()).toBe(before);

  for await (const _ of engine.generate(request("a", 200))) {
    expect(await busyPages()).toBeGreaterThan(0);
    break;
  }
  expect(await busyPages()).toBe(0);
  expect(inUse()).toBe(before);

  const abort = new AbortController();
  let seen = 0;
  await expect(
    (async () => {
      for await (const _ of engine.generate(request("a", 200), abort.signal)) if (++seen === 3) abort.abort();
    })(),
  ).rejects.toThrow(/abort/);
  expect(seen).toBe(3);
  expect(inUse()).toBe(before);

  await expect(collect(request("", 1))).rejects.toThrow("prompt: there are no tokens in it");
  await expect(collect(request("a", 3, { stop: ["i"], seed: 1, temperature: 1 }))).resolves.toBeDefined();
  expect(inUse()).toBe(before);
});

it("takes turns: others are heard between two tokens", async () => {
  const order: string[] = [];
  const run = async (name: string) => {
    for await (const e of engine.generate(request("a", 6))) if (e.type === "text") order.push(name);
  };
  await Promise.all([run("x"), run("y")]);
  expect(order.join("")).toMatch(/^(xy|yx){3,}/);
});

it("computes prompts apart with bytes, whoever else runs", async () => {
  const dir = mkdtempSync(join(tmpdir(), "vexil-engine-"));
  const model = join(dir, "q8");
  try {
    await quantizeModel(openFolder(QWEN3), model, { bits: 8, groupSize: 32, device: "wasm" });
    const answers = async (promptActivations: "keep" | "int8") => {
      const own = await loadEngine({ model, chip: "wasm", promptActivations, chunk: 16 });
      const ask = async (text: string): Promise<string> => {
        let said = "";
        const wish = request(text, 8, { logprobs: 1 });
        for await (const e of own.generate(wish)) if (e.type === "text") said += JSON.stringify(e);
        return said;
      };
      const texts = ["a tensor of", "Returns the sine of the elements of input, a new tensor with as many dimensions"]; // biome-ignore format: one line
      const alone = [];
      for (const text of texts) alone.push(await ask(text));
      await own.close();
      const again = await loadEngine({ model, chip: "wasm", promptActivations, chunk: 16 });
      const late = async (i: number): Promise<string> => {
        for (let turn = 0; turn < 3 * i; turn++) await new Promise(setImmediate);
        const mine = again.generate(request(texts[i]!, 8, { logprobs: 1 }));
        let said = "";
        for await (const e of mine) if (e.type === "text") said += JSON.stringify(e);
        return said;
      };
      expect(await Promise.all([late(0), late(1)])).toEqual(alone);
      await again.close();
      return alone;
    };
    const [floats, bytes] = [await answers("keep"), await answers("int8")];
    // The first is so short that it is computed with floats.
    expect(bytes[0]).toEqual(floats[0]);
    expect(bytes[1]).not.toEqual(floats[1]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

it("gives an answer the same bits whoever runs beside it", async () => {
  const asked = request("ab", 40, { logprobs: 3 });
  const long = request("the quick brown fox jumps over the lazy dog. ".repeat(3), 60);
  const alone = await collect(asked);
  // Their prompts come together; then more come while it is in the middle of its answer.
  const events: GenerateEvent[] = [];
  const others = [collect(long), collect(request("c", 100)), collect(long)];
  for await (const e of engine.generate(asked)) {
    events.push(e);
    if (events.length === 5) others.push(...Array.from({ length: 6 }, () => collect(long)));
  }
  await Promise.all(others);
  expect(events).toEqual(alone);
});
