import { afterAll, afterEach, describe, expect, it } from "vitest";
import { constexpr, i32, ptr } from "../../compiler/lang/index.js";
import { optimize } from "../../compiler/passes/index.js";
import type { ConstexprValue, KernelSource, ParamFacts } from "../../compiler/source.js";
import type { Executable } from "../../runtime/driver.js";
import { kernel } from "../../runtime/define.js";
import { entry } from "./index.js";
import { download, upload } from "./testing.js";

const chip = await entry.open();
const { driver, target } = chip;
afterAll(() => driver.close());

const f32: ParamFacts = { kind: "ptr", dtype: "f32", aligned: true };
const f16: ParamFacts = { kind: "ptr", dtype: "f16", aligned: false };
const scalar: ParamFacts = { kind: "scalar" };
const fixed = (value: ConstexprValue): ParamFacts => ({ kind: "constexpr", value });
const compile = (source: KernelSource, ...params: ParamFacts[]): Executable => {
  const func = source.build({ params, wideOffsets: false });
  optimize(func);
  return driver.load(target.compile(func));
};

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
).source;

const matmul = kernel(
  { a: ptr, b: ptr, c: ptr, M: i32, N: i32, K: i32, BLOCK: constexpr },
  ({ a, b, c, M, N, K, BLOCK }, tl) => {
    const rows = tl.expandDims(tl.programId(0) * BLOCK + tl.arange(0, BLOCK), 1);
    const cols = tl.expandDims(tl.programId(1) * BLOCK + tl.arange(0, BLOCK), 0);
    let sum = tl.zeros([BLOCK, BLOCK], "f32");
    for (let k = 0; k < K; k += BLOCK) {
      const inner = k + tl.arange(0, BLOCK);
      const [down, across] = [tl.expandDims(inner, 1), tl.expandDims(inner, 0)];
      const x = tl.load(a + rows * K + across, rows < M && across < K, 0);
      const y = tl.load(b + down * N + cols, down < K && cols < N, 0);
      sum = tl.dot(x, y, sum);
    }
    tl.store(c + rows * N + cols, sum, rows < M && cols < N);
  },
  "matmul",
).source;

describe("kernels of the language", () => {
  it("computes softmax of rows with a tail", async () => {
    const [rows, cols] = [70, 203];
    const x = Float32Array.from({ length: rows * cols }, (_, i) => ((i * 7919) % 1000) / 50 - 10);
    const [bx, by] = [upload(driver, x), upload(driver, new Float32Array(rows * cols + 8).fill(-1))];
    driver.launch(compile(softmax, f32, f32, scalar, fixed(256)), rows, 1, 1, [bx, by, cols], [0, 0, 0]);
    const y = new Float32Array(await download(driver, by));
    let worst = 0;
    for (let r = 0; r < rows; r++) {
      const row = [...x.subarray(r * cols, (r + 1) * cols)];
      const top = Math.max(...row);
      const sum = row.reduce((s, v) => s + Math.exp(v - top), 0);
      row.forEach((v, i) => {
        const want = Math.exp(v - top) / sum;
        worst = Math.max(worst, Math.abs(y[r * cols + i]! - want) / want);
      });
    }
    expect(worst).toBeLessThan(2e-6);
    expect([...y.subarray(rows * cols)]).toEqual(new Array(8).fill(-1));
  });

  for (const [dtype, tolerance] of [
    ["f32", 1e-5],
    ["f16", 2e-3],
  ] as const)
    it(`computes a matrix product of ${dtype} with tails on every side`, async () => {
      const [M, N, K] = [75, 53, 90];
      const a = Array.from({ length: M * K }, (_, i) => (((i * 7919) % 201) - 100) / 128);
      const b = Array.from({ length: K * N }, (_, i) => (((i * 104729) % 201) - 100) / 128);
      // These values are exact in half floats; the sums are not.
      const half = (v: number): number => {
        if (v === 0) return 0;
        const e = Math.floor(Math.log2(Math.abs(v)));
        return (v < 0 ? 0x8000 : 0) | ((e + 15) << 10) | ((Math.abs(v) / 2 ** e - 1) * 1024);
      };
      const pack = (v: number[]): ArrayBufferView =>
        dtype === "f32" ? Float32Array.from(v) : Uint16Array.from(v.map(half));
      const buffers = [
        upload(driver, pack(a)),
        upload(driver, pack(b)),
        upload(driver, new Float32Array(M * N)),
      ];
      const input = dtype === "f32" ? f32 : f16;
      const exe = compile(matmul, input, input, f32, scalar, scalar, scalar, fixed(32));
      driver.launch(exe, 3, 2, 1, [...buffers, M, N, K], [0, 0, 0, 0, 0, 0]);
      const c = new Float32Array(await download(driver, buffers[2]!));
      let worst = 0;
      for (let i = 0; i < M; i++)
        for (let j = 0; j < N; j++) {
          let want = 0;
          for (let k = 0; k < K; k++) want += a[i * K + k]! * b[k * N + j]!;
          worst = Math.max(worst, Math.abs(c[i * N + j]! - want));
        }
      expect(worst).toBeLessThan(tolerance);
    });
});

describe("the entry", () => {
  const saved = { ...process.env };
  afterEach(() => {
    process.env = { ...saved };
  });

  it("says what it found", async () => {
    const probe = await entry.probe();
    expect(probe.available).toBe(true);
    expect(probe.found).toMatch(/^(gcc|clang) \d+/);
    expect(chip.description).toMatch(/thread.*(gcc|clang).*-bit vectors$/);
    expect(chip.capabilities.syncRead).toBe(true);
    expect(target.fingerprint).toContain("-fwrapv");
  });

  it("says what is missing", async () => {
    process.env["PATH"] = "/nowhere";
    delete process.env["CC"];
    delete process.env["VEXIL_CC"];
    const probe = await entry.probe();
    expect(probe).toMatchObject({ available: false, found: "no C compiler in PATH" });
    expect(probe.hint).toBeTruthy();
    await expect(entry.open()).rejects.toThrow("the cpu chip is not available: no C compiler in PATH.");
  });

  it("takes the number of threads from VEXIL_THREADS", async () => {
    process.env["VEXIL_THREADS"] = "3";
    const three = await entry.open();
    expect(three.capabilities.threads).toBe(3);
    three.driver.close();
    process.env["VEXIL_THREADS"] = "many";
    await expect(entry.open()).rejects.toThrow(
      'VEXIL_THREADS must be a whole number from 1 to 1024, not "many"',
    );
  });

  it("gives the text of a kernel and names the kernel in meta", () => {
    const func = softmax.build({ params: [f32, f32, scalar, fixed(64)], wideOffsets: false });
    optimize(func);
    const artifact = target.compile(func);
    expect(artifact.text).toContain("void run(");
    expect(JSON.parse(JSON.stringify(artifact.meta))).toEqual(artifact.meta);
    expect(artifact.meta["name"]).toBe("softmax");
  });
});
