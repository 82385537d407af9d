// The floats of 8 bits on every chip: memory, casts with their roundings, arithmetic, products.
// The oracle is the list of all 256 values, written down from the definition of the formats.

import { afterAll, describe, expect, it } from "vitest";
import { constexpr, ptr } from "../../src/compiler/lang/index.js";
import { kernel } from "../../src/runtime/index.js";
import { chips, closeAll, numbers, room } from "./run.js";

afterAll(closeAll);

type F8 = "f8e4m3" | "f8e5m2";
const FORMATS = ["f8e4m3", "f8e5m2"] as const;

/** Value of a bit pattern: sign, exponent with a bias, mantissa with a hidden bit. */
function decoded(format: F8, bits: number): number {
  const [m, bias] = format === "f8e4m3" ? [3, 7] : [2, 15];
  const exponent = (bits & 0x7f) >> m;
  const mantissa = bits & (2 ** m - 1);
  const sign = bits & 0x80 ? -1 : 1;
  if (format === "f8e4m3" && (bits & 0x7f) === 0x7f) return Number.NaN;
  if (format === "f8e5m2" && exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return (
    sign *
    (exponent === 0 ? mantissa * 2 ** (1 - m) : 1 + mantissa * 2 ** -m) *
    2 ** (exponent ? exponent - bias : -bias)
  );
}
const VALUES = {
  f8e4m3: Array.from({ length: 256 }, (_, i) => decoded("f8e4m3", i)),
  f8e5m2: Array.from({ length: 256 }, (_, i) => decoded("f8e5m2", i)),
};

interface How {
  readonly rtz?: boolean;
  readonly saturate?: boolean;
}
/** The value nearest to `x`, or the one before it towards zero, by looking at all of them. */
function nearest(format: F8, x: number, { rtz = false, saturate = false }: How = {}): number {
  if (Number.isNaN(x)) return x;
  const finite = VALUES[format].slice(0, 128).filter(Number.isFinite);
  const most = finite.at(-1)!;
  const a = Math.abs(x);
  const sign = x < 0 || Object.is(x, -0) ? -1 : 1;
  const over = format === "f8e4m3" ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  if (a === Number.POSITIVE_INFINITY) return saturate ? sign * most : over;
  let at = finite.findLastIndex((v) => v <= a);
  if (!rtz) {
    // The next one above the largest would be a step further; even patterns win ties.
    const above = finite[at + 1] ?? 2 * most - finite.at(-2)!;
    const middle = (finite[at]! + above) / 2;
    if (a > middle || (a === middle && at % 2 === 1)) at++;
    if (at === finite.length) return saturate ? sign * most : over;
  }
  return sign * finite[at]!;
}

const all = kernel(
  { x: ptr, wide: ptr, half: ptr, bits: ptr, back: ptr },
  ({ x, wide, half, bits, back }, tl) => {
    const at = tl.arange(0, 256);
    const v = tl.load(x + at);
    tl.store(wide + at, v);
    tl.store(half + at, v);
    tl.store(bits + at, tl.bitcast(v, tl.u8));
    tl.store(back + at, tl.bitcast(tl.cast(at, tl.u8), tl.dtypeOf(back)));
  },
);

const casts = kernel(
  { x: ptr, near: ptr, cut: ptr, most: ptr, both: ptr, N: constexpr },
  ({ x, near, cut, most, both, N }, tl) => {
    const at = tl.arange(0, N);
    const v = tl.load(x + at);
    const to = tl.dtypeOf(near);
    tl.store(near + at, v);
    tl.store(cut + at, tl.cast(v, to, { rounding: "rtz" }));
    tl.store(most + at, tl.cast(v, to, { saturate: true }));
    tl.store(both + at, tl.cast(v, to, { rounding: "rtz", saturate: true }));
  },
);

const arithmetic = kernel(
  { x: ptr, y: ptr, sum: ptr, product: ptr, quotient: ptr, less: ptr, top: ptr, total: ptr, N: constexpr },
  ({ x, y, sum, product, quotient, less, top, total, N }, tl) => {
    const at = tl.arange(0, N);
    const a = tl.load(x + at, at < N - 3, 2);
    const b = tl.load(y + at, at < N - 3);
    tl.store(sum + at, a + b);
    tl.store(product + at, -a * b);
    tl.store(quotient + at, tl.abs(a) / 3);
    tl.store(less + at, a < b);
    tl.store(top, tl.max(a, 0));
    tl.store(total, tl.sum(b, 0));
  },
);

const product = kernel(
  { x: ptr, y: ptr, z: ptr, M: constexpr, N: constexpr, K: constexpr },
  ({ x, y, z, M, N, K }, tl) => {
    const [m, n, k] = [tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)];
    const a = tl.load(x + tl.col(m) * K + tl.row(k));
    const b = tl.load(y + tl.col(k) * N + tl.row(n));
    tl.store(z + tl.col(m) * N + tl.row(n), tl.dot(a, b));
  },
);

/** Values where roundings differ: all f8, the middles between neighbours, and what is just beside those. */
function touchy(format: F8): number[] {
  const list = VALUES[format].slice(0, 128).filter(Number.isFinite);
  const beyond = [
    464,
    465,
    480,
    500,
    61439,
    61440,
    65536,
    1e30,
    2 ** -20,
    1e-40,
    Number.POSITIVE_INFINITY,
    Number.NaN,
  ];
  const positive = list.flatMap((v, i) => {
    const middle = (v + (list[i + 1] ?? v)) / 2;
    return [v, middle, middle * (1 + 2 ** -20), middle * (1 - 2 ** -20)];
  });
  const both = [...positive, ...beyond].flatMap((v) => [v, -v]).map(Math.fround);
  return Array.from({ length: 2048 }, (_, i) => both[i % both.length]!);
}

describe.each(chips)("on $name", ({ run }) => {
  describe.each(FORMATS)("%s", (format) => {
    it("all 256 values are read, widened, and come from their bits", async () => {
      const data = [format, VALUES[format]] as const;
      const got = await run(all, {
        x: data,
        wide: room(256),
        half: room(256, "f16"),
        bits: room(256, "u8"),
        back: room(256, format),
      });
      expect(got["wide"]).toEqual(VALUES[format]);
      expect(got["half"]).toEqual(VALUES[format]);
      expect(got["back"]).toEqual(VALUES[format]);
      VALUES[format].forEach((v, i) => {
        if (!Number.isNaN(v)) expect(got["bits"]![i]).toBe(i);
      });
    });

    it("casts round and saturate as they say", async () => {
      const x = touchy(format);
      const N = x.length;
      const out = room(N, format);
      const got = await run(casts, { x: ["f32", x], near: out, cut: out, most: out, both: out, N });
      expect(got["near"]).toEqual(x.map((v) => nearest(format, v)));
      expect(got["cut"]).toEqual(x.map((v) => nearest(format, v, { rtz: true })));
      expect(got["most"]).toEqual(x.map((v) => nearest(format, v, { saturate: true })));
      expect(got["both"]).toEqual(x.map((v) => nearest(format, v, { rtz: true, saturate: true })));
    });

    it("casts from other dtypes", async () => {
      const x = numbers(64, 3).map((v) => Math.trunc(v * 4));
      for (const dtype of ["i32", "i16", "f64", "bf16"] as const) {
        const values = dtype === "bf16" ? x.map((v) => Math.trunc(v / 8)) : x;
        const out = room(64, format);
        const got = await run(casts, {
          x: [dtype, values],
          near: out,
          cut: out,
          most: out,
          both: out,
          N: 64,
        });
        expect(got["near"], dtype).toEqual(values.map((v) => nearest(format, v + 0)));
        expect(got["cut"], dtype).toEqual(values.map((v) => nearest(format, v + 0, { rtz: true })));
        expect(got["most"], dtype).toEqual(values.map((v) => nearest(format, v + 0, { saturate: true })));
      }
    });

    it("arithmetic is f32, rounded", async () => {
      const [N, round] = [64, (v: number) => nearest(format, Math.fround(v))];
      const x = numbers(N, 5).map((v) => nearest(format, v / 3));
      const y = numbers(N, 6).map((v) => nearest(format, v / 7));
      const out = room(N, format);
      const got = await run(arithmetic, {
        x: [format, x],
        y: [format, y],
        sum: out,
        product: out,
        quotient: out,
        less: room(N, "bool"),
        top: room(1, format),
        total: room(1),
        N,
      });
      const a = x.map((v, i) => (i < N - 3 ? v : 2));
      const b = y.map((v, i) => (i < N - 3 ? v : 0));
      expect(got["sum"]).toEqual(a.map((v, i) => round(v + b[i]!)));
      expect(got["product"]).toEqual(a.map((v, i) => round(-v * b[i]!)));
      expect(got["quotient"]).toEqual(a.map((v) => round(Math.abs(v) / 3)));
      expect(got["less"]).toEqual(a.map((v, i) => Number(v < b[i]!)));
      expect(got["top"]).toEqual([Math.max(...a)]);
      expect(got["total"]![0]).toBeCloseTo(
        b.reduce((s, v) => s + v, 0),
        2,
      );
    });
  });

  it.each([
    ["f8e4m3", "f8e4m3"],
    ["f8e5m2", "f8e5m2"],
    ["f8e4m3", "f8e5m2"],
    ["f8e5m2", "f8e4m3"],
  ] as const)("dot of %s and %s", async (s, t) => {
    const [M, N, K] = [4, 16, 32];
    const x = numbers(M * K, 7).map((v) => nearest(s, v / 64));
    const y = numbers(K * N, 8).map((v) => nearest(t, v / 64));
    const got = await run(product, { x: [s, x], y: [t, y], z: room(M * N), M, N, K });
    for (let i = 0; i < M; i++)
      for (let j = 0; j < N; j++) {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += x[i * K + k]! * y[k * N + j]!;
        expect(Math.abs((got["z"]![i * N + j] as number) - sum)).toBeLessThan(1e-4);
      }
  });
});
