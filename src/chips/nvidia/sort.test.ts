// Sorting by digits as it runs on GPUs whose programs may wait for each other: the form is evaluated thread by thread, and the
// assembler takes every kernel.

import { describe, expect, it } from "vitest";
import "../index.js";
import { lowerSimt } from "../../compiler/lower/simt/index.js";
import { empty, loadChip, sort, tensor } from "../../index.js";
import { buildOptimized } from "../../runtime/compile.js";
import { observe } from "../../runtime/observe.js";
import { printPtx } from "./print.js";
import { assemble, hasPtxas, HOPPER, registerEvaluated } from "./testing.js";

const on = { device: "waiting" };
registerEvaluated("waiting", HOPPER, {
  capabilities: { threads: 132, programThreads: 1024, programsWait: true, elementsPerProgram: 1024 },
});

describe("programs that wait for each other", () => {
  it("sort a row of several tiles, equal elements in their order", async () => {
    await loadChip("waiting");
    const x = Float32Array.from({ length: 5000 }, (_, i) =>
      i % 500 === 7 ? Number.NaN : ((i * 7919) % 613) - 300,
    );
    const [values, places] = sort(tensor(x, { shape: [5000], dtype: "f16", ...on }));
    const rank = (v: number): number => (Number.isNaN(v) ? Infinity : v);
    const less = (a: number, b: number): number =>
      rank(x[a]!) === rank(x[b]!) ? a - b : rank(x[a]!) - rank(x[b]!);
    const want = Array.from(x, (_, i) => i).sort(less);
    expect(Array.from((await places.data()) as BigInt64Array, Number)).toEqual(want);
    expect(Array.from((await values.to("f32").data()) as Float32Array)).toEqual(want.map((i) => x[i]));
  }, 60_000);

  it.skipIf(!hasPtxas).each(["f32", "i64"] as const)("%s as PTX", async (dtype) => {
    await loadChip("waiting");
    const names: string[] = [];
    const seen = new Set<string>();
    const stop = observe({
      launch({ source, specialization }) {
        names.push(source.name);
        for (const capability of [75, 90]) {
          const form = lowerSimt(buildOptimized(source, specialization()), HOPPER);
          const text = printPtx(form, capability);
          // Passes differ little, most not at all.
          if (seen.has(text)) continue;
          seen.add(text);
          expect(assemble(text, capability).bytes.length).toBeGreaterThan(500);
        }
      },
    });
    try {
      sort(empty([4, 9000], { dtype, ...on }));
    } finally {
      stop();
    }
    const passes = { f32: 4, i64: 8 }[dtype];
    expect(names.filter((n) => n === "radix_distribute_pass").length).toBe(passes);
  });
});
