// Kernels of the language: the lowered form gives what the interpreter gives, with and without subgroups, and no thread
// touches what another one wrote without a barrier between them (the evaluator checks that).

import { describe, expect, it } from "vitest";
import type { DType, Func } from "../../ir/index.js";
import { constexpr, i32, ptr } from "../../lang/index.js";
import { build, type Facts, kernel } from "../../lang/testing/build.js";
import { optimize } from "../../passes/optimize.js";
import type { KernelSource } from "../../source.js";
import { CompileError } from "../../target.js";
import type { Arg } from "../testing/compare.js";
import { lowerSimt } from "./lower.js";
import { expectSame, SHAPES } from "./testing/compare.js";

const lowered = (source: KernelSource, facts: Facts): Func => {
  const func = build(source, facts);
  optimize(func, { verifyEach: true });
  return func;
};
/** Whole numbers, so that sums are exact in any order. */
const noise = (n: number, seed = 1): number[] => {
  let s = seed * 7919 + 17;
  return Array.from({ length: n }, () => {
    s = (Math.imul(s, 1103515245) + 12345) & 0x7fffffff;
    return ((s >> 16) % 19) - 9;
  });
};
const zeros = (n: number): number[] => new Array<number>(n).fill(0);

describe("kernels", () => {
  it.each(["f32", "f64", "f16", "bf16", "i32", "i16", "u8"] as DType[])(
    "copies a transposed matrix of %s",
    (d) => {
      const transpose = kernel({ x: ptr, y: ptr, B: constexpr }, ({ x, y, B }, tl) => {
        const [i, j] = [tl.col(tl.arange(0, B)), tl.row(tl.arange(0, B))];
        tl.store(y + j * B + i, tl.load(x + i * B + j) + tl.load(x + i * B + j));
      });
      const data = noise(256).map(Math.abs);
      expectSame(lowered(transpose, { x: d, y: d, B: 16 }), [
        [d, data],
        [d, zeros(256)],
      ]);
    },
  );

  it("scans in both directions along both axes", () => {
    const scans = kernel({ x: ptr, y: ptr, M: constexpr, N: constexpr }, ({ x, y, M, N }, tl) => {
      const at = tl.col(tl.arange(0, M)) * N + tl.row(tl.arange(0, N));
      const v = tl.load(x + at);
      tl.store(y + at, tl.cumsum(v, 1));
      tl.store(y + M * N + at, tl.cumsum(v, 0));
      tl.store(y + 2 * M * N + at, tl.cumsum(v, 0, { reverse: true }));
      tl.store(y + 3 * M * N + at, tl.cumsum(v, 1, { reverse: true }));
    });
    for (const [M, N] of [
      [4, 64],
      [64, 4],
      [2, 2],
    ] as const)
      for (const d of ["f32", "i64"] as DType[])
        expectSame(lowered(scans, { x: d, y: d, M, N }), [
          [d, noise(M * N).map((v) => (d === "i64" ? BigInt(v) : v))],
          [d, zeros(4 * M * N).map((v) => (d === "i64" ? BigInt(v) : v))],
        ]);
  });

  it.each([4, 32, 256])("sorts %d keys and what belongs to them, equal ones in their order", (N) => {
    const sort = kernel({ x: ptr, y: ptr, z: ptr, N: constexpr, K: constexpr }, ({ x, y, z, N, K }, tl) => {
      const at = tl.arange(0, N);
      const [keys, from] = tl.sort([tl.load(x + at), at], 0, { descending: true });
      tl.store(y + at, keys);
      tl.store(z + at, from);
      const [best, where] = tl.topk([tl.load(x + at), at], K);
      tl.store(y + N + tl.arange(0, K), best);
      tl.store(z + N + tl.arange(0, K), where);
    });
    for (const d of ["f32", "i64", "u8"] as DType[]) {
      const list = (xs: readonly number[]): (number | bigint)[] =>
        xs.map((v) => (d === "i64" ? BigInt(v) : v));
      expectSame(lowered(sort, { x: d, y: d, z: "i32", N, K: 4 }), [
        [d, list(noise(N).map(Math.abs))],
        [d, list(zeros(N + 4))],
        ["i32", zeros(N + 4)],
      ]);
    }
  });

  it.each([
    [256, 2],
    [256, 16],
    [1024, 64],
  ])("orders %d elements by counting them in %d bins", (N, BINS) => {
    const order = kernel(
      { x: ptr, y: ptr, z: ptr, counts: ptr, N: constexpr, BINS: constexpr },
      ({ x, y, z, counts, N, BINS }, tl) => {
        const [at, bin] = [tl.arange(0, N), tl.arange(0, BINS)];
        const v = tl.load(x + at);
        const [count, start, sorted, from] = tl.countingSort(v & (BINS - 1), [v, tl.cast(at, tl.i64)], BINS);
        tl.store(y + at, sorted!);
        tl.store(z + at, from!);
        tl.store(counts + bin, count!);
        tl.store(counts + BINS + bin, start!);
        tl.store(counts + 2 * BINS + bin, tl.countingSort(tl.where(v > 0, BINS - 1, 0), [], BINS)[0]!);
      },
    );
    expectSame(lowered(order, { x: "i32", y: "i32", z: "i64", counts: "i32", N, BINS }), [
      ["i32", noise(N).map((v, i) => v * 37 + (i % 3))],
      ["i32", zeros(N)],
      ["i64", zeros(N).map(() => 0n)],
      ["i32", zeros(3 * BINS)],
    ]);
  });

  it("sorts the columns of a matrix", () => {
    const sort = kernel({ x: ptr, y: ptr, B: constexpr }, ({ x, y, B }, tl) => {
      const at = tl.col(tl.arange(0, B)) * B + tl.row(tl.arange(0, B));
      tl.store(y + at, tl.sort(tl.load(x + at), 0));
    });
    expectSame(lowered(sort, { B: 16 }), [
      ["f32", noise(256)],
      ["f32", zeros(256)],
    ]);
  });

  it.each(["i32", "f32", "f16", "bf16", "u8", "i64"] as DType[])("adds %s in memory in one step", (d) => {
    const count = kernel({ x: ptr, y: ptr, z: ptr, B: constexpr }, ({ x, y, z, B }, tl) => {
      const at = tl.arange(0, B);
      tl.atomicAdd(y + (at & 3), tl.load(x + at), at < B - 1);
      // One place for all threads, and its old value in each of them.
      const old = tl.atomicAdd(y + 4, tl.sum(tl.load(x + at), 0));
      tl.store(z + at, tl.load(x + at) + old);
    });
    const list = (xs: readonly number[]): (number | bigint)[] => xs.map((v) => (d === "i64" ? BigInt(v) : v));
    const args: Arg[] = [
      [d, list(noise(64).map((v) => v & 1))],
      [d, list([1, 2, 3, 4, 5])],
      [d, list(zeros(64))],
    ];
    expectSame(lowered(count, { x: d, y: d, z: d, B: 64 }), args);
  });

  it("orders accesses of different threads to one buffer", () => {
    const shift = kernel({ x: ptr, n: i32, B: constexpr }, ({ x, n, B }, tl) => {
      const at = tl.arange(0, B);
      for (let k = 0; k < n; k++) {
        const v = tl.load(x + ((at + 1) & (B - 1)));
        tl.store(x + at, v + 1);
      }
      tl.store(x, tl.load(x + B - 1) + tl.load(x));
    });
    expectSame(lowered(shift, { B: 64 }), [["f32", noise(64)], 5]);
  });

  it.each([
    [16, 16, 8],
    [32, 8, 16],
    [1, 64, 16],
    [64, 32, 4],
  ])("multiplies matrices by blocks of %d x %d x %d", (BM, BN, BK) => {
    const matmul = kernel(
      { a: ptr, b: ptr, c: ptr, M: i32, N: i32, K: i32, BM: constexpr, BN: constexpr, BK: constexpr },
      ({ a, b, c, M, N, K, BM, BN, BK }, tl) => {
        const m = tl.col(tl.programId(0) * BM + tl.arange(0, BM));
        const n = tl.row(tl.programId(1) * BN + tl.arange(0, BN));
        let acc = tl.zeros([BM, BN], "f32");
        for (let k0 = 0; k0 < K; k0 += BK) {
          const k = k0 + tl.arange(0, BK);
          const x = tl.load(a + m * K + tl.row(k), m < M && tl.row(k) < K, 0);
          const y = tl.load(b + tl.col(k) * N + n, tl.col(k) < K && n < N, 0);
          acc = tl.dot(x, y, acc);
        }
        tl.store(c + m * N + n, acc, m < M && n < N);
      },
    );
    const [M, N, K] = [37, 41, 13];
    for (const d of ["f32", "f16"] as DType[])
      expectSame(
        lowered(matmul, { a: d, b: d, BM, BN, BK }),
        [[d, noise(M * K)], [d, noise(K * N, 2)], ["f32", zeros(M * N)], M, N, K],
        [Math.ceil(M / BM), Math.ceil(N / BN)],
      );
  });

  it("a program that does not fit is refused before it is launched", () => {
    const sort = kernel({ x: ptr, N: constexpr }, ({ x, N }, tl) => {
      const at = tl.arange(0, N);
      tl.store(x + at, tl.sort(tl.load(x + at), 0));
    });
    const func = lowered(sort, { N: 1024 });
    expect(() => lowerSimt(func, { ...SHAPES["plain"]!, sharedBytes: 1024 })).toThrow(CompileError);
    expect(() => lowerSimt(func, { ...SHAPES["plain"]!, sharedBytes: 1024 })).toThrow(
      /4096 bytes of shared memory, but this chip has 1024/,
    );
  });

  it("neighbours in memory go in wide accesses", () => {
    const copy = kernel({ x: ptr, y: ptr, B: constexpr }, ({ x, y, B }, tl) => {
      const at = tl.programId(0) * B + tl.arange(0, B);
      tl.store(y + at, tl.load(x + at));
    });
    for (const d of ["f32", "f16", "u8"] as DType[]) {
      const func = lowered(copy, { x: d, y: d, B: 1024 });
      func.paramFacts = func.paramNames.map(() => ({ divisibility: 16 }));
      const { body } = lowerSimt(func, SHAPES["plain"]!);
      const bytes = body.flatMap((s) =>
        s.s === "load" ? [s.dst.length * (s.kind === "i32" || s.kind === "f32" ? 4 : 1)] : [],
      );
      expect(bytes.every((n) => n === 16)).toBe(true);
    }
  });
});
