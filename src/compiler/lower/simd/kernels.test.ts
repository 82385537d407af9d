// Whole kernels of the language: the lowered form gives what the interpreter gives.

import { describe, expect, it } from "vitest";
import { constexpr, i32, i64, ptr } from "../../lang/index.js";
import { build, type Facts, kernel } from "../../lang/testing/build.js";
import { optimize } from "../../passes/optimize.js";
import type { KernelSource } from "../../source.js";
import type { DType, Func } from "../../ir/index.js";
import type { Arg } from "../testing/compare.js";
import { expectSame } from "./testing/compare.js";

const lowered = (source: KernelSource, facts: Facts): Func => {
  const func = build(source, facts);
  optimize(func, { verifyEach: true });
  return func;
};

/** Numbers in -1..1 that any float dtype holds roughly. */
const noise = (n: number, seed = 1): number[] => {
  let s = seed * 7919 + 17;
  return Array.from({ length: n }, () => {
    s = (Math.imul(s, 1103515245) + 12345) & 0x7fffffff;
    return Math.fround((s / 0x40000000 - 1) * 1);
  });
};
const zeros = (n: number): number[] => new Array<number>(n).fill(0);

const add = kernel({ x: ptr, y: ptr, z: ptr, n: i32, BLOCK: constexpr }, ({ x, y, z, n, BLOCK }, tl) => {
  const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
  const inside = at < n;
  tl.store(z + at, tl.load(x + at, inside) + tl.load(y + at, inside), inside);
});

const softmax = kernel({ x: ptr, y: ptr, cols: i32, BLOCK: constexpr }, ({ x, y, cols, BLOCK }, tl) => {
  const row = tl.programId(0);
  const at = tl.arange(0, BLOCK);
  const inside = at < cols;
  const v = tl.load(x + row * cols + at, inside, -Infinity);
  const e = tl.exp(v - tl.max(v, 0));
  tl.store(y + row * cols + at, e / tl.sum(e, 0), inside);
});

const matmul = kernel(
  { a: ptr, b: ptr, c: ptr, M: i32, N: i32, K: i32, BM: constexpr, BN: constexpr, BK: constexpr },
  ({ a, b, c, M, N, K, BM, BN, BK }, tl) => {
    const m = tl.programId(0) * BM + tl.arange(0, BM);
    const n = tl.programId(1) * BN + tl.arange(0, BN);
    const k = tl.arange(0, BK);
    let acc = tl.zeros([BM, BN], "f32");
    for (let k0 = 0; k0 < K; k0 += BK) {
      const ka = tl.row(k) + k0;
      const kb = tl.col(k) + k0;
      const x = tl.load(a + tl.col(m) * K + ka, tl.col(m) < M && ka < K, 0);
      const y = tl.load(b + kb * N + tl.row(n), kb < K && tl.row(n) < N, 0);
      acc = tl.dot(x, y, acc);
    }
    tl.store(c + tl.col(m) * N + tl.row(n), acc, tl.col(m) < M && tl.row(n) < N);
  },
);

describe("kernels", () => {
  for (const d of ["f32", "f64", "f16", "bf16", "i32", "i64", "u8", "i16"] as DType[])
    it(`adds ${d}`, () => {
      const f = lowered(add, { x: d, y: d, z: d, BLOCK: 32 });
      const ints = !/f/.test(d);
      const data = (s: number): (number | bigint)[] =>
        noise(75, s).map((v) =>
          d === "i64" ? BigInt(Math.round(v * 1e6)) : ints ? Math.round(v * 100) & 127 : v,
        );
      expectSame(
        f,
        [[d, data(1)], [d, data(2)], [d, data(1).map((v) => (typeof v === "bigint" ? 0n : 0))], 75],
        [3],
      );
    });

  it("computes softmax in three loops", () => {
    const f = lowered(softmax, { BLOCK: 64 });
    const { forms } = expectSame(f, [["f32", noise(3 * 50)], ["f32", zeros(150)], 50], [3]);
    expect(forms["avx2"]!.frameBytes).toBeGreaterThan(0);
  });

  it("multiplies matrices", () => {
    const f = lowered(matmul, { BM: 16, BN: 16, BK: 8 });
    const [M, N, K] = [21, 19, 13];
    const args: Arg[] = [["f32", noise(M * K)], ["f32", noise(K * N, 2)], ["f32", zeros(M * N)], M, N, K];
    expectSame(f, args, [2, 2]);
  });

  it("gathers rows by i64 indices", () => {
    const embed = kernel(
      { ids: ptr, w: ptr, y: ptr, dim: i32, B: constexpr },
      ({ ids, w, y, dim, B }, tl) => {
        const row = tl.programId(0);
        const id = tl.load(ids + row);
        const at = tl.arange(0, B);
        tl.store(y + row * dim + at, tl.load(w + id * dim + at, at < dim, 0), at < dim);
      },
    );
    const f = lowered(embed, { ids: "i64", B: 16 });
    expectSame(f, [["i64", [3n, 0n, 2n]], ["f32", noise(40)], ["f32", zeros(30)], 10], [3]);
  });

  it("takes a scalar i64 parameter", () => {
    const k = kernel({ y: ptr, n: i64, B: constexpr }, ({ y, n, B }, tl) => {
      const at = tl.arange(0, B);
      tl.store(y + at, tl.cast(at, "i64") * n, at < B);
    });
    const f = lowered(k, { y: "i64", B: 8 });
    expectSame(f, [["i64", new Array(8).fill(0n)], 123456789012n]);
  });

  it("runs attention block by block", () => {
    const attention = kernel(
      { q: ptr, k: ptr, v: ptr, o: ptr, S: i32, D: i32, BM: constexpr, BN: constexpr, BD: constexpr },
      ({ q, k, v, o, S, D, BM, BN, BD }, tl) => {
        const row = tl.programId(0) * BM + tl.arange(0, BM);
        const d = tl.row(tl.arange(0, BD));
        const wide = tl.col(row) < S && d < D;
        const x = tl.load(q + tl.col(row) * D + d, wide, 0);
        let top = tl.full([BM], -Infinity);
        let sum = tl.zeros([BM]);
        let acc = tl.zeros([BM, BD]);
        for (let start = 0; start < S; start += BN) {
          const n = start + tl.arange(0, BN);
          const inside = tl.col(n) < S && d < D;
          const y = tl.load(k + tl.col(n) * D + d, inside, 0);
          const s = tl.dot(x, tl.trans(y));
          const scores = tl.where(tl.row(n) < S && tl.row(n) <= tl.col(row), s, -Infinity);
          const next = tl.maximum(top, tl.max(scores, 1));
          const p = tl.exp(scores - tl.col(next));
          const shrink = tl.exp(top - next);
          sum = sum * shrink + tl.sum(p, 1);
          acc = tl.dot(p, tl.load(v + tl.col(n) * D + d, inside, 0), acc * tl.col(shrink));
          top = next;
        }
        tl.store(o + tl.col(row) * D + d, acc / tl.col(sum), wide);
      },
    );
    const [S, D] = [21, 6];
    const args: Arg[] = [1, 2, 3, 4].map((seed) => ["f32", noise(S * D, seed)]);
    for (const [BM, BN] of [
      [8, 8],
      [1, 16],
      [16, 8],
    ] as const)
      expectSame(lowered(attention, { BM, BN, BD: 8 }), [...args, S, D], [Math.ceil(S / BM)]);
  });

  it("sums columns and rows of strided matrices", () => {
    const sums = kernel(
      { x: ptr, y: ptr, z: ptr, M: i32, N: i32, B: constexpr },
      ({ x, y, z, M, N, B }, tl) => {
        const r = tl.arange(0, B);
        const mask = tl.col(r) < M && tl.row(r) < N;
        const v = tl.load(x + tl.col(r) * N + tl.row(r), mask, 0);
        tl.store(y + r, tl.sum(v, 0), r < N);
        tl.store(z + r, tl.max(v, 1), r < M);
      },
    );
    expectSame(lowered(sums, { B: 16 }), [
      ["f32", noise(130)],
      ["f32", zeros(16)],
      ["f32", zeros(16)],
      13,
      10,
    ]);
  });
});
