// sort, topk and histogram on every chip against plain JavaScript.

import { afterAll, describe, expect, it } from "vitest";
import type { DType } from "../../src/compiler/ir/index.js";
import { lowerSimd } from "../../src/compiler/lower/simd/index.js";
import type { Stmt } from "../../src/compiler/lower/simd/form.js";
import { constexpr, i32, ptr } from "../../src/compiler/lang/index.js";
import { kernel } from "../../src/runtime/index.js";
import { shorten } from "../chips.js";
import { chips, closeAll, lowered, numbers, room } from "./run.js";

afterAll(closeAll);

const sorts = kernel(
  { x: ptr, up: ptr, down: ptr, columns: ptr, R: constexpr, C: constexpr },
  ({ x, up, down, columns, R, C }, tl) => {
    const at = tl.col(tl.arange(0, R)) * C + tl.row(tl.arange(0, C));
    const v = tl.load(x + at);
    tl.store(up + at, tl.sort(v));
    tl.store(down + at, tl.sort(v, 1, { descending: true }));
    tl.store(columns + at, tl.sort(v, 0));
  },
);

const top = kernel({ x: ptr, y: ptr, R: constexpr, C: constexpr, K: constexpr }, ({ x, y, R, C, K }, tl) => {
  const rows = tl.col(tl.arange(0, R));
  const v = tl.load(x + rows * C + tl.row(tl.arange(0, C)));
  tl.store(y + rows * K + tl.row(tl.arange(0, K)), tl.topk(v, K));
});

const counts = kernel(
  { x: ptr, all: ptr, some: ptr, n: i32, N: constexpr, BINS: constexpr },
  ({ x, all, some, n, N, BINS }, tl) => {
    const at = tl.arange(0, N);
    const v = tl.load(x + at);
    const bins = tl.arange(0, BINS);
    tl.store(all + bins, tl.histogram(v, BINS));
    tl.store(some + bins, tl.histogram(v, BINS, at < n));
  },
);

/** Elements by their low bits. */
const counting = kernel(
  { x: ptr, y: ptr, from: ptr, counts: ptr, N: constexpr, BINS: constexpr },
  ({ x, y, from, counts, N, BINS }, tl) => {
    const [at, bin] = [tl.arange(0, N), tl.arange(0, BINS)];
    const v = tl.load(x + at);
    const [count, start, sorted, place] = tl.countingSort(tl.cast(v, tl.i32) & (BINS - 1), [v, at], BINS);
    tl.store(y + at, sorted!);
    tl.store(from + at, place!);
    tl.store(counts + bin, count!);
    tl.store(counts + BINS + bin, start!);
  },
);

/** Keys with their places and a mask, along the middle of three axes. */
const together = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, from: ptr, positive: ptr, best: ptr,
    A: constexpr, N: constexpr, B: constexpr, K: constexpr, DOWN: constexpr.bool },
  ({ x, y, from, positive, best, A, N, B, K, DOWN }, tl) => {
    const a = tl.reshape(tl.arange(0, A), [A, 1, 1]);
    const b = tl.reshape(tl.arange(0, B), [1, 1, B]);
    const at = a * (N * B) + tl.reshape(tl.arange(0, N), [1, N, 1]) * B + b;
    const v = tl.load(x + at);
    const [keys, order, mask] = tl.sort([v, at, v > 0], 1, { descending: DOWN });
    tl.store(y + at, keys);
    tl.store(from + at, order);
    tl.store(positive + at, mask);
    const [, first] = tl.topk([v, at], K, 1, { largest: DOWN });
    tl.store(best + (a * (K * B) + tl.reshape(tl.arange(0, K), [1, K, 1]) * B + b), first);
  },
);

/** The order of a sort: -0 before +0, NaN last. */
const order = (a: number | bigint, b: number | bigint): number => {
  if (typeof a === "bigint" || typeof b === "bigint") return a < b ? -1 : a > b ? 1 : 0;
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a - b || Number(Object.is(b, -0)) - Number(Object.is(a, -0));
};
const special = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0];
const sample = (dtype: DType, n: number): (number | bigint)[] =>
  numbers(n, n).map((x, i) => {
    if (dtype === "bool") return Math.abs(Math.trunc(x)) % 2;
    if (dtype === "i64") return BigInt(Math.trunc(x * 1e6)) * 4096n;
    if (dtype === "u32") return (Math.trunc(x * 2e7) >>> 0) as number;
    if (dtype.includes("f")) return i % 4 === 3 ? special[(i >> 2) % 5]! : Math.trunc(x * 8) / 8;
    return dtype === "u8" ? Math.abs(Math.trunc(x)) : Math.trunc(x) + 0;
  });
// f16 and bf16 round on the way in: what is sorted is what they hold.
const rounded = (dtype: DType, x: number | bigint): number | bigint =>
  dtype === "bf16" ? Math.trunc(Number(x)) : x;

it("the code of a sort does not grow with the tile", () => {
  const size = (c: number): number => {
    let n = 0;
    const x = numbers(c);
    const args = { x: ["f32", x], up: room(c), down: room(c), columns: room(c), R: 1, C: c } as const;
    const count = (list: readonly Stmt[]): void => {
      for (const s of list) {
        n++;
        if ("body" in s) count(s.body);
        if (s.s === "while") count(s.cond);
        if (s.s === "if") for (const l of [s.then, s.else]) count(l);
      }
    };
    count(lowerSimd(lowered(sorts.source, args), { bytes: 32, registers: 16, address32: false }).body);
    return n;
  };
  expect(size(4096)).toBe(size(256));
});

describe.each(chips)("on $name", ({ name, run }) => {
  shorten(name, 3);
  it.each(["f32", "f64", "f16", "bf16", "i8", "u8", "i32", "u32", "i64", "bool"] as const)(
    "sort and topk of %s",
    async (dtype) => {
      for (const [r, c] of [
        [1, 1],
        [1, 64],
        [4, 8],
        [16, 2],
      ] as const) {
        const x = sample(dtype, r * c).map((v) => rounded(dtype, v));
        const got = await run(sorts, {
          x: [dtype, x],
          up: room(r * c, dtype),
          down: room(r * c, dtype),
          columns: room(r * c, dtype),
          R: r,
          C: c,
        });
        const rows = Array.from({ length: r }, (_, i) => x.slice(i * c, i * c + c).sort(order));
        expect(got["up"]).toEqual(rows.flat());
        expect(got["down"]).toEqual(rows.flatMap((v) => [...v].reverse()));
        const columns = Array.from({ length: c }, (_, j) => x.filter((_v, k) => k % c === j).sort(order));
        expect(got["columns"]).toEqual(x.map((_, k) => columns[k % c]![Math.floor(k / c)]!));
      }
      for (const [r, c, k] of [
        [1, 64, 4],
        [1, 256, 32],
        [4, 16, 1],
        [2, 8, 8],
      ] as const) {
        const x = sample(dtype, r * c).map((v) => rounded(dtype, v));
        const got = await run(top, { x: [dtype, x], y: room(r * k, dtype), R: r, C: c, K: k });
        const want = Array.from({ length: r }, (_, i) =>
          x
            .slice(i * c, i * c + c)
            .sort(order)
            .reverse()
            .slice(0, k),
        );
        expect(got["y"]).toEqual(want.flat());
      }
    },
  );

  it.each([
    ["i32", 64, 4],
    ["f32", 1024, 256],
  ] as const)("orders %s, %i of them, by counting in %i bins", async (dtype, N, BINS) => {
    const x = numbers(N, N).map((v) => Math.trunc(v * 8) + 0);
    const got = await run(counting, {
      x: [dtype, x],
      y: room(N, dtype),
      from: room(N, "i32"),
      counts: room(2 * BINS, "i32"),
      N,
      BINS,
    });
    const key = (p: number): number => x[p]! & (BINS - 1);
    const from = Array.from(x, (_, p) => p).sort((p, q) => key(p) - key(q) || p - q);
    expect(got["from"]).toEqual(from);
    expect(got["y"]).toEqual(from.map((p) => x[p]!));
    const bins = Array.from({ length: BINS }, (_, d) => d);
    const counts = bins.map((d) => from.filter((p) => key(p) === d).length);
    expect(got["counts"]).toEqual([
      ...counts,
      ...bins.map((d) => counts.slice(0, d).reduce((a, b) => a + b, 0)),
    ]);
  });

  // Short lines are made by insertion, long ones by digits: both, and results shorter than the lines in both.
  it.each([
    ["f32", 8, 2],
    ["f32", 64, 64],
    ["f32", 256, 16],
    ["f32", 512, 128],
    ["i8", 16, 8],
    ["i8", 256, 32],
    ["u16", 256, 64],
    ["f64", 512, 256],
  ] as const)("sorts lines of %s, %i long, with values; the first %i", async (dtype, n, k) => {
    const [A, B] = [2, 2];
    const x = numbers(A * n * B, n).map((v) => {
      const whole = Math.trunc(v / 8) + 0;
      return dtype === "u16" ? Math.abs(whole) * 999 : whole;
    });
    for (const down of [false, true]) {
      const got = await run(together, {
        x: [dtype, x],
        y: room(A * n * B, dtype),
        from: room(A * n * B, "i32"),
        positive: room(A * n * B, "bool"),
        best: room(A * k * B, "i32"),
        A,
        N: n,
        B,
        K: k,
        DOWN: down,
      });
      const sign = down ? -1 : 1;
      // Equal keys keep their order: there are at most 33 different ones.
      const line = (a: number, b: number): number[] =>
        Array.from({ length: n }, (_, i) => (a * n + i) * B + b).sort(
          (p, q) => sign * (x[p]! - x[q]!) || p - q,
        );
      const from = x.map((_, p) => line(Math.floor(p / (n * B)), p % B)[Math.floor(p / B) % n]!);
      expect(got["from"]).toEqual(from);
      expect(got["y"]).toEqual(from.map((p) => x[p]!));
      expect(got["positive"]).toEqual(from.map((p) => Number(x[p]! > 0)));
      const best = Array.from(
        { length: A * k * B },
        (_, p) => line(Math.floor(p / (k * B)), p % B)[Math.floor(p / B) % k]!,
      );
      expect(got["best"]).toEqual(best);
    }
  });

  it.each(["u8", "i8", "i32", "u32", "i64"] as const)("histogram of %s", async (dtype) => {
    const values = numbers(128, 3).map((v) => Math.trunc(v / 8));
    const unsigned = dtype.startsWith("u");
    const x = values.map((v) => (unsigned ? Math.abs(v) : v) + 0);
    for (const bins of [1, 8, 32]) {
      const got = await run(counts, {
        x: [dtype, dtype === "i64" ? x.map(BigInt) : x],
        all: room(bins, "i32"),
        some: room(bins, "i32"),
        n: 77,
        N: 128,
        BINS: bins,
      });
      const count = (list: number[]) =>
        Array.from({ length: bins }, (_, b) => list.filter((v) => v === b).length);
      expect(got["all"]).toEqual(count(x));
      expect(got["some"]).toEqual(count(x.slice(0, 77)));
    }
  });
});
