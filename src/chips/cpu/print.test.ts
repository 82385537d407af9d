import { describe, expect, it } from "vitest";
import type { Form, Operand } from "../../compiler/lower/simd/form.js";
import { compileLibrary } from "./compiler.js";
import { printC } from "./print.js";
import {
  download,
  FormBuilder,
  loadForm,
  openDriver,
  STRICT,
  testCompiler,
  upload,
  zeros,
} from "./testing.js";
import {
  array,
  big,
  type Case,
  cases,
  inputs,
  isWide,
  type Kind,
  N,
  rand,
  read,
  type V,
} from "./testing-ops.js";
import { type Features, PORTABLE } from "./unit.js";

// Every operation on every kind and number of lanes, in one kernel per number of lanes, against plain JavaScript.

interface OpsKernel {
  readonly form: Form;
  /** Per parameter: what stands in the buffer, or its size for results. */
  readonly data: (ArrayBufferView | number)[];
  /** What is wrong in the buffers after a launch of N / lanes programs. */
  check(results: readonly ArrayBuffer[]): string[];
}

/** A kernel that does all cases on vectors of `lanes`, N elements each. */
function opsKernel(lanes: number, list: readonly Case[]): OpsKernel {
  const b = new FormBuilder();
  const values = new Map<string, V[]>();
  const data: (ArrayBufferView | number)[] = [];
  const inputParam = new Map<string, number>();
  const input = (kind: Kind | "mask", position: number, guard?: string): number => {
    const key = `${kind}${position}${guard ?? ""}`;
    const known = inputParam.get(key);
    if (known !== undefined) return known;
    let elements: V[] =
      kind === "mask" ? Array.from({ length: N }, () => Math.trunc(rand() * 2)) : inputs(kind, position);
    // Neither zero nor -1 as a divisor: the lowering's promise.
    if (guard)
      elements = elements.map((v) => (big(v) === 0n || big(v) === -1n ? (kind === "i64" ? 7n : 7) : v));
    values.set(key, elements);
    data.push(array(kind === "mask" ? "u8" : kind, elements));
    const param = b.buffer(key, kind === "mask" ? "u8" : kind);
    inputParam.set(key, param);
    return param;
  };
  const keys = list.map((c) => c.from.map((k, i) => `${k}${i}${c.guard && i === 1 ? c.guard : ""}`));
  const params = list.map((c) => c.from.map((k, i) => input(k, i, c.guard && i === 1 ? c.guard : undefined)));
  const counts = new Map<Kind | "mask", number>();
  const places = list.map((c) => {
    const n = counts.get(c.to) ?? 0;
    counts.set(c.to, n + 1);
    return n;
  });
  const outs = new Map<Kind | "mask", number>();
  for (const [kind, n] of counts) {
    outs.set(kind, b.buffer(`out_${kind}`, kind === "mask" ? "u8" : kind));
    data.push(n * N * (kind === "mask" ? 1 : kind === "i32" || kind === "f32" ? 4 : 8));
  }
  const pid = b.op("programId", "i32", 1, [], { index: 0 });
  const at = b.op("mul", "i32", 1, [pid, lanes]);
  list.forEach((c, i) => {
    const args: Operand[] = params[i]!.map((p, j) => {
      const kind = c.from[j]!;
      if (kind !== "mask") return b.load(p, at, kind, lanes, kind);
      return b.op("ne", "mask", lanes, [b.load(p, at, "i32", lanes, "u8"), 0]);
    });
    const r = b.op(c.op, c.to, lanes, args);
    const place = b.op("add", "i32", 1, [at, places[i]! * N]);
    if (c.to === "mask") b.store(outs.get("mask")!, place, b.op("fromMask", "i32", lanes, [r]), "u8");
    else b.store(outs.get(c.to)!, place, r, c.to);
  });
  const check = (buffers: readonly ArrayBuffer[]): string[] => {
    const results = new Map<Kind | "mask", V[]>();
    for (const [kind, p] of outs) results.set(kind, read(kind === "mask" ? "u8" : kind, buffers[p]!));
    const wrong: string[] = [];
    list.forEach((c, i) => {
      const ins = keys[i]!.map((k) => values.get(k)!);
      for (let j = 0; j < N; j++) {
        const args = ins.map((v) => v[j]!) as [V, V, V];
        const want = c.want(...args);
        const got = results.get(c.to)![places[i]! * N + j]!;
        // Which zero a minimum of two zeros is, is open.
        const same = Object.is(want, got) || (c.op.startsWith("m") && want === got);
        const near =
          c.relative !== undefined &&
          Math.abs(Number(want) - Number(got)) <=
            c.relative * Math.max(Math.abs(Number(args[0]) * Number(args[1])), Math.abs(Number(args[2])));
        if (!same && !near)
          wrong.push(`${c.op} ${c.from}->${c.to} x${lanes} (${args}): ${got}, want ${want}`);
      }
    });
    return wrong;
  };
  return { form: b.form("ops"), data, check };
}

async function runCases(lanes: number, list: readonly Case[], features: Features): Promise<void> {
  const driver = openDriver(1);
  const { form, data, check } = opsKernel(lanes, list);
  const exe = loadForm(driver, form, features);
  const buffers = data.map((d) => (typeof d === "number" ? driver.alloc(d) : upload(driver, d)));
  driver.launch(exe, N / lanes, 1, 1, buffers, zeros(buffers.length));
  const results = await Promise.all(buffers.map((x) => download(driver, x)));
  driver.close();
  expect(check(results)).toEqual([]);
}

describe("register operations", () => {
  const all = cases();
  const narrow = all.filter((c) => !isWide(c));
  const own = testCompiler().features;
  it("has every operation in the table", () => {
    expect(new Set(all.map((c) => c.op)).size).toBe(47);
  });
  for (const [title, features] of [
    ["this machine", own],
    ["portable text", { ...PORTABLE, clang: own.clang, fma: "none" } as Features],
  ] as const) {
    it(`1 lane, ${title}`, () => runCases(1, all, features));
    it(`2 lanes, ${title}`, () => runCases(2, all, features));
    it(`4 lanes, ${title}`, () => runCases(4, all, features));
    it(`8 lanes, ${title}`, () => runCases(8, narrow, features));
    it(`16 lanes, ${title}`, () => runCases(16, narrow, features));
  }

  const c = testCompiler();
  const gccX86 = own.x86;
  it.skipIf(!gccX86)("compiles for AVX-512 whatever this machine has", () => {
    const wide: Features = { ...own, vectorBytes: 64, vectorRegisters: 32, x86wide: true };
    for (const lanes of [8, 16]) {
      const text = printC(opsKernel(lanes, lanes === 8 ? all : narrow).form, wide);
      compileLibrary(c, "wide", text, [...STRICT, "-march=skylake-avx512"]);
    }
  });
  it.skipIf(process.arch !== "x64")("compiles for the oldest x86-64", () => {
    for (const lanes of [1, 2, 4]) {
      const text = printC(opsKernel(lanes, all).form, { ...PORTABLE, clang: own.clang });
      compileLibrary(c, "old", text, [...STRICT, "-march=x86-64", "-mtune=generic"]);
    }
  });

  // One vector by four others: GCC is told to keep it.
  const shared = (): Form => {
    const b = new FormBuilder();
    const [x, y] = [b.buffer("x", "f32"), b.buffer("y", "f32")];
    const pid = b.op("programId", "i32", 1, [], { index: 0 });
    const own = b.load(x, b.op("mul", "i32", 1, [pid, 0]), "f32", 16, "f32");
    for (let i = 0; i < 4; i++) {
      const other = b.load(x, b.op("add", "i32", 1, [pid, 16 * (i + 1)]), "f32", 16, "f32");
      b.store(y, b.op("add", "i32", 1, [pid, 16 * i]), b.op("fma", "f32", 16, [own, other, 1]), "f32");
    }
    return b.form("shared");
  };
  it.skipIf(!gccX86)("keeps a vector that several multiplications share in a register", async () => {
    const wide: Features = { ...own, vectorBytes: 64, vectorRegisters: 32, x86wide: true };
    const text = printC(shared(), wide);
    expect(text.split('"+v"').length - 1).toBe(1);
    compileLibrary(c, "shared", text, [...STRICT, "-march=skylake-avx512"]);
    const driver = openDriver(1);
    const values = Float32Array.from({ length: 80 }, (_, i) => (i % 11) - 5);
    const buffers = [upload(driver, values), driver.alloc(256)];
    driver.launch(loadForm(driver, shared(), own), 1, 1, 1, buffers, zeros(2));
    const got = new Float32Array(await download(driver, buffers[1]!));
    driver.close();
    const want = (i: number): number => values[i % 16]! * values[i + 16]! + 1;
    expect([...got]).toEqual(Array.from({ length: 64 }, (_, i) => want(i)));
  });
});
