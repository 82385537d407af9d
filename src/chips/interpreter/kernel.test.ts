import { describe, expect, test } from "vitest";
import { createInterpreter } from "./index.js";
import { constexpr, f32, helper, i32, ptr } from "../../compiler/lang/index.js";
import { kernel } from "../../runtime/define.js";
import { kernelOf } from "../../runtime/kernel.js";
import { scaleSource, tensorLike } from "../../runtime/testing/fixtures.js";

process.env["VEXIL_CACHE"] = "off";

const softmax = kernel(
  { x: ptr, y: ptr, cols: i32, BLOCK: constexpr },
  ({ x, y, cols, BLOCK }, tl) => {
    const row = tl.programId(0);
    const at = tl.arange(0, BLOCK);
    const inside = at < cols;
    const v = tl.load(x + row * cols + at, inside, -Infinity);
    const e = tl.exp(v - tl.max(v, 0));
    tl.store(y + row * cols + at, e / tl.sum(e, 0), inside);
  },
  "softmax",
);

const chip = createInterpreter();
const upload = (values: readonly number[]) => {
  const t = tensorLike(chip, "f32", values.length);
  chip.driver.write(t.buffer, 0, new Uint8Array(Float32Array.from(values).buffer));
  return t;
};
const download = (t: ReturnType<typeof upload>) => [
  ...new Float32Array(chip.driver.readSync!(t.buffer, 0, t.available * 4).buffer),
];

describe("a kernel made of IR", () => {
  test("a source of IR computes", () => {
    const x = tensorLike(chip, "f16", 20);
    const out = tensorLike(chip, "f32", 20);
    chip.driver.write(x.buffer, 0, new Uint8Array(Uint16Array.from({ length: 20 }, () => 0x3e00).buffer));
    kernelOf(scaleSource()).launch([2], { x, out, stride: 1, by: 3, n: 20, BLOCK: 16, ADD: 0.25 });
    const bytes = chip.driver.readSync!(out.buffer, 0, 80);
    expect([...new Float32Array(bytes.buffer)]).toEqual(new Array(20).fill(4.75));
  });
});

describe("a kernel of the language on the interpreter", () => {
  test("softmax of rows", () => {
    const rows = [
      [1, 2, 3, -1, 0],
      [100, 100, -100, 50, 99],
    ];
    const x = upload(rows.flat());
    const y = tensorLike(chip, "f32", 10);
    softmax.launch([2], { x, y, cols: 5, BLOCK: 8 });
    const want = rows.flatMap((r) => {
      const top = Math.max(...r);
      const e = r.map((v) => Math.exp(v - top));
      const s = e.reduce((a, b) => a + b);
      return e.map((v) => v / s);
    });
    download(y).forEach((v, i) => {
      expect(Math.abs(v - want[i]!)).toBeLessThan(2e-7);
    });
  });

  test("helpers and constants are not arguments", () => {
    const scale = kernel(
      { x: ptr, n: i32, by: f32, twice: helper((_tl, v: number) => v + v), BLOCK: constexpr },
      ({ x, n, by, twice, BLOCK }, tl) => {
        const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
        tl.store(x + at, twice(tl.load(x + at, at < n) * by), at < n);
      },
    );
    const x = upload([1, 2, 3, 4, 5]);
    scale.launch((a) => [Math.ceil(a.n / a.BLOCK)], { x, n: 5, by: 1.5, BLOCK: 2 });
    expect(download(x)).toEqual([3, 6, 9, 12, 15]);
    // The types of the arguments come from the parameters.
    // @ts-expect-error by is missing
    expect(() => scale.launch([1], { x, n: 5, BLOCK: 2 })).toThrow("the argument by is missing");
    // @ts-expect-error a tensor is no number
    expect(() => scale.launch([1], { x, n: x, by: 1, BLOCK: 2 })).toThrow("n must be a whole number");
  });

  test("an access outside shows the author's line", () => {
    const x = upload([1, 2]);
    const y = tensorLike(chip, "f32", 8);
    expect(() => softmax.launch([1], { x, y, cols: 8, BLOCK: 8 })).toThrow(
      /kernel softmax, program \(0, 0, 0\) of \(1, 1, 1\): load at offset 2 is outside x: 2 elements of f32[\s\S]*tl\.load\(x \+ row \* cols/,
    );
  });
});
