import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { compileStats } from "./compile.js";
import { kernelOf } from "./kernel.js";
import { VERSION } from "./version.js";
import { notingChip, scaleSource, tensorLike } from "./testing/fixtures.js";

let folder: string;
const before = process.env["VEXIL_CACHE"];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vexil-launch-"));
  process.env["VEXIL_CACHE"] = folder;
});
afterAll(() => {
  rmSync(folder, { recursive: true });
  if (before === undefined) delete process.env["VEXIL_CACHE"];
  else process.env["VEXIL_CACHE"] = before;
});

let chip = notingChip();
let n = 0;
beforeEach(() => {
  chip = notingChip(`noting${n++}`);
});

const args = (more: Record<string, unknown> = {}) => ({
  x: tensorLike(chip, "f32", 64),
  out: tensorLike(chip, "f32", 64),
  stride: 1,
  by: 2,
  n: 64,
  BLOCK: 16,
  ADD: 0.5,
  ...more,
});

describe("launch", () => {
  test("hands buffers, offsets and numbers over in the order of the ABI", () => {
    const x = tensorLike(chip, "f32", 60, 4);
    const a = args({ x });
    kernelOf(scaleSource()).launch([4, 2], a);
    expect(chip.driver.launches[0]).toMatchObject({
      grid: [4, 2, 1],
      values: [x.buffer, a.out.buffer, 1, 2, 64],
      offsets: [4, 0, 0, 0, 0],
    });
  });

  test("makes one kernel for each specialisation and none for runtime numbers", () => {
    const source = scaleSource();
    const k = kernelOf(source);
    const same = args();
    for (const more of [{}, { n: 3, by: -1 }, { n: 60 }, {}]) k.launch([1], { ...same, ...more });
    expect(source.builds).toBe(1);
    const other = [
      { stride: 16 },
      { stride: 5 },
      { BLOCK: 32 },
      { ADD: -0 },
      { ADD: 0 },
      { out: tensorLike(chip, "f16", 64) },
      { x: tensorLike(chip, "f32", 60, 1) },
      { x: { ...same.x, buffer: same.x.buffer, available: 2 ** 31 } },
    ];
    other.forEach((more, i) => {
      k.launch([1], { ...same, ...more });
      expect(source.builds).toBe(i + 2);
    });
    // All of them again: nothing new. An offset of 4 elements is as aligned as none.
    for (const more of [...other, { stride: 32 }, { stride: 6 }, { x: tensorLike(chip, "f32", 60, 4) }])
      k.launch([1], { ...same, ...more });
    expect(source.builds).toBe(9);
    expect(chip.driver.launches.length).toBe(4 + 8 + 11);
    // The wide kernel computes its offsets in 64 bits, the others do not.
    const wide = chip.driver.launches[11]!.text;
    expect(wide).toContain("i64");
    expect(chip.driver.launches[0]!.text).not.toContain("i64");
  });

  test("constexprs of any kind keep their values apart", () => {
    const source = { ...scaleSource("kinds") };
    const values: unknown[] = [
      1,
      1n,
      true,
      "1",
      [1],
      [1, 2],
      0,
      -0,
      false,
      "",
      [],
      Number.NaN,
      [Number.NaN],
      [0],
      [-0],
    ];
    const seen: unknown[] = [];
    const build = source.build;
    source.build = (spec) => {
      seen.push((spec.params[6] as { value: unknown }).value);
      return build({
        ...spec,
        params: spec.params.map((p, i) => (i === 6 ? { kind: "constexpr", value: seen.length } : p)),
      });
    };
    const k = kernelOf(source);
    const a = args();
    for (let round = 0; round < 2; round++) for (const ADD of values) k.launch([1], { ...a, ADD });
    expect(seen).toEqual(values);
  });

  test("a list that its owner changes is a new value", () => {
    const source = { ...scaleSource("lists") };
    let builds = 0;
    const build = source.build;
    source.build = (spec) => {
      builds++;
      return build({
        ...spec,
        params: spec.params.map((p, i) => (i === 6 ? { kind: "constexpr", value: builds } : p)),
      });
    };
    const list = [1, 2];
    const k = kernelOf(source);
    const a = args({ ADD: list });
    k.launch([1], a);
    list[0] = 3;
    k.launch([1], a);
    expect(builds).toBe(2);
  });

  test("kernels of equal content share their code", () => {
    const a = args();
    kernelOf(scaleSource("shared")).launch([1], a);
    const second = scaleSource("shared");
    kernelOf(second).launch([1], a);
    expect(second.builds).toBe(0);
    expect(chip.driver.loads).toBe(1);
  });

  test("a grid may be a function of the arguments, and may be empty", () => {
    const source = scaleSource("grids");
    const k = kernelOf(source);
    const a = args({ BLOCK: 32 });
    for (const grid of [[0], [4, 0], [1, 1, 0], () => [0]]) k.launch(grid, a);
    expect(source.builds).toBe(0);
    expect(chip.driver.launches).toEqual([]);
    k.launch((m) => [Math.ceil((m["n"] as number) / (m["BLOCK"] as number)), 3, 2], a);
    expect(chip.driver.launches[0]!.grid).toEqual([2, 3, 2]);
  });
});

describe("errors name the kernel, the parameter and what was given", () => {
  const { ADD: _, ...noAdd } = { ADD: 0 };
  const without = (...names: string[]) => {
    const a: Record<string, unknown> = { ...args(), ...noAdd };
    for (const name of names) delete a[name];
    return a;
  };
  const cases: [string, () => Record<string, unknown>, number[]?][] = [
    ["a missing tensor", () => without("x")],
    ["missing numbers", () => without("n", "BLOCK")],
    ["a missing constexpr", () => without("ADD")],
    ["an unknown argument", () => args({ alpha: 1 })],
    ["a misspelt argument", () => ({ ...without("BLOCK"), BLOK: 16 })],
    ["an array for a tensor", () => args({ x: [1, 2] })],
    ["a typed array for a tensor", () => args({ x: new Float32Array(4) })],
    ["a number for a tensor", () => args({ out: 3 })],
    ["a tensor for a number", () => args({ n: tensorLike(chip, "i32", 1) })],
    ["a fraction for an integer", () => args({ n: 1.5 })],
    ["an integer that does not fit", () => args({ n: 2 ** 31 })],
    ["a fraction for a dim", () => args({ stride: 0.5 })],
    ["a bigint for a float", () => args({ by: 1n })],
    ["a string for a float", () => args({ by: "2" })],
    ["an object for a constexpr", () => args({ BLOCK: { size: 4 } })],
    ["null for a constexpr", () => args({ BLOCK: null })],
    ["tensors of two chips", () => args({ out: tensorLike(notingChip("elsewhere"), "f32", 64) })],
    ["no grid", () => args(), []],
    ["a grid of four", () => args(), [1, 1, 1, 1]],
    ["a fractional grid", () => args(), [1.5]],
    ["a negative grid", () => args(), [2, -1]],
    ["a grid over the chip's limit", () => args(), [1, 65536]],
  ];
  test.each(cases)("%s", (_name, make, grid = [1]) => {
    chip = notingChip("here");
    const source = scaleSource();
    let message = "no error";
    try {
      kernelOf(source).launch(grid, make());
    } catch (e) {
      message = `${(e as Error).name}: ${(e as Error).message}`;
    }
    expect(message).toMatchSnapshot();
    expect(source.builds).toBe(0);
  });

  test("a freed tensor", () => {
    const a = args();
    a.x.storage.dispose();
    expect(() => kernelOf(scaleSource()).launch([1], a)).toThrow(
      /^kernel scale: x: the memory of this tensor/,
    );
  });

  test("64-bit and bool scalars", () => {
    const source = { ...scaleSource("scalars") };
    source.params = [
      { name: "x", kind: "ptr" },
      { name: "a", kind: "scalar", dtype: "i64" },
      { name: "b", kind: "scalar", dtype: "u64" },
      { name: "c", kind: "scalar", dtype: "bool" },
      { name: "d", kind: "scalar", dtype: "u8" },
    ];
    const k = kernelOf(source);
    const x = tensorLike(chip, "f32", 4);
    const bad = (more: object) => {
      try {
        k.launch([0], { x, a: 1, b: 1n, c: true, d: 1, ...more });
        return "accepted";
      } catch (e) {
        return (e as Error).message;
      }
    };
    expect(bad({})).toBe("accepted");
    expect(bad({ a: -(2n ** 63n), b: 2n ** 64n - 1n, c: 0, d: 255 })).toBe("accepted");
    expect(bad({ a: 2n ** 63n })).toContain("a must be a bigint or a whole number (i64), not the bigint");
    expect(bad({ a: 0.5 })).toContain("not 0.5");
    expect(bad({ b: -1 })).toContain("b must be");
    expect(bad({ b: -1n })).toContain("b must be");
    expect(bad({ c: 2 })).toContain("c must be a boolean");
    expect(bad({ d: 256 })).toContain("d must be a whole number from 0 to 255");
  });
});

describe("seeing the code", () => {
  test("explain shows the optimised IR and the chip's code, and launches nothing", () => {
    const text = kernelOf(scaleSource()).explain(args());
    expect(text).toContain("scale");
    expect(text).toContain("store");
    expect(text).toContain("// code for noting");
    expect(chip.driver.launches).toEqual([]);
  });

  test("VEXIL_DEBUG prints to stderr", () => {
    const lines: string[] = [];
    const spy = vi.spyOn(process.stderr, "write").mockImplementation((t) => {
      lines.push(String(t));
      return true;
    });
    process.env["VEXIL_DEBUG"] = "ir,code";
    try {
      kernelOf(scaleSource("debug")).launch([1], args());
    } finally {
      delete process.env["VEXIL_DEBUG"];
      spy.mockRestore();
    }
    expect(lines.length).toBe(2);
    expect(lines[1]).toMatch(/^code:/);
  });
});

test("a second launch of anything compiles nothing", () => {
  const k = kernelOf(scaleSource("again"));
  const a = args();
  k.launch([1], a);
  const stats = { ...compileStats };
  for (let i = 0; i < 10; i++) k.launch([1], a);
  expect(compileStats).toEqual(stats);
});

test("the version is the package's", async () => {
  const { default: pkg } = await import("../../package.json", { with: { type: "json" } });
  expect(VERSION).toBe(pkg.version);
});
