// Running sums where rows are long, few, many or strided, against sums in f64, and their gradient.

import { expect, it } from "vitest";
import { grad, type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { cumsum } from "./scan.js";
import { noise, numbers, onEachChip } from "./testing/chips.js";

/** Running sums along the middle of `[outer, cols, inner]`. */
function expected(x: readonly number[], outer: number, cols: number, inner: number, back = false): number[] {
  const out = new Array<number>(x.length).fill(0);
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < inner; j++) {
      let sum = 0;
      for (let c = 0; c < cols; c++) {
        const at = (o * cols + (back ? cols - 1 - c : c)) * inner + j;
        sum += x[at]!;
        out[at] = sum;
      }
    }
  return out;
}

await onEachChip((chip) => {
  const close = async (got: Tensor, want: readonly number[], bound: number): Promise<void> => {
    const list = await numbers(got);
    let worst = 0;
    for (let i = 0; i < want.length; i++) worst = Math.max(worst, Math.abs(list[i]! - want[i]!));
    expect(worst).toBeLessThan(bound);
  };

  it.each([
    [1, 1, 1],
    [5, 16, 1],
    [7, 300, 1],
    [3, 70, 5],
    [2, 33, 200],
    [1, 100, 16],
    // Cut into parts.
    [1, 65536, 1],
    [3, 70001, 1],
  ])("%i times %i elements that stand %i apart", async (outer, cols, inner) => {
    if (chip === "interpreter" && outer * cols * inner > 20000) return;
    const x = noise([outer, cols, inner], 5).requiresGrad_();
    const list = await numbers(x);
    const bound = 2e-6 * Math.max(8, cols) ** 0.5 * 8;
    await close(cumsum(x, 1), expected(list, outer, cols, inner), bound);
    const g = noise([outer, cols, inner], 6);
    const [dx] = grad([cumsum(x, 1)], [x], [g]);
    await close(dx!, expected(await numbers(g), outer, cols, inner, true), bound);
  });

  it("counts in i64, also past one part", async () => {
    const n = chip === "interpreter" ? 1000 : 70000;
    const ones = tensor(new Uint8Array(n).fill(1), { shape: [n], dtype: "bool" });
    const sums = cumsum(ones, 0);
    expect(sums.dtype).toBe("i64");
    expect((await numbers(sums)).at(-1)).toBe(n);
  });
});
