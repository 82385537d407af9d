// Attention on matrix units: the form is evaluated thread by thread against sums in f64, and ptxas judges the text.

import { describe, expect, it } from "vitest";
import "../index.js";
import { lowerSimt } from "../../compiler/lower/simt/index.js";
import type { Form } from "../../compiler/lower/simt/form.js";
import { flashAttention, grad, loadChip, scope, type Tensor, tensor } from "../../index.js";
import { buildOptimized } from "../../runtime/compile.js";
import { observe } from "../../runtime/observe.js";
import { needsWhole } from "./link.js";
import { printPtx } from "./print.js";
import { NATIVE_MATH } from "./target.js";
import { assemble, HOPPER, hasPtxas, registerEvaluated } from "./testing.js";
import { tuning } from "./tuning.js";

registerEvaluated("hopper", HOPPER, {
  nativeMath: NATIVE_MATH,
  capabilities: { matrixDtypes: ["bf16", "f16"], dotBlock: [128, 128, 32], threads: 132 },
  tuning: { ...tuning, chip: "hopper" },
});

function numbers(n: number, seed: number): number[] {
  let s = seed;
  return Array.from({ length: n }, () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 31 - 1;
  });
}

interface Case {
  readonly S: number;
  readonly keys: number;
  readonly D: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly causal: boolean;
  readonly dtype: "bf16" | "f16" | "f32";
}

function inputs(device: string, c: Case): Tensor[] {
  const make = (h: number, s: number, seed: number): Tensor =>
    tensor(numbers(h * s * c.D, seed), { shape: [1, h, s, c.D], device, dtype: c.dtype });
  return [make(c.heads, c.S, 1), make(c.keyHeads, c.keys, 2), make(c.keyHeads, c.keys, 3), make(c.heads, c.S, 4)]; // biome-ignore format: one line
}

function run([q, k, v, dy]: readonly Tensor[], isCausal: boolean): Tensor[] {
  for (const t of [q!, k!, v!]) t.requiresGrad = true;
  const o = flashAttention(q!, k!, v!, { isCausal });
  return [o, ...grad([o], [q!, k!, v!], [dy!])] as Tensor[];
}

describe("attention on matrix units of 9.0", () => {
  it.each([{ S: 100, keys: 200, D: 64, heads: 1, keyHeads: 1, causal: true, dtype: "bf16" }] as const)(
    "$dtype S$S D$D causal $causal",
    async (c) => {
      for (const name of ["hopper", "wasm"]) await loadChip(name);
      const got = run(inputs("hopper", c), c.causal);
      const want = run(
        inputs("wasm", c).map((t) => t.to("f32") as Tensor),
        c.causal,
      );
      for (const [i, name] of ["o", "dq", "dk", "dv"].entries()) {
        const [x, y] = [await got[i]!.data(), await want[i]!.data()];
        let [difference, size] = [0, 0];
        for (let n = 0; n < y.length; n++) {
          difference += (Number(x[n]) - Number(y[n])) ** 2;
          size += Number(y[n]) ** 2;
        }
        expect(Math.sqrt(difference / size), name).toBeLessThan(c.dtype === "bf16" ? 0.01 : 0.0015);
      }
    },
  );
});

describe("attention where a program's threads share 48 KiB", () => {
  registerEvaluated(
    "small",
    { ...HOPPER, sharedBytes: 49152, matrices: [], bulkStreams: false },
    { nativeMath: NATIVE_MATH, capabilities: { dotBlock: [64, 64, 16], threads: 8, sharedBytes: 49152 } },
  );
  it("cuts its blocks: 20 queries and keys of 200", async () => {
    const c: Case = { S: 20, keys: 20, D: 200, heads: 1, keyHeads: 1, causal: false, dtype: "f32" };
    for (const name of ["small", "wasm"]) await loadChip(name);
    const [got, want] = [run(inputs("small", c), c.causal), run(inputs("wasm", c), c.causal)];
    for (const [i, name] of ["o", "dq", "dk", "dv"].entries()) {
      const [x, y] = [await got[i]!.data(), await want[i]!.data()];
      const off = Array.from({ length: y.length }, (_, n) => Math.abs(Number(x[n]) - Number(y[n])));
      expect(Math.max(...off), name).toBeLessThan(1e-5);
    }
  });
});

describe.skipIf(!hasPtxas)(`attention as PTX${hasPtxas ? "" : " (missing: ptxas)"}`, () => {
  it.each([
    [64, false],
    [128, false],
    [128, true],
  ])("streams to asynchronous matrix units, D%i, through the copy engine %s", async (D, bulkStreams) => {
    await loadChip("hopper");
    const forms: Form[] = [];
    const stop = observe({
      launch(what) {
        const func = buildOptimized(what.source, what.specialization(), NATIVE_MATH);
        if (/^attention(_backward_(keys|queries))?$/.test(func.name))
          forms.push(lowerSimt(func, { ...HOPPER, bulkStreams }));
      },
    });
    try {
      scope(() => {
        const c = { S: 128, keys: 128, D, heads: 1, keyHeads: 1, causal: true, dtype: "bf16" } as const;
        run(inputs("hopper", c), true);
      });
    } finally {
      stop();
    }
    expect(forms.map((f) => f.name)).toEqual([
      "attention",
      "attention_backward_keys",
      "attention_backward_queries",
    ]);
    for (const form of forms) {
      const text = printPtx(form, 90);
      const { report } = assemble(text, 90);
      expect(report, form.name).not.toMatch(/serialized|setmaxnreg/);
      // What stands in the way of products that run by themselves is left to no link.
      expect(needsWhole(text)).toBe(true);
      expect(form.extraThreads, form.name).toBe(bulkStreams ? 128 : undefined);
      const copies = new Set(text.match(/cp\.async\.(bulk|cg)/g));
      expect([...copies], form.name).toEqual([bulkStreams ? "cp.async.bulk" : "cp.async.cg"]);
      // Results leave from where they are.
      if (form.name === "attention") expect(text).not.toMatch(/st\.shared/);
      // A few words may leave the registers; no sums.
      expect(Number(/(\d+) bytes spill stores/.exec(report)?.[1]), form.name).toBeLessThan(256);
    }
  });
});
