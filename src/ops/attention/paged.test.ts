// Attention to a cache in pages against attention to the same keys side by side: pages in any order, odd page sizes,
// chunks of prompts and single queries in one call, parts of the keys.

import { expect, it } from "vitest";
import { type Tensor, tensor } from "../../tensor/index.js";
import "../index.js";
import { distance, noise, onEachChip } from "../testing/chips.js";
import type { Window } from "./fused.js";
import { pagedAttention } from "./paged.js";
import { reference, visible } from "./testing.js";

const list = (values: number[]): Tensor => tensor(Int32Array.from(values), { dtype: "i32" });

/** A cache with the keys and values of sequences in pages, handed out from the last one down; what is unused is NaN. */
function cacheOf(sequences: Tensor[], pageSize: number): { cache: Tensor; table: Tensor } {
  const [, heads, size] = sequences[0]!.shape as [number, number, number];
  const pages = sequences.map((s) => Math.ceil(s.shape[0]! / pageSize));
  const total = pages.reduce((a, n) => a + n, 0) + 1;
  const cache = tensor(new Float32Array(total * pageSize * heads * size).fill(Number.NaN), {
    shape: [total, pageSize, heads, size],
  });
  const width = Math.max(...pages) + 1;
  const table = new Int32Array(sequences.length * width).fill(total + 7);
  let next = total - 1;
  sequences.forEach((s, b) => {
    for (let i = 0; i < pages[b]!; i++, next--) {
      table[b * width + i] = next;
      const count = Math.min(pageSize, s.shape[0]! - i * pageSize);
      (cache.select(0, next).narrow(0, 0, count) as Tensor).copy_(s.narrow(0, i * pageSize, count));
    }
  });
  return { cache, table: tensor(table, { shape: [sequences.length, width], dtype: "i32" }) };
}

await onEachChip((chip) => {
  const small = chip === "interpreter";
  // page size, queries and keys of each sequence, window
  const cases: [number, [number, number][], Window][] = [
    [4, [[1, 9], [1, 4], [1, 1]], [-1, -1]],
    [16, [[3, 20], [1, 37], [5, 5]], [-1, -1]],
    [7, [[70, 90], [1, 140], [20, 33]], [50, -1]],
    [16, [[1, 700], [1, 20]], [-1, -1]],
    [32, [[2, 1100], [1, 3]], [600, -1]],
  ]; // biome-ignore format: one line per case
  it.each(cases)(
    "pages of %i, sequences of [queries, keys] %j, window %j",
    async (pageSize, sizes, window) => {
      if (small && sizes.some(([sq, sk]) => sq * sk > 200)) return;
      const [heads, keyHeads, size] = [4, 2, 8];
      const keys = sizes.map(([, sk], i) => noise([sk, keyHeads, size], 10 + i));
      const values = sizes.map(([, sk], i) => noise([sk, keyHeads, size], 20 + i));
      const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((a, [sq]) => a + sq, 0));
      const total = sizes.reduce((a, [sq]) => a + sq, 0);
      const q = noise([total, heads, size], 1);
      const k = cacheOf(keys, pageSize);
      const v = cacheOf(values, pageSize);
      const y = pagedAttention(
      q, k.cache, v.cache, k.table, list([...starts, total]), list(sizes.map(([, sk]) => sk)),
      Math.max(...sizes.map(([sq]) => sq)), Math.max(...sizes.map(([, sk]) => sk)), { isCausal: true, window },
    ); // biome-ignore format: one line per group
      const turned = (t: Tensor): Tensor => t.unsqueeze(0).transpose(1, 2).contiguous() as Tensor;
      for (const [i, [sq, sk]] of sizes.entries()) {
        const part = (t: Tensor): Tensor => turned(t.narrow(0, starts[i]!, sq) as Tensor);
        const plain = reference(part(q), turned(keys[i]!), turned(values[i]!), {
          seen: visible(sq, sk, [window[0], 0]),
        });
        expect(await distance(part(y), plain)).toBeLessThan(3e-6);
      }
    },
  );

  it("names what does not fit", () => {
    const cache = noise([2, 4, 2, 8]);
    const q = noise([1, 4, 8]);
    const table = tensor(new Int32Array(2), { shape: [1, 2], dtype: "i32" });
    expect(() => pagedAttention(q, cache, cache, noise([1, 2]), list([0, 1]), list([3]), 1, 3)).toThrow(
      /a block table/,
    );
    expect(() => pagedAttention(q, cache, cache, table, list([0, 1, 1]), list([3]), 1, 3)).toThrow(
      /as many sequences, not 1, 2 and 1/,
    );
    expect(() =>
      pagedAttention(noise([1, 3, 8]), cache, cache, table, list([0, 1]), list([3]), 1, 3),
    ).toThrow(/share the key heads evenly/);
  });
});
