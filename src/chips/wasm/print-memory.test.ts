// Memory kinds, half-precision conversions, atomics of one thread and addresses.

import { describe, expect, it } from "vitest";
import type { AtomicOp, MemKind, RegKind } from "../../compiler/lower/simd/form.js";
import { checkWithWabt, FormBuilder, runForm } from "./testing/forms.js";

const REG: Record<MemKind, RegKind> = {
  i8: "i32",
  u8: "i32",
  i16: "i32",
  u16: "i32",
  i32: "i32",
  i64: "i64",
  f32: "f32",
  f64: "f64",
};
const ARRAYS = {
  i8: Int8Array,
  u8: Uint8Array,
  i16: Int16Array,
  u16: Uint16Array,
  i32: Int32Array,
  i64: BigInt64Array,
  f32: Float32Array,
  f64: Float64Array,
} as const;
const KINDS = Object.keys(ARRAYS) as MemKind[];
const bytesOf = (kind: MemKind): number => ARRAYS[kind].BYTES_PER_ELEMENT;
const view = (kind: MemKind, bytes: Uint8Array): ArrayLike<number | bigint> =>
  new ARRAYS[kind](bytes.buffer as ArrayBuffer);

/** Bytes that are normal floats too: every byte pattern of small integers occurs. */
const pattern = (n: number): Uint8Array =>
  Uint8Array.from({ length: n }, (_, i) => (i * 37 + (i >> 3) * 11) & 0xff);

describe("memory", () => {
  for (const kind of KINDS)
    for (const lanes of [1, 2, 4].filter((l) => l * bytesOf(kind) <= 16 || l === 1)) {
      it(`copies ${kind} x ${lanes}, touching nothing else`, async () => {
        const b = new FormBuilder();
        const from = b.buffer(kind);
        const to = b.buffer(kind);
        b.loop(0, 5, 1, (i) => {
          const at = b.op("i32", 1, "mul", [i, lanes]);
          const v = b.load(REG[kind], lanes, from, kind, b.op("i32", 1, "add", [at, 1]));
          b.store(v, to, kind, b.op("i32", 1, "add", [at, 3]));
        });
        const width = bytesOf(kind);
        const source = pattern(width * 32);
        const target = new Uint8Array(width * 32).fill(0xee);
        const expected = target.slice();
        expected.set(source.subarray(width, width * (1 + 5 * lanes)), 3 * width);
        await checkWithWabt(runForm(b.form(), [source, target]));
        expect(target).toEqual(expected);
      });
      if (bytesOf(kind) > 2) continue;
      it(`extends ${kind} x ${lanes}`, async () => {
        const b = new FormBuilder();
        const from = b.buffer(kind);
        const to = b.buffer("i32");
        b.loop(0, 64, lanes, (i) => b.store(b.load("i32", lanes, from, kind, i), to, "i32", i));
        const source = pattern(64 * bytesOf(kind));
        const result = new Uint8Array(256);
        await checkWithWabt(runForm(b.form(), [source, result]));
        expect([...new Int32Array(result.buffer)]).toEqual([
          ...(view(kind, source) as ArrayLike<number> as number[]),
        ]);
      });
      it(`narrows ${kind} x ${lanes} by dropping high bits`, async () => {
        const b = new FormBuilder();
        const from = b.buffer("i32");
        const to = b.buffer(kind);
        b.loop(0, 64, lanes, (i) => b.store(b.load("i32", lanes, from, "i32", i), to, kind, i));
        const source = pattern(256);
        const result = new Uint8Array(64 * bytesOf(kind));
        await checkWithWabt(runForm(b.form(), [source, result]));
        const expected = ARRAYS[kind as "i8"].from(new Int32Array(source.buffer));
        expect([...(view(kind, result) as number[])]).toEqual([...expected]);
      });
    }

  it("stores literals, addresses the frame, wraps 64-bit indices and negative ones", async () => {
    const b = new FormBuilder();
    b.frameBytes = 128;
    const out = b.buffer("f32");
    b.emit({
      s: "store",
      value: 1.5,
      type: { kind: "f32", lanes: 4 },
      mem: { frame: 64 },
      kind: "f32",
      at: 0,
    });
    b.emit({
      s: "store",
      value: 2.5,
      type: { kind: "f32", lanes: 1 },
      mem: { frame: 64 },
      kind: "f32",
      at: 1,
    });
    const five = b.op("i32", 1, "copy", [5]);
    const minus = b.op("i32", 1, "sub", [five, 9]);
    b.store(b.load("f32", 4, { frame: 64 }, "f32", 0), out, "f32", b.op("i32", 1, "add", [minus, 4]));
    b.store(b.load("f32", 1, { frame: 80 }, "f32", -3), out, "f32", b.op("i64", 1, "convertS", [five]));
    const result = new Uint8Array(32);
    await checkWithWabt(runForm(b.form(), [result]));
    expect([...new Float32Array(result.buffer)]).toEqual([1.5, 2.5, 1.5, 1.5, 0, 2.5, 0, 0]);
  });

  it("splats what it loads", async () => {
    for (const kind of ["i32", "f32", "i64", "f64"] as const) {
      const lanes = bytesOf(kind) === 8 ? 2 : 4;
      const b = new FormBuilder();
      const from = b.buffer(kind);
      const to = b.buffer(kind);
      const one = b.load(kind, 1, from, kind, 2);
      b.store(b.op(kind, lanes, "splat", [one]), to, kind, 0);
      const source = new Uint8Array(
        ARRAYS[kind as "f32"].from([1, 2, 7, 8].map(kind === "i64" ? (BigInt as never) : Number)).buffer,
      );
      const result = new Uint8Array(16);
      await checkWithWabt(runForm(b.form(), [source, result]));
      expect([...(view(kind, result) as number[])].map(Number)).toEqual(Array(lanes).fill(7));
    }
  });

  it("refuses a register kind that does not fit the memory", () => {
    const b = new FormBuilder();
    const p = b.buffer("f32");
    b.store(b.load("i32", 1, p, "f32", 0), p, "f32", 1);
    expect(() => runForm(b.form(), [new Uint8Array(64)])).toThrow(/f32 in memory does not fit .* i32/);
  });
});

/** A half's value, by its definition. */
function halfValue(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 31;
  const fraction = h & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : (fraction / 1024) * 2 ** -14);
}

describe("half precision", () => {
  for (const lanes of [1, 2, 4]) {
    it(`f16ToF32 x ${lanes}, all halves`, async () => {
      const b = new FormBuilder();
      const from = b.buffer("u16");
      const to = b.buffer("f32");
      b.loop(0, 65536, lanes, (i) =>
        b.store(b.op("f32", lanes, "f16ToF32", [b.load("i32", lanes, from, "u16", i)]), to, "f32", i),
      );
      const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
      const result = new Uint8Array(4 * 65536);
      await checkWithWabt(runForm(b.form(), [new Uint8Array(halves.buffer), result]));
      const got = new Float32Array(result.buffer);
      for (let h = 0; h < 65536; h++)
        if (!Object.is(got[h], halfValue(h)))
          expect.fail(`${h.toString(16)}: ${got[h]} is not ${halfValue(h)}`);
    });

    it(`f32ToF16 x ${lanes}: all halves, the middle of neighbours, just beside`, async () => {
      const b = new FormBuilder();
      const from = b.buffer("f32");
      const to = b.buffer("u16");
      const floats: number[] = [];
      const expected: number[] = [];
      for (let h = 0; h < 0x7c00; h++) {
        const low = halfValue(h);
        const high = h === 0x7bff ? 65536 : halfValue(h + 1);
        const middle = (low + high) / 2;
        const bits = new Int32Array(new Float32Array([middle]).buffer)[0]!;
        const beside = [...new Float32Array(new Int32Array([bits - 1, bits + 1]).buffer)];
        floats.push(low, middle, beside[0]!, beside[1]!);
        expected.push(h, h + (h & 1), h, h + 1);
      }
      floats.push(Infinity, 65536, 1e30, 3.4e38, 1e-45, 1e-30, 2 ** -25, 2 ** -25 * 1.0001);
      expected.push(0x7c00, 0x7c00, 0x7c00, 0x7c00, 0, 0, 0, 1);
      const n = floats.length;
      const all = [...floats, ...floats.map((v) => -v), Number.NaN, 0, 0, 0];
      b.loop(0, all.length, lanes, (i) =>
        b.store(b.op("i32", lanes, "f32ToF16", [b.load("f32", lanes, from, "f32", i)]), to, "u16", i),
      );
      const result = new Uint8Array(2 * all.length);
      await checkWithWabt(runForm(b.form(), [new Uint8Array(Float32Array.from(all).buffer), result]));
      const got = new Uint16Array(result.buffer);
      for (let i = 0; i < 2 * n; i++) {
        const want = i < n ? expected[i]! : expected[i - n]! | 0x8000;
        if (got[i] !== want) expect.fail(`${all[i]}: ${got[i]!.toString(16)} is not ${want.toString(16)}`);
      }
      expect(halfValue(got[2 * n]!)).toBeNaN();
    });
  }
});

describe("atomics", () => {
  const OPS: AtomicOp[] = ["add", "max", "min", "and", "or", "xor", "xchg", "cas"];
  for (const kind of KINDS)
    for (const op of OPS) {
      const float = kind[0] === "f";
      if (float && (op === "and" || op === "or" || op === "xor")) continue;
      for (const unsigned of float || (op !== "max" && op !== "min") ? [false] : [false, true])
        it(`${op}${unsigned ? " unsigned" : ""} of ${kind} returns the old value`, async () => {
          const b = new FormBuilder();
          const mem = b.buffer(kind);
          const values = b.buffer(kind);
          const old = b.buffer(kind);
          b.loop(0, 8, 1, (i) => {
            const dst = b.reg(REG[kind]);
            const value = b.load(REG[kind], 1, values, kind, i);
            const expected = op === "cas" ? { expected: b.load(REG[kind], 1, mem, kind, 1) } : {};
            b.emit({ s: "atomic", op, dst, mem, kind, at: 1, value, unsigned, ...expected });
            b.store(dst, old, kind, i);
          });
          const make = (list: number[]): Uint8Array =>
            new Uint8Array(
              kind === "i64"
                ? BigInt64Array.from(list.map(BigInt)).buffer
                : ARRAYS[kind as "f32"].from(list).buffer,
            );
          const inputs = [5, -3, 100, 7, -128, 127, 0, 42];
          const memory = make([11, 9, 13, 17]);
          const olds = make(inputs.map(() => 0));
          await checkWithWabt(runForm(b.form(), [memory, make(inputs), olds]));
          const bits = 8 * bytesOf(kind);
          const norm = (v: bigint): bigint =>
            kind[0] === "u" ? BigInt.asUintN(bits, v) : BigInt.asIntN(bits, v);
          const order = (v: bigint): bigint =>
            unsigned ? BigInt.asUintN(kind[0] === "u" ? 32 : bits < 32 ? 32 : bits, v) : v;
          let now = 9n;
          const expected: number[] = [];
          for (const x of [...(view(kind, make(inputs)) as number[])].map(BigInt)) {
            expected.push(Number(now));
            if (op === "add") now = norm(now + x);
            else if (op === "max") now = order(x) > order(now) ? x : now;
            else if (op === "min") now = order(x) < order(now) ? x : now;
            else if (op === "and") now &= x;
            else if (op === "or") now |= x;
            else if (op === "xor") now ^= x;
            else now = x;
          }
          expect([...(view(kind, olds) as number[])].map(Number)).toEqual(expected);
          expect([...(view(kind, memory) as number[])].map(Number)).toEqual([11, Number(norm(now)), 13, 17]);
        });
    }

  it("cas leaves the memory when the expected value differs", () => {
    const b = new FormBuilder();
    const mem = b.buffer("i8");
    const dst = b.reg("i32");
    b.emit({ s: "atomic", op: "cas", dst, mem, kind: "i8", at: 0, value: 3, expected: -6 });
    b.emit({ s: "atomic", op: "cas", dst, mem, kind: "i8", at: 1, value: 3, expected: -6 });
    const bytes = new Uint8Array([0xfa, 0xfb]);
    runForm(b.form(), [bytes]);
    expect([...bytes]).toEqual([3, 0xfb]);
  });
});
