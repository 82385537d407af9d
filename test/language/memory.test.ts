// Descriptors, rounding casts, and the hints and orderings of memory operations, on every chip.

import { afterAll, describe, expect, it } from "vitest";
import { constexpr, i32, ptr } from "../../src/compiler/lang/index.js";
import { kernel } from "../../src/runtime/index.js";
import { shorten } from "../chips.js";
import { chips, closeAll, numbers, room } from "./run.js";

afterAll(closeAll);

const blocks = kernel(
  { x: ptr, y: ptr, z: ptr, R: i32, C: i32, row: i32, col: i32, BR: constexpr, BC: constexpr },
  ({ x, y, z, R, C, row, col, BR, BC }, tl) => {
    const from = tl.descriptor(x, [R, C], [C, 1], [BR, BC]);
    const tile = from.load([row, col]);
    tl.descriptor(y, [BR, BC], [BC, 1], [BR, BC]).store([0, 0], tile);
    // Back, turned over: the strides say so.
    const to = tl.descriptor(z, [C, R], [1, C], [BC, BR]);
    to.store([col, row], tl.trans(tile) + 1);
  },
);
const padded = kernel({ x: ptr, y: ptr, n: i32, B: constexpr }, ({ x, y, n, B }, tl) => {
  const d = tl.descriptor(x, [n], [1], [B], { padding: "nan" });
  tl.store(y + tl.arange(0, B), d.load([2]));
});

const casts = kernel({ x: ptr, y: ptr, z: ptr, N: constexpr }, ({ x, y, z, N }, tl) => {
  const at = tl.arange(0, N);
  tl.store(y + at, tl.cast(tl.load(x + at), tl.dtypeOf(y), { rounding: "rtz" }));
  tl.store(z + at, tl.cast(tl.load(x + at), tl.dtypeOf(z), { rounding: "rtne" }));
});

const hinted = kernel({ x: ptr, sum: ptr, y: ptr, n: i32, N: constexpr }, ({ x, sum, y, n, N }, tl) => {
  const at = tl.arange(0, N);
  let total = tl.zeros([N], tl.i32);
  for (const k of tl.range(0, n, 1, { stages: 2, unroll: 4 })) {
    total += tl.load(x + at, at >= k, 0, { cache: "global", eviction: "first" });
  }
  tl.store(y + at, total, at < N, { cache: "writeThrough" });
  tl.atomicAdd(sum, tl.sum(total, 0), true, { order: "relaxed", scope: "sys" });
  tl.atomicMax(sum + 1, tl.max(total, 0), true, { order: "release" });
  tl.atomicCas(sum + 2, 5, 7, { order: "acquire", scope: "cta" });
});

describe.each(chips)("on $name", ({ name, run }) => {
  shorten(name, 3);
  it.each(["f32", "f64", "f16", "i32", "u8"] as const)(
    "descriptors of %s, inside and over the edges",
    async (dtype) => {
      const [R, C, BR, BC] = [7, 11, 4, 8];
      const x = numbers(R * C, 2).map((v) => Math.abs(Math.trunc(v)));
      for (const [row, col] of [
        [0, 0],
        [2, 3],
        [5, 8],
        [-1, -2],
        [9, 0],
        [-6, 20],
      ] as const) {
        const got = await run(blocks, {
          x: [dtype, x],
          y: [dtype, new Array(BR * BC).fill(99)],
          z: room(R * C, dtype),
          R,
          C,
          row,
          col,
          BR,
          BC,
        });
        const inside = (i: number, j: number) => i >= 0 && i < R && j >= 0 && j < C;
        const tile = Array.from({ length: BR * BC }, (_, k) => {
          const [i, j] = [row + Math.floor(k / BC), col + (k % BC)];
          return inside(i, j) ? x[i * C + j]! : 0;
        });
        expect(got["y"]).toEqual(tile);
        const back = x.map((v, k) => {
          const [i, j] = [Math.floor(k / C) - row, (k % C) - col];
          return i >= 0 && i < BR && j >= 0 && j < BC ? v + 1 : 0;
        });
        expect(got["z"]).toEqual(back);
      }
    },
  );

  it("a descriptor can fill with NaN", async () => {
    const got = await run(padded, { x: ["f32", [1, 2, 3, 4, 5]], y: room(8), n: 5, B: 8 });
    expect(got["y"]).toEqual([3, 4, 5, ...new Array(5).fill(Number.NaN)]);
  });

  it("casts round to nearest even, or towards zero", async () => {
    const f = Math.fround;
    const x = [
      1 + 2 ** -11 + 2 ** -20,
      -(1 + 2 ** -11 + 2 ** -20),
      1 + 3 * 2 ** -11,
      65519.9,
      -65520,
      1e30,
      -1e30,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
      0,
      -0,
      1e-8,
      -1e-8,
      2 ** -24 * 1.9,
      0.1,
    ].map(f);
    const got = await run(casts, { x: ["f32", x], y: room(16, "f16"), z: room(16, "f16"), N: 16 });
    expect(got["y"]).toEqual([
      1,
      -1,
      1 + 2 ** -10,
      65504,
      -65504,
      65504,
      -65504,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
      0,
      -0,
      0,
      -0,
      2 ** -24,
      0.0999755859375,
    ]);
    expect(got["z"]).toEqual([
      1 + 2 ** -10,
      -(1 + 2 ** -10),
      1 + 2 ** -9,
      65504,
      Number.NEGATIVE_INFINITY,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
      0,
      -0,
      0,
      -0,
      2 ** -23,
      0.0999755859375,
    ]);
    // To bf16 truncation is what the upper half of the bits says.
    const more = numbers(64, 8).map((v, i) => f(v * 10 ** ((i % 9) - 4)));
    const cut = (v: number): number => {
      const bits = new Uint32Array(Float32Array.of(v).buffer);
      bits[0]! &= 0xffff0000;
      return new Float32Array(bits.buffer)[0]!;
    };
    const half = await run(casts, { x: ["f32", more], y: room(64, "bf16"), z: room(64, "bf16"), N: 64 });
    expect(half["y"]).toEqual(more.map(cut));
    const doubles = numbers(16, 3).map((v) => v / 3);
    const single = await run(casts, { x: ["f64", doubles], y: room(16), z: room(16), N: 16 });
    expect(single["z"]).toEqual(doubles.map(f));
    for (const [i, v] of (single["y"] as number[]).entries()) {
      expect(Math.abs(v)).toBeLessThanOrEqual(Math.abs(doubles[i]!));
      expect(Math.abs(f(doubles[i]!) - v)).toBeLessThanOrEqual(Math.abs(v) * 2 ** -22);
    }
  });

  it("orderings, scopes and hints change no result", async () => {
    const x = numbers(16, 4).map((v) => Math.trunc(v) + 0);
    const n = 5;
    const total = x.map((v, i) => v * Math.min(n, i + 1) + 0);
    const got = await run(hinted, {
      x: ["i32", x],
      sum: ["i32", [1, -1e6, 5]],
      y: room(16, "i32"),
      n,
      N: 16,
    });
    expect(got["y"]).toEqual(total);
    expect(got["sum"]).toEqual([1 + total.reduce((s, v) => s + v, 0), Math.max(...total), 7]);
  });
});
