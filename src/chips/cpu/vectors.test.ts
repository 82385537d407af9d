// The chip with every width of vectors that this machine has: a wide machine must not hide what goes wrong on a narrow one,
// nor the other way round. What each operator computes is tested beside it; here the widths must agree with plain loops
// (products, in which panels and register blocks differ by width) and with each other.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import "../../ops/index.js";
import * as ops from "../../ops/index.js";
import { noise, numbers } from "../../ops/testing/chips.js";
import { constexpr, i32, ptr } from "../../compiler/lang/index.js";
import { closeChips, kernel, loadChip, registerChip, setDefaultChip } from "../../runtime/index.js";
import { empty, type Tensor, tensor } from "../../tensor/index.js";
import { NoCompilerError, openCompiler } from "./compiler.js";
import { entry } from "./index.js";

/** Runs `fn` with kernels held to vectors of so many bits. */
function withVectors<T>(bits: string, fn: () => T): T {
  const before = process.env["VEXIL_VECTORS"];
  process.env["VEXIL_VECTORS"] = bits;
  try {
    return fn();
  } finally {
    if (before === undefined) delete process.env["VEXIL_VECTORS"];
    else process.env["VEXIL_VECTORS"] = before;
  }
}

/** The bits of a vector under each limit; where the machine has no wider ones, a limit changes nothing. */
function widths(): number[] {
  try {
    const found = ["128", "256", "512"].map((b) => withVectors(b, openCompiler).features.vectorBytes * 8);
    return [...new Set(found)];
  } catch (e) {
    if (e instanceof NoCompilerError) return [];
    throw e;
  }
}

const opened = widths();
for (const bits of opened)
  registerChip({
    ...entry,
    name: `cpu${bits}`,
    open: async () => ({
      ...(await withVectors(String(bits), () => entry.open())),
      name: `cpu${bits}`,
    }),
  });
afterAll(closeChips);

/** The largest error of a product over the square root of its length. */
async function worst(got: Tensor, a: Tensor, b: Tensor): Promise<number> {
  const [x, y, z] = [await numbers(a), await numbers(b), await numbers(got)];
  const [M, K, N] = [a.shape[0]!, a.shape[1]!, b.shape[1]!];
  let most = 0;
  for (let m = 0; m < M; m++)
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += x[m * K + k]! * y[k * N + n]!;
      const d = Math.abs(sum - z[m * N + n]!);
      most = Number.isNaN(d) ? Number.POSITIVE_INFINITY : Math.max(most, d);
    }
  return most / Math.sqrt(K);
}

/** What the widths must agree on, from the same numbers. */
const SAME: Readonly<Record<string, () => Tensor>> = {
  "softmax of uneven rows": () => ops.softmax(noise([5, 203], 1), -1),
  "sums along both axes": () => ops.sum(ops.mul(noise([37, 45], 2), ops.sum(noise([37, 45], 3), 0)), 1),
  "a running sum": () => ops.cumsum(noise([3, 131], 4), 1),
  "a transposed copy": () => noise([33, 70], 5).t().contiguous(),
  "half floats": () => ops.mul(noise([77], 6).to("f16"), noise([77], 7).to("bf16")).to("f32"),
  "attention under a causal mask": () => {
    const [q, k, v] = [8, 9, 10].map((seed) => noise([1, 2, 70, 24], seed)) as [Tensor, Tensor, Tensor];
    return ops.scaledDotProductAttention(q, k, v, { isCausal: true });
  },
};

const int8Product = kernel(
  { a: ptr, b: ptr, c: ptr, M: i32, N: i32, K: i32, BM: constexpr, BN: constexpr, BK: constexpr },
  ({ a, b, c, M, N, K, BM, BN, BK }, tl) => {
    const [m, n] = [tl.arange(0, BM), tl.programId(0) * BN + tl.arange(0, BN)];
    let acc = tl.zeros([BM, BN], "i32");
    for (let k = 0; k < K; k += BK) {
      const ks = k + tl.arange(0, BK);
      const x = tl.load(a + tl.col(m) * K + tl.row(ks), tl.col(m) < M && tl.row(ks) < K, 0);
      acc = tl.dot(x, tl.load(b + tl.row(n) * K + tl.col(ks), tl.row(n) < N && tl.col(ks) < K, 0), acc);
    }
    tl.store(c + tl.col(m) * N + tl.row(n), acc, tl.col(m) < M && tl.row(n) < N);
  },
  "int8_product",
);

const results = new Map<string, number[]>();

describe.each(opened)("vectors of %i bits", (bits) => {
  beforeAll(async () => {
    await loadChip(`cpu${bits}`);
    setDefaultChip(`cpu${bits}`);
  });

  it("are what the chip has", async () => {
    expect((await loadChip(`cpu${bits}`)).description).toContain(`${bits}-bit vectors`);
  });

  it.each([
    [33, 31, 1],
    [65, 257, 63],
    [130, 40, 97],
  ])("[%i, %i] @ [%i] in every layout", async (M, K, N) => {
    const [a, b] = [noise([M, K], 1), noise([K, N], 2)];
    const [at, bt] = [noise([K, M], 3).t(), noise([N, K], 4).t()];
    for (const [x, y] of [[a, b], [at, bt], [a, bt], [at, b]] as const) // biome-ignore format: a list
      expect(await worst(ops.mm(x, y), x, y)).toBeLessThan(1e-6);
  });

  // -128 by -128 is what does not fit where one side is unsigned or sums are of 16 bits.
  it.each([1, 3, 32])("%i rows of int8 by int8, the same to the last bit", async (M) => {
    const [N, K] = [50, 300];
    const bytes = (n: number, seed: number): number[] =>
      Array.from({ length: n }, (_, i) => (i % 7 === 0 ? -128 : ((i * 7919 + seed) % 255) - 127));
    const [x, y] = [bytes(M * K, 1), bytes(N * K, 2)];
    const c = empty([M, N], { dtype: "i32" });
    const BM = 2 ** Math.ceil(Math.log2(M));
    int8Product.launch([2], { a: tensor(x, { shape: [M, K], dtype: "i8" }), b: tensor(y, { shape: [N, K], dtype: "i8" }), c, M, N, K, BM, BN: 32, BK: 128 }); // biome-ignore format: one line
    const want = Array.from({ length: M * N }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += x[Math.floor(i / N) * K + k]! * y[(i % N) * K + k]!;
      return sum;
    });
    expect(await numbers(c)).toEqual(want);
  });

  it.each(Object.keys(SAME))("%s", async (name) => {
    const got = SAME[name]!();
    const first = results.get(name);
    if (first === undefined) results.set(name, await numbers(got));
    else {
      const values = await numbers(got);
      const top = first.reduce((most, v) => Math.max(most, Math.abs(v)), 1);
      expect(Math.max(...values.map((v, i) => Math.abs(v - first[i]!) / top))).toBeLessThan(2e-6);
    }
  });
});

it("a limit that is no width is named", () => {
  expect(() => withVectors("100", openCompiler)).toThrow('VEXIL_VECTORS must be 128, 256 or 512, not "100"');
});
