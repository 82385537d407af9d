// Random tensors: their distributions, and that seed and position alone decide them: not the chip, not the launch.

import { beforeAll, describe, expect, it } from "vitest";
import { testedChips } from "../../test/chips.js";
import "../chips/index.js";
import { Generator, loadChip, manualSeed, setDefaultChip } from "../runtime/index.js";
import { philox } from "../runtime/generator.js";
import { type DType, noGrad, type Tensor, tensor } from "../tensor/index.js";
import * as ops from "./index.js";

const chips = testedChips.filter((c) => c.missing === undefined).map((c) => c.name);
const seeded = (seed: number) => new Generator(seed);
const numbers = async (t: Tensor): Promise<number[]> => Array.from(await t.data(), Number);

beforeAll(async () => {
  for (const chip of chips) await loadChip(chip);
  await setDefaultChip(chips[0]!);
});

/** The largest distance between the numbers' distribution and a given one (Kolmogorov and Smirnov). */
function distance(values: number[], cumulative: (x: number) => number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const n = sorted.length;
  return Math.max(...sorted.map((x, i) => Math.max(cumulative(x) - i / n, (i + 1) / n - cumulative(x))));
}
/** A true distribution exceeds it once in a thousand seeds; the seeds here are fixed. */
const limit = (n: number): number => 1.95 / Math.sqrt(n);
const mean = (v: number[]): number => v.reduce((s, x) => s + x, 0) / v.length;
const deviation = (v: number[]): number => {
  const m = mean(v);
  return Math.sqrt(v.reduce((s, x) => s + (x - m) ** 2, 0) / v.length);
};
/** Abramowitz and Stegun 7.1.26. */
function normalCumulative(z: number): number {
  const t = 1 / (1 + (0.3275911 * Math.abs(z)) / Math.SQRT2);
  const poly =
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const erf = 1 - poly * Math.exp((-z * z) / 2);
  return z < 0 ? (1 - erf) / 2 : (1 + erf) / 2;
}

const N = 10_000;
/** The share of draws that hit, as a whole number of standard deviations from the probability: at most 4. */
const expectShare = (share: number, p: number, n = N): void =>
  expect(Math.abs(share - p) / Math.sqrt((p * (1 - p)) / n)).toBeLessThan(4);

describe("distributions", () => {
  it.each(["f32", "f64", "f16", "bf16"] as const)("rand and uniform_ in %s are even", async (dtype) => {
    const u = await numbers(ops.rand([N], { dtype, generator: seeded(1) }));
    // Half floats come in few steps, at whose lower end a value stands.
    const step = dtype === "f16" ? 2 ** -11 : dtype === "bf16" ? 2 ** -8 : 0;
    expect(Math.min(...u)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...u)).toBeLessThan(1);
    expect(distance(u, (x) => x)).toBeLessThan(limit(N) + step);
    const wide = await numbers(ops.zeros([N], { dtype }).uniform_(-4, 12, { generator: seeded(2) }));
    expect(distance(wide, (x) => (x + 4) / 16)).toBeLessThan(limit(N) + step);
  });

  it.each(["f32", "f64", "f16", "bf16"] as const)("randn and normal in %s are normal", async (dtype) => {
    const z = await numbers(ops.randn([N], { dtype, generator: seeded(3) }));
    const coarse = dtype === "bf16" ? 2 ** -9 : dtype === "f16" ? 2 ** -11 : 0;
    expect(distance(z, normalCumulative)).toBeLessThan(limit(N) + coarse);
    const x = await numbers(ops.normal(5, 0.5, [N], { dtype, generator: seeded(4) }));
    expect(Math.abs(mean(x) - 5)).toBeLessThan((4 * 0.5) / Math.sqrt(N));
    expect(Math.abs(deviation(x) - 0.5)).toBeLessThan((4 * 0.5) / Math.sqrt(2 * N));
    const cosines = z.slice(0, N / 4);
    const sines = z.slice(N / 4, N / 2);
    // The two numbers of one transform are independent.
    expect(Math.abs(mean(cosines.map((c, i) => c * sines[i]!)))).toBeLessThan(4 / Math.sqrt(N / 4));
  });

  it.each(["f32", "f64"] as const)("exponential_ in %s", async (dtype) => {
    const x = await numbers(ops.zeros([N], { dtype }).exponential_(2, { generator: seeded(5) }));
    expect(Math.min(...x)).toBeGreaterThanOrEqual(0);
    expect(x.every(Number.isFinite)).toBe(true);
    expect(distance(x, (v) => 1 - Math.exp(-2 * v))).toBeLessThan(limit(N));
  });

  it("randint takes every integer of its range equally often", async () => {
    const x = await numbers(ops.randint(-3, 7, [N], { generator: seeded(6) }));
    const counts = new Map<number, number>();
    for (const v of x) counts.set(v, (counts.get(v) ?? 0) + 1);
    expect([...counts.keys()].sort((a, b) => a - b)).toEqual([-3, -2, -1, 0, 1, 2, 3, 4, 5, 6]);
    const chi = [...counts.values()].reduce((s, c) => s + (c - N / 10) ** 2 / (N / 10), 0);
    // 9 degrees of freedom, one in a thousand.
    expect(chi).toBeLessThan(27.9);
  });

  it("randint reaches ranges above 32 bits", async () => {
    const x = await numbers(ops.randint(0, 2 ** 52, [N], { generator: seeded(7) }));
    expect(distance(x, (v) => v / 2 ** 52)).toBeLessThan(limit(N));
  });

  it("bernoulli follows its probabilities", async () => {
    const p = tensor([0, 0.2, 1], { dtype: "f32" }).unsqueeze(1).expand([3, N]);
    const x = await numbers(ops.bernoulli(p, { generator: seeded(8) }));
    expect(x.slice(0, N).every((v) => v === 0)).toBe(true);
    expectShare(mean(x.slice(N, 2 * N)), 0.2);
    expect(x.slice(2 * N).every((v) => v === 1)).toBe(true);
    const y = await numbers(ops.zeros([N], { dtype: "i64" }).bernoulli_(0.7, { generator: seeded(9) }));
    expectShare(mean(y), 0.7);
  });

  it("normal takes its parameters from tensors", async () => {
    const m = tensor([-10, 10], { dtype: "f32" }).unsqueeze(1).expand([2, N]);
    const x = await numbers(ops.normal(m, 0.1, { generator: seeded(10) }));
    expect(mean(x.slice(0, N))).toBeCloseTo(-10, 2);
    const y = await numbers(
      ops.normal(1, tensor([0, 3], { dtype: "f32" }).unsqueeze(1).expand([2, N]), { generator: seeded(11) }),
    );
    expect(y.slice(0, N).every((v) => v === 1)).toBe(true);
    expect(Math.abs(deviation(y.slice(N)) - 3)).toBeLessThan((4 * 3) / Math.sqrt(2 * N));
  });
});

describe("multinomial", () => {
  it("with replacement draws in proportion and never what weighs nothing", async () => {
    const w = tensor([0, 1, 2, 0, 5], { dtype: "f32" });
    const x = await numbers(ops.multinomial(w, N, true, { generator: seeded(1) }));
    const share = (k: number) => x.filter((v) => v === k).length / N;
    expect([share(0), share(3)]).toEqual([0, 0]);
    expectShare(share(1), 1 / 8);
    expectShare(share(4), 5 / 8);
  });

  it("without replacement draws each index once", async () => {
    const w = ops.rand([6, 600], { generator: seeded(2) });
    const rows = (await ops.multinomial(w, 600, false, { generator: seeded(3) }).tolist()) as bigint[][];
    for (const row of rows) expect(new Set(row).size).toBe(600);
    expect(rows[0]).not.toEqual(rows[1]);
  });

  it("without replacement prefers what weighs more", async () => {
    const w = tensor([1, 1, 8], { dtype: "f64" }).unsqueeze(0).expand([N, 3]);
    const first = (await numbers(ops.multinomial(w, 2, false, { generator: seeded(4) }))).filter(
      (_, i) => i % 2 === 0,
    );
    expectShare(first.filter((v) => v === 2).length / N, 0.8);
  });

  it("refuses what cannot be drawn", () => {
    expect(() => ops.multinomial(ops.ones([3]), 4)).toThrow(/without replacement/);
    expect(() => ops.multinomial(ops.ones([3], { dtype: "i64" }), 1)).toThrow(/floats/);
    expect(() => ops.multinomial(ops.ones([3]), 0)).toThrow(/1 or more/);
  });
});

describe("seeds", () => {
  const draws: [string, (g: Generator, device: string) => Tensor][] = [
    ...(["f32", "f64", "f16", "bf16"] as DType[]).flatMap(
      (dtype): [string, (g: Generator, device: string) => Tensor][] => [
        [`rand ${dtype}`, (generator, device) => ops.rand([9001], { dtype, device, generator })],
        [`randn ${dtype}`, (generator, device) => ops.randn([9001], { dtype, device, generator })],
        [
          `exponential_ ${dtype}`,
          (generator, device) => ops.zeros([9001], { dtype, device }).exponential_(1, { generator }),
        ],
      ],
    ),
    ["randint", (generator, device) => ops.randint(-5, 1000, [9001], { device, generator })],
    ["randint of 40 bits", (generator, device) => ops.randint(0, 2 ** 40, [9001], { device, generator })],
    ["bernoulli", (generator, device) => ops.bernoulli(ops.full([9001], 0.3, { device }), { generator })],
    ["dropout", (generator, device) => ops.dropout(ops.ones([9001], { device }), 0.3, true, { generator })],
    [
      "multinomial",
      (generator, device) =>
        ops.multinomial(ops.arange(300, { dtype: "f32", device }), 50, false, { generator }),
    ],
  ];

  /** Logarithms and cosines may round differently on chips with and without fused multiply-add. */
  const rounding = { f32: 2 ** -22, f64: 2 ** -51, f16: 2 ** -10, bf16: 2 ** -7 } as Partial<
    Record<DType, number>
  >;

  it.each(draws)("%s is the same on every chip, for a seed, and only for it", async (name, draw) => {
    const results: number[][] = [];
    for (const chip of chips) results.push(await numbers(await draw(seeded(77), chip)));
    const bound = /randn|exponential/.test(name) ? rounding[name.split(" ")[1] as DType]! : 0;
    for (const r of results)
      expect(r.every((x, i) => Math.abs(x - results[0]![i]!) <= bound * Math.abs(x))).toBe(true);
    const g = seeded(77);
    expect(await numbers(draw(g, chips[0]!))).toEqual(results[0]);
    expect(await numbers(draw(g, chips[0]!))).not.toEqual(results[0]);
    expect(await numbers(draw(seeded(78), chips[0]!))).not.toEqual(results[0]);
  });

  it.each(chips)("elements are those of the counters, however the launch is cut, on %s", async (chip) => {
    for (const n of [1, 3, 64, 257, 1024, 70_001]) {
      const g = new Generator((5n << 32n) + 9n);
      // Across the carry into the counter's second word.
      g.setState({ seed: g.initialSeed, offset: 2 ** 32 - 3 });
      const got = await numbers(ops.rand([n], { device: chip, generator: g }));
      const q = Math.ceil(n / 4);
      expect(g.getState().offset).toBe(2 ** 32 - 3 + q);
      for (const i of new Set([0, 1, 2, n >> 2, n >> 1, n - 2, n - 1].filter((i) => i >= 0 && i < n))) {
        const words = philox(2 ** 32 - 3 + (i % q), 0, 9, 5);
        expect(got[i]).toBe((words[Math.floor(i / q)]! >>> 8) / 2 ** 24);
      }
    }
  });

  it("the default generator follows manualSeed", async () => {
    manualSeed(5);
    const a = await numbers(ops.rand([4]));
    const b = await numbers(ops.rand([4]));
    manualSeed(5);
    expect(await numbers(ops.rand([4]))).toEqual(a);
    expect(a).not.toEqual(b);
  });
});

describe("in place", () => {
  it("fills views without touching their surroundings", async () => {
    const t = ops.full([4, 6], -1);
    const v = t.to("f32").clone();
    v.narrow(1, 2, 3).uniform_(0, 1, { generator: seeded(1) });
    const rows = (await v.tolist()) as number[][];
    for (const row of rows) {
      expect([row[0], row[1], row[5]]).toEqual([-1, -1, -1]);
      expect(row.slice(2, 5).every((x) => x >= 0 && x < 1)).toBe(true);
    }
  });

  it("cuts gradients", async () => {
    const x = ops.ones([3]).requiresGrad_();
    const y = x.clone();
    y.normal_();
    y.backward(ops.ones([3]));
    expect(x.grad === null || (await numbers(x.grad)).every((v) => v === 0)).toBe(true);
  });

  it("refuses dtypes and parameters", () => {
    expect(() => ops.zeros([2], { dtype: "i64" }).uniform_()).toThrow(/floats, not i64/);
    expect(() => ops.zeros([2]).uniform_(2, 1)).toThrow(/nothing/);
    expect(() => ops.zeros([2]).normal_(0, -1)).toThrow(/0 or more/);
    expect(() => ops.zeros([2]).exponential_(0)).toThrow(/above 0/);
    expect(() => ops.zeros([2]).bernoulli_(1.5)).toThrow(/between 0 and 1/);
    expect(() => ops.rand([2], { dtype: "i64" })).toThrow(/floats/);
    expect(() => ops.randint(3, 3, [2])).toThrow(/no integer/);
  });
});

describe.each(chips)("dropout on %s", (device) => {
  it("keeps the share 1 - p, scaled, and sends gradients the same way", async () => {
    const x = ops.full([N], 3, { dtype: "f32", device, requiresGrad: true });
    const y = ops.dropout(x, 0.25, true, { generator: seeded(1) });
    const v = await numbers(y);
    expect(v.every((e) => e === 0 || e === 4)).toBe(true);
    expectShare(v.filter((e) => e !== 0).length / N, 0.75);
    y.backward(ops.ones([N], { device }));
    const g = await numbers(x.grad!);
    expect(g.every((e, i) => Math.abs(e - v[i]! / 3) < 1e-6)).toBe(true);
  });

  it("does nothing outside training and at p = 0", () => {
    const x = ops.ones([4], { device });
    expect(ops.dropout(x, 0.5, false)).toBe(x);
    expect(ops.dropout(x, 0)).toBe(x);
  });

  it("drops everything at p = 1", async () => {
    expect(await numbers(ops.dropout(ops.ones([4], { device }), 1))).toEqual([0, 0, 0, 0]);
  });

  it("drops whole channels", async () => {
    const x = ops.ones([8, 16, 3, 3], { device });
    const y = noGrad(() => ops.dropout2d(x, 0.5, true, { generator: seeded(2) })).view([128, 9]);
    const rows = (await y.tolist()) as number[][];
    for (const row of rows) expect(new Set(row).size).toBe(1);
    const kept = rows.filter((r) => r[0] === 2).length;
    expect(rows.every((r) => r[0] === 0 || r[0] === 2)).toBe(true);
    expect(kept).toBeGreaterThan(40);
    expect(kept).toBeLessThan(88);
  });
});
