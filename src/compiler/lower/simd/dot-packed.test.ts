// Products of bytes and of bf16 on vector units that have instructions for them: values against plain sums, and where operands
// are packed and where not.

import { describe, expect, it } from "vitest";
import { constexpr, i32, ptr } from "../../lang/index.js";
import { build, kernel } from "../../lang/testing/build.js";
import { optimize } from "../../passes/optimize.js";
import type { Func } from "../../ir/index.js";
import type { Arg } from "../testing/compare.js";
import { nestedLists } from "../dead.js";
import type { Form, Stmt } from "./form.js";
import { expectSame } from "./testing/compare.js";

/** `c = a @ b`, either side turned in memory. */
const product = kernel(
  // biome-ignore format: one line per operand
  { a: ptr, sam: i32, sak: i32, b: ptr, sbk: i32, sbn: i32, c: ptr, M: i32, N: i32, K: i32, BM: constexpr, BN: constexpr, BK: constexpr, ACC: constexpr.dtype },
  ({ a, sam, sak, b, sbk, sbn, c, M, N, K, BM, BN, BK, ACC }, tl) => {
    const m = tl.col(tl.programId(0) * BM + tl.arange(0, BM));
    const n = tl.row(tl.programId(1) * BN + tl.arange(0, BN));
    let acc = tl.zeros([BM, BN], ACC);
    for (let k = 0; k < K; k += BK) {
      const ks = k + tl.arange(0, BK);
      const x = tl.load(a + m * sam + tl.row(ks) * sak, m < M && tl.row(ks) < K, 0);
      const y = tl.load(b + tl.col(ks) * sbk + n * sbn, tl.col(ks) < K && n < N, 0);
      acc = tl.dot(x, y, acc);
    }
    tl.store(c + m * N + n, acc, m < M && n < N);
  },
);

const lowered = (source: Parameters<typeof build>[0], facts: Parameters<typeof build>[1]): Func => {
  const func = build(source, facts);
  optimize(func, { verifyEach: true });
  return func;
};

const count = (form: Form, op: RegExp): number => {
  let n = 0;
  const visit = (list: readonly Stmt[]): void => {
    for (const s of list) {
      if (s.s === "op" && op.test(s.op)) n++;
      for (const l of nestedLists(s)) visit(l);
    }
  };
  visit(form.body);
  return n;
};

/** The extremes first: -128 by -128 is what does not fit where one side is unsigned or sums are of 16 bits. */
const bytes = (n: number, seed: number): number[] =>
  Array.from({ length: n }, (_, i) => (i % 7 === 0 ? -128 : i % 11 === 0 ? 127 : ((i * 7919 + seed * 104729) % 255) - 127)); // biome-ignore format: one line
const fractions = (n: number, seed: number): number[] =>
  Array.from({ length: n }, (_, i) => (((i * 7919 + seed * 104729) % 255) - 127) / 64);

describe.each([
  ["i8", "i32", bytes],
  ["bf16", "f32", fractions],
] as const)("products of %s", (d, acc, data) => {
  it.each([
    [8, 32, 64, [7, 35, 70]],
    [4, 16, 32, [4, 16, 33]],
    [1, 16, 64, [1, 20, 80]],
    [2, 8, 16, [3, 9, 20]],
  ] as const)("in blocks of %i by %i by %i", (BM, BN, BK, [M, N, K]) => {
    const func = lowered(product, { a: d, b: d, c: acc, BM, BN, BK, ACC: acc });
    for (const [ta, tb] of [
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ]) {
      const [sam, sak] = ta ? [1, M] : [K, 1];
      const [sbk, sbn] = tb ? [1, K] : [N, 1];
      const [x, y] = [data(M * K, 1), data(K * N, 2)];
      const args: Arg[] = [[d, x], sam, sak, [d, y], sbk, sbn, [acc, new Array<number>(M * N).fill(0)], M, N, K]; // biome-ignore format: one line
      const { forms, expected } = expectSame(func, args, [Math.ceil(M / BM), Math.ceil(N / BN)]);
      for (let i = 0; i < M; i++)
        for (let j = 0; j < N; j++) {
          let sum = 0;
          for (let k = 0; k < K; k++) sum += x[i * sam + k * sak]! * y[k * sbk + j * sbn]!;
          expect(expected[2]![i * N + j]).toBe(sum);
        }
      expect(count(forms["vnni"]!, /^dot/)).toBeGreaterThan(0);
      expect(count(forms["narrowDots"]!, /^dot/)).toBeGreaterThan(0);
      expect(count(forms["avx512"]!, /^dot/)).toBe(0);
    }
  });
});

const shared = kernel({ a: ptr, b: ptr, c: ptr, N: constexpr }, ({ a, b, c, N }, tl) => {
  const at = tl.col(tl.arange(0, N)) * N + tl.row(tl.arange(0, N));
  const x = tl.load(a + at);
  let acc = tl.zeros([N, N], "i32");
  for (let i = 0; i < 3; i++) {
    const y = tl.load(b + at + i * N * N);
    acc = tl.dot(x, y, acc) + tl.row(tl.sum(tl.cast(x, "i32"), 0)) + tl.cast(y, "i32");
  }
  tl.store(c + at, acc);
});
/** The right side is what a scan left: it stands in the frame in its register kind. */
const scanned = kernel({ a: ptr, b: ptr, c: ptr, N: constexpr }, ({ a, b, c, N }, tl) => {
  const at = tl.col(tl.arange(0, N)) * N + tl.row(tl.arange(0, N));
  const y = tl.cumsum(tl.load(b + at), 0);
  tl.store(c + at, tl.dot(tl.load(a + at), tl.cast(y, "i8")) + tl.dot(tl.load(a + at), tl.load(b + at)));
});

it("operands that are read by others too, and from outside of a loop", () => {
  const func = lowered(shared, { a: "i8", b: "i8", c: "i32", N: 16 });
  const args: Arg[] = [["i8", bytes(256, 1)], ["i8", bytes(768, 2)], ["i32", new Array<number>(256).fill(0)]]; // biome-ignore format: one line
  const { forms } = expectSame(func, args);
  expect(count(forms["vnni"]!, /^dot/)).toBeGreaterThan(0);
});

it("one operand in two products, of which the other side is not always packed", () => {
  const func = lowered(scanned, { a: "i8", b: "i8", c: "i32", N: 16 });
  expectSame(func, [["i8", bytes(256, 1)], ["i8", bytes(256, 2)], ["i32", new Array<number>(256).fill(0)]]); // biome-ignore format: one line
});
