// Whole kernels, from the kernel language to values, against the interpreter; and how the chip announces itself.

import { afterAll, describe, expect, it } from "vitest";
import { DTYPES, type DType } from "../../compiler/ir/index.js";
import {
  bool,
  constexpr,
  f32,
  i32,
  i64,
  type KernelArgs,
  kernelSource,
  type Marker,
  ptr,
  type Tl,
} from "../../compiler/lang/index.js";
import type { ConstexprValue, KernelSource, ParamFacts } from "../../compiler/source.js";
import { compileFresh } from "../../runtime/compile.js";
import type { Chip, DeviceBuffer } from "../../runtime/driver.js";
import { createInterpreter } from "../interpreter/index.js";
import { entry } from "./index.js";
import { checkWithWabt } from "./testing/forms.js";

const wasm = await entry.open();
const interpreter = createInterpreter();
afterAll(() => wasm.driver.close());

type Arg = { dtype: DType; data: Uint8Array } | ConstexprValue;

/** Runs a kernel on a chip; returns the buffers' bytes. */
function run(
  chip: Chip,
  source: KernelSource,
  args: Readonly<Record<string, Arg>>,
  grid: readonly number[],
): { buffers: Record<string, Uint8Array>; code: Uint8Array } {
  const of = (name: string): Arg => args[name]!;
  const params = source.params.map((p): ParamFacts => {
    if (p.kind === "ptr")
      return { kind: "ptr", dtype: (of(p.name) as { dtype: DType }).dtype, aligned: true };
    if (p.kind === "constexpr") return { kind: "constexpr", value: of(p.name) as ConstexprValue };
    return p.kind === "dim" ? { kind: "dim", divisibleBy16: false, isOne: false } : { kind: "scalar" };
  });
  const { artifact } = compileFresh(source, { params, wideOffsets: false }, chip);
  const exe = chip.driver.load(artifact);
  const buffers: [string, DeviceBuffer][] = [];
  const values = source.params
    .filter((p) => p.kind !== "constexpr")
    .map((p) => {
      const a = of(p.name);
      if (p.kind !== "ptr") return Number(a) === a || typeof a === "bigint" ? a : Number(a);
      const { data } = a as { data: Uint8Array };
      const b = chip.driver.alloc(data.length);
      chip.driver.write(b, 0, data);
      buffers.push([p.name, b]);
      return b;
    });
  chip.driver.launch(
    exe,
    grid[0] ?? 1,
    grid[1] ?? 1,
    grid[2] ?? 1,
    values,
    values.map(() => 0),
  );
  const read = buffers.map(([name, b]) => [name, chip.driver.readSync!(b, 0, b.bytes)]);
  for (const [, b] of buffers) chip.driver.free(b);
  return { buffers: Object.fromEntries(read) as Record<string, Uint8Array>, code: artifact.bytes };
}

const kernel = <P extends Record<string, Marker>>(
  params: P,
  fn: (args: KernelArgs<P>, tl: Tl) => void,
  name: string,
): KernelSource => kernelSource(params, fn, name);

let seed = 1;
const random = (): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
  return (seed >>> 8) / 2 ** 24 - 0.5;
};
const floats = (n: number, scale = 4): { dtype: DType; data: Uint8Array } => ({
  dtype: "f32",
  data: new Uint8Array(Float32Array.from({ length: n }, () => scale * random()).buffer),
});
const zeros = (dtype: DType, n: number): { dtype: DType; data: Uint8Array } => ({
  dtype,
  data: new Uint8Array(n * DTYPES[dtype].bytes),
});
/** Any bits; floats are made finite by clearing the top exponent bit. */
const bits = (dtype: DType, n: number): { dtype: DType; data: Uint8Array } => {
  const { bytes, kind } = DTYPES[dtype];
  const data = Uint8Array.from({ length: n * bytes }, () => (random() + 0.5) * 256);
  for (let i = 0; i < n; i++) {
    if (kind === "float") data[i * bytes + bytes - 1]! &= 0xbf;
    if (kind === "bool") data[i] = data[i]! & 1;
  }
  return { dtype, data };
};

/** Runs on both; the named buffers must agree to a relative bound (0: all bits). */
async function agree(
  source: KernelSource,
  args: Readonly<Record<string, Arg>>,
  grid: readonly number[],
  bound = 0,
): Promise<Record<string, Uint8Array>> {
  const ours = run(wasm, source, args, grid);
  const reference = run(interpreter, source, args, grid).buffers;
  await checkWithWabt(ours.code);
  for (const [name, bytes] of Object.entries(reference)) {
    const got = ours.buffers[name]!;
    if (bound === 0)
      expect(
        got,
        `${name}: ${JSON.stringify(args, (k, v) => (k === "data" ? undefined : typeof v === "bigint" ? String(v) : v))}`,
      ).toEqual(bytes);
    else {
      const [a, b] = [new Float32Array(got.buffer), new Float32Array(bytes.buffer)];
      const size = Math.max(...b.map(Math.abs));
      b.forEach((v, i) => {
        if (!(Math.abs(a[i]! - v) <= bound * Math.max(size, 1e-30)) && !Object.is(a[i], v))
          expect.fail(`${name}[${i}]: ${a[i]} is not ${v}`);
      });
    }
  }
  return ours.buffers;
}

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
const matmul = kernel(
  { a: ptr, b: ptr, c: ptr, M: i32, N: i32, K: i32, BM: constexpr, BN: constexpr, BK: constexpr },
  ({ a, b, c, M, N, K, BM, BN, BK }, tl) => {
    const m = tl.programId(0) * BM + tl.arange(0, BM);
    const n = tl.programId(1) * BN + tl.arange(0, BN);
    let acc = tl.zeros([BM, BN], "f32");
    for (let k0 = 0; k0 < K; k0 += BK) {
      const k = k0 + tl.arange(0, BK);
      const x = tl.load(
        a + tl.expandDims(m, 1) * K + tl.expandDims(k, 0),
        tl.expandDims(m, 1) < M && tl.expandDims(k, 0) < K,
        0,
      );
      const y = tl.load(
        b + tl.expandDims(k, 1) * N + tl.expandDims(n, 0),
        tl.expandDims(k, 1) < K && tl.expandDims(n, 0) < N,
        0,
      );
      acc = tl.dot(x, y, acc);
    }
    tl.store(
      c + tl.expandDims(m, 1) * N + tl.expandDims(n, 0),
      acc,
      tl.expandDims(m, 1) < M && tl.expandDims(n, 0) < N,
    );
  },
  "matmul",
);
const convert = kernel(
  { x: ptr, y: ptr, n: i32, BLOCK: constexpr },
  ({ x, y, n, BLOCK }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    tl.store(y + at, tl.load(x + at, at < n, 0), at < n);
  },
  "convert",
);

describe("kernels agree with the interpreter", () => {
  it("softmax with ragged rows", async () => {
    for (const cols of [1, 7, 64, 100]) {
      const { y } = await agree(
        softmax,
        { x: floats(5 * cols), y: zeros("f32", 5 * cols), cols, BLOCK: 128 },
        [5],
        1e-6,
      );
      const sum = new Float32Array(y!.buffer).reduce((a, v) => a + v, 0);
      expect(sum).toBeCloseTo(5, 4);
    }
  });

  it("a blocked matrix product with ragged edges", async () => {
    for (const [M, N, K] of [
      [33, 45, 50],
      [32, 32, 32],
      [1, 70, 3],
    ] as const)
      await agree(
        matmul,
        { a: floats(M * K), b: floats(K * N), c: zeros("f32", M * N), M, N, K, BM: 32, BN: 32, BK: 16 },
        [Math.ceil(M / 32), Math.ceil(N / 32)],
        1e-6,
      );
  });

  const dtypes: DType[] = [
    "bool",
    "i8",
    "u8",
    "i16",
    "u16",
    "i32",
    "u32",
    "i64",
    "u64",
    "f16",
    "bf16",
    "f32",
    "f64",
  ];
  for (const from of dtypes)
    it(`copies and converts ${from} to every dtype`, async () => {
      for (const to of dtypes)
        await agree(convert, { x: bits(from, 37), y: zeros(to, 37), n: 37, BLOCK: 16 }, [3]);
    });

  it("scalars of several dtypes, control flow, integer division, atomics", async () => {
    const k = kernel(
      { y: ptr, z: ptr, n: i32, f: f32, big: i64, flag: bool },
      ({ y, z, n, f, big, flag }, tl) => {
        const pid = tl.programId(0);
        let total = 0;
        for (let i = 0; i < n; i++) {
          if (i % 3 !== 0) total += tl.floorDiv(i * 7 - 20, 3) + (flag ? 1 : 2);
        }
        let steps = 0;
        let v = pid + 1;
        while (v !== 1) {
          v = v % 2 === 0 ? v >> 1 : 3 * v + 1;
          steps += 1;
        }
        tl.store(y + pid, total + steps);
        tl.atomicAdd(z, f);
        if (big > 4294967296) tl.atomicMax(z + 1, tl.cast(pid, "f32"));
      },
      "scalars",
    );
    const args = { y: zeros("i32", 50), z: zeros("f32", 2), n: 20, f: 0.5, big: 2n ** 40n, flag: true };
    const { z } = await agree(k, args, [50]);
    expect([...new Float32Array(z!.buffer)]).toEqual([25, 49]);
  });
});

describe("the chip", () => {
  it("announces itself", async () => {
    const p = await entry.probe();
    expect(p.available).toBe(true);
    expect(p.found).toMatch(/^\d+ threads?, 128-bit SIMD/);
    expect(wasm.name).toBe("wasm");
    expect(wasm.description).toBe(p.found);
    expect(wasm.target.fingerprint).toMatch(/^wasm-\d+/);
    expect(wasm.capabilities.threads).toBeGreaterThan(0);
  });

  it("explains kernels as text", () => {
    const params: ParamFacts[] = [
      { kind: "ptr", dtype: "f32", aligned: false },
      { kind: "ptr", dtype: "f32", aligned: false },
      { kind: "scalar" },
      { kind: "constexpr", value: 64 },
    ];
    const { artifact } = compileFresh(softmax, { params, wideOffsets: false }, wasm);
    expect(artifact.text).toMatch(/\(func \$softmax[\s\S]*f32x4\.div/);
    expect(JSON.parse(JSON.stringify(artifact.meta))).toEqual(artifact.meta);
  });
});
