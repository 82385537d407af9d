// Extremes and sums of long rows where threads share a program, on the GPU form evaluated thread by thread. All chips' own results
// are tested with the other reductions.

import { expect, it } from "vitest";
import "../chips/index.js";
import type { DType } from "../compiler/ir/index.js";
import { evaluatorChip } from "../compiler/lower/simt/testing/chip.js";
import { SHAPES } from "../compiler/lower/simt/testing/compare.js";
import { loadChip, registerChip } from "../runtime/index.js";
import { callOperator, type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { sum } from "./reduce.js";

const name = "shared programs";
registerChip({
  name,
  summary: "the evaluator of the GPU form",
  probe: () => Promise.resolve({ available: true, found: name }),
  open: () =>
    Promise.resolve(
      evaluatorChip(name, SHAPES["subgroups"]!, { capabilities: { threads: 2, programThreads: 256 } }),
    ),
});

const [ROWS, N] = [5, 1301];
/** Many equal elements; a row with NaN, one of nothing but -∞, one that ends in its largest element. */
const values = Array.from({ length: ROWS * N }, (_, i) => {
  const [row, at] = [Math.floor(i / N), i % N];
  if (row === 1 && (at === 700 || at === 900)) return Number.NaN;
  if (row === 2) return Number.NEGATIVE_INFINITY;
  return row === 3 && at === N - 1 ? 99 : ((at * 7919) % 97) - 48;
});

it.each(["f32", "bf16", "i32"] as DType[])("the places of extremes of %s", async (dtype) => {
  await loadChip(name);
  const x = values.map((v) => (dtype === "i32" && !Number.isFinite(v) ? -100 : v));
  const t = tensor(x, { shape: [ROWS, N], dtype, device: name });
  for (const kind of ["max", "min"] as const) {
    const want = Array.from({ length: ROWS }, (_, r) => {
      const line = x.slice(r * N, r * N + N);
      const nan = line.findIndex(Number.isNaN);
      return nan >= 0 ? nan : line.indexOf(line.reduce((a, b) => Math[kind](a, b)));
    });
    const [best, at] = callOperator(`${kind}.dim`, t, 1) as [Tensor, Tensor];
    expect(Array.from(await at.data(), Number)).toEqual(want);
    expect(Array.from(await (callOperator(`arg${kind}`, t, 1) as Tensor).data(), Number)).toEqual(want);
    const found = await (callOperator("_to_copy", best, { dtype: "f32" }) as Tensor).data();
    expect(Array.from(found, Number)).toEqual(want.map((k, r) => x[r * N + k]));
  }
});

it("sums of more than a program takes at once", async () => {
  await loadChip(name);
  const n = 40_000;
  const x = Array.from({ length: n }, (_, i) => (i % 13) - 6);
  expect(await sum(tensor(x, { shape: [n], dtype: "f32", device: name })).item()).toBe(
    x.reduce((a, b) => a + b),
  );
});
