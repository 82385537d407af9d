// Sorting short lines (tiles) and long ones (digits, in parts) of every dtype, against plain JavaScript: values, places,
// the order of equal elements, NaN and both zeros. PyTorch's own samples run in the conformance suite.

import { expect, it } from "vitest";
import type { DType } from "../compiler/ir/index.js";
import { type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { kthvalue, median, mode, nanmedian } from "./order-statistics.js";
import { argsort, msort, sort } from "./sort.js";
import { numbers, onEachChip } from "./testing/chips.js";
import { topk } from "./topk.js";

/** Ascending, NaN last; equal elements in the order of their places. */
function order(values: readonly number[], descending: boolean): number[] {
  const rank = (x: number) => (Number.isNaN(x) ? 1 : 0);
  return values
    .map((_, i) => i)
    .sort((a, b) => {
      const [x, y] = [values[a]!, values[b]!];
      const less = rank(x) - rank(y) || (rank(x) ? 0 : x - y);
      return (descending ? -less : less) || a - b;
    });
}

/** Many equal elements, and what is special about floats. */
function sample(dtype: DType, n: number, spread = 200): number[] {
  let state = n * 7919 + 1;
  const special = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0];
  return Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const x = (state >>> 8) % spread;
    if (dtype === "bool") return x % 2;
    if (dtype === "u8") return x;
    const v = x - (spread >> 1);
    if (dtype.startsWith("i")) return dtype === "i8" || dtype === "i16" ? v : v * 100003;
    return x % 16 === 3 ? special[(x >> 4) % 5]! : v / 4;
  });
}

const make = (values: readonly number[], shape: readonly number[], dtype: DType): Tensor =>
  tensor(dtype === "i64" ? values.map(BigInt) : [...values], { shape, dtype });

/** Along the middle of `[outer, n, inner]`. */
function lines(values: readonly number[], [outer, n, inner]: readonly [number, number, number]): number[][] {
  return Array.from({ length: outer * inner }, (_, l) => {
    const [o, k] = [Math.floor(l / inner), l % inner];
    return Array.from({ length: n }, (_, i) => values[(o * n + i) * inner + k]!);
  });
}
const bits = (x: number): number | string => (Object.is(x, -0) ? "-0" : x);

await onEachChip((chip) => {
  const slow = chip === "interpreter";
  const shapes: [number, number, number][] = [
    [1, 1, 1],
    [3, 5, 1],
    [2, 300, 3],
    [1, 2048, 1],
    // Longer lines go by digits: one line in parts, several, and not along the last dimension.
    [1, slow ? 4100 : 40000, 1],
    [5, 2500, 1],
    [2, 2100, 2],
  ];
  it.each(["f32", "f64", "f16", "bf16", "i64", "i32", "i16", "i8", "u8", "bool"] as const)(
    "sort of %s",
    async (dtype) => {
      for (const shape of shapes)
        for (const descending of [false, true]) {
          if (slow && shape[1] > 2048 && dtype !== "f32" && dtype !== "i64") continue;
          const values = sample(dtype, shape[0] * shape[1] * shape[2]);
          const [got, at] = sort(make(values, shape, dtype), 1, descending);
          expect([got.shape, got.dtype, at.dtype]).toEqual([shape, dtype, "i64"]);
          const want = lines(values, shape).map((l) => order(l, descending));
          expect(lines(await numbers(at), shape)).toEqual(want);
          const sorted = lines(values, shape).map((l, i) => want[i]!.map((p) => bits(l[p]!)));
          expect(lines(await numbers(got), shape).map((l) => l.map(bits))).toEqual(sorted);
        }
    },
  );

  it("argsort, msort, topk and kthvalue follow sort", async () => {
    for (const n of [37, 3000]) {
      const values = sample("f32", 2 * n);
      const x = tensor(values, { shape: [2, n] });
      const rows = lines(values, [2, n, 1]);
      expect(await numbers(argsort(x))).toEqual(rows.flatMap((l) => order(l, false)));
      const columns = lines(values, [1, 2, n]).map((l) => order(l, false).map((p) => l[p]!));
      const first = await numbers(msort(x));
      expect(lines(first, [1, 2, n])).toEqual(columns);
      for (const k of [0, 1, 5, n]) {
        const [best, at] = topk(x, k);
        expect(await numbers(at)).toEqual(rows.flatMap((l) => order(l, true).slice(0, k)));
        expect(best.shape).toEqual([2, k]);
        const least = await numbers(topk(x, k, -1, false)[0]);
        expect(least).toEqual(
          rows.flatMap((l) =>
            order(l, false)
              .slice(0, k)
              .map((p) => l[p]!),
          ),
        );
      }
      const [value, place] = kthvalue(x, 7, 1, true);
      expect(value.shape).toEqual([2, 1]);
      expect(await numbers(place)).toEqual(rows.map((l) => order(l, false)[6]!));
    }
    const x = tensor([1, 2, 3]);
    expect(() => topk(x, 4)).toThrow(/k is 4, but dimension -1 has 3 elements/);
    expect(() => kthvalue(x, 0)).toThrow(/k is 0/);
  });

  it("median, nanmedian and mode", async () => {
    const x = tensor(
      [
        [5, 1, Number.NaN, 2],
        [4, 3, 2, 1],
        [7, 7, 2, 2],
      ].flat(),
      { shape: [3, 4] },
    );
    const both = async ([a, b]: [Tensor, Tensor]) => [await numbers(a), await numbers(b)];
    expect(await both(median(x, 1))).toEqual([
      [Number.NaN, 2, 2],
      [2, 2, 3],
    ]);
    expect(await both(nanmedian(x, 1))).toEqual([
      [2, 2, 2],
      [3, 2, 3],
    ]);
    expect(await both(mode(x, 1))).toEqual([
      [1, 1, 2],
      [1, 3, 3],
    ]);
    expect(await numbers(median(x))).toEqual([Number.NaN]);
    expect(await numbers(nanmedian(x))).toEqual([2]);
    const lost = tensor([Number.NaN, Number.NaN]);
    expect(await both(nanmedian(lost, 0))).toEqual([[Number.NaN], [0]]);
    expect(() => median(tensor([], { shape: [2, 0] }), 1)).toThrow(/dimension 1 of the tensor is empty/);
  });
});
