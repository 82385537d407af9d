// The matrix products on every chip against plain JavaScript: dtypes, shapes, batches, accumulators, scaled formats.

import { afterAll, describe, expect, it } from "vitest";
import type { DType } from "../../src/compiler/ir/index.js";
import { F8_MAX, roundTo, toBits } from "../../src/compiler/ir/index.js";
import { constexpr, ptr } from "../../src/compiler/lang/index.js";
import { kernel } from "../../src/runtime/index.js";
import { chips, closeAll, type Data, numbers, room } from "./run.js";

afterAll(closeAll);

const batches = kernel(
  { x: ptr, y: ptr, z: ptr, B: constexpr, M: constexpr, N: constexpr, K: constexpr },
  ({ x, y, z, B, M, N, K }, tl) => {
    const at = (n: number): number => tl.arange(0, n);
    const cube = (r: number, c: number): number => tl.reshape(at(B * r * c), [B, r, c]);
    const a = tl.load(x + cube(M, K));
    const b = tl.load(y + cube(K, N));
    const to = z + cube(M, N);
    tl.store(to, tl.dot(a, b, tl.load(to)));
  },
);

/** Twice: without an accumulator, and added to what the first gave. */
const narrow = kernel(
  { x: ptr, y: ptr, z: ptr, M: constexpr, N: constexpr, K: constexpr },
  ({ x, y, z, M, N, K }, tl) => {
    const [m, n, k] = [tl.col(tl.arange(0, M)), tl.row(tl.arange(0, N)), tl.arange(0, K)];
    const a = tl.load(x + m * K + tl.row(k));
    const b = tl.load(y + tl.col(k) * N + n);
    const first = tl.dot(a, b, undefined, { outDtype: tl.f16, inputPrecision: "tf32" });
    tl.staticAssert(tl.dtypeOf(first) === tl.f16);
    tl.store(z + m * N + n, tl.dot(a, b, first, { outDtype: tl.f16 }));
  },
);

const scaled = kernel(
  {
    x: ptr, xs: ptr, y: ptr, ys: ptr, z: ptr, F: constexpr.string, G: constexpr.string,
    M: constexpr, N: constexpr, K: constexpr, XP: constexpr, YP: constexpr, GROUP: constexpr,
  },
  ({ x, xs, y, ys, z, F, G, M, N, K, XP, YP, GROUP }, tl) => {
    const at = (p: number, r: number, c: number): number =>
      tl.load(p + tl.col(tl.arange(0, r)) * c + tl.row(tl.arange(0, c)));
    // XP and YP: how many elements stand in a byte, along K, or negative: along M and N.
    const a = XP < 0 ? at(x, M / 2, K) : at(x, M, K / XP);
    const b = YP < 0 ? at(y, K, N / 2) : at(y, K / YP, N);
    const as = GROUP === 0 ? undefined : at(xs, M, K / GROUP);
    const bs = GROUP === 0 ? undefined : at(ys, N, K / GROUP);
    const acc = tl.full([M, N], 1);
    const r = tl.dotScaled(a, as, F as "e2m1", b, bs, G as "e2m1", acc, { lhsKPack: XP > 0, rhsKPack: YP > 0 });
    tl.store(z + tl.col(tl.arange(0, M)) * N + tl.row(tl.arange(0, N)), r);
  },
); // biome-ignore format: short parameters

type Format = "e4m3" | "e5m2" | "e2m1" | "bf16" | "fp16";
const DTYPE: Record<Format, DType> = {
  e4m3: "f8e4m3",
  e5m2: "f8e5m2",
  e2m1: "u8",
  bf16: "bf16",
  fp16: "f16",
};
const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6].flatMap((v) => [v]);
const e2m1 = (code: number): number => (code & 8 ? -1 : 1) * E2M1[code & 7]!;

/** A matrix of a format: what is stored, and the values. `pack`: 2 elements per byte along columns, -2 along rows. */
function matrix(
  f: Format,
  rows: number,
  cols: number,
  seed: number,
  along: 0 | 1,
): { data: Data; values: number[] } {
  const raw = numbers(rows * cols, seed);
  if (f !== "e2m1") {
    const dtype = DTYPE[f];
    const values = raw.map((v) => roundTo(dtype, Math.fround(v / 40)) as number);
    return { data: [dtype, values], values };
  }
  const codes = raw.map((v) => Math.floor(v + 128) % 16);
  const [r, c] = along === 1 ? [rows, cols / 2] : [rows / 2, cols];
  const bytes = Array.from({ length: r * c }, (_, i) => {
    const [row, col] = [Math.floor(i / c), i % c];
    const [low, high] =
      along === 1
        ? [row * cols + 2 * col, row * cols + 2 * col + 1]
        : [2 * row * cols + col, (2 * row + 1) * cols + col];
    return codes[low]! | (codes[high]! << 4);
  });
  return { data: ["u8", bytes], values: codes.map(e2m1) };
}

const close = (got: readonly (number | bigint)[], want: readonly number[], relative: number): void => {
  expect(got.length).toBe(want.length);
  const size = Math.max(...want.filter((v) => !Number.isNaN(v)).map(Math.abs), 1);
  got.forEach((v, i) => {
    if (Number.isNaN(want[i]!)) expect(v).toBeNaN();
    else expect(Math.abs(Number(v) - want[i]!), `element ${i}`).toBeLessThanOrEqual(size * relative);
  });
};

function multiply(
  a: readonly number[],
  b: readonly number[],
  m: number,
  n: number,
  k: number,
  c?: readonly number[],
): number[] {
  return Array.from({ length: m * n }, (_, i) => {
    const [row, col] = [Math.floor(i / n), i % n];
    let sum = c?.[i] ?? 0;
    for (let p = 0; p < k; p++) sum += a[row * k + p]! * b[p * n + col]!;
    return sum;
  });
}

describe.each(chips)("on $name", ({ run }) => {
  it.each(["f32", "f16", "bf16", "f64", "i8", "u8", "i32", "i64", "f8e5m2"] as const)(
    "dot of batches of %s, added to an accumulator",
    async (dtype) => {
      const float = dtype.startsWith("f") || dtype === "bf16";
      const acc: DType = dtype === "f64" || dtype === "i64" ? dtype : float ? "f32" : "i32";
      for (const [B, M, N, K] of [
        [1, 4, 8, 16],
        [2, 1, 16, 8],
        [4, 8, 1, 1],
      ] as const) {
        const big = (list: number[]): (number | bigint)[] => (dtype === "i64" ? list.map(BigInt) : list);
        const value = (v: number): number =>
          roundTo(dtype, float ? v / 16 : dtype === "i64" ? BigInt(Math.trunc(v)) : Math.trunc(v)) as number;
        const x = numbers(B * M * K, 11)
          .map(value)
          .map(Number);
        const y = numbers(B * K * N, 12)
          .map(value)
          .map(Number);
        const z = numbers(B * M * N, 13).map((v) => Math.trunc(v));
        const got = await run(batches, {
          x: [dtype, big(x)],
          y: [dtype, big(y)],
          z: [acc, big(z)],
          B,
          M,
          N,
          K,
        });
        const want = Array.from({ length: B }, (_, i) =>
          multiply(
            x.slice(i * M * K, (i + 1) * M * K),
            y.slice(i * K * N, (i + 1) * K * N),
            M,
            N,
            K,
            z.slice(i * M * N, (i + 1) * M * N),
          ),
        ).flat();
        if (float) close(got["z"]!, want, 1e-5);
        else expect(got["z"]!.map(Number)).toEqual(want);
      }
    },
  );

  it("sums of int8 wrap at 32 bits only", async () => {
    const [B, M, N, K] = [1, 2, 4, 1024];
    const got = await run(batches, {
      x: ["i8", new Array(M * K).fill(-128)],
      y: ["i8", new Array(K * N).fill(-128)],
      z: ["i32", new Array(M * N).fill(2 ** 31 - 2 ** 24)],
      B, M, N, K,
    }); // biome-ignore format: short
    expect(got["z"]).toEqual(new Array(M * N).fill(-(2 ** 31)));
  });

  it("infinities and NaN pass through", async () => {
    const x = [1, Number.POSITIVE_INFINITY, Number.NaN, 2, 0, Number.NEGATIVE_INFINITY, 1, 1];
    const y = [1, 0, 2, 3];
    const got = await run(batches, { x: ["f32", x], y: ["f32", y], z: room(8), B: 1, M: 4, N: 2, K: 2 });
    expect(got["z"]).toEqual(multiply(x, y, 4, 2, 2));
  });

  it.each(["f16", "f8e4m3"] as const)("a result in f16 of %s", async (dtype) => {
    const [M, N, K] = [4, 8, 32];
    const value = (v: number): number => roundTo(dtype, v / 64) as number;
    const x = numbers(M * K, 4).map(value);
    const y = numbers(K * N, 5).map(value);
    const got = await run(narrow, { x: [dtype, x], y: [dtype, y], z: room(M * N, "f16"), M, N, K });
    close(
      got["z"]!,
      multiply(x, y, M, N, K).map((v) => 2 * v),
      2 ** -10,
    );
  });

  // Each format on each side.
  it.each([
    ["e4m3", "e5m2"],
    ["e5m2", "e2m1"],
    ["e2m1", "e4m3"],
    ["bf16", "fp16"],
    ["fp16", "bf16"],
    ["e4m3", "bf16"],
  ] as const)("dotScaled of %s and %s", async (f, g) => {
    const [M, N, K] = [4, 8, 64];
    const a = matrix(f, M, K, 21, 1);
    const b = matrix(g, K, N, 22, 0);
    const exponents = (n: number, seed: number): number[] =>
      numbers(n, seed).map((v) => 120 + (Math.trunc(v + 128) % 16));
    const [xs, ys] = [exponents((M * K) / 32, 23), exponents((N * K) / 32, 24)];
    // A NaN scale reaches its whole row.
    if (f === "e4m3") xs[2] = 255;
    const scale = (s: number): number => (s === 255 ? Number.NaN : 2 ** (s - 127));
    const left = a.values.map(
      (v, i) => v * scale(xs[Math.floor(i / K) * (K / 32) + Math.floor((i % K) / 32)]!),
    );
    const right = b.values.map(
      (v, i) => v * scale(ys[(i % N) * (K / 32) + Math.floor(Math.floor(i / N) / 32)]!),
    );
    const got = await run(scaled, {
        x: a.data, xs: ["u8", xs], y: b.data, ys: ["u8", ys], z: room(M * N), F: f, G: g, M, N, K,
        XP: f === "e2m1" ? 2 : 1, YP: g === "e2m1" ? 2 : 1, GROUP: 32,
      }); // biome-ignore format: short
    close(
      got["z"]!,
      multiply(left, right, M, N, K).map((v) => v + 1),
      1e-5,
    );
  });

  it("dotScaled packed along M and N, without scales, of bits, with f8 scales", async () => {
    const [M, N, K] = [4, 4, 32];
    const common = { z: room(M * N), M, N, K };
    const a = matrix("e2m1", M, K, 31, 0);
    const b = matrix("e2m1", K, N, 32, 1);
    const none: Data = ["u8", [0]];
    const packed = { ...common, F: "e2m1", G: "e2m1", XP: -2, YP: -2 };
    const plain = await run(scaled, { ...packed, x: a.data, xs: none, y: b.data, ys: none, GROUP: 0 });
    close(
      plain["z"]!,
      multiply(a.values, b.values, M, N, K).map((v) => v + 1),
      1e-6,
    );

    const factors = numbers((M * K) / 16, 33).map((v) => roundTo("f8e4m3", v / 10) as number);
    const group = {
      ...packed,
      x: a.data,
      xs: ["f8e4m3", factors] as const,
      y: b.data,
      ys: ["f8e4m3", factors] as const,
    };
    const got = await run(scaled, { ...group, GROUP: 16 });
    const left = a.values.map((v, i) => v * factors[Math.floor(i / K) * 2 + Math.floor((i % K) / 16)]!);
    const right = b.values.map((v, i) => v * factors[(i % N) * 2 + Math.floor(Math.floor(i / N) / 16)]!);
    close(
      got["z"]!,
      multiply(left, right, M, N, K).map((v) => v + 1),
      1e-5,
    );

    const e4m3 = matrix("e4m3", M, K, 34, 1);
    const e5m2 = matrix("e5m2", K, N, 35, 0);
    const bits = (d: Data): Data => ["u8", d[1].map((v) => Number(toBits(d[0], v)))];
    const eights = await run(scaled, {
      ...common, F: "e4m3", G: "e5m2", XP: 1, YP: 1, x: bits(e4m3.data), y: bits(e5m2.data),
      xs: ["u8", [0, 127, 253, 1]], ys: ["u8", [253, 127, 1, 253]], GROUP: 32,
    }); // biome-ignore format: short
    const s = [0, 127, 253, 1].map((v) => 2 ** (v - 127));
    const t = [253, 127, 1, 253].map((v) => 2 ** (v - 127));
    const l = e4m3.values.map((v, i) => v * s[Math.floor(i / K)]!);
    const r = e5m2.values.map((v, i) => v * t[i % N]!);
    // 2^-127 times 2^127 and the like: each row and column has its own size.
    const want = multiply(l, r, M, N, K).map((v) => v + 1);
    want.forEach((v, i) => {
      const limit = Math.max(1e-5 * Math.abs(v), 1e-4 * F8_MAX.f8e4m3 * s[Math.floor(i / N)]! * t[i % N]!);
      if (Math.abs(v) < 3e38)
        expect(Math.abs((eights["z"]![i] as number) - v), `element ${i}`).toBeLessThanOrEqual(limit);
    });
  });
});
