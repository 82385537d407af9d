// The generators: Philox against the known answers of its authors' Random123, the rest by its distribution.

import { describe, expect, it } from "vitest";
import { i32, i64, ptr, u64 } from "../markers.js";
import { kernel, run } from "../testing/build.js";

describe("philox", () => {
  const k = kernel({ y: ptr, c: ptr, seed: u64 }, ({ y, c, seed }, tl) => {
    const words = tl.philox(seed, tl.load(c), tl.load(c + 1), tl.load(c + 2), tl.load(c + 3));
    for (const i of tl.staticRange(4)) tl.store(y + i, words[i]!);
  });
  const cases: [number[], bigint, number[]][] = [
    [[0, 0, 0, 0], 0n, [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      0xffffffffffffffffn,
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      0x299f31d0a4093822n,
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ];
  it.each(cases)("gives the known answer at counter %j with key %d", (counter, seed, words) => {
    const out = run(k, { y: ["u32", [0, 0, 0, 0]], c: ["u32", counter], seed });
    expect(out["y"]).toEqual(words);
  });
});

describe("random numbers", () => {
  const n = 4096;
  const zeros = new Array<number>(n).fill(0);
  const k = kernel({ u: ptr, g: ptr, r: ptr, seed: i64, first: i64 }, ({ u, g, r, seed, first }, tl) => {
    const at = tl.arange(0, 4096);
    tl.store(u + at, tl.rand(seed, first + at));
    tl.store(g + at, tl.randn(seed, first + at));
    tl.store(r + at, tl.randint(seed, first + at));
  });
  const sample = (seed: bigint, first: bigint) =>
    run(k, { u: ["f32", zeros], g: ["f32", zeros], r: ["u32", zeros], seed, first }) as Record<
      string,
      number[]
    >;
  const a = sample(42n, 0n);
  const mean = (v: readonly number[]) => v.reduce((s, x) => s + x, 0) / v.length;
  const variance = (v: readonly number[]) => mean(v.map((x) => (x - mean(v)) ** 2));

  it("lie in their ranges and have their moments", () => {
    expect(Math.min(...a["u"]!)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...a["u"]!)).toBeLessThan(1);
    // Four standard errors of 4096 samples.
    expect(Math.abs(mean(a["u"]!) - 0.5)).toBeLessThan(4 * Math.sqrt(1 / 12 / n));
    expect(Math.abs(variance(a["u"]!) - 1 / 12)).toBeLessThan(4 * Math.sqrt(1 / 180 / n));
    expect(Math.abs(mean(a["g"]!))).toBeLessThan(4 / Math.sqrt(n));
    expect(Math.abs(variance(a["g"]!) - 1)).toBeLessThan(4 * Math.sqrt(2 / n));
    expect(new Set(a["r"]!).size).toBeGreaterThan(n - 20);
  });
  it("depend on the seed and the offset and nothing else, all 64 bits of both", () => {
    expect(sample(42n, 0n)).toEqual(a);
    expect(sample(42n, 1n)["r"]!.slice(0, -1)).toEqual(a["r"]!.slice(1));
    for (const [seed, first] of [
      [43n, 0n],
      [42n + 2n ** 32n, 0n],
      [42n, 2n ** 32n],
    ] as const)
      expect(sample(seed, first)["r"]!.filter((x, i) => x === a["r"]![i]).length).toBeLessThan(4);
  });
  it("take 32-bit seeds without 64-bit arithmetic, and literals", () => {
    const small = kernel({ y: ptr, seed: i32 }, ({ y, seed }, tl) => {
      tl.store(y, tl.randint(seed, 5));
      tl.store(y + 1, tl.randint(42, 5));
      const [p, q, r, s] = tl.rand4x(seed, 5);
      tl.store(y + 2, tl.cast(p + q + r + s < 4, tl.u32));
    });
    const out = run(small, { y: ["u32", [0, 0, 0]], seed: 42 })["y"];
    expect(out).toEqual([a["r"]![5], a["r"]![5], 1]);
  });
});

describe("softmax", () => {
  it("of rows sums to 1 and keeps the order", () => {
    const k = kernel({ x: ptr, y: ptr }, ({ x, y }, tl) => {
      const at = tl.col(tl.arange(0, 2)) * 4 + tl.row(tl.arange(0, 4));
      tl.store(y + at, tl.softmax(tl.load(x + at), 1));
    });
    const x = [1, 2, 3, 4, 100, 101, 99, 100];
    const y = run(k, { x: ["f64", x], y: ["f64", new Array(8).fill(0)] })["y"] as number[];
    for (const row of [0, 4]) {
      const e = x.slice(row, row + 4).map((v) => Math.exp(v - Math.max(...x.slice(row, row + 4))));
      const sum = e.reduce((s, v) => s + v, 0);
      for (const [i, v] of e.entries()) expect(y[row + i]).toBeCloseTo(v / sum, 12);
    }
  });
});
