// Matrix products of shapes around the kernel's blocks and of every stride, against plain loops.

import { expect, it } from "vitest";
import { type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { linear, matmul, mm } from "./matmul.js";
import { cutFor } from "./matmul-kernel.js";
import { inner } from "./products.js";
import { noise, numbers, onEachChip } from "./testing/chips.js";

async function worst(got: Tensor, a: Tensor, b: Tensor): Promise<number> {
  const [x, y, z] = [await numbers(a), await numbers(b), await numbers(got)];
  const [M, K] = a.shape as [number, number];
  const N = b.shape[1]!;
  expect(got.shape).toEqual([M, N]);
  let most = 0;
  for (let m = 0; m < M; m++)
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += x[m * K + k]! * y[k * N + n]!;
      const d = Math.abs(sum - z[m * N + n]!);
      most = Number.isNaN(d) ? Number.POSITIVE_INFINITY : Math.max(most, d);
    }
  return most / Math.sqrt(K || 1);
}

it("cuts a product so that its threads end together and pack little", () => {
  const cut = (threads: number, M: number, N: number) => {
    const [BM, BN, tiles] = cutFor(threads, { batch: 1, M, N }, [256, 256], false);
    return { columns: BN * tiles, programs: Math.ceil(M / BM) * Math.ceil(N / (BN * tiles)) };
  };
  // One program each, of all columns that are not the other's.
  expect(cut(2, 256, 768)).toEqual({ columns: 384, programs: 2 });
  expect(cut(4, 256, 768)).toEqual({ columns: 192, programs: 4 });
  expect(cut(1, 256, 768)).toEqual({ columns: 768, programs: 1 });
  // Nine blocks would keep one of two threads waiting.
  expect(cut(2, 768, 768).programs % 2).toBe(0);
  expect(cut(2, 256, 256)).toEqual({ columns: 128, programs: 2 });
});

await onEachChip((chip) => {
  it.each([
    [1, 1, 1],
    [1, 300, 70],
    [2, 64, 129],
    [3, 5, 7],
    [33, 31, 1],
    [65, 257, 63],
    [130, 40, 97],
  ])("[%i, %i] @ [%i]", async (M, K, N) => {
    if (chip === "interpreter" && M * K * N > 300000) return;
    const [a, b] = [noise([M, K], 1), noise([K, N], 2)];
    expect(await worst(mm(a, b), a, b)).toBeLessThan(1e-6);
    const [at, bt] = [noise([K, M], 3).t(), noise([N, K], 4).t()];
    expect(await worst(mm(at, bt), at, bt)).toBeLessThan(1e-6);
    expect(await worst(linear(a, bt.t()), a, bt)).toBeLessThan(1e-6);
    const wide = noise([K, 2 * N], 5).slice(1, 0, 2 * N, 2);
    expect(await worst(mm(a, wide), a, wide)).toBeLessThan(1e-6);
  });

  it.each([
    [300, 290, 530],
    [256, 70, 740],
    [129, 33, 1100],
  ])(
    "is exact on whole numbers in several large blocks, the last of each not full: [%i, %i] @ [%i]",
    async (M, K, N) => {
      if (chip === "interpreter") return;
      const whole = (shape: [number, number], seed: number): Tensor =>
        tensor(
          Array.from({ length: shape[0] * shape[1] }, (_, i) => ((i * seed) % 17) - 8),
          { shape, dtype: "f32" },
        );
      const [a, b] = [whole([M, K], 7), whole([K, N], 11)];
      expect(await worst(mm(a, b), a, b)).toBe(0);
      const [at, bt] = [whole([K, M], 5).t(), whole([N, K], 13).t()];
      expect(await worst(mm(at, bt), at, bt)).toBe(0);
      expect(await worst(mm(a, bt), a, bt)).toBe(0);
      expect(await worst(mm(at, b), at, b)).toBe(0);
    },
  );

  it("of nothing is zeros", async () => {
    const a = tensor([], { dtype: "f32", shape: [2, 0] });
    expect(await numbers(mm(a, a.t()))).toEqual([0, 0, 0, 0]);
    expect(mm(a.t(), a).shape).toEqual([0, 0]);
  });

  it("broadcasts batches without copying what repeats", async () => {
    const [a, b] = [noise([3, 1, 4, 5], 1), noise([2, 5, 6], 2)];
    const c = matmul(a, b);
    expect(c.shape).toEqual([3, 2, 4, 6]);
    expect(
      await worst(c.select(0, 2).select(0, 1), a.select(0, 2).select(0, 0), b.select(0, 1)),
    ).toBeLessThan(1e-6);
    expect(inner(a, noise([7, 5])).shape).toEqual([3, 1, 4, 7]);
  });

  it("keeps 64-bit integers exact, and sums half types in f32", async () => {
    const big = tensor([[2n ** 40n, 1n]]);
    expect(await mm(big, big.t()).item()).toBe((2n ** 80n % 2n ** 64n) + 1n);
    const ones = tensor(new Float32Array(4096).fill(1), { shape: [1, 4096] }).to("f16") as Tensor;
    expect(await mm(ones, ones.t()).item()).toBe(4096);
  });

  it("names what does not fit", () => {
    expect(() => mm(noise([2, 3]), noise([2, 3]))).toThrow(/mm: shapes \[2, 3\] and \[2, 3\] do not fit/);
    expect(() =>
      mm(
        noise([2, 2]),
        tensor([
          [1n, 2n],
          [3n, 4n],
        ]),
      ),
    ).toThrow(/one dtype, not f32 and i64/);
  });
});
