// The out form of operators, in-place methods by their types, and writing by index: values, versions, gradients, errors.

import { describe, expect, it } from "vitest";
import { ellipsis, grad, slice, type Tensor, tensor, useOps } from "../tensor/index.js";
import { add, arange, argmax, div, matmul, mul, sort, sum, where, zeros } from "./index.js";
import { noise, numbers, onEachChip } from "./testing/chips.js";

await onEachChip(() => {
  describe("out", () => {
    it("writes results into given tensors, cast and strided", async () => {
      const [a, b] = [tensor([1, 2, 3], { dtype: "f32" }), tensor([10, 20, 30], { dtype: "f32" })];
      const out = zeros([3], { dtype: "f64" });
      expect(add.out(out, a, b, { alpha: 2 })).toBe(out);
      expect(await numbers(out)).toEqual([21, 42, 63]);
      expect(out.version).toBe(1);
      const wide = zeros([3, 2]);
      mul.out(wide.select(1, 1), a, 3);
      expect(await numbers(wide)).toEqual([0, 3, 0, 6, 0, 9]);
      expect(wide.version).toBe(1);
      matmul.out(out.view(1, 3), a.view(1, 3).to("f64"), tensor([[1, 0, 0], [0, 2, 0], [0, 0, 3]], { dtype: "f64" })); // biome-ignore format: one case
      expect(await numbers(out)).toEqual([1, 4, 9]);
    });

    it("may write an argument, through a copy where elements move", async () => {
      const x = tensor([1, 2, 3, 4], { dtype: "f32" });
      add.out(x, x, x);
      expect(await numbers(x)).toEqual([2, 4, 6, 8]);
      add.out(x.at(slice(1)), x.at(slice(0, 3)), 0);
      expect(await numbers(x)).toEqual([2, 2, 4, 6]);
    });

    it("takes lists for several results", async () => {
      const out: [Tensor, Tensor] = [zeros([3]), zeros([3], { dtype: "i64" })];
      sort.out(out, tensor([3, 1, 2], { dtype: "f32" }));
      expect(await numbers(out[0])).toEqual([1, 2, 3]);
      expect(await numbers(out[1])).toEqual([1, 2, 0]);
    });

    it("refuses wrong shapes, dtypes, gradients and views", () => {
      const x = tensor([1, 2, 3], { dtype: "f32" });
      expect(() => add.out(zeros([4]), x, x)).toThrow(/result has shape \[3\], the out tensor \[4\]/);
      expect(() => div.out(zeros([3], { dtype: "i32" }), x, x)).toThrow(
        /result of f32 cannot be written into a tensor of i32/,
      );
      expect(() => argmax.out(zeros([2]), x)).toThrow(/result has shape \[\], the out tensor \[2\]/);
      expect(() => add.out(zeros([3]), x.clone().requiresGrad_(), x)).toThrow(/not recorded for gradients/);
      expect(() => where.out([] as unknown as Tensor, x, x, x)).toThrow(/out has 0 tensors|gives 1 results/);
    });

    it("goes through useOps", async () => {
      const seen: string[] = [];
      const out = zeros([3]);
      useOps({ record: (r) => seen.push(r.operator) }, () => add.out(out, tensor([1, 2, 3]), 1));
      expect(seen).toContain("add.Tensor");
      expect(await numbers(out)).toEqual([2, 3, 4]);
    });
  });

  describe("in place", () => {
    it("has types for what the table declares", async () => {
      const x = tensor([1, 4, 9], { dtype: "f32" });
      const y: Tensor = x
        .add_(1, { alpha: 2 })
        .mul_(2)
        .sub_(tensor([2, 2, 2]))
        .sqrt_();
      expect(y).toBe(x);
      expect(await numbers(x)).toEqual([2, Math.fround(Math.sqrt(10)), Math.fround(Math.sqrt(20))]);
      expect(x.version).toBe(4);
    });
  });

  describe("indexSet_", () => {
    const grid = (): Tensor => arange(12, { dtype: "f32" }).view(3, 4);
    const write = async (...args: Parameters<Tensor["indexSet_"]>): Promise<number[]> =>
      numbers(grid().indexSet_(...args));

    it("writes through numbers, slices, ellipsis and new dimensions", async () => {
      expect(await write([1], -1)).toEqual([0, 1, 2, 3, -1, -1, -1, -1, 8, 9, 10, 11]);
      expect(await write([ellipsis, slice(null, null, 2)], 0)).toEqual([0, 1, 0, 3, 0, 5, 0, 7, 0, 9, 0, 11]);
      expect(await write([0, slice(1, 3)], tensor([5, 6]))).toEqual([0, 5, 6, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
      expect(await write(ellipsis, 7)).toEqual(new Array(12).fill(7));
    });

    it("writes through integer tensors and lists, broadcast against each other", async () => {
      expect(await write([[0, 2], [1, 3]], tensor([-1, -2]))).toEqual([0, -1, 2, 3, 4, 5, 6, 7, 8, 9, 10, -2]); // biome-ignore format: one case
      expect(await write([tensor([2, 0]), slice()], tensor([[1], [2]]))).toEqual([2, 2, 2, 2, 4, 5, 6, 7, 1, 1, 1, 1]); // biome-ignore format: one case
      expect(await write([slice(), tensor([-1])], 0)).toEqual([0, 1, 2, 0, 4, 5, 6, 0, 8, 9, 10, 0]);
      expect(await write(tensor([1]), 0)).toEqual([0, 1, 2, 3, 0, 0, 0, 0, 8, 9, 10, 11]);
      const turned = grid().t();
      turned.indexSet_([[0, 3], ellipsis, [0, 1]], 0);
      expect(await numbers(turned.t())).toEqual([0, 1, 2, 3, 4, 5, 6, 0, 8, 9, 10, 11]);
    });

    it("writes under a mask", async () => {
      const x = grid();
      x.indexSet_(x.gt(8), -1);
      expect(await numbers(x)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, -1, -1, -1]);
      expect(await write(tensor([true, false, true]), 0)).toEqual([0, 0, 0, 0, 4, 5, 6, 7, 0, 0, 0, 0]);
      expect(await write(tensor([true, false, true]), tensor([[1, 2, 3, 4], [5, 6, 7, 8]]))).toEqual([1, 2, 3, 4, 4, 5, 6, 7, 5, 6, 7, 8]); // biome-ignore format: one case
      expect(await write([slice(), tensor([true, false, false, true])], 0)).toEqual([0, 1, 2, 0, 0, 5, 6, 0, 0, 9, 10, 0]); // biome-ignore format: one case
      expect(() => grid().indexSet_([tensor([true, false, true]), [0]], 0)).toThrow(/takes a mask alone/);
      expect(() => grid().indexSet_(tensor([true]), 0)).toThrow(/mask \[1\] does not fit/);
    });

    it("gives gradients, and versions for what was saved", async () => {
      const [x, v] = [noise([3, 4]).requiresGrad_(), tensor([2, 3], { dtype: "f32", requiresGrad: true })];
      const y = mul(x, 2);
      y.indexSet_([[0, 2], 1], v);
      const [dx, dv] = grad([sum(mul(y, y))], [x, v]);
      expect(await numbers(dv!)).toEqual([4, 6]);
      const from = await numbers(x);
      (await numbers(dx!)).forEach((g, i) => {
        expect(g).toBeCloseTo(i === 1 || i === 9 ? 0 : 8 * from[i]!, 4);
      });
      const z = mul(x, 2);
      const w = mul(z, z);
      z.indexSet_([0, 0], 1);
      expect(() => sum(w).backward()).toThrow(/modified in place/);
    });
  });

  it("reads by mask", async () => {
    const x = arange(6, { dtype: "f32" }).view(2, 3);
    expect(await numbers(await x.indexAsync(x.gt(2)))).toEqual([3, 4, 5]);
    expect(await numbers(await x.indexAsync(slice(), tensor([true, false, true])))).toEqual([0, 2, 3, 5]);
    expect(() => x.index(x.gt(2))).toThrow(/indexAsync/);
  });
});
