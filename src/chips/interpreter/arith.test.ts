import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DTYPES, type DType } from "../../compiler/ir/index.js";
import { roundTo } from "../../compiler/ir/rounding.js";
import { evaluate } from "./testing/evaluate.js";

const binary = (opcode: string, dtype: DType, a: (number | bigint)[], b: (number | bigint)[], attrs = {}) =>
  evaluate(
    [
      { dtype, values: a },
      { dtype, values: b },
    ],
    (bl, [x, y]) => bl.value(opcode, [x!, y!], attrs),
  )[0];
const unary = (opcode: string, dtype: DType, a: (number | bigint)[], attrs = {}) =>
  evaluate([{ dtype, values: a }], (bl, [x]) => bl.value(opcode, [x!], attrs))[0];

const INTS: DType[] = ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"];

/** Exact integer arithmetic on bigints, wrapped at the end: what every width must give. */
const exact: Record<string, (a: bigint, b: bigint, w: bigint) => bigint> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => (b === 0n ? 0n : a / b),
  rem: (a, b) => (b === 0n ? 0n : a % b),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  min: (a, b) => (a < b ? a : b),
  max: (a, b) => (a > b ? a : b),
  shl: (a, b, w) => a << (((b % w) + w) % w),
  shr: (a, b, w) => a >> (((b % w) + w) % w),
  ushr: (a, b, w) => BigInt.asUintN(Number(w), a) >> (((b % w) + w) % w),
  mulhi: (a, b, w) => (a * b) >> w,
};

describe("integers", () => {
  for (const dtype of INTS)
    test(`${dtype} arithmetic is exact and wraps`, () => {
      const w = DTYPES[dtype].bits;
      const signed = DTYPES[dtype].kind === "int";
      const element = fc.oneof(
        fc.bigInt({
          min: signed ? -(2n ** BigInt(w - 1)) : 0n,
          max: signed ? 2n ** BigInt(w - 1) - 1n : 2n ** BigInt(w) - 1n,
        }),
        fc.constantFrom(0n, 1n, ...(signed ? [-1n, -(2n ** BigInt(w - 1))] : [2n ** BigInt(w) - 1n])),
      );
      fc.assert(
        fc.property(fc.array(fc.tuple(element, element), { minLength: 4, maxLength: 4 }), (pairs) => {
          const a = pairs.map((p) => p[0]);
          const b = pairs.map((p) => p[1]);
          for (const [opcode, f] of Object.entries(exact))
            expect([opcode, binary(opcode, dtype, a, b)]).toEqual([
              opcode,
              pairs.map(([x, y]) => roundTo(dtype, f(x, y, BigInt(w)))),
            ]);
        }),
        { numRuns: 40 },
      );
    });

  test("unary ops wrap", () => {
    expect(unary("neg", "i8", [-128, 5])).toEqual([-128, -5]);
    expect(unary("abs", "i32", [-(2 ** 31), -7])).toEqual([-(2 ** 31), 7]);
    expect(unary("not", "u8", [0, 255])).toEqual([255, 0]);
    expect(unary("not", "bool", [0, 1])).toEqual([1, 0]);
    expect(unary("not", "i64", [0n, -1n])).toEqual([-1n, 0n]);
    expect(unary("neg", "u64", [1n, 0n])).toEqual([2n ** 64n - 1n, 0n]);
  });
});

describe("floats", () => {
  const finite = fc.double({ noNaN: true });
  for (const dtype of ["f16", "bf16", "f32", "f64"] as const)
    test(`${dtype}: each result is computed in f32 or wider and rounded`, () => {
      const round = (x: number) => Number(roundTo(dtype, dtype === "f64" ? x : Math.fround(x)));
      const element = finite.map((x) => round(x));
      const f: Record<string, (a: number, b: number) => number> = {
        add: (a, b) => a + b,
        sub: (a, b) => a - b,
        mul: (a, b) => a * b,
        div: (a, b) => a / b,
        rem: (a, b) => a % b,
      };
      fc.assert(
        fc.property(fc.array(fc.tuple(element, element), { minLength: 4, maxLength: 4 }), (pairs) => {
          for (const [opcode, g] of Object.entries(f))
            expect(
              binary(
                opcode,
                dtype,
                pairs.map((p) => p[0]),
                pairs.map((p) => p[1]),
              ),
            ).toEqual(pairs.map(([a, b]) => round(g(a, b))));
        }),
        { numRuns: 100 },
      );
    });

  test("max and min treat NaN as told", () => {
    const a = [1, Number.NaN, 3, Number.NaN];
    const b = [Number.NaN, 2, 4, Number.NaN];
    expect(binary("max", "f32", a, b)).toEqual([Number.NaN, Number.NaN, 4, Number.NaN]);
    expect(binary("max", "f32", a, b, { nan: "ignore" })).toEqual([1, 2, 4, Number.NaN]);
    expect(binary("min", "f16", a, b, { nan: "ignore" })).toEqual([1, 2, 3, Number.NaN]);
    expect(binary("min", "f64", a, b, { nan: "propagate" })).toEqual([Number.NaN, Number.NaN, 3, Number.NaN]);
  });

  test("comparisons follow IEEE", () => {
    const a = [1, Number.NaN, 0, 3];
    const b = [2, Number.NaN, -0, 2];
    const cmp = (pred: string) => binary("cmp", "f32", a, b, { pred });
    expect(cmp("eq")).toEqual([0, 0, 1, 0]);
    expect(cmp("ne")).toEqual([1, 1, 0, 1]);
    expect(cmp("lt")).toEqual([1, 0, 0, 0]);
    expect(cmp("ge")).toEqual([0, 0, 1, 1]);
    expect(binary("cmp", "u64", [2n ** 63n, 1n], [1n, 1n], { pred: "gt" })).toEqual([1, 0]);
  });

  test("rounding goes to even and keeps the sign of zero", () => {
    const x = [0.5, 1.5, 2.5, -0.5, -1.5, -0.3, 1e300, Number.NEGATIVE_INFINITY];
    expect(unary("round", "f64", x)).toEqual([0, 2, 2, -0, -2, -0, 1e300, Number.NEGATIVE_INFINITY]);
  });
});

describe("casts", () => {
  const cast = (from: DType, to: DType, values: (number | bigint)[]) =>
    unary("cast", from, values, { dtype: to });

  test("floats to integers truncate, saturate at 32 and 64 bits, and make 0 of NaN", () => {
    const x = [1.9, -1.9, Number.NaN, 1e30];
    expect(cast("f32", "i32", x)).toEqual([1, -1, 0, 2 ** 31 - 1]);
    expect(cast("f32", "i64", x)).toEqual([1n, -1n, 0n, 2n ** 63n - 1n]);
    expect(cast("f64", "u8", [256.5, -1, 300, -300])).toEqual([0, 255, 44, 212]);
    expect(cast("f64", "i8", [127, 128, -129, -1e30])).toEqual([127, -128, 127, 0]);
    expect(cast("f64", "u32", [2 ** 31, -5, 1e30, 7])).toEqual([2 ** 31, 0, 2 ** 32 - 1, 7]);
    expect(cast("f64", "i64", [-(2 ** 63), 2 ** 63, -1e300, 2 ** 53])).toEqual([
      -(2n ** 63n),
      2n ** 63n - 1n,
      -(2n ** 63n),
      2n ** 53n,
    ]);
  });

  test("integers wrap and widen", () => {
    expect(cast("i32", "u8", [-1, 256])).toEqual([255, 0]);
    expect(cast("u32", "i64", [2 ** 32 - 1, 1])).toEqual([2n ** 32n - 1n, 1n]);
    expect(cast("i64", "i32", [2n ** 32n + 5n, -1n])).toEqual([5, -1]);
    expect(cast("i64", "u32", [-1n, 2n ** 40n])).toEqual([2 ** 32 - 1, 0]);
    expect(cast("i64", "u64", [-1n, 1n])).toEqual([2n ** 64n - 1n, 1n]);
  });

  test("to bool is unequal to zero", () => {
    expect(cast("f32", "bool", [0, -0, Number.NaN, 0.1])).toEqual([0, 0, 1, 1]);
    expect(cast("i64", "bool", [0n, 256n])).toEqual([0, 1]);
  });

  test("i64 to f32 rounds once", () => {
    // Through a double this would round down to a tie first.
    const v = 2n ** 60n + 2n ** 36n + 1n;
    expect(cast("i64", "f32", [v, -v])).toEqual([2 ** 60 + 2 ** 37, -(2 ** 60 + 2 ** 37)]);
  });

  test("every f16 and bf16 pattern survives memory and widening", () => {
    for (const dtype of ["f16", "bf16"] as const) {
      const bits = Array.from({ length: 65536 }, (_, i) => i);
      const floats = evaluate([{ dtype: "u16", values: bits }], (b, [x]) =>
        b.cast(b.value("bitcast", [x!], { dtype }), "f32"),
      )[0]!;
      const back = evaluate([{ dtype: "f32", values: floats }], (b, [x]) =>
        b.value("bitcast", [b.cast(x!, dtype)], { dtype: "u16" }),
      )[0]!;
      bits.forEach((want, i) => {
        if (!Number.isNaN(floats[i] as number)) expect(back[i]).toBe(want);
        else expect(back[i]! as number & 0x7fff).toBeGreaterThan(dtype === "f16" ? 0x7c00 : 0x7f80);
      });
    }
  });

  test("f32 to f16 and bf16 agrees with rounding from the exact value", () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (x) => {
        for (const dtype of ["f16", "bf16"] as const)
          expect(cast("f32", dtype, [x, -x])).toEqual([roundTo(dtype, x), roundTo(dtype, -x)]);
      }),
      { numRuns: 500 },
    );
  });

  test("bits are kept by bitcast", () => {
    expect(unary("bitcast", "f32", [1, -0], { dtype: "i32" })).toEqual([0x3f800000, -(2 ** 31)]);
    expect(unary("bitcast", "i64", [0x3ff0000000000000n, 0n], { dtype: "f64" })).toEqual([1, 0]);
    expect(unary("bitcast", "u8", [255, 1], { dtype: "i8" })).toEqual([-1, 1]);
  });
});

test("math that is not expanded matches known values", () => {
  const x = [0.5, 1, 2, 3];
  const near = (opcode: string, want: number[]) =>
    (unary(opcode, "f64", x) as number[]).forEach((v, i) => {
      expect(Math.abs(v - want[i]!)).toBeLessThanOrEqual(4e-16 * Math.max(1, Math.abs(want[i]!)));
    });
  near("erf", [0.5204998778130465, 0.8427007929497149, 0.9953222650189527, 0.9999779095030014]);
  near("rsqrt", [Math.SQRT2, 1, Math.SQRT1_2, 0.5773502691896258]);
  near("exp2", [Math.SQRT2, 2, 4, 8]);
  expect(binary("pow", "f32", [1, -1, 2, -8], [Number.NaN, Number.POSITIVE_INFINITY, 10, 3])).toEqual([
    1, 1, 1024, -512,
  ]);
});
