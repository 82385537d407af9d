// Indices may name another of equal elements, and nothing else.

import { expect, it } from "vitest";
import "../../chips/index.js";
import "../../ops/index.js";
import { loadChip } from "../../runtime/index.js";
import { tensor } from "../../tensor/index.js";
import { sameButTies } from "./ties.js";

it("takes other places of equal elements alone", async () => {
  await loadChip("interpreter");
  const device = "interpreter";
  const x = tensor([3, 1, 3, Number.NaN, Number.NaN, 2], { shape: [1, 6], device });
  const indices = (list: number[]) => BigInt64Array.from(list.map(BigInt));
  const check = (mine: number[], theirs: number[]) => {
    const want = indices(theirs);
    return sameButTies(x, 1, tensor(indices(mine), { shape: [1, mine.length], dtype: "i64", device }), {
      dtype: "i64",
      shape: [1, theirs.length],
      bytes: new Uint8Array(want.buffer),
    });
  };
  expect(await check([1, 5, 0, 2], [1, 5, 2, 0])).toBe(true);
  expect(await check([3, 4], [4, 3])).toBe(true);
  expect(await check([1, 5, 0, 0], [1, 5, 2, 0])).toBe(false);
  expect(await check([5, 1, 0, 2], [1, 5, 2, 0])).toBe(false);
  expect(await check([1, 5, 0, 6], [1, 5, 2, 0])).toBe(false);
  expect(await check([1, 5], [1, 5, 0])).toBe(false);
});
