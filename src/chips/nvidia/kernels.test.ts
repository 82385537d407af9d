// Kernels of the operator library through the lowering and the printer, judged by ptxas. Their values are tested on GPUs.

import { describe, expect, it } from "vitest";
import "../index.js";
import { lowerSimt } from "../../compiler/lower/simt/index.js";
import type { Form, Stmt } from "../../compiler/lower/simt/form.js";
import {
  empty,
  layerNorm,
  loadChip,
  logSoftmax,
  matmul,
  scope,
  setFloat32MatmulPrecision,
  softmax,
  sort,
  type Tensor,
} from "../../index.js";
import { buildOptimized } from "../../runtime/compile.js";
import { observe } from "../../runtime/observe.js";
import { setTuning } from "../../runtime/index.js";
import { printPtx } from "./print.js";
import { shapeOf } from "./shape.js";
import { assemble, hasPtxas } from "./testing.js";
import { tuning } from "./tuning.js";

const facts = (capability: number) => ({
  capability,
  sharedPerBlockOptIn: capability >= 90 ? 232448 : capability >= 80 ? 101376 : 65536,
  registersPerBlock: 65536,
});

/** The forms of everything that `fn` launches, for a capability. */
function formsOf(capability: number, fn: () => unknown): Form[] {
  const forms: Form[] = [];
  const stop = observe({
    launch(what) {
      forms.push(lowerSimt(buildOptimized(what.source, what.specialization()), shapeOf(facts(capability))));
    },
  });
  try {
    scope(() => void fn());
  } finally {
    stop();
  }
  return forms;
}

function count(body: readonly Stmt[], s: Stmt["s"]): number {
  let n = 0;
  for (const x of body) {
    if (x.s === s) n++;
    if (x.s === "for") n += count(x.body, s);
    else if (x.s === "while") n += count(x.cond, s) + count(x.body, s);
    else if (x.s === "if") n += count(x.then, s) + count(x.else, s);
  }
  return n;
}

const on = { device: "wasm" } as const;

describe.skipIf(!hasPtxas)(`library kernels as PTX${hasPtxas ? "" : " (missing: ptxas)"}`, () => {
  const small = (fn: (x: Tensor) => unknown) => () => fn(empty([64, 300], on));
  it.each([
    ["pointwise", small((x) => x.mul(2).add(1).gelu())],
    ["softmax", small((x) => softmax(x, 1))],
    ["log softmax along rows", small((x) => logSoftmax(x, 0))],
    ["layer norm", small((x) => layerNorm(x, [300]))],
    ["reductions", small((x) => [x.sum(), x.argmax(1), x.cumsum(0)])],
    ["sort", small((x) => sort(x))],
    ["transposed copy", small((x) => x.t().contiguous())],
  ] as const)("%s", async (_, fn) => {
    await loadChip("wasm");
    for (const capability of [75, 80, 90])
      for (const form of formsOf(capability, fn))
        expect(assemble(printPtx(form, capability), capability).bytes.length).toBeGreaterThan(500);
  });

  it.each(["bf16", "f16", "tf32"] as const)(
    "products of %s stream to asynchronous matrix units on 9.0",
    async (dtype) => {
      const chip = await loadChip("wasm");
      setTuning(chip, [{ ...tuning, chip: "wasm" }]);
      const wide = dtype === "tf32";
      if (wide) setFloat32MatmulPrecision("high");
      try {
        const a = empty([512, 512], { dtype: wide ? "f32" : dtype, ...on });
        const pairs = [
          [a, a],
          [a, a.t()],
          [a.t(), a.t()],
          [a.t(), a],
        ] as const;
        // Of 32 bits one operand must stand along the sum.
        for (const [x, y] of wide ? pairs.slice(0, 3) : pairs) {
          const [form] = formsOf(90, () => matmul(x, y));
          // One workgroup fills a multiprocessor, and takes one block after another.
          expect(form!.persistent).toBe(true);
          expect(count(form!.body, "bulkCopy")).toBeGreaterThan(0);
          // Step by step where one of 32 bits goes on to registers: all but the second way.
          const stepwise = wide && !(x === a && y !== a);
          expect(count(form!.body, "matrixCommit")).toBe(stepwise ? 4 : 1);
          const { report } = assemble(printPtx(form!, 90), 90);
          // ptxas says when it cannot keep products in flight.
          expect(report).not.toMatch(/serialized/);
          expect(report).toMatch(/ 0 bytes spill stores/);
        }
      } finally {
        setTuning(chip, []);
        setFloat32MatmulPrecision("highest");
      }
    },
  );

  it("products use the matrix units of 8.0", async () => {
    const chip = await loadChip("wasm");
    setTuning(chip, [
      { ...tuning, chip: "wasm", kernels: { matmul: [{ use: { BM: 64, BN: 64, BK: 32 } }] } },
    ]);
    const a = empty([256, 256], { dtype: "bf16", ...on });
    const [form] = formsOf(80, () => matmul(a, a));
    setTuning(chip, []);
    expect(count(form!.body, "matrix")).toBeGreaterThan(0);
    expect(assemble(printPtx(form!, 80), 80).bytes.length).toBeGreaterThan(500);
  });
});
