import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bf16Bits,
  bf16FromBits,
  f16Bits,
  f16FromBits,
  fromBits,
  roundHalfEven,
  roundTo,
  toBits,
} from "./rounding.js";

describe("f16 and bf16", () => {
  it("every bit pattern comes back", () => {
    for (let i = 0; i < 65536; i++) {
      const h = f16FromBits(i);
      expect(Number.isNaN(h) ? (i & 0x7c00) === 0x7c00 : f16Bits(h) === i).toBe(true);
      const b = bf16FromBits(i);
      expect(Number.isNaN(b) ? (i & 0x7f80) === 0x7f80 : bf16Bits(b) === i).toBe(true);
    }
  });
  it("rounds to the nearest, ties to even", () => {
    for (const [values, bits] of [
      [f16FromBits, f16Bits],
      [bf16FromBits, bf16Bits],
    ] as const)
      for (let i = 0; i < 0x7bff; i += 7) {
        const [low, high] = [values(i), values(i + 1)];
        if (!Number.isFinite(high)) continue;
        const middle = (low + high) / 2;
        expect(bits(middle)).toBe(i & 1 ? i + 1 : i);
        expect(bits(low + (high - low) * 0.49)).toBe(i);
        expect(bits(-(low + (high - low) * 0.51))).toBe(0x8000 | (i + 1));
      }
  });
  it("overflows to infinity at the right place", () => {
    expect(f16FromBits(f16Bits(65519))).toBe(65504);
    expect(roundTo("f16", 65520)).toBe(Infinity);
    expect(roundTo("f16", -1e9)).toBe(-Infinity);
    expect(roundTo("bf16", 3.4e38)).toBe(Infinity);
    expect(roundTo("f16", 2 ** -26)).toBe(0);
    expect(Object.is(roundTo("f16", -(2 ** -26)), -0)).toBe(true);
  });
});

describe("the floats of 8 bits", () => {
  it("every bit pattern comes back", () => {
    for (let i = 0; i < 256; i++)
      for (const d of ["f8e4m3", "f8e5m2"] as const) {
        const v = fromBits(d, BigInt(i)) as number;
        const nan = d === "f8e4m3" ? (i & 0x7f) === 0x7f : (i & 0x7f) > 0x7c;
        expect(Number.isNaN(v)).toBe(nan);
        if (!nan) expect([d, toBits(d, v), roundTo(d, v)]).toEqual([d, BigInt(i), v]);
      }
    expect([0x7e, 0x08, 0x01, 0xb8].map((b) => fromBits("f8e4m3", BigInt(b)))).toEqual([
      448,
      2 ** -6,
      2 ** -9,
      -1,
    ]);
    expect([0x7b, 0x7c, 0x04, 0x01].map((b) => fromBits("f8e5m2", BigInt(b)))).toEqual([
      57344,
      Infinity,
      2 ** -14,
      2 ** -16,
    ]);
  });
  it("rounds to the nearest, ties to even, and overflows where PyTorch does", () => {
    expect([464, 464.1, -480, Infinity, 17, 19].map((x) => roundTo("f8e4m3", x))).toEqual([
      448,
      NaN,
      NaN,
      NaN,
      16,
      20,
    ]);
    expect([61439, 61440, -1e9, 9, 11].map((x) => roundTo("f8e5m2", x))).toEqual([
      57344,
      Infinity,
      -Infinity,
      8,
      12,
    ]);
    expect(toBits("f8e4m3", -500)).toBe(0x7fn);
    expect(toBits("f8e5m2", NaN)).toBe(0x7fn);
  });
});

describe("roundTo", () => {
  it("wraps integers as typed arrays do", () => {
    const arrays = {
      i8: Int8Array,
      u8: Uint8Array,
      i16: Int16Array,
      u16: Uint16Array,
      i32: Int32Array,
      u32: Uint32Array,
    };
    fc.assert(
      fc.property(fc.integer({ min: -(2 ** 52), max: 2 ** 52 }), (x) => {
        for (const [dtype, A] of Object.entries(arrays)) {
          expect(roundTo(dtype as "i8", x)).toBe(new A([x])[0]);
          expect(roundTo(dtype as "i8", BigInt(x))).toBe(new A([x])[0]);
        }
        expect(roundTo("i64", BigInt(x) << 30n)).toBe(new BigInt64Array([BigInt(x) << 30n])[0]);
        expect(roundTo("u64", x)).toBe(new BigUint64Array([BigInt(x)])[0]);
      }),
    );
  });
  it("knows ties and zeros", () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 1e300].map(roundHalfEven)).toEqual([0, 2, 2, -0, -2, 1e300]);
    expect(Object.is(roundHalfEven(-0.2), -0)).toBe(true);
    expect(roundTo("bool", Number.NaN)).toBe(1);
    expect(roundTo("bool", -0)).toBe(0);
  });
  it("bits go both ways", () => {
    fc.assert(
      fc.property(fc.double(), (x) => {
        expect(fromBits("f64", toBits("f64", x))).toBe(x);
        expect(fromBits("f32", toBits("f32", Math.fround(x)))).toBe(Math.fround(x));
      }),
    );
    expect(toBits("f32", -2)).toBe(0xc0000000n);
    expect(toBits("i8", -1)).toBe(255n);
    expect(fromBits("i64", 2n ** 64n - 1n)).toBe(-1n);
  });
});
