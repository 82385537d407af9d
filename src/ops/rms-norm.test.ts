// Normalisations over many rows and long rows against their formulas written with plain operators, and rotary
// positions against their definition.

import { expect, it } from "vitest";
import { callOperator, grad, type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { layerNorm } from "./layer-norm.js";
import { mean } from "./reduce.js";
import { rmsNorm } from "./rms-norm.js";
import { rotary } from "./rotary.js";
import { distance, noise, numbers, onEachChip } from "./testing/chips.js";

const mul = (a: Tensor, b: Tensor | number) => callOperator("mul.Tensor", a, b) as Tensor;
const add = (a: Tensor, b: Tensor | number) => callOperator("add.Tensor", a, b) as Tensor;
const rsqrt = (a: Tensor) => callOperator("rsqrt", a) as Tensor;

const plainRms = (x: Tensor, w: Tensor, eps: number) =>
  mul(mul(x, rsqrt(add(mean(mul(x, x), [-1], true), eps))), w);
function plainLayer(x: Tensor, w: Tensor, b: Tensor, eps: number): Tensor {
  const d = add(x, mul(mean(x, [-1], true), -1));
  return add(mul(mul(d, rsqrt(add(mean(mul(d, d), [-1], true), eps))), w), b);
}

await onEachChip((chip) => {
  it.each([
    [1, 1],
    [300, 8],
    [37, 33],
    [3, 5000],
  ])("%i rows of %i", async (rows, cols) => {
    if (chip === "interpreter" && rows * cols > 10000) return;
    const x = noise([rows, cols], 1).requiresGrad_();
    const w = noise([cols], 2).requiresGrad_();
    const b = noise([cols], 3).requiresGrad_();
    const g = noise([rows, cols], 4);
    const pairs: [Tensor, Tensor, Tensor[]][] = [
      [rmsNorm(x, [cols], w, 1e-5), plainRms(x, w, 1e-5), [x, w]],
      // Rows that a block holds beyond the last one have no root to divide by.
      [rmsNorm(x, [cols], w, 0), plainRms(x, w, 0), [x, w]],
      [layerNorm(x, [cols], w, b, 1e-3), plainLayer(x, w, b, 1e-3), [x, w, b]],
    ];
    for (const [fast, plain, leaves] of pairs) {
      expect(await distance(fast, plain)).toBeLessThan(1e-5);
      const want = grad([plain], leaves, [g]) as Tensor[];
      for (const [i, d] of (grad([fast], leaves, [g]) as Tensor[]).entries())
        expect(await distance(d, want[i]!)).toBeLessThan(1e-4);
    }
  });

  it("keeps dtypes, and takes no rows", async () => {
    const x = noise([4, 6]);
    const wide = await numbers(rmsNorm(x.to("f16").to("f64"), [6], null, 1e-3));
    const half = rmsNorm(x.to("f16"), [6], null, 1e-3);
    expect(half.dtype).toBe("f16");
    (await numbers(half)).forEach((v, i) => {
      expect(Math.abs(v - wide[i]!)).toBeLessThan(2e-3);
    });
    expect(rmsNorm(tensor([], { dtype: "f32", shape: [0, 6] }), [6]).shape).toEqual([0, 6]);
    expect(() => rmsNorm(x, [5])).toThrow(/\[4, 6\] does not end in the normalized shape \[5\]/);
  });

  it("turns pairs by their position's angle, back again, and keeps how heads lie", async () => {
    const [B, H, T, D] = [2, 3, 5, 6];
    const x = noise([B, T, H, D]).transpose(1, 2);
    const angle = (t: number, d: number) => t * 10 ** -d;
    const table = (f: (a: number) => number) =>
      tensor(
        Float32Array.from({ length: (T * D) / 2 }, (_, i) => f(angle(Math.floor(i / 3), i % 3))),
        {
          shape: [T, D / 2],
        },
      );
    const [cos, sin] = [table(Math.cos), table(Math.sin)];
    const y = rotary(x, cos, sin);
    expect(y.strides).toEqual(x.strides);
    const [from, to] = [await numbers(x), await numbers(y)];
    const half = D / 2;
    to.forEach((v, i) => {
      const d = i % D;
      const t = Math.floor(i / D) % T;
      const a = angle(t, d % half);
      const [p, q] = d < half ? [from[i]!, -from[i + half]!] : [from[i]!, from[i - half]!];
      expect(v).toBeCloseTo(p * Math.cos(a) + q * Math.sin(a), 5);
    });
    expect(await distance(rotary(y, cos, sin, true), x)).toBeLessThan(1e-6);
  });
});
