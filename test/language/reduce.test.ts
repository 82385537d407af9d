// argmin, argmax and dot on every chip against plain JavaScript: ties, NaN, dtypes, accumulators.

import { afterAll, describe, expect, it } from "vitest";
import type { DType } from "../../src/compiler/ir/index.js";
import { constexpr, ptr } from "../../src/compiler/lang/index.js";
import { kernel } from "../../src/runtime/index.js";
import { shorten } from "../chips.js";
import { chips, closeAll, numbers, room } from "./run.js";

afterAll(closeAll);

const places = kernel(
  { x: ptr, most: ptr, least: ptr, mostNan: ptr, leastNan: ptr, R: constexpr, C: constexpr, AXIS: constexpr },
  ({ x, most, least, mostNan, leastNan, R, C, AXIS }, tl) => {
    const v = tl.load(x + tl.col(tl.arange(0, R)) * C + tl.row(tl.arange(0, C)));
    const to = tl.arange(0, AXIS === 0 ? C : R);
    tl.store(most + to, tl.argmax(v, AXIS, { tieBreakLeft: true }));
    tl.store(least + to, tl.argmin(v, AXIS, { tieBreakLeft: false }));
    tl.store(mostNan + to, tl.argmax(v, AXIS, { propagateNan: true }));
    tl.store(leastNan + to, tl.argmin(v, AXIS, { propagateNan: true }));
  },
);

const product = kernel(
  { a: ptr, b: ptr, c: ptr, d: ptr, M: constexpr, N: constexpr, K: constexpr },
  ({ a, b, c, d, M, N, K }, tl) => {
    const [m, n] = [tl.col(tl.arange(0, M)), tl.row(tl.arange(0, N))];
    const x = tl.load(a + m * K + tl.row(tl.arange(0, K)));
    const y = tl.load(b + tl.col(tl.arange(0, K)) * N + n);
    tl.store(c + m * N + n, tl.dot(x, y));
    const acc = tl.load(d + m * N + n);
    tl.store(d + m * N + n, tl.dot(x, y, acc, { inputPrecision: "tf32x3" }));
  },
);

/** The first index of the best element; NaN is passed over, or wins. */
function placeOf(list: readonly number[], better: (a: number, b: number) => boolean, nan: boolean): number {
  if (nan && list.some(Number.isNaN)) return list.findIndex(Number.isNaN);
  let best = -1;
  list.forEach((v, i) => {
    if (!Number.isNaN(v) && (best < 0 || better(v, list[best]!))) best = i;
  });
  return best;
}

describe.each(chips)("on $name", ({ name, run }) => {
  shorten(name, 3);
  it.each(["f32", "f64", "f16", "i32", "u8", "i64", "bool"] as const)(
    "argmax and argmin of %s",
    async (dtype) => {
      for (const [R, C] of [
        [1, 32],
        [8, 16],
        [16, 2],
        [4, 1],
      ] as const)
        for (const AXIS of [0, 1]) {
          // Few values: many ties. Floats have NaN and infinities, but one number at least in each line.
          const x = numbers(R * C, R + C).map((v, k) => {
            const special = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
            if (dtype.startsWith("f") && k % 7 === 3 && Math.min(R, C) > 2) return special[k % 3]!;
            return Math.abs(Math.trunc(v / 32)) % (dtype === "bool" ? 2 : 8);
          });
          const count = AXIS === 0 ? C : R;
          const out = () => room(count, "i32");
          const got = await run(places, {
            x: [dtype, dtype === "i64" ? x.map(BigInt) : x],
            most: out(),
            least: out(),
            mostNan: out(),
            leastNan: out(),
            R,
            C,
            AXIS,
          });
          const lines = Array.from({ length: count }, (_, i) =>
            x.filter((_v, k) => (AXIS === 0 ? k % C : Math.floor(k / C)) === i),
          );
          const above = (a: number, b: number) => a > b;
          const below = (a: number, b: number) => a < b;
          expect(got["most"]).toEqual(lines.map((l) => placeOf(l, above, false)));
          expect(got["least"]).toEqual(lines.map((l) => placeOf(l, below, false)));
          expect(got["mostNan"]).toEqual(lines.map((l) => placeOf(l, above, true)));
          expect(got["leastNan"]).toEqual(lines.map((l) => placeOf(l, below, true)));
        }
    },
  );

  it.each([
    ["f32", "f32"],
    ["f64", "f64"],
    ["f16", "f32"],
    ["bf16", "f32"],
    ["i8", "i32"],
    ["u8", "i32"],
    ["i32", "i32"],
  ] as [DType, DType][])("dot of %s into %s", async (dtype, into) => {
    for (const [M, N, K] of [
      [16, 16, 16],
      [1, 8, 32],
      [4, 2, 1],
      [32, 8, 4],
    ] as const) {
      // Whole numbers whose sums are exact in all accumulators.
      const whole = (n: number, seed: number) =>
        numbers(n, seed).map((v) => (dtype === "u8" ? Math.abs(Math.trunc(v)) : Math.trunc(v)) + 0);
      const [a, b, d] = [whole(M * K, 1), whole(K * N, 2), whole(M * N, 3)];
      const got = await run(product, {
        a: [dtype, a],
        b: [dtype, b],
        c: room(M * N, into),
        d: [into, d],
        M,
        N,
        K,
      });
      const want = d.map((_, k) => {
        let sum = 0;
        for (let j = 0; j < K; j++) sum += a[Math.floor(k / N) * K + j]! * b[j * N + (k % N)]!;
        return sum;
      });
      expect(got["c"]!.map((v) => Number(v) + 0)).toEqual(want.map((v) => v + 0));
      expect(got["d"]!.map((v) => Number(v) + 0)).toEqual(want.map((v, k) => v + d[k]! + 0));
    }
  });
});
