// Sums of products in jammed nests give what the interpreter gives, in both forms, at every remainder.

import { describe, expect, it } from "vitest";
import { constexpr, i32, ptr } from "../../lang/index.js";
import { build, type Facts, kernel } from "../../lang/testing/build.js";
import { optimize } from "../../passes/optimize.js";
import type { DType, Func } from "../../ir/index.js";
import type { KernelSource } from "../../source.js";
import { nestedLists } from "../dead.js";
import type { Form, Stmt } from "./form.js";
import type { Arg } from "../testing/compare.js";
import { expectSame } from "./testing/compare.js";

const lowered = (source: KernelSource, facts: Facts): Func => {
  const func = build(source, facts);
  optimize(func, { verifyEach: true });
  return func;
};
const values = (n: number, seed: number): number[] =>
  Array.from({ length: n }, (_, i) => (((i + seed) * 7) % 13) - 6);

/** `y[m, n] = sum over k of x[m, k] * w[n, k]`, vectors along k. */
const rows = kernel(
  { x: ptr, w: ptr, y: ptr, M: i32, N: i32, K: i32, BM: constexpr, BN: constexpr, BK: constexpr },
  ({ x, w, y, M, N, K, BM, BN, BK }, tl) => {
    const m = tl.arange(0, BM);
    const n = tl.programId(0) * BN + tl.arange(0, BN);
    const xRows = x + tl.expandDims(tl.col(tl.minimum(m, M - 1) * K), 1);
    const wRows = w + tl.expandDims(tl.col(tl.minimum(n, N - 1) * K), 0);
    let acc = tl.zeros([BM, BN], "f32");
    for (let k = 0; k < K; k += BK) {
      const at = tl.expandDims(tl.row(k + tl.arange(0, BK)), 0);
      acc += tl.sum(
        tl.cast(tl.load(xRows + at, at < K), "f32") * tl.cast(tl.load(wRows + at, at < K), "f32"),
        2,
      );
    }
    tl.store(y + tl.col(m) * N + tl.row(n), acc, tl.col(m) < M && tl.row(n) < N);
  },
);

/** `y[m, n] = sum over k of x[m, k] * w[k, n]`, vectors along n. */
const columns = kernel(
  { x: ptr, w: ptr, y: ptr, M: i32, N: i32, K: i32, BM: constexpr, BN: constexpr, BK: constexpr },
  ({ x, w, y, M, N, K, BM, BN, BK }, tl) => {
    const m = tl.arange(0, BM);
    const n = tl.row(tl.programId(0) * BN + tl.arange(0, BN));
    const xRows = x + tl.expandDims(tl.col(tl.minimum(m, M - 1) * K), 0);
    let acc = tl.zeros([BM, BN], "f32");
    for (let k = 0; k < K; k += BK) {
      const ks = tl.expandDims(tl.col(k + tl.arange(0, BK)), 1);
      const a = tl.load(xRows + ks, ks < K);
      const b = tl.load(w + ks * N + tl.expandDims(n, 0), tl.expandDims(n < N, 0) && ks < K);
      acc += tl.sum(tl.cast(a, "f32") * tl.cast(b, "f32"), 0);
    }
    tl.store(y + tl.col(m) * N + n, acc, tl.col(m) < M && n < N);
  },
);

/** The same without masks along k: the jammed form. */
const whole = kernel(
  { x: ptr, w: ptr, y: ptr, M: i32, N: i32, K: i32, BM: constexpr, BN: constexpr, BK: constexpr },
  ({ x, w, y, M, N, K, BM, BN, BK }, tl) => {
    const m = tl.arange(0, BM);
    const n = tl.row(tl.programId(0) * BN + tl.arange(0, BN));
    const xRows = x + tl.expandDims(tl.col(tl.minimum(m, M - 1) * K), 0);
    let acc = tl.zeros([BM, BN], "f32");
    for (let k = 0; k < K; k += BK) {
      const ks = tl.expandDims(tl.col(k + tl.arange(0, BK)), 1);
      const b = tl.load(w + ks * N + tl.expandDims(n, 0), tl.expandDims(n < N, 0));
      acc += tl.sum(tl.cast(tl.load(xRows + ks), "f32") * tl.cast(b, "f32"), 0);
    }
    tl.store(y + tl.col(m) * N + n, acc, tl.col(m) < M && n < N);
  },
);

/** The most float multiply-adds that stand in one list of statements. */
function block(form: Form): number {
  let most = 0;
  const visit = (list: readonly Stmt[]): void => {
    most = Math.max(most, list.filter((s) => s.s === "op" && s.op === "fma").length);
    for (const s of list) for (const l of nestedLists(s)) visit(l);
  };
  visit(form.body);
  return most;
}

function check(
  source: KernelSource,
  [M, N, K]: number[],
  [BM, BN, BK]: number[],
  w: DType = "f32",
  shape = "avx2",
): Form {
  const f = lowered(source, { w, BM: BM!, BN: BN!, BK: BK! });
  const args: Arg[] = [
    ["f32", values(M! * K!, 3)],
    [w, values(N! * K!, 5)],
    ["f32", values(M! * N!, 0)],
    M!,
    N!,
    K!,
  ];
  return expectSame(f, args, [Math.ceil(N! / BN!)]).forms[shape]!;
}

describe("jammed sums", () => {
  for (const w of ["f32", "bf16", "i8"] as DType[])
    it(`along the vectors, ${w} weights`, () => {
      for (const K of [64, 61, 5, 130]) check(rows, [3, 11, K], [4, 8, 64], w);
    });

  it("adds up eight results at once", () => {
    expect(block(check(rows, [4, 8, 64], [4, 8, 64]))).toBe(8);
    expect(block(check(rows, [1, 16, 64], [1, 16, 64]))).toBe(8);
  });

  it("sums one result in the same order whatever the number of rows", () => {
    const y = (M: number, BM: number): number[] => {
      const f = lowered(rows, { w: "f32", BM, BN: 8, BK: 32 });
      const x = Array.from({ length: M * 90 }, (_, i) => Math.sin(i % 90) * 1e3);
      const weights = Array.from({ length: 8 * 90 }, (_, i) => Math.cos(i * 3));
      const args: Arg[] = [["f32", x], ["f32", weights], ["f32", values(M * 8, 0)], M, 8, 90];
      return Array.from(expectSame(f, args, [1]).got["avx2"]![2] as number[]).slice(0, 8);
    };
    for (const rows of [2, 4, 8]) expect(y(rows, rows)).toEqual(y(1, 1));
  });

  for (const w of ["f32", "bf16"] as DType[])
    it(`across the vectors, ${w} weights`, () => {
      for (const [N, K] of [[32, 16], [33, 16], [7, 32], [70, 48]] as const) // biome-ignore format: a table
        for (const M of [1, 3]) {
          check(whole, [M, N, K], [M === 1 ? 1 : 4, 32, 16], w);
          check(columns, [M, N, K - 3], [M === 1 ? 1 : 4, 32, 16], w);
        }
    });

  it("starts again with fewer lanes where 64-bit elements are stored beside a sum", () => {
    const both = kernel({ x: ptr, y: ptr, z: ptr }, ({ x, y, z }, tl) => {
      const at = tl.col(tl.arange(0, 8)) * 16 + tl.row(tl.arange(0, 16));
      const v = tl.load(x + at);
      const sums = tl.sum(v, 0);
      tl.store(z + at, tl.cast(v, "i64"));
      tl.store(y + tl.arange(0, 16), sums);
    });
    const args: Arg[] = [
      ["i32", values(128, 3)],
      ["i32", values(16, 0)],
      ["i64", values(128, 0).map(BigInt)],
    ];
    expectSame(lowered(both, { x: "i32", y: "i32", z: "i64" }), args);
  });

  it("adds terms for half of the registers between loading and storing results, of one row and of two", () => {
    expect(block(check(whole, [4, 32, 16], [4, 32, 16]))).toBe(8);
    expect(block(check(whole, [1, 32, 16], [1, 32, 16]))).toBe(8);
    // Where nobody behind the printer unrolls, two vectors of each share the addresses.
    expect(block(check(whole, [4, 32, 16], [4, 32, 16], "f32", "wasm"))).toBe(16);
  });
});
