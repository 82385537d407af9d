import { afterAll, describe, expect, it } from "vitest";
import type { AtomicOp, MemKind, RegKind } from "../../compiler/lower/simd/form.js";
import { CompileError } from "../../compiler/target.js";
import { download, FormBuilder, loadForm, openDriver, testCompiler, upload, zeros } from "./testing.js";
import { type Features, PORTABLE } from "./unit.js";

const driver = openDriver(4);
afterAll(() => driver.close());
const own = testCompiler().features;
const portable: Features = { ...PORTABLE, clang: own.clang };
const machines = [
  ["this machine", own],
  ["portable text", portable],
] as const;

describe("memory kinds", () => {
  const bytes = Uint8Array.from({ length: 64 * 8 }, (_, i) => (i * 37 + (i >> 3) * 91) & 255);
  const READ: Readonly<Record<string, (b: ArrayBuffer) => ArrayLike<number>>> = {
    i8: (b) => new Int8Array(b),
    u8: (b) => new Uint8Array(b),
    i16: (b) => new Int16Array(b),
    u16: (b) => new Uint16Array(b),
  };
  for (const [title, features] of machines)
    it(`widens and narrows at any element offset, ${title}`, async () => {
      const b = new FormBuilder();
      const list = Object.keys(READ).flatMap((mem) =>
        [1, 2, 4, 8, 16].map((lanes) => ({ mem: mem as MemKind, lanes })),
      );
      const source = list.map(({ mem }, i) => b.buffer(`in${i}`, mem));
      const wide = list.map((_, i) => b.buffer(`wide${i}`, "i32"));
      const back = list.map(({ mem }, i) => b.buffer(`back${i}`, mem));
      list.forEach(({ mem, lanes }, i) => {
        const v = b.load(source[i]!, 3, "i32", lanes, mem);
        b.store(wide[i]!, 1, v, "i32");
        b.store(back[i]!, 1, b.op("add", "i32", lanes, [v, 70001]), mem);
      });
      const exe = loadForm(driver, b.form("kinds"), features);
      const buffers = [
        ...list.map(() => upload(driver, bytes)),
        ...list.map(() => upload(driver, new Uint8Array(80))),
        ...list.map(() => upload(driver, new Uint8Array(80))),
      ];
      driver.launch(exe, 1, 1, 1, buffers, zeros(buffers.length));
      for (const [i, { mem, lanes }] of list.entries()) {
        const want = [...Array.from(READ[mem]!(bytes.buffer)).slice(3, 3 + lanes)];
        const got = new Int32Array(await download(driver, buffers[list.length + i]!));
        expect([mem, ...got.slice(0, lanes + 2)]).toEqual([mem, 0, ...want, 0]);
        const narrow = READ[mem]!(await download(driver, buffers[2 * list.length + i]!));
        const bits = mem.endsWith("8") ? 8 : 16;
        const wrap = (v: number): number =>
          Number(mem[0] === "u" ? BigInt.asUintN(bits, BigInt(v)) : BigInt.asIntN(bits, BigInt(v)));
        expect([mem, ...Array.from(narrow).slice(0, lanes + 2)]).toEqual([
          mem,
          0,
          ...want.map((v) => wrap(v + 70001)),
          0,
        ]);
      }
      for (const x of buffers) driver.free(x);
    });

  it("keeps masks in memory as 0 and 1", async () => {
    const b = new FormBuilder();
    const [x, y, wide] = [b.buffer("x", "u8"), b.buffer("y", "u8"), b.buffer("wide", "f64")];
    const m = b.load(x, 0, "mask", 4, "u8");
    b.store(y, 0, b.op("not", "mask", 4, [m]), "u8");
    b.store(y, 4, b.op("extract", "mask", 1, [m], { lane: 1 }), "u8");
    const d = b.load(wide, 0, "f64", 4, "f64");
    const inserted = b.op(
      "insert",
      "mask",
      4,
      [m, b.op("gtS", "mask", 1, [b.op("iota", "i32", 1, []), -1])],
      { lane: 0 },
    );
    b.store(wide, 0, b.op("select", "f64", 4, [inserted, d, 0.25]), "f64");
    const exe = loadForm(driver, b.form("masks"));
    const buffers = [
      upload(driver, Uint8Array.of(0, 1, 7, 0)),
      upload(driver, new Uint8Array(5)),
      upload(driver, Float64Array.of(1, 2, 3, 4)),
    ];
    driver.launch(exe, 1, 1, 1, buffers, [0, 0, 0]);
    expect([...new Uint8Array(await download(driver, buffers[1]!))]).toEqual([1, 0, 0, 1, 1]);
    expect([...new Float64Array(await download(driver, buffers[2]!))]).toEqual([1, 2, 3, 0.25]);
  });
});

/** The value of half bits, from the definition. */
const halfValue = (h: number): number => {
  const [sign, e, m] = [h & 0x8000 ? -1 : 1, (h >> 10) & 31, h & 1023];
  if (e === 31) return m ? NaN : sign * Infinity;
  return sign * (e ? (1 + m / 1024) * 2 ** (e - 15) : (m / 1024) * 2 ** -14);
};

describe("half floats", () => {
  for (const [title, features] of machines)
    for (const lanes of [1, 2, 4, 8, 16])
      for (const raw of [true, false])
        it(`all 65536, to f32 and back, ${lanes} lanes, ${raw ? "straight from memory" : "by way of i32"}, ${title}`, async () => {
          const b = new FormBuilder();
          const [h, f, out] = [b.buffer("h", "u16"), b.buffer("f", "f32"), b.buffer("out", "u16")];
          const at = b.op("mul", "i32", 1, [b.op("programId", "i32", 1, [], { index: 0 }), lanes]);
          let bits = b.load(h, at, "i32", lanes, "u16");
          if (!raw) bits = b.op("xor", "i32", lanes, [b.op("xor", "i32", lanes, [bits, 1]), 1]);
          b.store(f, at, b.op("f16ToF32", "f32", lanes, [bits]), "f32");
          let back = b.op("f32ToF16", "i32", lanes, [b.load(f, at, "f32", lanes, "f32")]);
          if (!raw) back = b.op("and", "i32", lanes, [back, 65535]);
          b.store(out, at, back, "u16");
          const exe = loadForm(driver, b.form("halves"), features);
          const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
          const buffers = [upload(driver, all), driver.alloc(65536 * 4), driver.alloc(65536 * 2)];
          driver.launch(exe, 65536 / lanes, 1, 1, buffers, [0, 0, 0]);
          const floats = new Float32Array(await download(driver, buffers[1]!));
          const halves = new Uint16Array(await download(driver, buffers[2]!));
          let wrong = 0;
          for (let i = 0; i < 65536; i++) {
            const want = halfValue(i);
            if (!Object.is(floats[i], want)) wrong++;
            const same = Number.isNaN(want) ? Number.isNaN(halfValue(halves[i]!)) : halves[i] === i;
            if (!same) wrong++;
          }
          for (const x of buffers) driver.free(x);
          expect(wrong).toBe(0);
        });

  for (const [title, features] of machines)
    it(`rounds to nearest, ties to even, ${title}`, async () => {
      // Each half's upper neighbourhood: just above it, the tie, around the tie; both signs; and random floats.
      const values: number[] = [];
      for (let i = 0; i < 0x7c00; i += 7) {
        const [a, z] = [halfValue(i), i === 0x7bff ? 65536 : halfValue(i + 1)];
        const tie = (a + z) / 2;
        values.push(a, tie, tie * (1 - 2 ** -23), tie * (1 + 2 ** -23), -tie, a + (z - a) / 4);
      }
      values.push(
        65504,
        65519.996,
        65520,
        65536,
        1e10,
        Infinity,
        -Infinity,
        NaN,
        2 ** -25,
        2 ** -25 * 1.0001,
        2 ** -24,
        1e-40,
      );
      while (values.length % 16) values.push(0);
      const x = Float32Array.from(values);
      const nearest = (v: number): number => {
        if (Number.isNaN(v)) return NaN;
        const m = Math.abs(v);
        if (m >= 65520) return Math.sign(v) * Infinity;
        const step = 2 ** Math.max(Math.floor(Math.log2(m)) - 10, -24);
        const q = m === 0 ? 0 : m / step;
        const f = Math.floor(q);
        const r = q - f < 0.5 ? f : q - f > 0.5 ? f + 1 : f % 2 ? f + 1 : f;
        return (v < 0 || Object.is(v, -0) ? -1 : 1) * r * step;
      };
      for (const lanes of [1, 2, 4, 8, 16]) {
        const b = new FormBuilder();
        const [f, out] = [b.buffer("f", "f32"), b.buffer("out", "u16")];
        const at = b.op("mul", "i32", 1, [b.op("programId", "i32", 1, [], { index: 0 }), lanes]);
        b.store(out, at, b.op("f32ToF16", "i32", lanes, [b.load(f, at, "f32", lanes, "f32")]), "u16");
        const exe = loadForm(driver, b.form("round"), features);
        const buffers = [upload(driver, x), driver.alloc(x.length * 2)];
        driver.launch(exe, x.length / lanes, 1, 1, buffers, [0, 0]);
        const got = new Uint16Array(await download(driver, buffers[1]!));
        const wrong = [...x].flatMap((v, i) =>
          Object.is(halfValue(got[i]!), nearest(v)) ? [] : [[v, got[i]]],
        );
        expect(wrong).toEqual([]);
        for (const o of buffers) driver.free(o);
      }
    });
});

describe("atomics", () => {
  const PROGRAMS = 20000;
  const run = async (
    kind: RegKind & MemKind,
    ops: readonly (readonly [AtomicOp, boolean])[],
    start: ArrayBufferView,
  ) => {
    const b = new FormBuilder();
    const out = b.buffer("out", kind);
    const pid = b.op("programId", "i32", 1, [], { index: 0 });
    const value = kind === "i32" ? pid : b.op("convertS", kind, 1, [pid]);
    ops.forEach(([op, unsigned], at) => {
      b.push({ s: "atomic", op, dst: b.reg(kind), mem: { param: out }, kind, at, value, unsigned });
    });
    const exe = loadForm(driver, b.form(`atomics_${kind}`));
    const buffer = upload(driver, start);
    driver.launch(exe, PROGRAMS, 1, 1, [buffer], [0]);
    return download(driver, buffer);
  };
  const sum = (PROGRAMS * (PROGRAMS - 1)) / 2;

  it("works on i32 from several threads", async () => {
    const ops = [
      ["add", false],
      ["max", false],
      ["min", false],
      ["max", true],
      ["min", true],
      ["or", false],
      ["xor", false],
      ["and", false],
    ] as const;
    const got = await run("i32", ops, Int32Array.of(0, -5, 7, -5, -5, 0, 0, -1));
    let xor = 0;
    for (let i = 0; i < PROGRAMS; i++) xor ^= i;
    expect([...new Int32Array(got)]).toEqual([sum, PROGRAMS - 1, 0, -5, 0, 32767, xor, 0]);
  });

  it("works on i64 from several threads", async () => {
    const ops = [
      ["add", false],
      ["max", false],
      ["max", true],
    ] as const;
    const got = await run("i64", ops, BigInt64Array.of(1n << 40n, -5n, -5n));
    expect([...new BigInt64Array(got)]).toEqual([(1n << 40n) + BigInt(sum), BigInt(PROGRAMS - 1), -5n]);
  });

  it("works on f32 and f64 from several threads", async () => {
    const ops = [
      ["add", false],
      ["max", false],
      ["min", false],
    ] as const;
    const f64 = new Float64Array(await run("f64", ops, Float64Array.of(0.5, -1, 1)));
    expect([...f64]).toEqual([sum + 0.5, PROGRAMS - 1, 0]);
    const f32 = new Float32Array(await run("f32", ops, Float32Array.of(0, -1, NaN)));
    // The sum of 20000 numbers below 2^15 rounds differently in each order.
    expect(Math.abs(f32[0]! - sum) / sum).toBeLessThan(1e-4);
    expect([f32[1], f32[2]]).toEqual([PROGRAMS - 1, NaN]);
  });

  it("gives old values: exchange and compare-and-swap", async () => {
    const b = new FormBuilder();
    const params = (["i32", "i64", "f32", "f64"] as const).map(
      (k) => [k, b.buffer(k, k), b.buffer(`o${k}`, k)] as const,
    );
    for (const [kind, p, o] of params) {
      const lit = (n: number): number | bigint => (kind === "i64" ? BigInt(n) : n);
      const act = (op: AtomicOp, at: number, value: number, expected?: number): void => {
        const dst = b.reg(kind);
        const e = expected === undefined ? {} : { expected: lit(expected) };
        b.push({ s: "atomic", op, dst, mem: { param: p }, kind, at, value: lit(value), ...e });
        b.store(o, at, dst, kind);
      };
      act("xchg", 0, 9);
      act("cas", 1, 9, 2);
      act("cas", 2, 9, 5);
      act("add", 3, 9);
    }
    const exe = loadForm(driver, b.form("old"));
    const make = { i32: Int32Array, i64: BigInt64Array, f32: Float32Array, f64: Float64Array } as const;
    const data = (kind: keyof typeof make): ArrayBufferView =>
      kind === "i64" ? BigInt64Array.of(1n, 2n, 3n, 4n) : make[kind].of(1, 2, 3, 4);
    const buffers = params.flatMap(([k]) => [upload(driver, data(k)), upload(driver, data(k))]);
    driver.launch(exe, 1, 1, 1, buffers, zeros(8));
    for (const [i, [kind]] of params.entries()) {
      const [now, old] = [
        await download(driver, buffers[2 * i]!),
        await download(driver, buffers[2 * i + 1]!),
      ];
      expect([...new make[kind](now)].map(Number)).toEqual([9, 9, 3, 13]);
      expect([...new make[kind](old)].map(Number)).toEqual([1, 2, 3, 4]);
    }
  });

  it("refuses what the form does not have", () => {
    const b = new FormBuilder();
    const out = b.buffer("out", "u16");
    b.push({ s: "atomic", op: "add", dst: b.reg("f32"), mem: { param: out }, kind: "u16", at: 0, value: 1 });
    expect(() => loadForm(driver, b.form("half_atomic"))).toThrow(CompileError);
  });
});
