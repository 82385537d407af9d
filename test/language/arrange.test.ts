// Tiles put together, taken apart and reordered, on every chip against plain JavaScript.

import { afterAll, describe, expect, it } from "vitest";
import type { DType } from "../../src/compiler/ir/index.js";
import { constexpr, ptr } from "../../src/compiler/lang/index.js";
import { kernel } from "../../src/runtime/index.js";
import { shorten } from "../chips.js";
import { chips, closeAll, numbers, room } from "./run.js";

afterAll(closeAll);

const DTYPES: DType[] = ["f32", "f64", "f16", "bf16", "i8", "u8", "i16", "i32", "u32", "i64", "bool"];
const special = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0];
/** Small integers that every dtype holds, and the special values where it has them. */
const sample = (dtype: DType, n: number, seed: number): (number | bigint)[] =>
  numbers(n, seed).map((x, i) => {
    if (dtype === "bool") return Math.abs(Math.trunc(x)) % 2;
    const whole = Math.abs(Math.trunc(x)) % 100;
    if (dtype.endsWith("64") && dtype !== "f64") return BigInt(whole);
    return dtype.includes("f") && i % 5 === 3 ? special[i % 4]! : whole;
  });

const pairs = kernel(
  { a: ptr, b: ptr, joined: ptr, mixed: ptr, chained: ptr, first: ptr, second: ptr, N: constexpr },
  ({ a, b, joined, mixed, chained, first, second, N }, tl) => {
    const at = tl.arange(0, N);
    const x = tl.load(a + at);
    const y = tl.load(b + at);
    const j = tl.join(x, y);
    tl.store(joined + tl.col(at) * 2 + tl.row(tl.arange(0, 2)), j);
    const both = tl.arange(0, 2 * N);
    tl.store(mixed + both, tl.interleave(x, y));
    tl.store(chained + both, tl.cat(x, y));
    const [l, r] = tl.split(j);
    tl.store(first + at, l);
    tl.store(second + at, r);
  },
);

const turned = kernel(
  { x: ptr, order: ptr, rows: ptr, columns: ptr, down: ptr, across: ptr, R: constexpr, C: constexpr },
  ({ x, order, rows, columns, down, across, R, C }, tl) => {
    const at = tl.col(tl.arange(0, R)) * C + tl.row(tl.arange(0, C));
    const v = tl.load(x + at);
    const index = tl.load(order + at);
    tl.store(rows + at, tl.gather(v, index, 0));
    tl.store(columns + at, tl.gather(v, index, 1));
    tl.store(down + at, tl.flip(v, 0));
    tl.store(across + at, tl.flip(v));
  },
);

describe.each(chips)("on $name", ({ name, run }) => {
  shorten(name, 3);
  it.each(DTYPES)("join, interleave, cat and split of %s", async (dtype) => {
    for (const n of [1, 2, 16, 64]) {
      const [a, b] = [sample(dtype, n, n), sample(dtype, n, n + 7)];
      const got = await run(pairs, {
        a: [dtype, a],
        b: [dtype, b],
        joined: room(2 * n, dtype),
        mixed: room(2 * n, dtype),
        chained: room(2 * n, dtype),
        first: room(n, dtype),
        second: room(n, dtype),
        N: n,
      });
      const inTurn = a.flatMap((v, i) => [v, b[i]!]);
      expect(got["joined"]).toEqual(inTurn);
      expect(got["mixed"]).toEqual(inTurn);
      expect(got["chained"]).toEqual([...a, ...b]);
      expect(got["first"]).toEqual(a);
      expect(got["second"]).toEqual(b);
    }
  });

  it.each(DTYPES)("gather and flip of %s", async (dtype) => {
    for (const [r, c] of [
      [1, 8],
      [8, 1],
      [4, 16],
      [16, 4],
      [2, 2],
    ] as const) {
      const x = sample(dtype, r * c, r);
      const order = numbers(r * c, 5).map((v) => Math.trunc(v * 3));
      const got = await run(turned, {
        x: [dtype, x],
        order: ["i32", order],
        rows: room(r * c, dtype),
        columns: room(r * c, dtype),
        down: room(r * c, dtype),
        across: room(r * c, dtype),
        R: r,
        C: c,
      });
      const of = (f: (i: number, j: number, k: number) => [number, number]) =>
        x.map((_, k) => {
          const [i, j] = f(Math.floor(k / c), k % c, k);
          return x[i * c + j];
        });
      const modulo = (k: number, n: number) => ((order[k]! % n) + n) % n;
      expect(got["rows"]).toEqual(of((_i, j, k) => [modulo(k, r), j]));
      expect(got["columns"]).toEqual(of((i, _j, k) => [i, modulo(k, c)]));
      expect(got["down"]).toEqual(of((i, j) => [r - 1 - i, j]));
      expect(got["across"]).toEqual(of((i, j) => [i, c - 1 - j]));
    }
  });
});
