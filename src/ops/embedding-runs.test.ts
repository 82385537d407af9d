// The gradient by runs of equal indices against plain sums, on every chip, also where the operator takes another way.

import { expect, it } from "vitest";
import { type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { gradientByRuns } from "./embedding-runs.js";
import { noise, onEachChip } from "./testing/chips.js";

await onEachChip(() => {
  it.each([
    [7, 20, 300, false],
    [90, 33, 70, true],
    [3, 5, 1, false],
  ])("a table of %i x %i sums %i rows, by frequency: %s", async (table, cols, n, scaled) => {
    // Some stand outside the table, and one gets nothing.
    const ids = Array.from({ length: n }, (_, i) => ((i * 7919 + 3) % (table + 2)) - 1);
    const padding = 2;
    const dy: Tensor = noise([n, cols], 5);
    const index = tensor(BigInt64Array.from(ids, BigInt), { shape: [n] });
    const got = Array.from(
      await gradientByRuns(dy, index, { table, cols, padding, scaled, dtype: "f32" }).data(),
      Number,
    );
    const given = Array.from(await dy.data(), Number);
    const want = new Float64Array(table * cols);
    const count = (id: number): number => (scaled ? ids.filter((x) => x === id).length : 1);
    ids.forEach((id, i) => {
      if (id < 0 || id >= table || id === padding) return;
      for (let c = 0; c < cols; c++) want[id * cols + c]! += given[i * cols + c]! / count(id);
    });
    expect(Math.max(...got.map((v, i) => Math.abs(v - want[i]!)))).toBeLessThan(1e-5);
    expect(got.length).toBe(want.length);
  });
});
