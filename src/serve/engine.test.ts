// The engine in this thread: what it holds while it works, and that it lets go of it.

import { afterAll, beforeAll, expect, it } from "vitest";
import { QWEN3 } from "../../test/built.js";
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
