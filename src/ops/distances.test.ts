// Distances of all pairs of rows against the same by hand, and their gradients against those of the differences spelled out.
// PyTorch's samples of the same are in the conformance suite.

import { expect, it } from "vitest";
import { defaultChip, memoryStats, resetPeakMemory } from "../runtime/index.js";
import { grad, type Tensor } from "../tensor/index.js";
import { cdist, mul, norm, pdist, sub, sum } from "./index.js";
import { distance, noise, numbers, onEachChip } from "./testing/chips.js";

const ORDERS = [0, 1, 2, 3, 1.5, Number.POSITIVE_INFINITY];
/** The same by way of all differences. */
const spelled = (a: Tensor, b: Tensor, p: number): Tensor =>
  norm(sub(a.unsqueeze(-2), b.unsqueeze(-3)), p, [-1]);

await onEachChip((chip) => {
  const [rows, others, length] = chip === "interpreter" ? [5, 18, 7] : [19, 300, 37];

  it.each(ORDERS)("p %d: values and gradients", async (p) => {
    const [a, b] = [noise([2, rows, length], 1), noise([others, length], 2)];
    for (const t of [a, b]) t.requiresGrad_();
    const weight = noise([2, rows, others], 3);
    const [y, want] = [cdist(a, b, p), spelled(a, b, p)];
    expect(y.shape).toEqual([2, rows, others]);
    expect(await distance(y, want)).toBeLessThan(2e-5);
    if (p === 0) return;
    const of = (t: Tensor): (Tensor | null)[] => grad([sum(mul(t, weight))], [a, b]);
    const [got, expected] = [of(y), of(want)];
    for (const i of [0, 1]) expect(await distance(got[i]!, expected[i]!)).toBeLessThan(2e-4);
  });

  it("equal rows are no distance apart, and have no slope", async () => {
    const x = noise([3, 6], 4);
    for (const p of ORDERS.slice(1)) {
      const a = x.clone().requiresGrad_();
      const y = cdist(a, x, p);
      const own = (await numbers(y)).filter((_, i) => i % 4 === 0);
      expect(own).toEqual([0, 0, 0]);
      const [g] = grad([sum(y)], [a]);
      expect((await numbers(g!)).every(Number.isFinite)).toBe(true);
    }
  });

  it("pairs of one matrix, and their gradient twice", async () => {
    const x = noise([9, 5], 5).requiresGrad_();
    const y = pdist(x, 3);
    const all = await numbers(spelled(x, x, 3));
    const want = all.filter((_, k) => k % 9 > Math.floor(k / 9));
    (await numbers(y)).forEach((v, i) => {
      expect(v).toBeCloseTo(want[i]!, 5);
    });
    expect(y.shape).toEqual([36]);
    const twice = (t: Tensor): Tensor => {
      const [g] = grad([sum(mul(t, t))], [x], undefined, { createGraph: true });
      return grad([sum(mul(g!, noise([9, 5], 6)))], [x])[0]!;
    };
    // Each pair stands twice among all, which have zeros besides: half of their sum.
    const apart = norm(sub(x.narrow(0, 0, 1), x.narrow(0, 1, 1)), 3, [-1]);
    expect(await distance(apart, y.narrow(0, 0, 1))).toBeLessThan(1e-5);
    const pairs = cdist(x.narrow(0, 0, 4), x.narrow(0, 4, 5), 3);
    const same = spelled(x.narrow(0, 0, 4), x.narrow(0, 4, 5), 3);
    expect(await distance(twice(pairs), twice(same))).toBeLessThan(2e-3);
    expect((await numbers(twice(y))).every(Number.isFinite)).toBe(true);
  });

  it("takes memory for results, not for all differences", () => {
    const x = noise([64, 32], 7);
    const before = memoryStats(defaultChip()).allocated;
    resetPeakMemory(defaultChip());
    cdist(x, x);
    expect(memoryStats(defaultChip()).peak - before).toBeLessThan(64 * 64 * 4 * 2);
  });
});
