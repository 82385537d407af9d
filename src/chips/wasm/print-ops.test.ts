// Every register operation, for every kind and number of lanes, against plain JavaScript.

import { describe, expect, it } from "vitest";
import type { Operand, Reg, RegKind, RegOp } from "../../compiler/lower/simd/form.js";
import { hasRelaxedSimd } from "./host.js";
import { printForm } from "./print.js";
import { checkWithWabt, FormBuilder, runForm } from "./testing/forms.js";

type Num = number | bigint;
const LANES = [1, 2, 4];
const BYTES: Record<RegKind, 4 | 8> = { i32: 4, f32: 4, mask: 4, i64: 8, f64: 8 };
const is64 = (k: RegKind): boolean => BYTES[k] === 8;
const lanesOf = (...kinds: RegKind[]): number[] => LANES.filter((l) => l < 4 || !kinds.some(is64));

const I32 = [
  0, 1, -1, 2, 3, -7, 31, 33, 1000, -1000, 65535, 0x7fffffff, -0x80000000, 123456789, -987654321, 64,
];
const I64 = [
  ...I32.map(BigInt),
  2n ** 63n - 1n,
  -(2n ** 63n),
  2n ** 32n,
  -(2n ** 32n) - 5n,
  2n ** 53n + 1n,
  0x1234567890abcdefn,
  2n ** 40n,
  -3n,
];
const F = [
  0,
  -0,
  1,
  -1,
  0.5,
  1.5,
  2.5,
  -2.5,
  0.1,
  1e-40,
  3e38,
  -3e38,
  Infinity,
  -Infinity,
  Number.NaN,
  123456.789,
  -0.49999,
  2147483648,
  -2147483649,
  4294967296,
  1e19,
  -1e19,
  7.75,
  1e-3,
];
const F64 = [...F, 1e300, -1e300, 2 ** 53 + 2, Math.PI, 5e-324, 1 / 3, 9.2e18, 1e10];
const MASK = [1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1];
const VALUES: Record<RegKind, Num[]> = { i32: I32, i64: I64, f32: F.map(Math.fround), f64: F64, mask: MASK };

/** `count` values, rotated by `shift`, so that several arguments meet in many pairs. */
const pick = (kind: RegKind, count: number, shift: number): Num[] =>
  Array.from(
    { length: count },
    (_, i) => VALUES[kind][(i * (1 + 2 * shift) + 5 * shift) % VALUES[kind].length]!,
  );

function write(kind: RegKind, values: readonly Num[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * BYTES[kind]));
  values.forEach((v, i) => {
    if (kind === "i64") view.setBigInt64(8 * i, BigInt(v), true);
    else if (kind === "f64") view.setFloat64(8 * i, Number(v), true);
    else if (kind === "f32") view.setFloat32(4 * i, Number(v), true);
    else view.setInt32(4 * i, Number(v), true);
  });
  return new Uint8Array(view.buffer);
}
function read(kind: RegKind, bytes: Uint8Array): Num[] {
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / BYTES[kind] }, (_, i) => {
    if (kind === "i64") return view.getBigInt64(8 * i, true);
    if (kind === "f64") return view.getFloat64(8 * i, true);
    return kind === "f32" ? view.getFloat32(4 * i, true) : view.getInt32(4 * i, true);
  });
}

const loadReg = (b: FormBuilder, kind: RegKind, lanes: number, mem: { param: number }, at: Operand): Reg => {
  if (kind !== "mask") return b.load(kind, lanes, mem, kind, at);
  return b.op("mask", lanes, "ne", [b.load("i32", lanes, mem, "i32", at), 0]);
};
const storeReg = (b: FormBuilder, value: Reg, mem: { param: number }, at: Operand): void => {
  const { kind, lanes } = value.type;
  if (kind === "mask") b.store(b.op("i32", lanes, "fromMask", [value]), mem, "i32", at);
  else b.store(value, mem, kind, at);
};

interface Case {
  readonly op: RegOp;
  readonly from: readonly RegKind[];
  readonly to: RegKind;
  /** The result of one lane. */
  readonly js: (...args: Num[]) => Num;
  /** Leaves out argument tuples that the operation does not define. */
  readonly defined?: (...args: Num[]) => boolean;
}

async function check(c: Case, lanes: number, relaxed = false): Promise<void> {
  const n = 96;
  const b = new FormBuilder();
  const ins = c.from.map((k) => b.buffer(k === "mask" ? "i32" : k) as { param: number });
  const out = b.buffer(c.to === "mask" ? "i32" : c.to) as { param: number };
  b.loop(0, n, lanes, (i) => {
    const args = c.from.map((k, j) => loadReg(b, k, lanes, ins[j]!, i));
    storeReg(b, b.op(c.to, lanes, c.op, args), out, i);
  });
  const args = c.from.map((k, j) => pick(k, n, j));
  for (let i = 0; c.defined && i < n; i++)
    if (!c.defined(...args.map((a) => a[i]!)))
      for (const [j, k] of c.from.entries()) args[j]![i] = k === "i64" ? 3n : 3;
  const result = new Uint8Array(n * BYTES[c.to]);
  const bytes = runForm(b.form(), [...args.map((a, j) => write(c.from[j]!, a)), result], [1, 1, 1], relaxed);
  await checkWithWabt(bytes);
  const expected = Array.from({ length: n }, (_, i) => c.js(...args.map((a) => a[i]!)));
  // Through memory, so that floats are rounded to their kind.
  expect(read(c.to, result)).toEqual(read(c.to, write(c.to, expected)));
}

const cases: Case[] = [];
const wrap = (k: RegKind, v: bigint): Num =>
  k === "i64" ? BigInt.asIntN(64, v) : Number(BigInt.asIntN(32, v));
const uns = (k: RegKind, v: Num): bigint => BigInt.asUintN(is64(k) ? 64 : 32, BigInt(v));
const bool = (v: boolean): number => (v ? 1 : 0);

for (const k of ["i32", "i64"] as const) {
  const int = (op: RegOp, fn: (a: bigint, b: bigint) => bigint, defined?: Case["defined"]): void => {
    cases.push({
      op,
      from: [k, k],
      to: k,
      js: (a, b) => wrap(k, fn(BigInt(a!), BigInt(b!))),
      ...(defined ? { defined } : {}),
    });
  };
  const unsigned = (op: RegOp, fn: (a: bigint, b: bigint) => bigint, defined?: Case["defined"]): void => {
    int(op, (a, b) => fn(uns(k, a), uns(k, b)), defined);
  };
  int("add", (a, b) => a + b);
  int("sub", (a, b) => a - b);
  int("mul", (a, b) => a * b);
  const nonZero = (_: Num, b: Num): boolean => BigInt(b) !== 0n;
  const fine = (_: Num, b: Num): boolean => BigInt(b) !== 0n && BigInt(b) !== -1n;
  int("divS", (a, b) => a / b, fine as Case["defined"]);
  int("remS", (a, b) => a % b, fine as Case["defined"]);
  unsigned("divU", (a, b) => a / b, nonZero as Case["defined"]);
  unsigned("remU", (a, b) => a % b, nonZero as Case["defined"]);
  int("minS", (a, b) => (a < b ? a : b));
  int("maxS", (a, b) => (a > b ? a : b));
  unsigned("minU", (a, b) => (a < b ? a : b));
  unsigned("maxU", (a, b) => (a > b ? a : b));
  int("and", (a, b) => a & b);
  int("or", (a, b) => a | b);
  int("xor", (a, b) => a ^ b);
  const bits = is64(k) ? 63n : 31n;
  int("shl", (a, b) => a << (b & bits));
  int("shrS", (a, b) => a >> (b & bits));
  int("shrU", (a, b) => uns(k, a) >> (b & bits));
  cases.push({ op: "neg", from: [k], to: k, js: (a) => wrap(k, -BigInt(a!)) });
  cases.push({ op: "abs", from: [k], to: k, js: (a) => wrap(k, BigInt(a!) < 0n ? -BigInt(a!) : BigInt(a!)) });
  cases.push({ op: "fromMask", from: ["mask"], to: k, js: (a) => a! });
  const unsignedCompare = (op: RegOp, fn: (a: bigint, b: bigint) => boolean): void => {
    cases.push({ op, from: [k, k], to: "mask", js: (a, b) => bool(fn(uns(k, a!), uns(k, b!))) });
  };
  unsignedCompare("ltU", (a, b) => a < b);
  unsignedCompare("leU", (a, b) => a <= b);
  unsignedCompare("gtU", (a, b) => a > b);
  unsignedCompare("geU", (a, b) => a >= b);
}
for (const k of ["f32", "f64"] as const) {
  const float = (op: RegOp, n: number, fn: (...a: number[]) => number): void => {
    cases.push({ op, from: Array(n).fill(k) as RegKind[], to: k, js: (...a) => fn(...a.map(Number)) });
  };
  const round = (v: number): number => (k === "f32" ? Math.fround(v) : v);
  float("add", 2, (a, b) => a! + b!);
  float("sub", 2, (a, b) => a! - b!);
  float("mul", 2, (a, b) => a! * b!);
  float("div", 2, (a, b) => a! / b!);
  float("min", 2, (a, b) => Math.min(a!, b!));
  float("max", 2, (a, b) => Math.max(a!, b!));
  float("pmin", 2, (a, b) => (b! < a! ? b! : a!));
  float("pmax", 2, (a, b) => (a! < b! ? b! : a!));
  float("sqrt", 1, (a) => Math.sqrt(a!));
  float("floor", 1, (a) => Math.floor(a!));
  float("ceil", 1, (a) => Math.ceil(a!));
  float("trunc", 1, (a) => Math.trunc(a!));
  float("abs", 1, (a) => Math.abs(a!));
  float("neg", 1, (a) => -a!);
  float("nearest", 1, (a) => {
    if (!Number.isFinite(a!) || Math.abs(a!) > 2 ** 51) return a!;
    const r = Math.round(a!);
    const even = Math.abs(a! % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r;
    return even === 0 && (a! < 0 || Object.is(a, -0)) ? -0 : even;
  });
  float("fma", 3, (a, b, c) => round(a! * b!) + c!);
}
for (const k of ["i32", "i64", "f32", "f64"] as const) {
  const compare = (op: RegOp, fn: (a: Num, b: Num) => boolean): void => {
    cases.push({ op, from: [k, k], to: "mask", js: (a, b) => bool(fn(a!, b!)) });
  };
  compare("eq", (a, b) => a === b);
  compare("ne", (a, b) => a !== b);
  compare("ltS", (a, b) => a < b);
  compare("leS", (a, b) => a <= b);
  compare("gtS", (a, b) => a > b);
  compare("geS", (a, b) => a >= b);
  cases.push({ op: "select", from: ["mask", k, k], to: k, js: (m, a, b) => (m ? a! : b!) });
  cases.push({ op: "copy", from: [k], to: k, js: (a) => a! });
}
cases.push({ op: "select", from: ["mask", "mask", "mask"], to: "mask", js: (m, a, b) => (m ? a! : b!) });
cases.push({ op: "copy", from: ["mask"], to: "mask", js: (a) => a! });
cases.push({ op: "not", from: ["mask"], to: "mask", js: (a) => 1 - Number(a) });
cases.push({ op: "and", from: ["mask", "mask"], to: "mask", js: (a, b) => Number(a) & Number(b) });
cases.push({ op: "or", from: ["mask", "mask"], to: "mask", js: (a, b) => Number(a) | Number(b) });
cases.push({ op: "xor", from: ["mask", "mask"], to: "mask", js: (a, b) => Number(a) ^ Number(b) });
cases.push({ op: "eq", from: ["mask", "mask"], to: "mask", js: (a, b) => bool(a === b) });
cases.push({ op: "ne", from: ["mask", "mask"], to: "mask", js: (a, b) => bool(a !== b) });

/** The same bits in another kind. */
const recast = (from: RegKind, to: RegKind, v: Num): Num => read(to, write(from, [v]))[0]!;
for (const [a, b] of [
  ["i32", "f32"],
  ["f32", "i32"],
  ["i64", "f64"],
  ["f64", "i64"],
] as const)
  cases.push({ op: "bitcast", from: [a], to: b, js: (v) => recast(a, b, v!) });

/** An i64 as f32, rounded once. */
function i64ToF32(v: bigint): number {
  const bits = (v < 0n ? -v : v).toString(2).length;
  if (bits <= 24) return Number(v);
  const unit = 1n << BigInt(bits - 24);
  const m = v < 0n ? -v : v;
  let q = m / unit;
  const r = m % unit;
  if (2n * r > unit || (2n * r === unit && q % 2n === 1n)) q++;
  return Number(v < 0n ? -q : q) * Number(unit);
}
const saturate = (v: number, lo: bigint, hi: bigint): bigint => {
  if (Number.isNaN(v)) return 0n;
  if (v <= Number(lo)) return lo;
  return v >= Number(hi) ? hi : BigInt(Math.trunc(v));
};
for (const sign of ["S", "U"] as const) {
  const op = `convert${sign}` as const;
  const as = (k: RegKind, v: Num): bigint => (sign === "S" ? BigInt(v) : uns(k, v));
  for (const i of ["i32", "i64"] as const) {
    const bits = is64(i) ? 64n : 32n;
    const [lo, hi] =
      sign === "S" ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
    cases.push({ op, from: [i], to: "f32", js: (v) => i64ToF32(as(i, v!)) });
    cases.push({ op, from: [i], to: "f64", js: (v) => Number(as(i, v!)) });
    for (const f of ["f32", "f64"] as const)
      cases.push({ op, from: [f], to: i, js: (v) => wrap(i, saturate(Number(v), lo, hi)) });
  }
  cases.push({ op, from: ["i32"], to: "i64", js: (v) => BigInt.asIntN(64, as("i32", v!)) });
  cases.push({ op, from: ["i64"], to: "i32", js: (v) => wrap("i32", BigInt(v!)) });
  cases.push({ op, from: ["f32"], to: "f64", js: (v) => v! });
  cases.push({ op, from: ["f64"], to: "f32", js: (v) => v! });
}

describe("register operations", () => {
  for (const c of cases)
    for (const lanes of lanesOf(...c.from, c.to))
      it(`${c.op} ${c.from.join(", ")} -> ${c.to} x ${lanes}`, () => check(c, lanes));

  for (const k of ["f32", "f64"] as const)
    for (const lanes of lanesOf(k))
      it.runIf(hasRelaxedSimd())(`fma ${k} x ${lanes} with relaxed SIMD, exact products`, () =>
        check(
          {
            op: "fma",
            from: [k, k, k],
            to: k,
            js: (a, b, d) => Number(a) * Number(b) + Number(d),
            defined: (...a) => a.every((v) => Number.isInteger(v) && Math.abs(Number(v)) < 1000),
          },
          lanes,
          true,
        ),
      );
});

describe("z - x * y", () => {
  for (const k of ["f32", "f64"] as const)
    for (const factor of [0, 1])
      it.runIf(hasRelaxedSimd())(`is one instruction: ${k}, factor ${factor} negated`, async () => {
        const b = new FormBuilder();
        const [from, out] = [b.buffer(k), b.buffer(k)];
        const lanes = k === "f32" ? 4 : 2;
        const [x, y, z] = [0, 1, 2].map((i) => b.load(k, lanes, from, k, i * lanes)) as [Reg, Reg, Reg];
        const negated = b.op(k, lanes, "neg", [factor === 0 ? x : y]);
        const factors = factor === 0 ? [negated, y] : [x, negated];
        b.store(b.op(k, lanes, "fma", [...factors, z]), out, k, 0);
        // A negation that somebody else wants, too.
        const other = b.op(k, lanes, "neg", [x]);
        b.store(b.op(k, lanes, "fma", [other, y, z]), out, k, lanes);
        b.store(other, out, k, 2 * lanes);
        const Floats = k === "f32" ? Float32Array : Float64Array;
        const values = new Floats(Array.from({ length: 3 * lanes }, (_, i) => i * 3 - 7));
        const result = new Floats(3 * lanes);
        const { text } = printForm(b.form(), { relaxed: true, memory: { min: 1, max: 1024, shared: true } });
        expect(text.match(/relaxed_nmadd/g)).toHaveLength(1);
        await checkWithWabt(
          runForm(b.form(), [new Uint8Array(values.buffer), new Uint8Array(result.buffer)], [1, 1, 1], true),
        );
        const at = (i: number, lane: number): number => values[i * lanes + lane]!;
        for (let lane = 0; lane < lanes; lane++) {
          const want = at(2, lane) - at(0, lane) * at(1, lane);
          expect([result[lane], result[lanes + lane], result[2 * lanes + lane]]).toEqual([
            want,
            want,
            -at(0, lane),
          ]);
        }
      });
});

describe("lanes", () => {
  for (const k of ["i32", "i64", "f32", "f64", "mask"] as const)
    for (const lanes of lanesOf(k).filter((l) => l > 1))
      it(`splat, extract, insert of ${k} x ${lanes}`, async () => {
        const b = new FormBuilder();
        const mem = k === "mask" ? "i32" : k;
        const a = b.buffer(mem) as { param: number };
        const out = b.buffer(mem) as { param: number };
        const v = loadReg(b, k, lanes, a, 0);
        for (let lane = 0; lane < lanes; lane++) storeReg(b, b.op(k, 1, "extract", [v], { lane }), out, lane);
        const one = loadReg(b, k, 1, a, 1);
        storeReg(b, b.op(k, lanes, "splat", [one]), out, lanes);
        for (let lane = 0; lane < lanes; lane++)
          storeReg(b, b.op(k, lanes, "insert", [v, one], { lane }), out, (2 + lane) * lanes);
        const values = k === "mask" ? [0, 1, 1, 0] : k === "i64" ? [7n, -9n] : [1, -2, 3, 4];
        const input = values.slice(0, lanes) as Num[];
        const result = new Uint8Array((2 + lanes) * lanes * BYTES[k]);
        await checkWithWabt(runForm(b.form(), [write(k, input), result]));
        const expected = [...input, ...input.map(() => input[1]!)];
        for (let lane = 0; lane < lanes; lane++)
          expected.push(...input.map((x, i) => (i === lane ? input[1]! : x)));
        expect(read(k, result)).toEqual(expected);
      });

  for (const lanes of LANES)
    it(`any, all x ${lanes}`, async () => {
      const b = new FormBuilder();
      const a = b.buffer("i32") as { param: number };
      const out = b.buffer("i32") as { param: number };
      b.loop(0, 16, 1, (i) => {
        const m = loadReg(b, "mask", lanes, a, b.op("i32", 1, "mul", [i, lanes]));
        const at = b.op("i32", 1, "mul", [i, 2]);
        storeReg(b, b.op("mask", 1, "any", [m]), out, at);
        storeReg(b, b.op("mask", 1, "all", [m]), out, b.op("i32", 1, "add", [at, 1]));
      });
      const bits = Array.from(
        { length: 16 * lanes },
        (_, i) => ((Math.floor(i / lanes) >> (i % lanes)) & 1) * 5,
      );
      const result = new Uint8Array(128);
      await checkWithWabt(runForm(b.form(), [write("i32", bits), result]));
      const expected = Array.from({ length: 16 }, (_, i) => bits.slice(i * lanes, (i + 1) * lanes)).flatMap(
        (v) => [bool(v.some((x) => x !== 0)), bool(v.every((x) => x !== 0))],
      );
      expect(read("i32", result)).toEqual(expected);
    });

  for (const k of ["i32", "i64", "f32", "f64"] as const)
    for (const lanes of lanesOf(k))
      it(`select of zero, ${k} x ${lanes}`, async () => {
        const b = new FormBuilder();
        const [m, a, out] = [b.buffer("i32"), b.buffer(k), b.buffer(k)] as [
          { param: number },
          { param: number },
          { param: number },
        ];
        const zeros: Num[] = k === "i64" ? [0n] : k === "i32" ? [0] : [0, -0];
        const mask = loadReg(b, "mask", lanes, m, 0);
        const v = loadReg(b, k, lanes, a, 0);
        zeros.forEach((zero, i) => {
          storeReg(b, b.op(k, lanes, "select", [mask, v, zero]), out, 2 * i * lanes);
          storeReg(b, b.op(k, lanes, "select", [mask, zero, v]), out, (2 * i + 1) * lanes);
        });
        const bits = [1, 0, 0, 1].slice(0, lanes);
        const values = (k === "i64" ? [5n, -6n] : [5, -6, 7, 8]).slice(0, lanes) as Num[];
        const result = new Uint8Array(2 * zeros.length * lanes * BYTES[k]);
        await checkWithWabt(runForm(b.form(), [write("i32", bits), write(k, values), result]));
        const expected = zeros.flatMap((z) => [
          ...values.map((x, i) => (bits[i] ? x : z)),
          ...values.map((x, i) => (bits[i] ? z : x)),
        ]);
        expect(read(k, result)).toEqual(expected);
      });

  it("iota, literals and uniform shift counts", async () => {
    const b = new FormBuilder();
    const out = b.buffer("i32") as { param: number };
    const count = b.scalar("i32", "i32");
    const n = b.op("i32", 1, "param", [], { index: count });
    const i4 = b.op("i32", 4, "iota", []);
    b.store(i4, out, "i32", 0);
    b.store(b.op("i32", 4, "shl", [i4, 33]), out, "i32", 4);
    const counts = b.op("i32", 4, "splat", [n]);
    b.store(b.op("i32", 4, "shl", [i4, counts]), out, "i32", 8);
    b.store(b.op("i32", 4, "sub", [100, i4]), out, "i32", 12);
    b.store(b.op("i32", 2, "iota", []), out, "i32", 16);
    b.store(b.op("i32", 4, "shl", [3, i4]), out, "i32", 18);
    b.store(b.op("i32", 4, "fromMask", [1]), out, "i32", 22);
    b.store(b.op("i32", 4, "select", [b.op("mask", 4, "ltS", [i4, 2]), 8, -8]), out, "i32", 26);
    const result = new Uint8Array(120);
    await checkWithWabt(runForm(b.form(), [result, 35]));
    expect(read("i32", result)).toEqual([
      ...[0, 1, 2, 3, 0, 2, 4, 6, 0, 8, 16, 24, 100, 99, 98, 97, 0, 1],
      ...[3, 6, 12, 24, 1, 1, 1, 1, 8, 8, -8, -8],
    ]);
  });
});
