import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Artifact } from "../compiler/target.js";
import { compileStats } from "./compile.js";
import { kernelOf } from "./kernel.js";
import { observers } from "./observe.js";
import { profile } from "./profiler.js";
import { registerChip } from "./registry.js";
import { recordSignatures } from "./signatures.js";
import { allocate } from "./storage.js";
import { type NotingChip, notingChip, scaleSource, tensorLike } from "./testing/fixtures.js";
import { warmup } from "./warmup.js";

let folder: string;
let chip: NotingChip;
let n = 0;

function register(chip: NotingChip): NotingChip {
  registerChip({
    name: chip.name,
    summary: "",
    probe: async () => ({ available: true, found: "" }),
    open: async () => chip,
  });
  return chip;
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vexil-warmup-"));
  vi.stubEnv("VEXIL_CACHE", folder);
  chip = register(notingChip(`warm${n++}`));
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const args = (more: Record<string, unknown> = {}) => ({
  x: tensorLike(chip, "f32", 64),
  out: tensorLike(chip, "f32", 64),
  stride: 1,
  by: 2,
  n: 64,
  BLOCK: 16,
  ADD: 0.5,
  ...more,
});

describe("signatures and warmup", () => {
  test("every kind of launch is recorded once, known or not, and compiled for another process", async () => {
    const k = kernelOf(scaleSource(`recorded ${n}`));
    k.launch([1], args());
    const values = [-0, Number.NaN, 3n, true, "s", [1, -0]];
    const build = k.source.build;
    k.source.build = (spec) =>
      build({ ...spec, params: spec.params.map((p, i) => (i === 6 ? { kind: "constexpr", value: 1 } : p)) });
    const list = recordSignatures(() => {
      for (const by of [1, 2]) k.launch([1], args({ by }));
      k.launch([2], args({ stride: 16, out: tensorLike(chip, "f16", 64, 1) }));
      for (const ADD of values) k.launch([1], args({ ADD }));
    });
    expect(list.length).toBe(2 + values.length);
    expect(observers).toBeUndefined();
    expect(list[0]).toMatchObject({ kernel: "scale", chip: chip.name, content: k.source.contentKey });

    // The same kernel and chip as another process has them: nothing in memory, nothing on disk.
    const kept = JSON.parse(JSON.stringify(list));
    vi.stubEnv("VEXIL_CACHE", join(folder, "elsewhere"));
    const other = register(notingChip(`warm${n++}`));
    const here = kept.map((s: object) => ({ ...s, chip: other.name }));
    const r = await warmup(here);
    expect(r).toMatchObject({ compiled: list.length, ready: 0, unknown: [], failed: [] });
    const before = { ...compileStats };
    const again = (ADD: unknown) =>
      k.launch([1], {
        ...args({ ADD }),
        x: tensorLike(other, "f32", 64),
        out: tensorLike(other, "f32", 64),
      });
    for (const ADD of [0.5, ...values]) again(ADD);
    expect(compileStats).toEqual(before);
    expect(await warmup(here)).toMatchObject({ compiled: 0, ready: list.length });
  });

  test("what is on disk is loaded and not compiled", async () => {
    const source = scaleSource(`disk ${n}`);
    const k = kernelOf(source);
    const list = recordSignatures(() => k.launch([1], args()));
    const twin = { ...notingChip(chip.name), target: chip.target };
    const { cacheKey, isLoaded } = await import("./compile.js");
    const { specializationOf } = await import("./signatures.js");
    expect(isLoaded(twin, cacheKey(source, specializationOf(list[0]!), twin))).toBe(false);
    const { compiled } = { ...compileStats };
    k.launch([1], { ...args(), x: tensorLike(twin, "f32", 64), out: tensorLike(twin, "f32", 64) });
    expect(compileStats.compiled).toBe(compiled);
  });

  test("compilers run at once, as many as allowed", async () => {
    let now = 0;
    let most = 0;
    Object.assign(chip.target, {
      compileAsync: async (func: never): Promise<Artifact> => {
        most = Math.max(most, ++now);
        await new Promise((resolve) => setTimeout(resolve, 5));
        now--;
        return chip.target.compile(func);
      },
    });
    const k = kernelOf(scaleSource(`many ${n}`));
    const [first] = recordSignatures(() => k.launch([1], args()));
    const list = Array.from({ length: 7 }, (_, i) => ({
      ...first!,
      params: first!.params.map((p, j) => (j === 6 ? { value: 100 + i } : p)),
    }));
    expect((await warmup(list, { parallel: 3 })).compiled).toBe(7);
    expect(most).toBe(3);
    await expect(warmup(list, { parallel: 0 })).rejects.toThrow(/whole number from 1/);
  });

  test("unknown kernels and those that do not compile are listed", async () => {
    const k = kernelOf(scaleSource(`wrong ${n}`));
    const [s] = await recordSignatures(async () => k.launch([1], args()));
    const bad = { ...s!, params: s!.params.map((p, i) => (i === 5 ? { value: -4 } : p)) };
    const old = { ...s!, content: "an older text" };
    const r = await warmup([s!, bad, old, { ...s!, kernel: "other" }]);
    expect(r.ready).toBe(1);
    expect(r.unknown.length).toBe(2);
    expect(r.failed).toMatchObject([{ signature: bad }]);
  });
});

describe("profile", () => {
  test("sums launches by kernel, with memory", async () => {
    const a = { ...scaleSource(`pa ${n}`), name: "slow" };
    const b = { ...scaleSource(`pb ${n}`), name: "fast" };
    // The test's own clock: only launches move it.
    let clock = 0;
    vi.spyOn(performance, "now").mockImplementation(() => clock);
    const launch = chip.driver.launch.bind(chip.driver);
    const readSync = vi.fn(() => new Uint8Array(1));
    Object.assign(chip.driver, { readSync });
    Object.assign(chip.capabilities, { syncRead: true });
    chip.driver.launch = (exe, x, y, z, values, offsets) => {
      launch(exe, x, y, z, values, offsets);
      clock += x === 2 ? 4 : 0.5;
    };
    const at = args();
    const held = chip.driver.held;
    const p = await profile(async () => {
      const more = allocate(chip, 1 << 20);
      for (let i = 0; i < 3; i++) kernelOf(a).launch([2], at);
      more.dispose();
      kernelOf(b).launch([1], at);
      return 42;
    });
    expect(p.result).toBe(42);
    expect(observers).toBeUndefined();
    // Before and after each of four launches.
    expect(readSync).toHaveBeenCalledTimes(8);
    expect(p.kernels.map((k) => [k.kernel, k.launches])).toEqual([
      ["slow", 3],
      ["fast", 1],
    ]);
    expect(p.kernels[0]!.mean).toBeGreaterThanOrEqual(4);
    expect(p.kernels[0]!.share).toBeGreaterThan(0.7);
    const [m] = p.memory;
    expect(m!.peak - m!.after).toBe(1 << 20);
    expect(p.table()).toMatch(/^kernel .*\nslow +warm\d+ +3 /);
    expect(p.table()).toContain("1.00 MiB at most");
    const file = join(folder, "trace.json");
    p.write(file);
    const { traceEvents } = JSON.parse(readFileSync(file, "utf8"));
    const complete = traceEvents.filter((e: { ph: string }) => e.ph === "X");
    expect(complete.map((e: { name: string }) => e.name)).toEqual(["slow", "slow", "slow", "fast"]);
    expect(complete[0].dur).toBeGreaterThanOrEqual(4000);
    expect(complete[1].ts).toBeGreaterThanOrEqual(complete[0].ts + complete[0].dur);
    expect(traceEvents.filter((e: { ph: string }) => e.ph === "C").length).toBe(4);
    expect(chip.driver.held).toBeLessThanOrEqual(held + (1 << 20) + 8192);
  });

  test("stops when the function throws, and says when times are only those of enqueuing", async () => {
    const k = kernelOf(scaleSource(`pe ${n}`));
    await expect(
      profile(() => {
        k.launch([1], args());
        throw new Error("mine");
      }),
    ).rejects.toThrow("mine");
    expect(observers).toBeUndefined();
    const p = await profile(() => k.launch([1], args()));
    expect(p.table()).toContain(`times on ${chip.name} are those of enqueuing`);
  });
});
