// What only a branch needs is computed in the branch, and the result is the same.

import { describe, expect, it } from "vitest";
import { cloneFunc, type Op, opDef, walk } from "../../ir/index.js";
import { constexpr, i32, ptr } from "../../lang/index.js";
import { build, kernel } from "../../lang/testing/build.js";
import { optimize } from "../../passes/optimize.js";
import { sinkIntoBranches } from "./sink.js";
import { expectSame } from "./testing/compare.js";

const sums = kernel({ x: ptr, y: ptr, n: i32, B: constexpr }, ({ x, y, n, B }, tl) => {
  const b = tl.row(tl.arange(0, B));
  let sum = tl.zeros([B, B], "f32");
  for (let from = 0; from < n; from += B) {
    const at = tl.col(from + tl.arange(0, B));
    const inside = at < n;
    let v = tl.load(x + at * B + b, inside, 0);
    if (from + B > n) v = tl.where(inside && at + b < n, v, 1);
    sum = sum + v;
  }
  tl.store(y + tl.col(tl.arange(0, B)) * B + b, sum);
});

describe("sinkIntoBranches", () => {
  const func = build(sums, { x: "f32", y: "f32", B: 8 });
  optimize(func, { verifyEach: true });

  it("leaves nothing outside that only the branch reads", () => {
    const changed = cloneFunc(func);
    sinkIntoBranches(changed);
    let checked = 0;
    walk(changed.body, (op) => {
      if (op.opcode !== "if") return;
      const block = op.parent!;
      const inside = new Set<Op>();
      for (const r of op.regions) walk(r, (inner) => void inside.add(inner));
      for (const before of block.ops.slice(0, block.ops.indexOf(op))) {
        if (!opDef(before.opcode).elementwise) continue;
        expect([...before.result.uses].some((use) => !inside.has(use))).toBe(true);
        checked++;
      }
      // The mask is needed outside, too: the branch has one of its own.
      expect([...inside].filter((inner) => inner.opcode === "cmp")).toHaveLength(2);
    });
    expect(checked).toBeGreaterThan(0);
  });

  it.each([8, 13, 29])("%i rows in blocks of 8", (n) => {
    const x = Array.from({ length: 32 * 8 }, (_, i) => i - 90);
    expectSame(func, [["f32", x], ["f32", new Array<number>(64).fill(-1)], n] as never);
  });
});
