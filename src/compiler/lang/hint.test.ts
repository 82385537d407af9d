// Hints: what the analysis learns from them, that they change no result, and what they refuse.

import { describe, expect, it } from "vitest";
import { type Func, type Op, parse, print, type Value, verify, walk } from "../ir/index.js";
import { analyzeAxes, type AxisInfo } from "../passes/analyze-axes.js";
import { dropHints } from "../passes/drop-hints.js";
import { optimize } from "../passes/optimize.js";
import { widenOffsets } from "../passes/widen-offsets.js";
import { constexpr, i32, ptr } from "./markers.js";
import { build, kernel, run } from "./testing/build.js";

/** What is known of the offsets of the loads (and stores), in their order. */
function offsets(func: Func): AxisInfo[] {
  const facts = analyzeAxes(func);
  const found: AxisInfo[] = [];
  walk(func.body, (op: Op) => {
    if (op.opcode === "load" || op.opcode === "store") found.push(facts.get(op.operands[1] as Value)!);
  });
  return found;
}
const optimized = (func: Func): Func => {
  optimize(func, { verifyEach: true });
  return func;
};

const matrix = kernel(
  { x: ptr, y: ptr, n: i32, stride: i32, B: constexpr, KNOWN: constexpr.bool },
  ({ x, y, n, stride, B, KNOWN }, tl) => {
    let rows = (tl.programId(0) * B + tl.arange(0, B)) % n;
    let s = stride;
    if (KNOWN) {
      rows = tl.maxContiguous(tl.multipleOf(rows, B), B);
      s = tl.multipleOf(stride, 8);
    }
    const at = tl.col(rows) * s + tl.row(tl.arange(0, 16));
    tl.store(y + at, tl.load(x + at) + tl.col(tl.load(x + rows)));
  },
);

const assumed = kernel(
  { x: ptr, y: ptr, stride: i32, from: i32, at: i32 },
  ({ x, y, stride, from, at }, tl) => {
    tl.assume(stride % 16 === 0 && from >= 0);
    if (at > 3) tl.assume(at % 32 === 0);
    const k = tl.arange(0, 32);
    tl.store(y + stride * 3 + k, tl.load(x + at + k));
    // Only of numbers that are not negative are remainders runs.
    tl.store(y + 4096 + ((from * 32 + k) % 8), tl.load(x + k));
  },
);

const list = kernel({ x: ptr, at: ptr, y: ptr }, ({ x, at, y }, tl) => {
  const start = tl.multipleOf(tl.load(at + tl.programId(0)), 4);
  const k = tl.arange(0, 8);
  const index = tl.maxConstancy(tl.load(at + 2 + k), 4);
  const from = tl.multipleOf(x + start, 8);
  tl.store(y + tl.programId(0) * 8 + k, tl.load(from + k) + tl.load(x + index));
});

describe("hints", () => {
  it("reach the analysis: longer runs, larger divisors", () => {
    const facts = { B: 16, KNOWN: true };
    const [plain] = [offsets(optimized(build(matrix, { ...facts, KNOWN: false })))];
    const [known] = [offsets(optimized(build(matrix, facts)))];
    // The load of x + rows: a run of 16 from a multiple of 16, where nothing is known without the hint.
    expect(plain.map((f) => f.contiguity)).toContainEqual([1]);
    expect(known.find((f) => f.contiguity.length === 1)).toMatchObject({
      contiguity: [16],
      divisibility: [16],
    });
    // Rows of 16 from multiples of the stride: aligned to 8 with the hint.
    const of = (list: AxisInfo[]) => list.find((f) => f.contiguity.length === 2)!;
    expect(of(plain)).toMatchObject({ contiguity: [1, 16], divisibility: [1, 1] });
    expect(of(known)).toMatchObject({ contiguity: [1, 16] });
    expect(of(known).divisibility[1]).toBe(8);
  });

  it("are kept in mind when their ops are dropped", () => {
    for (const [source, facts] of [
      [matrix, { B: 16, KNOWN: true }],
      [assumed, {}],
      [list, { at: "i32" }],
    ] as const) {
      const func = optimized(build(source, facts));
      const before = offsets(func);
      dropHints(func);
      verify(func);
      walk(func.body, (op) => expect(["hint", "assume"]).not.toContain(op.opcode));
      expect(offsets(func)).toEqual(before);
    }
  });

  it("change no result", () => {
    const x = Array.from({ length: 256 }, (_, i) => i);
    const args = (KNOWN: boolean) =>
      ({ x: ["f32", x], y: ["f32", new Array(256).fill(0)], n: 4, stride: 16, B: 4, KNOWN }) as const;
    expect(run(matrix, args(true))["y"]).toEqual(run(matrix, args(false))["y"]);
    const got = run(
      list,
      { x: ["f32", x], at: ["i32", [8, 16, 3, 3, 3, 3, 7, 7, 7, 7]], y: ["f32", new Array(16).fill(0)] },
      [2],
    );
    expect(got["y"]).toEqual(
      [8, 16].flatMap((s) => Array.from({ length: 8 }, (_, k) => s + k + (k < 4 ? 3 : 7))),
    );
  });

  it("of pointers, groups of equal elements, values from memory", () => {
    const [, , first, second] = offsets(optimized(build(list, { at: "i32" })));
    expect(first).toMatchObject({ contiguity: [8], divisibility: [8] });
    expect(second!.constancy).toEqual([4]);
  });

  it("assumptions count where they are always reached", () => {
    const [load, store, , spread] = offsets(optimized(build(assumed)));
    expect(store).toMatchObject({ contiguity: [32], divisibility: [16] });
    // Stands in a branch.
    expect(load!.divisibility).toEqual([1]);
    expect(spread!.contiguity).toEqual([8]);
  });

  it("survive text, widening, and the assumption that is wrong is found", () => {
    const func = build(matrix, { B: 16, KNOWN: true });
    expect(print(parse(print(func)))).toBe(print(func));
    widenOffsets(func);
    optimized(func);
    const known = offsets(func).find((f) => f.contiguity.length === 1)!;
    expect(known).toMatchObject({ contiguity: [16], divisibility: [16] });
    const args = {
      x: ["f32", new Array(64).fill(1)],
      y: ["f32", new Array(8192).fill(0)],
      from: 0,
      at: 0,
    } as const;
    expect(() => run(assumed, { ...args, stride: 8 })).toThrow(
      /assume does not hold[\s\S]*tl\.assume\(stride % 16/,
    );
    expect(run(assumed, { ...args, stride: 16 })["y"]!.slice(48, 80)).toEqual(new Array(32).fill(1));
  });

  it("say what they take", () => {
    expect(() =>
      build(
        kernel({ x: ptr }, ({ x }, tl) => {
          tl.store(x, tl.multipleOf(tl.load(x), 4));
        }),
      ),
    ).toThrow(/tl\.multipleOf takes integers and pointers, not f32/);
    expect(() =>
      build(
        kernel({ x: ptr }, ({ x }, tl) => {
          const at = tl.maxContiguous(tl.arange(0, 8), 4, 4);
          tl.store(x + at, 1);
        }),
      ),
    ).toThrow(/tl\.maxContiguous needs one positive number for i32\[8\], not 4, 4/);
    expect(() =>
      build(
        kernel({ x: ptr, N: constexpr }, ({ x, N }, tl) => {
          tl.assume(N > 4);
          tl.store(x, 1);
        }),
        { N: 2 },
      ),
    ).toThrow(/tl\.assume is given a condition that is false/);
  });

  it("loops carry theirs; disableLicm keeps ops inside", () => {
    const loop = kernel({ x: ptr, n: i32, KEEP: constexpr.bool }, ({ x, n, KEEP }, tl) => {
      for (const i of tl.range(0, n, 1, {
        stages: 3, unroll: 2, flatten: true, warpSpecialize: true, disallowAccMultiBuffer: true, disableLicm: KEEP,
      })) {
        tl.store(x + i, n * n);
      }
    }); // biome-ignore format: one line of options
    const inLoop = (KEEP: boolean) => {
      const func = optimized(build(loop, { KEEP }));
      const op = func.body.ops.find((o) => o.opcode === "for")!;
      return { attrs: op.attrs, muls: op.regions[0]!.ops.filter((o) => o.opcode === "mul").length };
    };
    const attrs = { stages: 3, unroll: 2, flatten: true, warpSpecialize: true, disallowAccMultiBuffer: true };
    expect(inLoop(false)).toEqual({ attrs, muls: 0 });
    expect(inLoop(true)).toEqual({ attrs: { ...attrs, disableLicm: true }, muls: 1 });
  });
});
