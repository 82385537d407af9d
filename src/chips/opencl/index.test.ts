// Whole launches on an OpenCL device: what the shared suites do not ask of this chip alone.

import { beforeAll, describe, expect, test } from "vitest";
import { constexpr, i32, ptr } from "../../compiler/lang/index.js";
import { kernel, loadChip, registerChip } from "../../runtime/index.js";
import { tensor } from "../../tensor/index.js";
import { entry } from "./index.js";

const add = kernel(
  { x: ptr, y: ptr, out: ptr, n: i32, BLOCK: constexpr },
  ({ x, y, out, n, BLOCK }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const inside = at < n;
    tl.store(out + at, tl.load(x + at, inside) + tl.load(y + at, inside), inside);
  },
  "add",
);

const rowSoftmax = kernel(
  { x: ptr, y: ptr, cols: i32, BLOCK: constexpr },
  ({ x, y, cols, BLOCK }, tl) => {
    const at = tl.arange(0, BLOCK);
    const row = tl.programId(0) * cols;
    const v = tl.load(x + row + at, at < cols, -Infinity);
    const e = tl.exp(v - tl.max(v, 0));
    tl.store(y + row + at, e / tl.sum(e, 0), at < cols);
  },
  "rowSoftmax",
);

const reversed = kernel(
  { x: ptr, y: ptr, BLOCK: constexpr },
  ({ x, y, BLOCK }, tl) => {
    const at = tl.arange(0, BLOCK);
    tl.store(y + at, tl.flip(tl.load(x + at), 0));
  },
  "reversed",
);

const probe = await entry.probe();
describe.skipIf(!probe.available)(probe.available ? "opencl" : `opencl (missing: ${probe.found})`, () => {
  beforeAll(async () => {
    registerChip(entry);
    await loadChip("opencl");
  });

  test("adds two vectors whose length is no multiple of a block", async () => {
    const n = 1001;
    const numbers = (f: (i: number) => number) =>
      tensor(
        Float32Array.from({ length: n }, (_, i) => f(i)),
        { device: "opencl" },
      );
    const [x, y, out] = [numbers((i) => i), numbers((i) => 2 * i), numbers(() => -1)];
    add.launch([4], { x, y, out, n, BLOCK: 256 });
    expect([...(await out.data())]).toEqual(Array.from({ length: n }, (_, i) => 3 * i));
  });

  test("reduces over the threads of a program", async () => {
    const [rows, cols] = [3, 100];
    const given = Float32Array.from({ length: rows * cols }, (_, i) => Math.sin(i));
    const x = tensor(given, { device: "opencl" });
    const y = tensor(new Float32Array(rows * cols), { device: "opencl" });
    rowSoftmax.launch([rows], { x, y, cols, BLOCK: 128 });
    const got = await y.data();
    for (let r = 0; r < rows; r++) {
      const row = [...given.subarray(r * cols, r * cols + cols)].map(Math.exp);
      const sum = row.reduce((a, b) => a + b);
      row.forEach((v, i) => {
        expect(Math.abs(Number(got[r * cols + i]) - v / sum)).toBeLessThan(1e-7);
      });
    }
  });

  test("turns a tile around: addresses in shared memory that fall with the thread", async () => {
    const x = tensor(
      Float32Array.from({ length: 64 }, (_, i) => i),
      { device: "opencl" },
    );
    const y = tensor(new Float32Array(64), { device: "opencl" });
    reversed.launch([1], { x, y, BLOCK: 64 });
    expect([...(await y.data())]).toEqual(Array.from({ length: 64 }, (_, i) => 63 - i));
  });

  test("shows the layouts of tiles in what it explains", () => {
    const t = tensor(new Float32Array(256), { device: "opencl" });
    const text = add.explain({ x: t, y: t, out: t, n: 256, BLOCK: 256 });
    expect(text).toMatch(/load \[256\] registers \[[i\d,]*\] threads \[i[i\d,]+\]/);
  });

  test("a buffer that is freed cannot be launched with", async () => {
    const chip = await loadChip("opencl");
    const b = chip.driver.alloc(64);
    chip.driver.free(b);
    expect(() => chip.driver.readSync!(b, 0, 4)).toThrow("freed");
  });

  test("a read sees what was enqueued before it, not after", async () => {
    const { driver } = await loadChip("opencl");
    const b = driver.alloc(4);
    driver.write(b, 0, Uint8Array.of(1, 2, 3, 4));
    const before = driver.read(b, 0, 4);
    driver.write(b, 0, Uint8Array.of(5, 6, 7, 8));
    expect([...(await before)]).toEqual([1, 2, 3, 4]);
    driver.free(b);
  });
});
