// Tiles that several loops read from memory instead of from a copy: values against the interpreter's, and where it happens.

import { describe, expect, it } from "vitest";
import { constexpr, i32, ptr } from "../../lang/index.js";
import { build, kernel } from "../../lang/testing/build.js";
import { optimize } from "../../passes/optimize.js";
import { expectSame } from "./testing/compare.js";

const data = (n: number): number[] => Array.from({ length: n }, (_, i) => ((i * 7) % 13) - 6 + (i % 5) / 8);

const shifted = kernel({ x: ptr, y: ptr, n: i32, B: constexpr }, ({ x, y, n, B }, tl) => {
  const at = tl.programId(0) * B + tl.arange(0, B);
  const v = tl.where(at < n, tl.load(x + at, at < n, 0), -100);
  tl.store(y + at, v - tl.max(v, 0), at < n);
});

const cleared = kernel({ x: ptr, y: ptr, n: i32, B: constexpr }, ({ x, y, n, B }, tl) => {
  const at = tl.programId(0) * B + tl.arange(0, B);
  const v = tl.load(x + at, at < n, 0);
  const most = tl.max(v, 0);
  tl.store(x + at, v * 0 + 1, at < n);
  tl.store(y + at, v - most, at < n);
});

const B = 64;
const frames = (source: typeof shifted, n: number): { wasm: number; avx2: number } => {
  const func = build(source, { B });
  optimize(func);
  const { forms } = expectSame(func, [["f32", data(2 * B)], ["f32", data(2 * B)], n], [2]);
  return { wasm: forms["wasm"]!.frameBytes, avx2: forms["avx2"]!.frameBytes };
};

describe("loading again", () => {
  it.each([0, 1, 61, 64, 100, 128])("needs no room for the tile: %d elements", (n) => {
    const { wasm, avx2 } = frames(shifted, n);
    expect(wasm).toBeLessThan(4 * B);
    expect(avx2).toBeGreaterThanOrEqual(4 * B);
  });
  it("keeps what is written in between", () => {
    expect(frames(cleared, 100).wasm).toBeGreaterThanOrEqual(4 * B);
  });
});
