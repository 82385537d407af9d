// The chip with every width of vectors that this machine has: a wide machine must not hide what goes wrong on a narrow one,
// nor the other way round. What each operator computes is tested beside it; here the widths must agree with plain loops
// (products, in which panels and register blocks differ by width) and with each other.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import "../../ops/index.js";
import * as ops from "../../ops/index.js";
import { noise, numbers } from "../../ops/testing/chips.js";
import { closeChips, loadChip, registerChip, setDefaultChip } from "../../runtime/index.js";
import type { Tensor } from "../../tensor/index.js";
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
