// Where kernels end: tiles whose lanes are all masked out, empty grids, NaN and infinities, offsets beyond 32 bits.

import { afterAll, describe, expect, it } from "vitest";
import { DTYPES, type DType, isFloat, roundTo } from "../../src/compiler/ir/index.js";
import { constexpr, i32, i64, ptr } from "../../src/compiler/lang/index.js";
import { kernel } from "../../src/runtime/index.js";
import { shorten } from "../chips.js";
import { chips, closeAll, type Data, room } from "./run.js";

afterAll(closeAll);

const masked = kernel({ x: ptr, y: ptr, z: ptr, n: i32, N: constexpr }, ({ x, y, z, n, N }, tl) => {
  const at = tl.arange(0, N);
  // Far outside of the buffer: must not be touched where masked out.
  const far = tl.where(at < n, at, at + 1000000000);
  const v = tl.load(x + far, at < n, 1);
  tl.store(y + far, v, at < n);
  tl.store(z + at, v);
});
const total = kernel({ x: ptr, y: ptr, n: i32, N: constexpr }, ({ x, y, n, N }, tl) => {
  const at = tl.arange(0, N);
  const v = tl.load(x + at, at < n, 0);
  tl.store(y, tl.sum(v, 0));
  tl.store(y + 1, tl.max(tl.load(x + at, at < n, -Infinity), 0));
  let turns = 0;
  for (let i = 0; i < n; i++) turns += 1;
  tl.store(y + 2, turns);
});
const special = kernel({ x: ptr, y: ptr, r: ptr, m: ptr, N: constexpr }, ({ x, y, r, m, N }, tl) => {
  const at = tl.arange(0, N);
  const [a, b] = [tl.load(x + at), tl.load(y + at)];
  tl.store(r + at, tl.maximum(a, b));
  tl.store(r + N + at, tl.minimum(a, b));
  tl.store(r + 2 * N + at, tl.maximum(a, b, { propagateNan: true }));
  tl.store(r + 3 * N + at, tl.minimum(a, b, { propagateNan: true }));
  tl.store(r + 4 * N + at, tl.clamp(a, -1, 1));
  tl.store(m + at, a < b);
  tl.store(m + N + at, a <= b);
  tl.store(m + 2 * N + at, a === b);
  tl.store(m + 3 * N + at, a !== b);
  tl.store(m + 4 * N + at, tl.isnan(a));
});
const wide = kernel({ x: ptr, y: ptr, base: i64, N: constexpr }, ({ x, y, base, N }, tl) => {
  const at = tl.arange(0, N);
  const far = base * 4 + at;
  tl.store(y + at, tl.load(x + (far - 17179869184)));
});

const quotients = kernel({ x: ptr, y: ptr, N: constexpr, D: constexpr }, ({ x, y, N, D }, tl) => {
  const at = tl.arange(0, N);
  const v = tl.load(x + at);
  tl.store(y + at, tl.floorDiv(v, D));
  tl.store(y + N + at, v % D);
  tl.store(y + 2 * N + at, tl.cdiv(v, D));
});

describe.each(chips)("on $name", ({ name, run }) => {
  shorten(name, 3);
  it.each([
    ["i8", 8, 64],
    ["i32", 32, 128],
    ["i64", 64, 2 ** 20],
  ] as const)("%s by powers of two", async (dtype, bits, D) => {
    const [least, d] = [-(2n ** BigInt(bits - 1)), BigInt(D)];
    const near = [-d - 1n, -d, 1n - d, -1n, 0n, 1n, d - 1n, d];
    const list = [least, least + 1n, -least - 1n, ...near, 3n, -3n, 63n, -64n, -65n].slice(0, 16);
    const N = 16;
    const value = (v: bigint): number | bigint => (dtype === "i64" ? v : Number(v));
    const { y } = await run(quotients, { x: [dtype, list.map(value)], y: room(3 * N, dtype), N, D });
    const down = (a: bigint): bigint => (a - (((a % d) + d) % d)) / d;
    expect(y).toEqual([list.map(down), list.map((a) => a % d), list.map((a) => -down(-a))].flat().map(value));
  });
  it.each(Object.keys(DTYPES) as DType[])(
    "masked-out lanes of %s are neither read nor written",
    async (dtype) => {
      const value = (v: number): number | bigint =>
        roundTo(dtype, dtype.endsWith("64") && !isFloat(dtype) ? BigInt(v) : v);
      const N = 16;
      const x = Array.from({ length: N }, (_, i) => value(i % 3));
      const zero = value(0);
      for (const n of [0, 1, 7, 16]) {
        const got = await run(masked, { x: [dtype, x], y: room(N, dtype), z: room(N, dtype), n, N });
        expect(got["z"]).toEqual(x.map((v, i) => (i < n ? v : value(1))));
        expect(got["y"]).toEqual(x.map((v, i) => (i < n ? v : zero)));
      }
    },
  );

  it("sums of nothing, loops of no turns, grids of no programs", async () => {
    const start: Data = ["f32", [7, 7, 7]];
    const args = { x: ["f32", [1, 2, 3, 4]] as const, y: start, N: 4 };
    expect((await run(total, { ...args, n: 0 }))["y"]).toEqual([0, Number.NEGATIVE_INFINITY, 0]);
    expect((await run(total, { ...args, n: -3 }))["y"]).toEqual([0, Number.NEGATIVE_INFINITY, 0]);
    expect((await run(total, { ...args, n: 3 }))["y"]).toEqual([6, 3, 3]);
    for (const grid of [[0], [4, 0], [2, 3, 0]])
      expect((await run(total, { ...args, n: 3 }, grid))["y"]).toEqual([7, 7, 7]);
  });

  it.each(["f16", "bf16", "f32", "f64", "f8e5m2"] as const)("NaN and infinities of %s", async (dtype) => {
    const [inf, nan] = [Number.POSITIVE_INFINITY, Number.NaN];
    const values = [nan, inf, -inf, 2];
    const x = values.flatMap((a) => values.map(() => a));
    const y = values.flatMap(() => values);
    const N = 16;
    const got = await run(special, {
      x: [dtype, x],
      y: [dtype, y],
      r: room(5 * N, dtype),
      m: room(5 * N, "bool"),
      N,
    });
    const each = <T>(f: (a: number, b: number) => T): T[] => x.map((a, i) => f(a, y[i]!));
    const other = (f: (a: number, b: number) => number) => (a: number, b: number) =>
      Number.isNaN(a) ? b : Number.isNaN(b) ? a : f(a, b);
    expect(got["r"]).toEqual([
      ...each(other(Math.max)),
      ...each(other(Math.min)),
      ...each(Math.max),
      ...each(Math.min),
      ...each((a) => (Number.isNaN(a) ? -1 : Math.min(1, Math.max(-1, a)))),
    ]);
    expect(got["m"]).toEqual(
      [
        ...each((a, b) => a < b),
        ...each((a, b) => a <= b),
        ...each((a, b) => a === b),
        ...each((a, b) => a !== b),
        ...each((a) => Number.isNaN(a)),
      ].map(Number),
    );
  });

  it("offsets go beyond 32 bits on the way", async () => {
    const x = Array.from({ length: 8 }, (_, i) => i);
    const got = await run(wide, { x: ["i32", x], y: room(8, "i32"), base: 4294967296n, N: 8 });
    expect(got["y"]).toEqual(x);
  });
});
