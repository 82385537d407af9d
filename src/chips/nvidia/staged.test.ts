// Products whose operands come through registers and are fed by asynchronous copies, and those on matrix units of other dtypes than
// 16-bit floats: the form is evaluated thread by thread against sums on the host; what ptxas says of the code is checked beside it.

import { afterEach, describe, expect, it } from "vitest";
import "../index.js";
import type { Form, Stmt } from "../../compiler/lower/simt/form.js";
import { lowerSimt } from "../../compiler/lower/simt/index.js";
import type { SimtShape } from "../../compiler/lower/simt/shape.js";
import { type DType, empty, mm, setFloat32MatmulPrecision, tensor, type Tensor } from "../../index.js";
import { buildOptimized } from "../../runtime/compile.js";
import { observe } from "../../runtime/observe.js";
import { loadChip } from "../../runtime/index.js";
import { printPtx } from "./print.js";
import { shapeOf } from "./shape.js";
import { assemble, hasPtxas, registerEvaluated } from "./testing.js";

/** Without persistent programs, whose copy engine takes most of these products on 9.0: what it cannot bring goes this way there. */
const shapeFor = (capability: number): SimtShape => ({
  ...shapeOf({
    capability,
    sharedPerBlockOptIn: capability === 80 ? 166912 : 232448,
    registersPerBlock: 65536,
  }),
  persistent: false,
});

/** A chip that evaluates forms for a capability, with one block size for products. */
async function open(capability: number, block: readonly [number, number, number]): Promise<string> {
  const name = `staged ${capability} ${block.join("x")}`;
  const capabilities = { matrixDtypes: ["bf16", "f16"], dotBlock: block, threads: 1, programThreads: 1024 };
  registerEvaluated(name, shapeFor(capability), { capabilities });
  await loadChip(name);
  return name;
}

afterEach(() => setFloat32MatmulPrecision("highest"));

const small = (n: number, seed: number): number[] =>
  Array.from({ length: n }, (_, i) => ((i * seed) % 17) - 8);
const WAYS = ["nn", "nt", "tn", "tt"] as const;

describe.each([
  ["f32", 90, [80, 64, 48], [64, 64, 16], WAYS],
  ["tf32", 90, [80, 64, 48], [64, 64, 16], WAYS],
  ["tf32", 90, [77, 33, 50], [64, 64, 16], ["nn"]],
  // Rows of 128 bytes along the sum: units of four subgroups.
  ["tf32", 90, [64, 128, 96], [64, 64, 32], ["nn", "nt", "tt"]],
  ["bf16", 80, [64, 64, 96], [64, 64, 32], ["nn", "tt"]],
  ["i8", 90, [64, 64, 128], [64, 64, 64], ["nn", "nt"]],
  ["i8", 90, [77, 33, 50], [64, 64, 32], ["nn"]],
] as const)("%s on %d, [M, N, K] = %j in blocks of %j", (what, capability, [M, N, K], block, ways) => {
  it.each([...ways])("%s", async (turned) => {
    const device = await open(capability, block).catch(() => `staged ${capability} ${block.join("x")}`);
    if (what === "tf32") setFloat32MatmulPrecision("high");
    const dtype: DType = what === "tf32" ? "f32" : what;
    const [x, y] = [small(M * K, 7), small(K * N, 11)];
    const make = (list: number[], rows: number, cols: number, turn: boolean): Tensor => {
      const t = tensor(list, { shape: [rows, cols], dtype, device });
      return turn ? (t.t().contiguous() as Tensor).t() : t;
    };
    const got = await mm(make(x, M, K, turned[0] === "t"), make(y, K, N, turned[1] === "t")).data();
    for (let q = 0; q < 300; q++) {
      const [i, j] = [(q * 7919) % M, (q * 104729) % N];
      let want = 0;
      for (let k = 0; k < K; k++) want += x[i * K + k]! * y[k * N + j]!;
      if (what === "i8") want = (want << 24) >> 24;
      const error = Math.abs(Number(got[i * N + j]) - want);
      expect(error).toBeLessThanOrEqual(what === "bf16" ? Math.abs(want) / 128 : 0);
    }
  });
});

function count(body: readonly Stmt[], s: Stmt["s"]): number {
  let n = 0;
  for (const x of body) {
    if (x.s === s) n++;
    if (x.s === "for") n += count(x.body, s);
    else if (x.s === "if") n += count(x.then, s) + count(x.else, s);
  }
  return n;
}

describe.skipIf(!hasPtxas)(`as PTX${hasPtxas ? "" : " (missing: ptxas)"}`, () => {
  it.each([
    ["f32", 90, [128, 128, 16]],
    ["f32", 80, [128, 128, 16]],
    ["tf32", 80, [128, 128, 32]],
    ["tf32", 90, [128, 256, 32]],
    ["tf32", 90, [256, 128, 32]],
    ["bf16", 80, [128, 128, 32]],
    ["i8", 90, [128, 128, 64]],
  ] as const)(
    "%s on %d in blocks of %j: copies, and few enough registers for two",
    async (what, capability, block) => {
      const device = await open(capability, block).catch(() => `staged ${capability} ${block.join("x")}`);
      if (what === "tf32") setFloat32MatmulPrecision("high");
      const a = empty([512, 512], { dtype: what === "tf32" ? "f32" : what, device });
      for (const [x, y, way] of [
        [a, a, "nn"],
        [a, a.t(), "nt"],
        [a.t(), a, "tn"],
      ] as const) {
        const forms: Form[] = [];
        const stop = observe({
          launch(w) {
            forms.push(lowerSimt(buildOptimized(w.source, w.specialization()), shapeFor(capability)));
            throw new Error("enough");
          },
        });
        try {
          expect(() => mm(x, y)).toThrow("enough");
        } finally {
          stop();
        }
        const [form] = forms;
        // Single bytes across the sum cannot be read by units; they come through registers first.
        const copied = what !== "i8" || way === "nt";
        expect(count(form!.body, "copyAsync") > 0).toBe(copied);
        expect(count(form!.body, "matrix") > 0).toBe(what !== "f32");
        const { report } = assemble(printPtx(form!, capability), capability);
        // As many as leave room for a second program, where there is to be one.
        if (form!.sharing)
          expect(Number(/Used (\d+) registers/.exec(report)![1])).toBeLessThanOrEqual(32768 / form!.threads);
        expect(report).toMatch(/ 0 bytes spill stores/);
        // What ptxas says where it cannot keep products in flight.
        expect(report).not.toMatch(/serialized/);
      }
    },
  );
});
