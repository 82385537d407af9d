// The choice of tokens: which can be drawn, how often each is, and what a draw depends on.

import { beforeAll, describe, expect, it } from "vitest";
import { testedChips } from "../../test/chips.js";
import "../chips/index.js";
import { Generator, loadChip, setDefaultChip } from "../runtime/index.js";
import { type Tensor, tensor } from "../tensor/index.js";
import { randn, sample, type SampleOptions } from "./index.js";

const chips = testedChips.filter((c) => c.missing === undefined).map((c) => c.name);
beforeAll(async () => {
  for (const chip of chips) await loadChip(chip);
  await setDefaultChip(chips[0]!);
});

const drawn = async (t: Tensor): Promise<number[]> => Array.from(await t.data(), Number);
const rows = (logits: number[], count: number, device: string): Tensor =>
  tensor(logits, { dtype: "f32", device }).unsqueeze(0).expand([count, logits.length]);

/** What the options keep of the probabilities of a row, by sorting. */
function reference(
  logits: number[],
  { temperature = 1, topK = 0, topP = 1, minP = 0 }: SampleOptions,
): number[] {
  const top = Math.max(...logits);
  let p = logits.map((l) => Math.exp((l - top) / temperature));
  const order = logits.map((_, i) => i).sort((a, b) => logits[b]! - logits[a]!);
  if (topK > 0) {
    const last = logits[order[Math.min(topK, order.length) - 1]!]!;
    p = p.map((x, i) => (logits[i]! >= last ? x : 0));
  }
  p = p.map((x) => (x >= minP ? x : 0));
  const total = p.reduce((s, x) => s + x, 0);
  let sum = 0;
  const kept = new Set<number>();
  for (const i of order) {
    if (sum >= topP * total) break;
    kept.add(i);
    sum += p[i]!;
  }
  p = p.map((x, i) => (kept.has(i) ? x : 0));
  const rest = p.reduce((s, x) => s + x, 0);
  return p.map((x) => x / rest);
}

const LOGITS = [1, -0.5, 2.25, 0, 3, -4, 2, 1.5, 0.25, -1];
const COUNT = 3000;

describe.each(chips)("sample on %s", (device) => {
  it.each<[string, SampleOptions]>([
    ["the plain distribution", {}],
    ["a temperature", { temperature: 0.5 }],
    ["a high temperature", { temperature: 3 }],
    ["top-k", { topK: 3 }],
    ["top-k of more than there are", { topK: 50 }],
    ["top-p", { topP: 0.7 }],
    ["a small top-p", { topP: 0.01 }],
    ["min-p", { minP: 0.3 }],
    ["all at once", { temperature: 1.5, topK: 6, topP: 0.9, minP: 0.2 }],
  ])("draws %s", async (_name, options) => {
    const x = await drawn(sample(rows(LOGITS, COUNT, device), { ...options, generator: new Generator(3) }));
    const want = reference(LOGITS, options);
    const counts = LOGITS.map((_, i) => x.filter((v) => v === i).length);
    let chi = 0;
    want.forEach((p, i) => {
      if (p === 0) expect(counts[i]).toBe(0);
      else chi += (counts[i]! - p * COUNT) ** 2 / (p * COUNT);
    });
    // At most 9 degrees of freedom, one in a thousand; the seed is fixed.
    expect(chi).toBeLessThan(27.9);
  });

  it("finds thresholds in a large vocabulary", async () => {
    const V = 1503;
    const logits = randn([1, V], { device, generator: new Generator(4) });
    const values = await drawn(logits);
    const order = values.map((_, i) => i).sort((a, b) => values[b]! - values[a]!);
    const many = logits.expand([600, V]);
    const k = new Set(await drawn(sample(many, { topK: 7, temperature: 100, generator: new Generator(5) })));
    expect([...k].sort((a, b) => a - b)).toEqual(order.slice(0, 7).sort((a, b) => a - b));
    const want = reference(values, { topP: 0.1 });
    const p = new Set(await drawn(sample(many, { topP: 0.1, generator: new Generator(6) })));
    for (const i of p) expect(want[i]).toBeGreaterThan(0);
    expect(p.size).toBeGreaterThan(want.filter((x) => x > 0).length * 0.9);
  });

  it("takes the largest at temperature 0 and with topK 1", async () => {
    const logits = randn([20, 300], { device, generator: new Generator(7) });
    const values = (await logits.tolist()) as number[][];
    const want = values.map((row) => row.indexOf(Math.max(...row)));
    expect(await drawn(sample(logits, { temperature: 0 }))).toEqual(want);
    expect(await drawn(sample(logits, { topK: 1 }))).toEqual(want);
  });

  it("never draws what is masked, nor NaN", async () => {
    const logits = rows([-Infinity, 0, Number.NaN, -Infinity, 1], 500, device);
    const x = await drawn(sample(logits, { generator: new Generator(8) }));
    expect(new Set(x)).toEqual(new Set([1, 4]));
    const limited = await drawn(sample(logits, { topK: 2, topP: 0.99, generator: new Generator(8) }));
    expect(new Set(limited)).toEqual(new Set([1, 4]));
  });

  it.each(["f16", "bf16", "f64"] as const)("reads logits of %s", async (dtype) => {
    const x = await drawn(sample(tensor([[0, 5, 1]], { dtype, device }), { topK: 1 }));
    expect(x).toEqual([1]);
  });
});

describe("what a draw depends on", () => {
  it("is the seed and the row, not the other rows and not the chip", async () => {
    const g = () => new Generator(11);
    const all: number[][] = [];
    for (const device of chips) {
      const logits = randn([64, 1500], { device, generator: new Generator(12) });
      const x = await drawn(sample(logits, { topK: 100, topP: 0.8, generator: g() }));
      const others = logits.clone();
      others.narrow(0, 8, 56).normal_(5, 9);
      const y = await drawn(sample(others, { topK: 100, topP: 0.8, generator: g() }));
      expect(y.slice(0, 8)).toEqual(x.slice(0, 8));
      expect(await drawn(sample(logits.narrow(0, 0, 3), { topK: 100, topP: 0.8, generator: g() }))).toEqual(
        x.slice(0, 3),
      );
      all.push(x);
    }
    for (const x of all) expect(x).toEqual(all[0]);
    expect(new Set(all[0]).size).toBeGreaterThan(40);
  });

  it("moves on with the generator", async () => {
    const generator = new Generator(1);
    const logits = randn([100, 50], { generator: new Generator(2) });
    const a = await drawn(sample(logits, { generator }));
    const b = await drawn(sample(logits, { generator }));
    expect(a).not.toEqual(b);
    expect(generator.getState().offset).toBe(2);
  });
});

it("refuses what makes no sense", () => {
  const x = randn([2, 4]);
  expect(() => sample(randn([4]))).toThrow(/shape \[rows, vocabulary\]/);
  expect(() => sample(x, { temperature: -1 })).toThrow(/temperature/);
  expect(() => sample(x, { topK: -1 })).toThrow(/topK/);
  expect(() => sample(x, { topP: 0 })).toThrow(/topP/);
  expect(() => sample(x, { minP: 2 })).toThrow(/minP/);
});
