// GPTQ against the algorithm as published, in plain f64 JavaScript: with the inverse of the second derivatives made and factored.

import { expect, it } from "vitest";
import { tensor } from "../tensor/index.js";
import { gptq, inverseFactor } from "./gptq.js";
import { mm } from "./matmul.js";
import { quantizeInt4 } from "./quantized.js";
import { noise, numbers, onEachChip } from "./testing/chips.js";

type Matrix = number[][];
const grid = (flat: readonly number[], columns: number): Matrix =>
  Array.from({ length: flat.length / columns }, (_, i) => flat.slice(i * columns, (i + 1) * columns));

/** Gauss and Jordan. */
function inverse(a: Matrix): Matrix {
  const n = a.length;
  const m = a.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  for (let i = 0; i < n; i++) {
    const by = m[i]![i]!;
    m[i] = m[i]!.map((v) => v / by);
    for (let r = 0; r < n; r++)
      if (r !== i) {
        const f = m[r]![i]!;
        m[r] = m[r]!.map((v, c) => v - f * m[i]![c]!);
      }
  }
  return m.map((row) => row.slice(n));
}

/** The upper `u` with `a = u^T u`. */
function upperFactor(a: Matrix): Matrix {
  const n = a.length;
  const u = a.map((row) => row.map(() => 0));
  for (let i = 0; i < n; i++)
    for (let j = i; j < n; j++) {
      let v = a[i]![j]!;
      for (let k = 0; k < i; k++) v -= u[k]![i]! * u[k]![j]!;
      u[i]![j] = i === j ? Math.sqrt(v) : v / u[i]![i]!;
    }
  return u;
}

const even = (v: number): number => {
  const down = Math.floor(v);
  return v - down > 0.5 || (v - down === 0.5 && down % 2 !== 0) ? down + 1 : down;
};

interface Plain {
  readonly steps: Matrix;
  readonly scales: Matrix;
}

function plain(weight: Matrix, hessian: Matrix, size: number, most: number, actOrder: boolean): Plain {
  const K = weight[0]!.length;
  const h = hessian.map((row) => [...row]);
  const w = weight.map((row) => [...row]);
  const mean = h.reduce((s, row, i) => s + row[i]!, 0) / K;
  for (let k = 0; k < K; k++) {
    if (hessian[k]![k] === 0) {
      h[k]![k] = 1;
      for (const row of w) row[k] = 0;
    }
    h[k]![k]! += 0.01 * mean;
  }
  const order = Array.from({ length: K }, (_, k) => k);
  if (actOrder) order.sort((p, q) => hessian[q]![q]! - hessian[p]![p]! || p - q);
  const u = upperFactor(inverse(order.map((p) => order.map((q) => h[p]![q]!))));
  const groups = Math.ceil(K / size);
  const scales: Matrix = w.map(() => new Array<number>(groups).fill(0));
  const measure = (g: number) => {
    for (const [n, row] of w.entries())
      scales[n]![g] = Math.max(...row.slice(g * size, (g + 1) * size).map(Math.abs)) / most;
  };
  if (actOrder) for (let g = 0; g < groups; g++) measure(g);
  const steps: Matrix = w.map(() => new Array<number>(K).fill(0));
  for (const [j, k] of order.entries()) {
    const g = Math.floor(k / size);
    if (!actOrder && k % size === 0) measure(g);
    for (const [n, row] of w.entries()) {
      const scale = scales[n]![g]!;
      const step = scale > 0 ? Math.max(-most, Math.min(most, even(row[k]! / scale))) : 0;
      const error = (row[k]! - step * scale) / u[j]![j]!;
      for (let i = j; i < K; i++) row[order[i]!]! -= error * u[j]![i]!;
      steps[n]![k] = step;
    }
  }
  return { steps, scales };
}

/** The sum of the squared errors of the outputs, `d H d^T` for each row's error. */
function loss(rounded: Matrix, weight: Matrix, h: Matrix): number {
  let total = 0;
  for (const [n, row] of rounded.entries()) {
    const d = row.map((v, k) => v - weight[n]![k]!);
    for (const [i, x] of d.entries()) for (const [j, y] of d.entries()) total += x * h[i]![j]! * y;
  }
  return total;
}

const [N, K] = [7, 76];

await onEachChip(() => {
  it("factors the inverse of a matrix", async () => {
    const x = noise([120, K], 3);
    const h = mm(x.t(), x);
    const u = grid(await numbers(inverseFactor(h)), K);
    const want = upperFactor(inverse(grid(await numbers(h), K)));
    for (const [i, row] of u.entries())
      for (const [j, v] of row.entries()) expect(Math.abs(v - want[i]![j]!)).toBeLessThan(1e-5);
  });

  it.each([
    [4, 32, false],
    [4, 0, false],
    [8, 16, false],
    [4, 32, true],
  ] as const)(
    "rounds as the published algorithm does: %i bits, groups of %i, actOrder %s",
    async (bits, groupSize, actOrder) => {
      const wide = noise([120, K], 5);
      // Channels that depend on each other and differ in size, one of them unused.
      const mix = noise([K, K], 7);
      const x = mm(wide, mix).mul(
        tensor(Float32Array.from({ length: K }, (_, k) => (k === 9 ? 0 : 0.1 + (k % 7)))),
      );
      const h = mm(x.t(), x);
      const weight = noise([N, K], 11);
      const [rounded, scales] = gptq(weight, h, { bits, groupSize, actOrder });
      const most = bits === 8 ? 127 : 7;
      const [hPlain, wPlain] = [grid(await numbers(h), K), grid(await numbers(weight), K)];
      const size = groupSize === 0 ? K : groupSize;
      const want = plain(wPlain, hPlain, size, most, actOrder);
      const got = grid(await numbers(rounded), K);
      const s = grid(await numbers(scales), Math.ceil(K / size));
      // A value that stands between two steps may fall to the other side in f32, and moves those behind it a little.
      let [others, far] = [0, 0];
      for (let n = 0; n < N; n++)
        for (let k = 0; k < K; k++) {
          const step = got[n]![k]! / (s[n]![Math.floor(k / size)]! || 1);
          expect(Math.abs(step - Math.round(step))).toBeLessThan(1e-4);
          const d = Math.abs(step - want.steps[n]![k]!);
          if (d > 0.5) others++;
          if (d > 1.5) far++;
        }
      expect(others).toBeLessThan(0.02 * N * K);
      expect(far).toBe(0);
      const wanted = want.steps.map((row, n) =>
        row.map((v, k) => v * want.scales[n]![Math.floor(k / size)]!),
      );
      const [ours, theirs] = [loss(got, wPlain, hPlain), loss(wanted, wPlain, hPlain)];
      expect(Math.abs(ours / theirs - 1)).toBeLessThan(0.02);
      if (bits === 4) {
        const [, plainScales] = quantizeInt4(weight, groupSize);
        const scale = grid(await numbers(plainScales), Math.ceil(K / size));
        const nearest = wPlain.map((row, n) =>
          row.map((v, k) => even(v / scale[n]![Math.floor(k / size)]!) * scale[n]![Math.floor(k / size)]!),
        );
        expect(ours).toBeLessThan(0.7 * loss(nearest, wPlain, hPlain));
        // The integers are packed with the scales that they were rounded by.
        const [, kept] = quantizeInt4(rounded, groupSize, scales);
        expect(await numbers(kept)).toEqual(await numbers(scales));
      }
    },
  );
});
