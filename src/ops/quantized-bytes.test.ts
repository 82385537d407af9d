// Products of integer weights with activations rounded to bytes, against plain JavaScript, at odd sizes.

import { expect, it } from "vitest";
import { type DType, type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { dequantize, quantizedLinear, quantizeInt4, quantizeInt8 } from "./quantized.js";
import { noise, numbers, onEachChip } from "./testing/chips.js";

const { fround } = Math;
const even = (v: number): number => {
  const down = Math.floor(v);
  const rest = v - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down;
};

/** What rows of activations stand for once they are rounded by groups of `size`. */
function rounded(x: readonly number[], M: number, K: number, size: number): number[] {
  const out: number[] = [];
  for (let m = 0; m < M; m++)
    for (let from = 0; from < K; from += size) {
      const group = x.slice(m * K + from, m * K + Math.min(K, from + size));
      const scale = fround(Math.max(...group.map(Math.abs)) / 127);
      for (const v of group) out.push(scale > 0 ? even(fround(v / scale)) * scale : 0);
    }
  return out;
}

const int8 = (groupSize: number) => ({ groupSize, activationDtype: "int8" }) as const;

const SIZES = [
  [5, 64, 32],
  [9, 100, 16],
  [70, 96, 32],
  [8, 512, 256],
  [6, 320, 0],
] as const;

await onEachChip((chip) => {
  for (const bits of [8, 4] as const)
    for (const [N, K, group] of SIZES)
      it(`int${bits} [${N}, ${K}] by ${group}: products with rounded rows, zero points and bias`, async () => {
        const make = bits === 8 ? quantizeInt8 : quantizeInt4;
        const [q, s] = make(noise([N, K], 4), group);
        const groups = Math.ceil(K / (group || K));
        const zeros = tensor(
          Int8Array.from({ length: N * groups }, (_, i) => (i % 5) - 2),
          { shape: [N, groups], dtype: "i8" },
        );
        const bias = tensor(Float32Array.from({ length: N }, (_, i) => i / 4)); // biome-ignore format: one line
        for (const M of chip === "interpreter" ? [3] : [1, 70]) {
          const x = noise([M, K], 5);
          const near = rounded(await numbers(x), M, K, group === 0 ? 32 : Math.min(group, 128));
          for (const z of [null, zeros]) {
            const w = await numbers(dequantize(q, s, z, K, { groupSize: group }));
            const got = await numbers(quantizedLinear(x, q, s, z, bias, int8(group)));
            for (let i = 0; i < M * N; i++) {
              const [m, n] = [Math.floor(i / N), i % N];
              let sum = n / 4;
              let size = Math.abs(sum);
              for (let k = 0; k < K; k++) {
                sum += near[m * K + k]! * w[n * K + k]!;
                size += Math.abs(near[m * K + k]! * w[n * K + k]!);
              }
              // A tie that rounds the other way moves one product by a step, a 127th of the largest.
              if (!(Math.abs(got[i]! - sum) <= 1e-5 * size + 2e-3))
                throw new Error(`${M} rows: row ${m} column ${n} is ${got[i]}, not ${sum}`);
            }
          }
        }
      });

  it("a row alone as among others, in half precision too", async () => {
    const [N, K] = [72, 1088];
    const [q, s] = quantizeInt4(noise([N, K], 6), 32);
    const half = tensor(await s.data(), { shape: s.shape, dtype: "f16" });
    for (const dtype of ["f32", "bf16"] as DType[]) {
      const x = tensor(await noise([33, K], 7).data(), { shape: [33, K], dtype });
      const of = async (rows: Tensor): Promise<number[]> =>
        numbers(quantizedLinear(rows, q, half, null, null, int8(32)));
      const all = await of(x);
      for (const count of [1, 5])
        expect(await of(x.narrow(0, 7, count))).toEqual(all.slice(7 * N, (7 + count) * N));
    }
  });

  it("is close to the product without rounding, and shows what is not finite", async () => {
    const [N, K] = [40, 256];
    const [q, s] = quantizeInt8(noise([N, K], 8), 32);
    const x = await noise([2, K], 9).data();
    const given = tensor(x, { shape: [2, K] });
    const exact = await numbers(quantizedLinear(given, q, s, null, null, { groupSize: 32 }));
    const near = await numbers(quantizedLinear(given, q, s, null, null, int8(32)));
    const norm = Math.hypot(...exact);
    expect(Math.hypot(...near.map((v, i) => v - exact[i]!))).toBeLessThan(0.01 * norm);
    expect(near).not.toEqual(exact);
    const bad = Float32Array.from(x as Float32Array);
    bad[3] = Number.NaN;
    const out = await numbers(quantizedLinear(tensor(bad, { shape: [2, K] }), q, s, null, null, int8(32)));
    expect(out.slice(0, N).every(Number.isNaN)).toBe(true);
    expect(out.slice(N)).toEqual(near.slice(N));
    expect(() => quantizedLinear(given, q, s, null, null, { activationDtype: "int4" as "int8" })).toThrow(
      'activation_dtype must be "keep" or "int8", not "int4"',
    );
  });
});
