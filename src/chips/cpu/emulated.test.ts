// Kernels compiled for other processors and run under emulation: the values are the interpreter's.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DType, DTYPES, type Func, isFloat } from "../../compiler/ir/index.js";
import { constexpr, i32, ptr } from "../../compiler/lang/index.js";
import { build, kernel } from "../../compiler/lang/testing/build.js";
import { lowerSimd } from "../../compiler/lower/simd/lower.js";
import { type Arg, close } from "../../compiler/lower/testing/compare.js";
import { randomProgram } from "../../compiler/lower/testing/programs.js";
import { optimize } from "../../compiler/passes/index.js";
import { prepare } from "../interpreter/program.js";
import { contents, memory } from "../interpreter/testing/evaluate.js";
import { CpuTarget } from "./target.js";
import { emulated, Emulator } from "./testing-emulated.js";

const numbers = (n: number, seed: number): number[] => Array.from({ length: n }, (_, i) => Math.fround(Math.sin(i * 7.3 + seed))); // biome-ignore format: one line
const zeros = (n: number): number[] => new Array<number>(n).fill(0);

const add = kernel({ x: ptr, y: ptr, z: ptr, n: i32, BLOCK: constexpr }, ({ x, y, z, n, BLOCK }, tl) => {
  const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
  tl.store(z + at, tl.load(x + at, at < n) + tl.load(y + at, at < n), at < n);
});
const softmax = kernel({ x: ptr, y: ptr, cols: i32, BLOCK: constexpr }, ({ x, y, cols, BLOCK }, tl) => {
  const row = tl.programId(0);
  const at = tl.arange(0, BLOCK);
  const v = tl.load(x + row * cols + at, at < cols, -Infinity);
  const e = tl.exp(v - tl.max(v, 0));
  tl.store(y + row * cols + at, e / tl.sum(e, 0), at < cols);
});
const matmul = kernel({ a: ptr, b: ptr, c: ptr, n: i32, BLOCK: constexpr }, ({ a, b, c, n, BLOCK }, tl) => {
  const m = tl.col(tl.programId(0) * BLOCK + tl.arange(0, BLOCK));
  const k = tl.row(tl.programId(1) * BLOCK + tl.arange(0, BLOCK));
  let acc = tl.zeros([BLOCK, BLOCK], "f32");
  for (let i = 0; i < n; i += BLOCK) {
    const at = i + tl.arange(0, BLOCK);
    const x = tl.load(a + m * n + tl.row(at), m < n && tl.row(at) < n, 0);
    acc = tl.dot(x, tl.load(b + tl.col(at) * n + k, tl.col(at) < n && k < n, 0), acc);
  }
  tl.store(c + m * n + k, acc, m < n && k < n);
});
const narrowProduct = kernel(
  { a: ptr, b: ptr, c: ptr, M: constexpr, N: constexpr, K: constexpr, ACC: constexpr.dtype },
  ({ a, b, c, M, N, K, ACC }, tl) => {
    const [m, n, k] = [tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)];
    const y = tl.load(b + tl.row(n) * K + tl.col(k));
    const acc = tl.zeros([M, N], ACC);
    tl.store(c + tl.col(m) * N + tl.row(n), tl.dot(tl.load(a + tl.col(m) * K + tl.row(k)), y, acc));
  },
);
const math = kernel({ x: ptr, y: ptr, N: constexpr }, ({ x, y, N }, tl) => {
  const at = tl.arange(0, N);
  const v = tl.load(x + at);
  const parts =
    tl.sin(v) + tl.log(tl.abs(v) + 1) * tl.tanh(v) - tl.erf(v) + tl.sqrt(tl.abs(v)) + tl.floor(v * 3);
  tl.store(y + at, parts + tl.cumsum(v, 0) + tl.argmax(v, 0));
});

describe.each(emulated)("on $name", ({ name, missing }) => {
  const there = it.skipIf(missing !== undefined);
  const why = missing === undefined ? "" : ` (missing: ${missing})`;
  let emulator: Emulator;
  beforeAll(() => {
    if (missing === undefined) emulator = new Emulator(name);
  });
  afterAll(() => emulator?.close());

  function expectSame(
    func: Func,
    args: readonly Arg[],
    grid: readonly [number, number?, number?] = [1],
  ): void {
    const fresh = () => args.map((a) => (typeof a === "object" ? memory(a[0], a[1]) : a));
    const [want, got] = [fresh(), fresh()];
    prepare(func).run(grid[0], grid[1] ?? 1, grid[2] ?? 1, want.map((d) => (typeof d === "object" ? { data: d, offset: 0 } : d))); // biome-ignore format: one line
    const form = lowerSimd(func, new CpuTarget(emulator.compiler).shape);
    emulator.run(form, got.map((d) => (typeof d === "object" ? new Uint8Array(d) : d)), grid); // biome-ignore format: one line
    args.forEach((a, i) => {
      if (typeof a !== "object") return;
      const d = a[0];
      const bound = !isFloat(d) ? 0 : DTYPES[d].bits === 16 ? (d === "f16" ? 1e-3 : 8e-3) : 1e-5;
      const [w, g] = [contents(d, want[i] as ArrayBuffer), contents(d, got[i] as ArrayBuffer)];
      w.forEach((x, k) => {
        if (!close(g[k]!, x, bound)) throw new Error(`argument ${i} element ${k}: ${g[k]}, not ${x}`);
      });
    });
  }
  const lowered = (k: Parameters<typeof build>[0], facts: Parameters<typeof build>[1]): Func => {
    const func = build(k, facts);
    optimize(func);
    return func;
  };

  there(`has its vector unit${why}`, () => {
    const { features, units } = emulator.compiler;
    expect(features.x86).toBe(false);
    const [, unit] = name.split("-");
    expect(features.vectorBytes).toBe(unit ? 32 : 16);
    if (name !== "riscv64") expect(features.vectorRegisters).toBe(32);
    expect(units).toContain(unit?.toUpperCase() ?? (name === "arm64" ? "NEON" : ""));
  });
  for (const d of ["f32", "f64", "f16", "bf16", "i32", "i64", "u8", "i16"] as DType[])
    there(`adds ${d}${why}`, () => {
      const data = numbers(75, 1).map((v) => (d === "i64" ? BigInt(Math.round(v * 1e6)) : isFloat(d) ? v : Math.round(v * 100) & 127)); // biome-ignore format: one line
      const none = data.map((v) => (typeof v === "bigint" ? 0n : 0));
      expectSame(lowered(add, { x: d, y: d, z: d, BLOCK: 32 }), [[d, data], [d, data.toReversed()], [d, none], 75], [3]); // biome-ignore format: one line
    });
  there(`computes softmax${why}`, () =>
    expectSame(lowered(softmax, { BLOCK: 64 }), [["f32", numbers(150, 2)], ["f32", zeros(150)], 50], [3]),
  );
  there(`multiplies matrices${why}`, () => {
    const n = 50;
    expectSame(lowered(matmul, { BLOCK: 32 }), [["f32", numbers(n * n, 3)], ["f32", numbers(n * n, 4)], ["f32", zeros(n * n)], n], [2, 2]); // biome-ignore format: one line
  });
  for (const [d, acc] of [
    ["i8", "i32"],
    ["bf16", "f32"],
  ] as const)
    for (const M of [1, 8])
      there(`multiplies ${M} rows of ${d}${why}`, () => {
        const data = (n: number, seed: number): number[] =>
          Array.from({ length: n }, (_, i) => (d === "i8" && i % 5 === 0 ? -128 : ((i * 7919 + seed) % 255) - 127)); // biome-ignore format: one line
        const func = lowered(narrowProduct, { a: d, b: d, c: acc, M, N: 32, K: 64, ACC: acc });
        expectSame(func, [[d, data(M * 64, 1)], [d, data(32 * 64, 2)], [acc, zeros(M * 32)]]); // biome-ignore format: one line
        const dots = new CpuTarget(emulator.compiler).shape.dots;
        expect(Boolean(dots)).toBe(name.startsWith("arm64"));
      });
  there(`computes functions, scans and indices${why}`, () =>
    expectSame(lowered(math, { N: 64 }), [
      ["f32", numbers(64, 5)],
      ["f32", zeros(64)],
    ]),
  );
  there(`runs random programs${why}`, () => {
    let run = 0;
    for (let seed = 1; seed <= 12; seed++) {
      let state = seed * 7919;
      const { func, args } = randomProgram((n) => {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        return (state >>> 8) % n;
      }, 10);
      optimize(func);
      try {
        expectSame(func, args);
        run++;
      } catch (e) {
        const { message } = e as Error;
        // QEMU before 8 ends itself at any vector conversion that truncates.
        if (name !== "riscv64-rvv" || !message.includes("decode_save_opc"))
          throw new Error(`seed ${seed}: ${message}`);
      }
    }
    expect(run).toBeGreaterThan(2);
  });
});
