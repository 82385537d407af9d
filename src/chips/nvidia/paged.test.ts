// Decoding attention over pages on matrix units (9.0): a turn's keys and values come together.
// The form is evaluated thread by thread against sums in f64.

import { expect, it } from "vitest";
import "../index.js";
import { pagedAttention, type Tensor, tensor } from "../../index.js";
import { buildOptimized } from "../../runtime/compile.js";
import { loadChip } from "../../runtime/index.js";
import { observe } from "../../runtime/observe.js";
import { lowerSimt } from "../../compiler/lower/simt/index.js";
import { printPtx } from "./print.js";
import { NATIVE_MATH } from "./target.js";
import { assemble, HOPPER, hasPtxas, registerEvaluated } from "./testing.js";

const device = "hopper pages";
registerEvaluated(device, HOPPER, {
  nativeMath: NATIVE_MATH,
  capabilities: { matrixDtypes: ["bf16"], dotBlock: [64, 64, 32], threads: 132, programThreads: 128 },
});
await loadChip(device);

it("parts of several turns, sequences of different lengths", async () => {
  const [heads, keyHeads, size, page, pages, part] = [4, 2, 64, 16, 13, 128];
  const lengths = [200, 61];
  const random = (shape: number[], seed: number): Tensor => {
    const list = Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      (_, i) => (((Math.imul(i + 1, seed) >>> 7) % 255) - 127) / 90,
    );
    return tensor(list, { shape, dtype: "bf16", device });
  };
  const ints = (list: number[], shape: number[]): Tensor => tensor(list, { shape, dtype: "i32", device });
  const keys = random([2 * pages, page, keyHeads, size], 40503);
  const values = random([2 * pages, page, keyHeads, size], 69621);
  const q = random([2, heads, size], 48271);
  const table = Array.from({ length: 2 * pages }, (_, i) => (i * 7) % (2 * pages));
  const texts: string[] = [];
  const stop = observe({
    launch(what, run) {
      const func = buildOptimized(what.source, what.specialization(), NATIVE_MATH);
      if (func.name === "attention") texts.push(printPtx(lowerSimt(func, HOPPER), 90));
      run();
    },
  });
  const y = pagedAttention(q, keys, values, ints(table, [2, pages]), ints([0, 1, 2], [3]), ints(lengths, [2]), 1, 208, { isCausal: true, part }); // biome-ignore format: one line
  stop();
  const numbers = async (t: Tensor): Promise<number[]> => [...(await t.to("f32").data())].map(Number);
  const [got, own, k, v] = await Promise.all([y, q, keys, values].map(numbers));
  for (const [b, length] of lengths.entries())
    for (let h = 0; h < heads; h++) {
      const at = (n: number): number =>
        ((table[b * pages + Math.floor(n / page)]! * page + (n % page)) * keyHeads + Math.floor(h / 2)) *
        size;
      const scores = Array.from({ length }, (_, n) => {
        let s = 0;
        for (let i = 0; i < size; i++) s += own![(b * heads + h) * size + i]! * k![at(n) + i]!;
        return Math.exp(s / Math.sqrt(size));
      });
      const total = scores.reduce((a, s) => a + s);
      for (let i = 0; i < size; i++) {
        const want = scores.reduce((a, s, n) => a + s * v![at(n) + i]!, 0) / total;
        expect(Math.abs(got![(b * heads + h) * size + i]! - want)).toBeLessThan(2 ** -8);
      }
    }
  // All of a turn's keys and values are asked for before the first product.
  const [before, behind] = texts[0]!.slice(texts[0]!.indexOf("$for")).split("mma.sync") as [string, string];
  expect(before.match(/ld\.global\.v4/g)).toHaveLength(8);
  expect(behind).not.toContain("ld.global.v4");
  // Four programs run side by side, which the registers of a turn leave room for.
  expect(texts[0]).toContain(".minnctapersm 4");
  if (hasPtxas) expect(assemble(texts[0]!, 90).report).toContain(" 0 bytes spill stores");
});
