import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ConstexprValue } from "../compiler/source.js";
import { autotune, heuristics } from "./autotune.js";
import type { TensorFacts } from "./choose.js";
import { kernelOf } from "./kernel.js";
import { type NotingChip, notingChip, scaleSource, tensorLike } from "./testing/fixtures.js";
import { forgetResults, tuningSpend } from "./tuner.js";

interface Args {
  x: ReturnType<typeof tensorLike>;
  out: ReturnType<typeof tensorLike>;
  stride: number;
  by: number;
  n: number;
  BLOCK: number;
  ADD: number;
}

let folder: string;
let chip: NotingChip;
let count = 0;
/** Milliseconds that a launch takes by its block size. */
let costs: Record<number, number>;
/** The block of every launch so far. */
let blocks: number[];

/** The tests' own clock, in milliseconds: only launches move it, so the machine's load decides nothing. */
let clock = 0;
const busy = (ms: number): void => {
  clock += ms;
};

/** A chip that can be waited for, whose launches take as long as `costs` says of their block. */
function timedChip(name: string): NotingChip {
  const made = notingChip(name, { syncRead: true });
  const launch = made.driver.launch.bind(made.driver);
  made.driver.launch = (exe, ...rest) => {
    launch(exe, ...rest);
    const block = Number(/end: (\d+)/.exec(made.driver.launches.at(-1)!.text)?.[1]);
    blocks.push(block);
    busy(costs[block] ?? 0);
  };
  Object.assign(made.driver, { readSync: (_b: unknown, _at: number, n: number) => new Uint8Array(n) });
  return made;
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vexil-tune-"));
  vi.stubEnv("VEXIL_CACHE", folder);
  forgetResults();
  blocks = [];
  costs = { 8: 15, 16: 0.5, 32: 15, 64: 4 };
  vi.spyOn(performance, "now").mockImplementation(() => clock);
  chip = timedChip(`timed${count++}`);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const args = () => ({
  x: tensorLike(chip, "f32", 64),
  out: tensorLike(chip, "f32", 64),
  stride: 1,
  by: 2,
  n: 64,
});
const CONFIGS = [{ BLOCK: 8 }, { BLOCK: 16 }, { BLOCK: 32 }, { BLOCK: 64 }];
const scale = (content = `scale ${count}`) => kernelOf<Args>(scaleSource(content));

describe("autotune", () => {
  test("takes the fastest, once for each key, and hands it to the grid", () => {
    const k = autotune(scale(), { configs: CONFIGS, key: ["n"], budget: 1e6 });
    const a = { ...args(), ADD: 0 };
    const grid = vi.fn((m: object) => [Math.ceil(64 / (m as Args).BLOCK)]);
    k.launch(grid, a);
    expect(blocks.at(-1)).toBe(16);
    expect(chip.driver.launches.at(-1)!.grid).toEqual([4, 1, 1]);
    const after = blocks.length;
    k.launch(grid, a);
    k.launch(grid, { ...a, by: 3 });
    expect(blocks.slice(after)).toEqual([16, 16]);
    // The slow ones are given up after two samples.
    expect(blocks.filter((b) => b === 32).length).toBeLessThan(blocks.filter((b) => b === 16).length);
    const searched = tuningSpend().searched;
    k.launch(grid, { ...a, n: 32 });
    expect(tuningSpend().searched).toBe(searched + 1);
    k.launch(grid, { ...a, out: tensorLike(chip, "f16", 64) });
    expect(tuningSpend().searched).toBe(searched + 2);
  });

  test("keeps its answers on disk, and a damaged one is found again", () => {
    const content = `kept ${count}`;
    const options = { configs: CONFIGS, key: ["n"] as const };
    const a = { ...args(), ADD: 0 };
    autotune(scale(content), options).launch([1], a);
    const file = readdirSync(join(folder, "tuning"), { recursive: true, encoding: "utf8" }).find((f) =>
      f.endsWith(".json"),
    )!;
    expect(JSON.parse(readFileSync(join(folder, "tuning", file), "utf8"))).toMatchObject({
      kernel: "scale",
      chip: chip.name,
      best: 1,
    });
    forgetResults();
    const before = tuningSpend();
    blocks = [];
    autotune(scale(content), options).launch([1], a);
    expect(blocks).toEqual([16]);
    expect(tuningSpend()).toMatchObject({ searched: before.searched, fromDisk: before.fromDisk + 1 });
    writeFileSync(join(folder, "tuning", file), '{"best": 99');
    forgetResults();
    autotune(scale(content), options).launch([1], a);
    expect(tuningSpend().searched).toBe(before.searched + 1);
  });

  test("a budget leaves the rest out, and says so", () => {
    costs[8] = 30;
    const k = autotune(scale(), { configs: CONFIGS, key: ["n"], budget: 10 });
    const skipped = tuningSpend().skipped;
    const a = { ...args(), ADD: 0 };
    k.launch([1], a);
    expect(blocks.at(-1)).toBe(8);
    expect(tuningSpend().skipped).toBe(skipped + 3);
    expect(k.explain(a)).toContain("not tried: the budget was used up");
  });

  test("configurations that do not compile are passed over; if none does, the first error is thrown", () => {
    const k = autotune(scale(), { configs: [{ BLOCK: -1 }, ...CONFIGS], key: [] });
    const a = { ...args(), ADD: 0 };
    k.launch([1], a);
    expect(blocks.at(-1)).toBe(16);
    expect(k.explain(a)).toMatch(/BLOCK=-1 +failed: /);
    const none = autotune(scale("none"), { configs: [{ BLOCK: -1 }, { BLOCK: -2 }], key: [] });
    expect(() => none.launch([1], a)).toThrow();
  });

  test("restore puts tensors back after every measured launch", () => {
    const k = autotune(scale(), { configs: CONFIGS.slice(0, 2), key: [], restore: ["out"] });
    const a = { ...args(), ADD: 0 };
    const memory = a.out.buffer as unknown as { data: Uint8Array };
    memory.data.fill(7);
    const launch = chip.driver.launch;
    const seen: number[] = [];
    chip.driver.launch = (exe, x, y, z, values, offsets) => {
      launch(exe, x, y, z, values, offsets);
      seen.push(memory.data[0]!);
      memory.data[0]!++;
    };
    const held = chip.driver.held;
    k.launch([1], a);
    expect(new Set(seen.slice(1))).toEqual(new Set([7]));
    expect(memory.data[0]).toBe(8);
    expect(chip.driver.held).toBe(held);
  });

  test("an empty grid searches and compiles nothing", () => {
    const k = autotune(scale(), { configs: CONFIGS, key: ["n"] });
    const a = { ...args(), ADD: 0 };
    k.launch([0], a);
    k.launch(() => [0], a);
    expect(chip.driver.launches).toEqual([]);
    expect(chip.driver.loads).toBe(0);
  });

  test("prune and functions for configurations and key see arguments and chip", () => {
    const key = vi.fn(({ n }: { n: number }) => [Math.ceil(n / 64)]);
    const k = autotune(scale(), {
      names: ["BLOCK"],
      configs: ({ n, x }: { n: number; x: TensorFacts }) =>
        CONFIGS.filter((c) => c.BLOCK <= n && x.elements === 64),
      key,
      prune: (c, _args, capabilities) => c.BLOCK !== 16 || capabilities.threads > 1,
    });
    const a = { ...args(), ADD: 0 };
    k.launch([1], a);
    expect(blocks).not.toContain(16);
    expect(blocks.at(-1)).toBe(64);
    const searched = tuningSpend().searched;
    k.launch([1], { ...a, n: 65 });
    expect(tuningSpend().searched).toBe(searched + 1);
    // The same rounded key and the same configurations: the answer is known.
    k.launch([1], { ...a, n: 66 });
    expect(tuningSpend().searched).toBe(searched + 1);
  });

  test("off, or on a chip that answers with promises, the first one serves until `tune` has run", async () => {
    const a = { ...args(), ADD: 0 };
    vi.stubEnv("VEXIL_AUTOTUNE", "off");
    const k = autotune(scale(), { configs: CONFIGS, key: ["n"] });
    k.launch([1], a);
    expect(blocks).toEqual([8]);
    expect(k.explain(a)).toContain("not tuned yet for n=64, f32 f32: BLOCK=8 is the first of 4");
    vi.stubEnv("VEXIL_AUTOTUNE", "");
    (chip.capabilities as { syncRead: boolean }).syncRead = false;
    const other = autotune(scale("async"), { configs: CONFIGS, key: ["n"] });
    other.launch([1], a);
    expect(blocks.at(-1)).toBe(8);
    await other.tune([1], a);
    other.launch([1], a);
    expect(blocks.at(-1)).toBe(16);
  });

  test("wrong declarations and arguments are named", () => {
    const k = scale();
    expect(() => autotune(k, { configs: [{ BLOCK: 1 }, {} as never], key: [] })).toThrow(/same names/);
    expect(() => autotune(k, { configs: [], key: [] })).toThrow(/at least one/);
    expect(() => autotune(k, { configs: [{ n: 1 }], key: [] })).toThrow(/n is not one of its constexprs/);
    const tuned = autotune(k, { configs: CONFIGS, key: [] });
    expect(() => autotune(tuned as never, { configs: [{ ADD: 1 } as never], key: [] })).toThrow(
      /tuner already/,
    );
    expect(() => tuned.launch([1], { ...args(), ADD: 0, BLOCK: 8 } as never)).toThrow(
      /BLOCK is chosen by its heuristics or its tuner/,
    );
    const pruned = autotune(k, { configs: CONFIGS, key: [], prune: () => false });
    expect(() => pruned.launch([1], { ...args(), ADD: 0 })).toThrow(/no configuration left/);
  });
});

describe("heuristics", () => {
  test("run again only when something changes that they read", () => {
    const BLOCK = vi.fn(({ n }: { n: number }) => (n % 32 === 0 ? 32 : 16));
    const k = heuristics(scale(), { BLOCK, ADD: ({ BLOCK }) => BLOCK + 1 });
    const a = args();
    for (const by of [1, 2, 3]) k.launch((m) => [64 / (m as unknown as Args).BLOCK], { ...a, by });
    expect(BLOCK).toHaveBeenCalledTimes(1);
    expect(chip.driver.launches.map((l) => l.grid[0])).toEqual([2, 2, 2]);
    for (const n of [16, 64, 16, 48]) k.launch([1], { ...a, n });
    expect(blocks).toEqual([32, 32, 32, 16, 32, 16, 16]);
    // 64 was read before the first launch's answer was thrown away for the new reader, so at most one more each.
    expect(BLOCK.mock.calls.length).toBeLessThanOrEqual(4);
  });

  test("see tensors as facts", () => {
    const seen: unknown[] = [];
    const k = heuristics(scale(), {
      ADD: ({ x, out }) => {
        seen.push([x.dtype, x.aligned, out.elements]);
        return 1;
      },
    });
    k.launch([1], { ...args(), BLOCK: 8 });
    k.launch([1], { ...args(), BLOCK: 8 });
    k.launch([1], { ...args(), out: tensorLike(chip, "f32", 128), BLOCK: 8 });
    expect(seen).toEqual([
      ["f32", true, 64],
      ["f32", true, 128],
    ]);
  });

  test("and autotune go together, in either order", () => {
    const even: ConstexprValue[] = [];
    const rules = {
      ADD: ({ n, BLOCK }: { n: number; BLOCK: number }) => {
        even.push(BLOCK);
        return n % BLOCK === 0 ? 1 : 0;
      },
    };
    const a = args();
    const one = autotune(heuristics(scale("one"), rules), { configs: CONFIGS, key: ["n"] });
    one.launch([1], a);
    expect(blocks.at(-1)).toBe(16);
    expect(new Set(even)).toEqual(new Set([8, 16, 32, 64]));
    const text = one.explain(a);
    expect(text).toContain("// * BLOCK=16");
    expect(text).toContain("// ADD=1 by its heuristic");
    const two = heuristics(autotune(scale("two"), { configs: CONFIGS, key: ["n"] }), rules as never);
    two.launch([1], a as never);
    expect(blocks.at(-1)).toBe(16);
    expect(() => heuristics(two as never, rules as never)).toThrow(/found by another rule/);
  });

  test("the full path gives the same launch", () => {
    const k = heuristics(scale(), { BLOCK: ({ n }) => n / 4, ADD: () => 0 });
    const a = args();
    k.launch([2], a);
    k.launchUncached([2], a);
    const [one, two] = chip.driver.launches;
    expect(two).toEqual(one);
  });
});

test("bench gives times and rates", async () => {
  const k = scale();
  const r = await k.bench([1], { ...args(), BLOCK: 16, ADD: 0 }, { bytes: 5e5, flops: 1e6, samples: 5 });
  expect(r.samples.length).toBe(5);
  expect(r.median).toBeGreaterThan(0.49);
  expect(r.gigabytesPerSecond).toBeCloseTo(5e5 / r.median / 1e6, 9);
  expect(String(r)).toMatch(/^scale on timed\d+: .*5 samples\), [\d.]+ GB\/s, [\d.]+ GFLOP\/s$/);
});

test("many processes tune at once and leave whole results", async () => {
  const script = join(folder, "writer.mjs");
  const store = join(import.meta.dirname, "tuning-store.ts");
  writeFileSync(
    script,
    `import { writeResult, readResult } from ${JSON.stringify(store)};
     const trials = Array.from({ length: 200 }, (_, i) => ({ config: "A=" + i, ms: i + 1 }));
     for (let i = 0; i < 200; i++) {
       const r = readResult("key", 200);
       if (i > 0 && !r) throw new Error("half a result");
       writeResult("key", { kernel: "k", chip: "c", key: "", best: i, trials, spent: 1 });
     }`,
  );
  const run = () =>
    new Promise<number | null>((resolve) => {
      const child = spawn(process.execPath, ["--import", "tsx", script], {
        cwd: join(import.meta.dirname, "../.."),
        stdio: "inherit",
      });
      child.on("exit", resolve);
    });
  expect(await Promise.all([run(), run(), run()])).toEqual([0, 0, 0]);
  const left = readdirSync(join(folder, "tuning"), { recursive: true, encoding: "utf8" });
  expect(left.filter((f) => f.endsWith(".tmp"))).toEqual([]);
});
