// Products of a few rows: every remainder of rows, columns and summed elements, both layouts, narrow weights, against
// plain JavaScript; and the same result for a row whoever stands beside it.

import { expect, it } from "vitest";
import { type DType, tensor, type Tensor } from "../tensor/index.js";
import "./index.js";
import { linear, mm, mv } from "./matmul.js";
import { onEachChip } from "./testing/chips.js";

const noise = (n: number, seed: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.fround(Math.sin((i + 1) * (seed + 0.37)) * 2));

/** `x[M, K] @ w` in f64, where `at(k, n)` is an element of `w`. */
function product(x: ArrayLike<number>, at: (k: number, n: number) => number, [M, N, K]: Size): number[] {
  return Array.from({ length: M * N }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < K; k++) sum += x[Math.floor(i / N) * K + k]! * at(k, i % N);
    return sum;
  });
}
type Size = readonly [M: number, N: number, K: number];

async function expectClose(got: Tensor, want: readonly number[], K: number, tolerance = 2e-6): Promise<void> {
  const values = (await got.data()) as Float32Array;
  expect(values.length).toBe(want.length);
  want.forEach((v, i) => {
    const off = Math.abs(values[i]! - v);
    if (!(off <= tolerance * (K + Math.abs(v)))) throw new Error(`element ${i} is ${values[i]}, not ${v}`);
  });
}

await onEachChip((name) => {
  const big = name === "interpreter" ? 1 : 2;
  const sizes: Size[] = [
    [1, 70, 130 * big],
    [2, 65, 64],
    [3, 9, 1030],
    [5, 257, 33],
    [16, 64, 128],
    [1, 4096, 3],
    [33, 70, 130],
  ];
  for (const size of sizes) {
    const [M, N, K] = size;
    it(`[${size}], the matrix along the sums`, async () => {
      const [x, w] = [noise(M * K, 1), noise(N * K, 2)];
      const y = linear(tensor(x, { shape: [M, K] }), tensor(w, { shape: [N, K] }));
      await expectClose(
        y,
        product(x, (k, n) => w[n * K + k]!, size),
        K,
      );
    });
    it(`[${size}], the matrix across the sums`, async () => {
      const [x, w] = [noise(M * K, 1), noise(N * K, 2)];
      const y = mm(tensor(x, { shape: [M, K] }), tensor(w, { shape: [K, N] }));
      await expectClose(
        y,
        product(x, (k, n) => w[k * N + n]!, size),
        K,
      );
    });
    for (const dtype of ["bf16", "f16"] as DType[])
      it(`[${size}], ${dtype} weights`, async () => {
        const x = noise(M * K, 1);
        const w = tensor(noise(N * K, 2), { shape: [N, K], dtype });
        const stored = (await w.data()) as Float32Array;
        const y = linear(tensor(x, { shape: [M, K] }), w);
        expect(y.dtype).toBe("f32");
        await expectClose(
          y,
          product(x, (k, n) => stored[n * K + k]!, size),
          K,
        );
      });
  }

  it("a matrix times a vector, either way round", async () => {
    const [N, K] = [300, 97];
    const [w, v] = [noise(N * K, 3), noise(Math.max(N, K), 4)];
    const matrix = tensor(w, { shape: [N, K] });
    const y = mv(matrix, tensor(v.slice(0, K), { shape: [K] }));
    await expectClose(
      y,
      product(v, (k, n) => w[n * K + k]!, [1, N, K]),
      K,
    );
    const z = mv(matrix.t(), tensor(v.slice(0, N), { shape: [N] }));
    await expectClose(
      z,
      product(v, (n, k) => w[n * K + k]!, [1, K, N]),
      N,
    );
  });

  it("infinities of the matrix go where they belong", async () => {
    const [N, K] = [64, 100];
    const w = noise(K * N, 5);
    w[(K - 1) * N + 3] = Number.POSITIVE_INFINITY;
    const x = new Float32Array(K).fill(1);
    for (const y of [
      mm(tensor(x, { shape: [1, K] }), tensor(w, { shape: [K, N] })),
      linear(tensor(x, { shape: [1, K] }), tensor(w, { shape: [K, N] }).t()),
    ]) {
      const values = (await y.data()) as Float32Array;
      expect(values[3]).toBe(Number.POSITIVE_INFINITY);
      expect(values.filter((v) => !Number.isFinite(v)).length).toBe(1);
    }
  });

  const SUMS = [["f32", 1100], ["bf16", 2048], ["bf16", 1100], ["f32", 64], ["bf16", 64], ["bf16", 256], ["f16", 512]] as const; // biome-ignore format: a table
  for (const [dtype, K] of SUMS)
    it(`a row's result does not depend on the other rows, ${K} of ${dtype}`, async () => {
      const N = 72;
      const x = noise(32 * K, 6);
      for (const shape of [
        [N, K],
        [K, N],
      ]) {
        const w = tensor(noise(N * K, 7), { shape, dtype });
        const weight = shape[0] === N ? w : w.t();
        const alone = await linear(tensor(x.slice(0, K), { shape: [1, K] }), weight).data();
        for (const M of [2, 3, 7, 32]) {
          const all = (await linear(
            tensor(x.slice(0, M * K), { shape: [M, K] }),
            weight,
          ).data()) as Float32Array;
          expect(all.slice(0, N)).toEqual(alone);
        }
      }
    });
});
