// Tensors whose memory is a file: mapped on chips that can, read by pieces on others, with the same values.

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { add } from "../ops/index.js";
import { onEachChip } from "../ops/testing/chips.js";
import { fromFile } from "../tensor/index.js";
import { defaultChip } from "./registry.js";
import { memoryStats } from "./pool.js";

let dir: string;
let path: string;
const values = Float32Array.from({ length: 50_000 }, (_, i) => i / 8 - 1000);
beforeAll(() => {
  dir = fs.mkdtempSync(join(tmpdir(), "vexil-file-"));
  path = join(dir, "numbers");
  fs.writeFileSync(path, new Uint8Array(values.buffer));
});
afterAll(() => fs.rmSync(dir, { recursive: true }));

await onEachChip((chip) => {
  // From the file's beginning, from the middle of a page, aligned to an element only, and too small for a mapping.
  it.each([
    [0, 50_000],
    [1024, 30_000],
    [5001, 40_000],
    [77, 9],
  ])("from element %i on, %i of them", async (from, count) => {
    const before = memoryStats(defaultChip()).allocated;
    const t = fromFile({ path, position: from * 4 }, [count], "f32");
    expect(t.device).toBe(chip);
    expect([...(await t.data())]).toEqual([...values.subarray(from, from + count)]);
    const sum = add(t, 1);
    expect((await sum.data())[count - 1]).toBe(values[from + count - 1]! + 1);
    sum.dispose();
    // What is written stays here.
    t.add_(1);
    expect((await t.data())[0]).toBe(values[from]! + 1);
    expect(new Float32Array(fs.readFileSync(path).buffer.slice(0)).length).toBeGreaterThan(0);
    expect(fs.readFileSync(path).equals(Buffer.from(values.buffer))).toBe(true);
    t.dispose();
    expect(memoryStats(defaultChip()).allocated).toBe(before);
    await expect((async () => t.data())()).rejects.toThrow(/has been freed/);
  });

  it("refuses bytes that the file has not", () => {
    const before = memoryStats(defaultChip()).allocated;
    expect(() => fromFile({ path, position: 4000 }, [50_000], "f32")).toThrow(/numbers: the file ended/);
    expect(() => fromFile({ path: join(dir, "none"), position: 0 }, [50_000], "f32")).toThrow(
      /none: it cannot be read: ENOENT/,
    );
    expect(memoryStats(defaultChip()).allocated).toBe(before);
  });
});
