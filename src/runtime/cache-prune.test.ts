// The cache folder stays below its limit.

import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"; // biome-ignore format: one line
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { cacheLimit, prune, pruneNowAndThen } from "./cache-prune.js";
import { cacheName, readCached, writeCached } from "./disk-cache.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vexil-prune-"));
  vi.stubEnv("VEXIL_CACHE", folder);
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
  vi.unstubAllEnvs();
});

const artifact = (size: number) => ({ bytes: new Uint8Array(size).fill(7), meta: {} });
const kernels = () =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((f) => f.endsWith(".bin"))
    .map((f) => join(folder, f));
const age = (file: string, days: number): void => {
  const then = new Date(Date.now() - days * 86_400_000);
  utimesSync(file, then, then);
};

test("the oldest entries go, until the folder is well below the limit", () => {
  const names = Array.from({ length: 20 }, (_, i) => cacheName(`kernel ${i}`)!);
  for (const [i, name] of names.entries()) {
    const before = new Set(kernels());
    writeCached(name, artifact(10_000));
    age(kernels().find((f) => !before.has(f))!, 40 - i);
  }
  expect(prune(150_000)).toBeGreaterThan(70_000);
  const there = names.map((n) => readCached(n) !== undefined);
  expect(there.filter(Boolean).length).toBe(11);
  expect(there.slice(-11).every(Boolean)).toBe(true);
  expect(prune(150_000)).toBe(0);
});

test("what was used lately stays", () => {
  const [old, older] = ["old", "older"].map((k) => cacheName(k)!) as [string, string];
  writeCached(older, artifact(10_000));
  age(kernels()[0]!, 30);
  const first = kernels()[0]!;
  writeCached(old, artifact(10_000));
  age(kernels().find((f) => f !== first)!, 20);
  expect(readCached(older)).toBeDefined();
  prune(13_000);
  expect(readCached(older)).toBeDefined();
  expect(readCached(old)).toBeUndefined();
});

test("libraries and left-over files go, results of tuning stay", () => {
  mkdirSync(join(folder, "cpu"));
  const file = (name: string, size: number, days: number): string => {
    const path = join(folder, name);
    writeFileSync(path, new Uint8Array(size));
    age(path, days);
    return path;
  };
  const library = file("cpu/a.so", 5000, 9);
  const fresh = file("cpu/b.so", 5000, 1);
  const tuned = file("cpu/c.json", 100, 90);
  const left = file("cpu/d.so.1.x.tmp", 10, 2);
  const writing = file("cpu/e.so.2.y.tmp", 10, 0);
  prune(8000);
  expect([library, fresh, tuned, left, writing].map((f) => existsSync(f))).toEqual([
    false,
    true,
    true,
    false,
    true,
  ]);
});

test("writing prunes at most once an hour, and a wrong limit harms nobody", () => {
  vi.stubEnv("VEXIL_CACHE_LIMIT", "20k");
  expect(cacheLimit()).toBe(20_480);
  for (let i = 0; i < 4; i++) writeCached(cacheName(`${i}`)!, artifact(10_000));
  // The first write looked; the others relied on it.
  expect(kernels().length).toBe(4);
  age(join(folder, "pruned"), 1);
  pruneNowAndThen();
  expect(kernels().length).toBe(1);
  expect(Date.now() - statSync(join(folder, "pruned")).mtimeMs).toBeLessThan(60_000);
  vi.stubEnv("VEXIL_CACHE_LIMIT", "much");
  expect(() => cacheLimit()).toThrow(/VEXIL_CACHE_LIMIT is "much"/);
  age(join(folder, "pruned"), 1);
  writeCached(cacheName("after")!, artifact(10));
  expect(readCached(cacheName("after")!)).toBeDefined();
});

test("processes prune at once while others write and read", async () => {
  const url = (file: string) => JSON.stringify(join(import.meta.dirname, file));
  const program = `
    const { writeCached, readCached, cacheName } = await import(${url("disk-cache.ts")});
    const { prune } = await import(${url("cache-prune.ts")});
    let wrong = 0;
    for (let i = 0; i < 150; i++) {
      const name = cacheName("k" + (i % 30));
      writeCached(name, { bytes: new Uint8Array(2000).fill(i % 30), meta: { i: i % 30 } });
      const got = readCached(name);
      if (got && (got.meta.i !== i % 30 || got.bytes.some((b) => b !== i % 30))) wrong++;
      if (i % 5 === 0) prune(20000);
    }
    console.log(wrong);`;
  const file = join(folder, "program.mts");
  writeFileSync(file, program);
  const tsx = join(import.meta.dirname, "../../node_modules/tsx/dist/cli.mjs");
  const run = promisify(execFile);
  const outs = await Promise.all(
    [1, 2, 3].map(() => run(process.execPath, [tsx, file], { env: process.env })),
  );
  expect(outs.map((o) => o.stdout.trim())).toEqual(["0", "0", "0"]);
  expect(readFileSync(file, "utf8")).toBe(program);
});
