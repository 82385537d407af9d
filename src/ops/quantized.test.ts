// Integer weights against plain JavaScript: what quantisation makes, what it stands for, and products with it, at odd sizes.

import { expect, it } from "vitest";
import { type DType, tensor } from "../tensor/index.js";
import "./index.js";
import { dequantize, quantizedLinear, quantizeInt4, quantizeInt8 } from "./quantized.js";
import { noise, numbers, onEachChip } from "./testing/chips.js";

interface Plain {
  /** `[N * K]` integers, `[N * groups]` scales. */
  readonly q: number[];
  readonly s: number[];
}

/** Nearest integers, ties to even, by the rule of the operators. */
function plain(w: readonly number[], N: number, K: number, size: number, most: number): Plain {
  const groups = Math.ceil(K / size);
  const s = new Array<number>(N * groups).fill(0);
  for (let i = 0; i < N * K; i++) {
    const g = Math.floor(i / K) * groups + Math.floor((i % K) / size);
    s[g] = Math.max(s[g]!, Math.abs(w[i]!));
  }
  const scales = s.map((v) => Math.fround(v / most));
  const even = (v: number): number => {
    const down = Math.floor(v);
    const rest = v - down;
    return rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down;
  };
  const q = w.map((v, i) => {
    const scale = scales[Math.floor(i / K) * groups + Math.floor((i % K) / size)]!;
    return scale > 0 ? Math.max(-most, Math.min(most, even(Math.fround(v / scale)))) : 0;
  });
  return { q, s: scales };
}

/** The elements of packed rows, by the layout that `quantized.ts` describes. */
function unpack(bytes: readonly number[], N: number, K: number, half: number): number[] {
  const out: number[] = [];
  for (let n = 0; n < N; n++)
    for (let k = 0; k < K; k++) {
      const byte = bytes[n * half + (k < half ? k : k - half)]!;
      const nibble = k < half ? byte & 15 : byte >> 4;
      out.push(nibble > 7 ? nibble - 16 : nibble);
    }
  return out;
}

const SIZES = [
  [5, 64, 32],
  [9, 100, 16],
  [3, 37, 0],
  [8, 1100, 128],
  [9, 2050, 0],
  // Whole blocks: no masks.
  [9, 2048, 64],
  [3, 2048, 256],
] as const;

await onEachChip((chip) => {
  for (const bits of [8, 4] as const)
    for (const [N, K, group] of SIZES) {
      const make = bits === 8 ? quantizeInt8 : quantizeInt4;
      const most = bits === 8 ? 127 : 7;
      const size = group || K;
      const groups = Math.ceil(K / size);

      it(`int${bits} [${N}, ${K}] by ${group}: nearest integers and back`, async () => {
        const w = noise([N, K], 3);
        const want = plain(await numbers(w), N, K, size, most);
        const [q, s] = make(w, group);
        const raw = await numbers(q);
        const got = bits === 8 ? raw : unpack(raw, N, K, q.shape[1]!);
        const scales = await numbers(s);
        want.s.forEach((v, i) => {
          expect(Math.abs(scales[i]! - v)).toBeLessThanOrEqual(1e-7 * v);
        });
        // A scale that is one unit in the last place away may round a tie otherwise: at most a step, and rarely.
        const other = got.filter((v, i) => v !== want.q[i]).length;
        expect(other).toBeLessThanOrEqual(Math.ceil(N * K * 1e-3));
        got.forEach((v, i) => {
          expect(Math.abs(v - want.q[i]!)).toBeLessThanOrEqual(1);
        });
        const back = await numbers(dequantize(q, s, null, K, { groupSize: group }));
        back.forEach((v, i) => {
          const g = Math.floor(i / K) * groups + Math.floor((i % K) / size);
          expect(v).toBe(Math.fround(got[i]! * scales[g]!));
        });
      });

      for (const dtype of ["f32", "bf16", "f16"] as DType[])
        it(`int${bits} [${N}, ${K}] by ${group}: products with ${dtype}, zero points and bias`, async () => {
          const [q, s] = make(noise([N, K], 4), group);
          const zeros = tensor(
            Int8Array.from({ length: N * groups }, (_, i) => (i % 5) - 2),
            { shape: [N, groups], dtype: "i8" },
          );
          const bias = tensor(
            Float32Array.from({ length: N }, (_, i) => i / 4),
            { shape: [N], dtype },
          );
          for (const M of chip === "interpreter" || dtype !== "f32" ? [1, 3] : [1, 3, 33]) {
            const x = tensor(await noise([M, K], 5).data(), { shape: [M, K], dtype });
            for (const z of [null, zeros]) {
              const w = await numbers(dequantize(q, s, z, K, { groupSize: group }));
              const xs = await numbers(x);
              const got = await numbers(quantizedLinear(x, q, s, z, bias, { groupSize: group }));
              const step = dtype === "f32" ? 1e-6 : dtype === "bf16" ? 2 ** -7 : 2 ** -10;
              for (let i = 0; i < M * N; i++) {
                const [m, n] = [Math.floor(i / N), i % N];
                let sum = n / 4;
                let size = Math.abs(sum);
                for (let k = 0; k < K; k++) {
                  sum += xs[m * K + k]! * w[n * K + k]!;
                  size += Math.abs(xs[m * K + k]! * w[n * K + k]!);
                }
                const off = Math.abs(got[i]! - sum);
                if (
                  !(
                    off <=
                    1e-6 * size + step * Math.abs(sum) + (dtype === "f32" ? 0 : step * Math.abs(n / 4) + step)
                  )
                )
                  throw new Error(`row ${m} column ${n} is ${got[i]}, not ${sum}`);
              }
            }
          }
        });
    }

  it("scales in half precision, and a row alone as among others", async () => {
    const [N, K] = [24, 1030];
    const [q, s] = quantizeInt4(noise([N, K], 6), 64);
    const half = tensor(await s.data(), { shape: s.shape, dtype: "bf16" });
    const x = noise([32, K], 7);
    const all = await numbers(quantizedLinear(x, q, half, null, null, { groupSize: 64 }));
    const one = x.narrow(0, 5, 1);
    const alone = await numbers(quantizedLinear(one, q, half, null, null, { groupSize: 64 }));
    expect(alone).toEqual(all.slice(5 * N, 6 * N));
    const w = await numbers(dequantize(q, half, null, K, { groupSize: 64 }));
    const xs = await numbers(one);
    const want = w.reduce((sum, v, k) => (k < K ? sum + v * xs[k]! : sum), 0);
    expect(Math.abs(alone[0]! - want)).toBeLessThan(1e-4);
  });

  // The interpreter takes seconds for so many programs.
  it.skipIf(chip === "interpreter")("has a row for each word of a large vocabulary", async () => {
    const N = 2 ** 16 + 1;
    const q = tensor(
      Int8Array.from({ length: N }, (_, n) => n % 100),
      { shape: [N, 1], dtype: "i8" },
    );
    const s = tensor(new Float32Array(N).fill(0.5), { shape: [N, 1] });
    const w = await numbers(dequantize(q, s, null, 1));
    expect(w.every((v, n) => v === (n % 100) / 2)).toBe(true);
  });

  for (const [bits, K, group] of [[8, 1030, 64], [8, 2048, 128], [4, 1024, 16], [4, 1030, 0]] as const) // biome-ignore format: a table
    it(`int${bits}, ${K} by ${group}: a row has the same bits whatever stands beside it`, async () => {
      const N = 10;
      const [q, s] = (bits === 8 ? quantizeInt8 : quantizeInt4)(noise([N, K], 6), group);
      const x = noise([33, K], 7);
      const options = { groupSize: group };
      const all = await numbers(quantizedLinear(x, q, s, null, null, options));
      for (const [first, count] of [
        [0, 1],
        [4, 2],
        [5, 3],
        [9, 7],
        [31, 2],
        [32, 1],
      ] as const) {
        const some = await numbers(quantizedLinear(x.narrow(0, first, count), q, s, null, null, options));
        expect(some).toEqual(all.slice(first * N, (first + count) * N));
      }
    });

  for (const bits of [8, 4] as const)
    it(`int${bits}: NaN, infinities, outliers and zeros among the activations are as in f32`, async () => {
      const [N, K] = [9, 2048];
      const [q, s] = (bits === 8 ? quantizeInt8 : quantizeInt4)(noise([N, K], 6), 128);
      const w = await numbers(dequantize(q, s, null, K, { groupSize: 128 }));
      const base = Array.from(await noise([K], 5).data(), Number);
      const rows = [
        base.map((v, k) => (k === 1500 ? Number.NaN : v)),
        base.map((v, k) => (k === 77 ? Number.POSITIVE_INFINITY : v)),
        base.map((v, k) => (k % 100 === 3 ? v * 1e6 : v)),
        base.map(() => 0),
        base.map((v) => v * 1e-30),
      ];
      const x = tensor(Float32Array.from(rows.flat()), { shape: [rows.length, K] });
      const exact = Array.from((await x.data()) as Float32Array, Number);
      const got = await numbers(quantizedLinear(x, q, s, null, null, { groupSize: 128 }));
      for (const [m] of rows.entries())
        for (let n = 0; n < N; n++) {
          let [sum, size] = [0, 0];
          for (let k = 0; k < K; k++) {
            const p = exact[m * K + k]! * w[n * K + k]!;
            sum += p;
            size += Math.abs(p);
          }
          const y = got[m * N + n]!;
          if (!Number.isFinite(sum)) expect(y).toBe(sum);
          else expect(Math.abs(y - sum)).toBeLessThanOrEqual(1e-6 * size);
        }
    });

  it("says what does not fit", () => {
    const [q, s] = quantizeInt8(noise([4, 64], 8), 32);
    const x = noise([1, 64], 9);
    expect(() => quantizeInt8(noise([4, 64], 1), 24)).toThrow(/power of two from 16 to 1024, not 24/);
    expect(() => quantizedLinear(x, q, s)).toThrow(/scales must be \[4, 1\]/);
    expect(() => quantizedLinear(noise([1, 63], 1), q, s, null, null, { groupSize: 32 })).toThrow(
      /takes 63 bytes/,
    );
    expect(() => quantizedLinear(x, x, s)).toThrow(/must be \[N, K\] i8/);
  });
});
