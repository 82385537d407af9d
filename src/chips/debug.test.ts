// The interpreter as a debugger.

import { describe, expect, test } from "vitest";
import { constexpr, debug, helper, i32, kernel, loadChip, ptr, setDefaultChip, tensor } from "../index.js";

await setDefaultChip("wasm");

const softmax = kernel(
  { x: ptr, y: ptr, cols: i32, twice: helper((_tl, v: number) => { const d = v + v; return d; }), BLOCK: constexpr }, // biome-ignore format: one line
  ({ x, y, cols, twice, BLOCK }, tl) => {
    const row = tl.programId(0);
    const at = tl.arange(0, BLOCK);
    const inside = at < cols;
    const v = tl.load(x + row * cols + at, inside, -Infinity);
    let top = tl.max(v, 0);
    top = twice(top) / 2;
    const e = tl.exp(v - top);
    const total = tl.sum(e, 0);
    tl.store(y + row * cols + at, e / total, inside);
  },
  "softmax",
);
const args = () => ({ x: tensor([[1, 2, 4], [3, 3, 3]], { dtype: "f32" }), y: tensor(new Float32Array(6)), cols: 3, BLOCK: 4 }); // biome-ignore format: one line

describe("debug", () => {
  test("notes every variable of one program, with its line, also in helpers", async () => {
    const a = args();
    const t = await debug(softmax, { grid: [2], args: a, program: [1] });
    expect(t.problems).toEqual([]);
    const find = (name: string) => t.entries.filter((e) => e.name === name);
    expect(find("row")[0]).toMatchObject({ value: 1, shape: [], dtype: "i32", line: 2, helper: undefined });
    expect(find("inside")[0]!.value).toEqual([true, true, true, false]);
    expect(find("v")[0]).toMatchObject({ value: [3, 3, 3, -Infinity], shape: [4], dtype: "f32", line: 5 });
    expect(find("d")[0]).toMatchObject({ value: 6, helper: "twice" });
    expect(find("top").map((e) => e.value)).toEqual([3, 3]);
    expect(find("total")[0]!.value).toBe(3);
    // Nothing of the launch's memory changed.
    expect([...((await a.y.data()) as Float32Array)]).toEqual([0, 0, 0, 0, 0, 0]);
    const text = String(t);
    expect(text).toMatch(
      /^kernel softmax, program \(1, 0, 0\) of \(2, 1, 1\)\n {2}line 2: row = 1 \(i32\)\n/,
    );
    expect(text).toContain("line 5: v = f32[4] 3, 3, 3, -Infinity");
    expect(text).toMatch(/twice, line \d: d = 6 \(f32\)/);
  });

  test("watches names and lines", async () => {
    const t = await debug(softmax, { grid: [2], args: args(), watch: ["total", 4] });
    expect(t.entries.map((e) => e.name)).toEqual(["inside", "total"]);
  });

  const count = kernel(
    { x: ptr, n: i32 },
    ({ x, n }, tl) => {
      let acc = 0;
      for (let i = 0; i < n; i++) {
        const step = tl.load(x + i);
        acc += step * step;
      }
      tl.store(x, acc);
    },
    "count",
  );

  test("breaks on a condition over variables", async () => {
    const x = tensor([1, 2, 3, 4], { dtype: "i32" });
    const t = await debug(count, { grid: [1], args: { x, n: 4 }, breakWhen: (e, get) => e.name === "acc" && Number(e.value) > 10 && get("step") === 3 }); // biome-ignore format: one line
    expect(t.stopped).toMatchObject({ name: "acc", value: 14 });
    expect(t.entries.filter((e) => e.name === "step").map((e) => e.value)).toEqual([1, 2, 3]);
    expect(String(t)).toMatch(/acc = 14 \(i32\) {3}<- stopped here$/);
  });

  test("an access outside of a tensor is reported at the author's line, to the element", async () => {
    const chip = await loadChip("wasm");
    const x = tensor([1, 2, 3, 4], { dtype: "i32", device: chip.name });
    const t = await debug(count, { grid: [1], args: { x, n: 6 }, watch: ["step"] });
    expect(t.entries.length).toBe(4);
    expect(t.problems).toHaveLength(1);
    expect(t.problems[0]!.message).toMatch(
      /load at offset 4 is outside x: 4 elements of i32[\s\S]*tl\.load\(x \+ i\)/,
    );
    expect(String(t)).toContain("tl.load(x + i)");
  });

  const partial = kernel(
    { y: ptr, z: ptr, N: constexpr },
    ({ y, z, N }, tl) => {
      const at = tl.arange(0, N);
      tl.store(y + at, at, at < 3);
      const back = tl.load(y + at);
      tl.store(z + at, back);
    },
    "partial",
  );

  test("a read of what was not written is reported at the author's line", async () => {
    const make = () => tensor(new Int32Array(4), { dtype: "i32" });
    const t = await debug(partial, { grid: [1], args: { y: make(), z: make(), N: 4 }, unwritten: ["y"] });
    expect(t.problems).toHaveLength(1);
    expect(t.problems[0]!.message).toMatch(
      /load reads offset 3, which nothing has written \(element 3 of the tile\)[\s\S]*tl\.load\(y \+ at\)/,
    );
    const quiet = await debug(partial, { grid: [1], args: { y: make(), z: make(), N: 4 } });
    expect(quiet.problems).toEqual([]);
  });

  test("says what is wrong with the call", async () => {
    await expect(debug(softmax, { grid: [2], args: args(), program: [2] })).rejects.toThrow(
      "kernel softmax: the program (2, 0, 0) is not in the grid (2, 1, 1)",
    );
    await expect(debug(softmax, { grid: [2, 1, 1, 1], args: args() })).rejects.toThrow(
      /one to three whole numbers/,
    );
  });
});
