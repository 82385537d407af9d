// Bodies written several times: values against the interpreter's at every length around a turn, and where it happens.

import { describe, expect, it } from "vitest";
import { constexpr, i32, ptr } from "../../lang/index.js";
import { build, kernel } from "../../lang/testing/build.js";
import { optimize } from "../../passes/optimize.js";
import { showForm } from "./show.js";
import { expectSame } from "./testing/compare.js";

const data = (n: number): number[] => Array.from({ length: n }, (_, i) => ((i * 7) % 13) - 6 + (i % 5) / 8);

const twice = kernel({ x: ptr, y: ptr, n: i32, B: constexpr }, ({ x, y, n, B }, tl) => {
  const at = tl.programId(0) * B + tl.arange(0, B);
  tl.store(y + at, tl.load(x + at, at < n, 0) * 2, at < n);
});

describe("copies of a short body", () => {
  it.each([0, 1, 3, 4, 15, 16, 17, 31, 61, 64, 77, 128])("doubles %d elements", (n) => {
    const func = build(twice, { B: 64 });
    optimize(func);
    const args = [["f32", data(128)], ["f32", data(128)], n] as const;
    const { forms } = expectSame(func, args, [2]);
    const products = (shape: string): number => showForm(forms[shape]!).match(/x\d+ = mul/g)?.length ?? 0;
    // The main loop's and the rest's; with copies four and the rest's.
    if (n === 128) expect([products("avx2"), products("wasm")]).toEqual([2, 5]);
  });
});
