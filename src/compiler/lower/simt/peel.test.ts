// Peeled kernels: the code without masks gives what the masked code gives, at edges and away from them, and programs near the
// end of the 32-bit numbers take the masked code.

import { describe, expect, it } from "vitest";
import { cloneFunc, type Func, type Op, walk } from "../../ir/index.js";
import { constexpr, i32, ptr } from "../../lang/index.js";
import { build, kernel } from "../../lang/testing/build.js";
import { optimize } from "../../passes/optimize.js";
import { peelEdges } from "./peel.js";
import { expectSame } from "./testing/compare.js";

const scale = kernel({ x: ptr, y: ptr, n: i32, B: constexpr }, ({ x, y, n, B }, tl) => {
  const at = tl.programId(0) * B + tl.arange(0, B);
  const inside = at < n;
  tl.store(y + at, tl.load(x + at, inside, 0) * 2, inside);
});
const lowered = (source: typeof scale, facts: Parameters<typeof build>[1]): Func => {
  const func = build(source, facts);
  optimize(func, { verifyEach: true });
  return func;
};
const ops = (func: Func, opcode: string): Op[] => {
  const found: Op[] = [];
  walk(func.body, (op) => void (op.opcode === opcode && found.push(op)));
  return found;
};

describe("peelEdges", () => {
  it("gives a kernel a branch without masks", () => {
    const func = cloneFunc(lowered(scale, { x: "f32", y: "f32", B: 64 }));
    peelEdges(func);
    const [branch] = ops(func, "if");
    expect(branch).toBeDefined();
    expect(ops(func, "load")).toHaveLength(2);
    // In the free half the mask is a constant.
    const free = branch!.regions[0]!.ops.find((op) => op.opcode === "load")!;
    expect((free.operands[2]!.def as Op).opcode).toBe("const");
  });

  it("leaves kernels without masks and those with products alone", () => {
    const bare = kernel({ x: ptr, B: constexpr }, ({ x, B }, tl) => {
      tl.store(x + tl.arange(0, B), 1);
    });
    const func = lowered(bare as never, { x: "f32", B: 64 });
    peelEdges(func);
    expect(ops(func, "if")).toHaveLength(0);
  });

  it.each([1, 63, 64, 65, 127, 128, 200])("%i elements in blocks of 64", (n) => {
    const x = Array.from({ length: 200 }, (_, i) => i - 90);
    expectSame(
      lowered(scale, { x: "f32", y: "f32", B: 64 }),
      [["f32", x], ["f32", new Array<number>(200).fill(-1)], n] as never,
      [Math.ceil(n / 64), 1, 1] as never,
    );
  });
});
