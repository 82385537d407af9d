// Reductions over every layout the kernels tell apart, against plain loops; long ones that are cut into parts.

import { expect, it } from "vitest";
import { type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { amax, argmax, argmin, max, min } from "./extreme.js";
import { all, any, mean, prod, sum } from "./reduce.js";
import { partsOf } from "./reduce-kernel.js";
import { cumsum } from "./scan.js";
import { noise, numbers, onEachChip } from "./testing/chips.js";

/** Sums over `dims` by plain loops in f64, row-major. */
async function plainSum(x: Tensor, dims: readonly number[]): Promise<number[]> {
  const values = await numbers(x);
  const kept = x.shape.map((_, d) => d).filter((d) => !dims.includes(d));
  const out = new Array<number>(kept.reduce((n, d) => n * x.shape[d]!, 1)).fill(0);
  values.forEach((v, i) => {
    const at: number[] = [];
    let rest = i;
    for (let d = x.ndim - 1; d >= 0; d--) {
      at[d] = rest % x.shape[d]!;
      rest = Math.floor(rest / x.shape[d]!);
    }
    const place = kept.reduce((p, d) => p * x.shape[d]! + at[d]!, 0);
    out[place]! += v;
  });
  return out;
}

it("cuts a reduction into ever fewer parts, however many threads there are", () => {
  for (const threads of [1, 2, 8, 132, 1024])
    for (const programs of [1, 2, 8, 200])
      for (const length of [1, 2, 3, 7, 100, 20_000])
        for (const kept of [1, 100, 100_000]) {
          const parts = partsOf(programs, threads, length * kept, length);
          expect(parts).toBeGreaterThanOrEqual(1);
          if (length > 1) expect(parts).toBeLessThan(length);
          // No part is empty.
          if (parts > 1) expect((parts - 1) * Math.ceil(length / parts)).toBeLessThan(length);
        }
  expect(partsOf(1, 2, 1 << 20, 1 << 20)).toBe(8);
});

await onEachChip((chip) => {
  const cases: [string, () => Tensor, number[]][] = [
    ["rows", () => noise([7, 300]), [1]],
    ["many short rows", () => noise([5000, 3]), [1]],
    ["columns", () => noise([300, 70]), [0]],
    ["the middle", () => noise([4, 50, 9]), [1]],
    ["first and last", () => noise([6, 20, 30]), [0, 2]],
    ["a turned matrix's rows", () => noise([60, 80]).permute(1, 0), [1]],
    ["alternate dimensions of five", () => noise([3, 4, 5, 2, 6]), [0, 2, 4]],
    ["kept dimensions that do not collapse", () => noise([3, 4, 5, 6]).permute(2, 0, 3, 1), [1]],
    ["a repeated column", () => noise([40, 1]).expand([40, 50]), [1]],
    ["every other element", () => noise([30, 100]).slice(1, 0, 100, 2), [0]],
    ["one long row, in parts", () => noise([300000]), [0]],
    ["few long rows, in parts", () => noise([3, 70000]), [1]],
    ["few long columns, in parts", () => noise([30000, 12]), [0]],
    ["two dimensions, in parts", () => noise([50, 20, 200]), [0, 2]],
  ];
  it.each(cases)("sum: %s", async (name, make, dims) => {
    if (chip === "interpreter" && make().numel > 100000) return;
    const x = make();
    const got = await numbers(sum(x, dims));
    const want = await plainSum(x, dims);
    expect(got.length).toBe(want.length);
    const worst = got.reduce((w, v, i) => Math.max(w, Math.abs(v - want[i]!)), 0);
    expect(worst, name).toBeLessThan(2e-6 * Math.sqrt(x.numel / want.length) * 10);
  });

  it("gives the same bits again", async () => {
    const x = noise([100000]);
    expect(await sum(x).item()).toBe(await sum(x).item());
  });

  it("reduces nothing to the neutral element, and refuses to choose among nothing", async () => {
    const none = tensor([], { dtype: "f32", shape: [0, 3] });
    expect(await numbers(sum(none, [0]))).toEqual([0, 0, 0]);
    expect(await numbers(prod(none, 0))).toEqual([1, 1, 1]);
    expect(await numbers(mean(none, [0]))).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    expect(await numbers(any(none, [0]))).toEqual([0, 0, 0]);
    expect(await numbers(all(none, [0]))).toEqual([1, 1, 1]);
    expect(sum(none, [1]).shape).toEqual([0]);
    expect(() => amax(none, [0])).toThrow(/no element to choose among in \[0, 3\]/);
    expect(() => argmax(none)).toThrow(/no element/);
  });

  it("keeps NaN and takes the first of equals, also across blocks and parts", async () => {
    const values = new Float32Array(60000).fill(-5);
    values[70] = 2;
    values[59000] = 2;
    const x = tensor(values);
    expect(await argmax(x).item()).toBe(70n);
    expect(await argmin(x).item()).toBe(0n);
    expect(await argmax(tensor(new Float32Array(40000).fill(Number.NEGATIVE_INFINITY))).item()).toBe(0n);
    values[30000] = Number.NaN;
    values[50000] = Number.NaN;
    const y = tensor(values, { shape: [2, 30000] });
    expect(await numbers(argmax(y, 1))).toEqual([70, 0]);
    const [v, at] = min(y, 1);
    expect(await numbers(v)).toEqual([-5, Number.NaN]);
    expect(await numbers(at)).toEqual([0, 0]);
    expect(await max(y).item()).toBeNaN();
  });

  it("compares 64-bit integers exactly", async () => {
    const big = tensor([2n ** 62n, 2n ** 62n + 1n, -(2n ** 63n)]);
    expect(await max(big).item()).toBe(2n ** 62n + 1n);
    expect(await min(big).item()).toBe(-(2n ** 63n));
    expect(await argmax(big).item()).toBe(1n);
    expect(await sum(tensor([2n ** 53n, 1n])).item()).toBe(2n ** 53n + 1n);
  });

  it("runs sums over several blocks", async () => {
    const x = tensor(
      Float32Array.from({ length: 2 * 600 }, (_, i) => i % 7),
      { shape: [2, 600] },
    );
    const got = await numbers(cumsum(x, 1));
    let [total, worst] = [0, 0];
    (await numbers(x)).forEach((v, i) => {
      total = i % 600 === 0 ? v : total + v;
      worst = Math.max(worst, Math.abs(total - got[i]!));
    });
    expect(worst).toBe(0);
  });
});
