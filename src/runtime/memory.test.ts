import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, describe, expect, test } from "vitest";
import { leakReport, trackAllocations } from "./leaks.js";
import { memoryStats } from "./pool.js";
import { scope } from "./scope.js";
import { allocate } from "./storage.js";
import { MemoryLimitError, memoryLimit } from "./watermark.js";
import { notingChip } from "./testing/fixtures.js";

const before = process.env["VEXIL_MEMORY_LIMIT"];
afterEach(() => {
  trackAllocations(false);
  if (before === undefined) delete process.env["VEXIL_MEMORY_LIMIT"];
  else process.env["VEXIL_MEMORY_LIMIT"] = before;
});

describe("the limit outside scopes", () => {
  test("reads VEXIL_MEMORY_LIMIT", () => {
    const chip = notingChip("limits", { memoryBytes: 1000 });
    const limit = (text: string) => {
      process.env["VEXIL_MEMORY_LIMIT"] = text;
      return memoryLimit(chip);
    };
    expect([limit("2G"), limit("1.5MiB"), limit("64kb"), limit("4096"), limit("0.5")]).toEqual([
      2 ** 31,
      1.5 * 2 ** 20,
      65536,
      4096,
      500,
    ]);
    expect(() => limit("lots")).toThrow('VEXIL_MEMORY_LIMIT is "lots"; give bytes');
    expect(() => limit("0")).toThrow("VEXIL_MEMORY_LIMIT");
    delete process.env["VEXIL_MEMORY_LIMIT"];
    expect(memoryLimit(chip)).toBe(800);
  });

  test("names the allocating lines", () => {
    process.env["VEXIL_MEMORY_LIMIT"] = "1M";
    const chip = notingChip("watched");
    const hold: unknown[] = [];
    function leakyLoop(): void {
      for (;;) hold.push(allocate(chip, 65536));
    }
    let error: unknown;
    try {
      leakyLoop();
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(MemoryLimitError);
    expect(hold.length).toBe(16);
    const message = (error as Error).message;
    expect(message).toContain("1.00 MiB are in use on the chip watched and 65536 bytes more were asked for");
    expect(message).toContain("scope(() => …)");
    expect(message).toMatch(/0\.56 MiB at leakyLoop \(.*memory\.test\.ts:\d+:\d+\)/);
  });

  test("does not hold inside a scope", () => {
    process.env["VEXIL_MEMORY_LIMIT"] = "1M";
    const chip = notingChip("free");
    scope(() => {
      for (let i = 0; i < 100; i++) allocate(chip, 65536);
    });
    expect(allocate(chip, 65536).disposed).toBe(false);
  });
});

describe("leak report", () => {
  test("groups what is alive by the author's line, when switched on", () => {
    const chip = notingChip("leaks");
    const start = leakReport().length;
    allocate(chip, 100);
    expect(leakReport().length).toBe(start);
    trackAllocations(true);
    function here() {
      return allocate(chip, 1000);
    }
    const a = [here(), here(), here()];
    a[0]!.dispose();
    const leak = leakReport().find((l) => l.line.includes("here"))!;
    expect(leak).toMatchObject({ count: 2, bytes: 2000, lost: 0 });
    expect(leak.line).toMatch(/memory\.test\.ts:\d+:\d+/);
    trackAllocations(false);
    for (const s of a) s.dispose();
    expect(leakReport().find((l) => l.line.includes("here"))).toBe(undefined);
  });

  test("says what nothing refers to any more, and frees nothing", async () => {
    setFlagsFromString("--expose_gc");
    const gc = runInNewContext("gc") as () => void;
    const chip = notingChip("lost");
    trackAllocations(true);
    (function forgotten() {
      allocate(chip, 3000);
    })();
    const find = () => leakReport().find((l) => l.line.includes("forgotten"));
    expect(find()).toMatchObject({ count: 1, lost: 0 });
    for (let i = 0; i < 50 && find()?.lost === 0; i++) {
      gc();
      await new Promise((r) => setTimeout(r, 5));
    }
    expect(find()).toMatchObject({ count: 1, bytes: 3000, lost: 1 });
    expect(memoryStats(chip).count).toBe(1);
  });
});
