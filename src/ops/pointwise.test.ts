// The pointwise engine on every chip of this machine: layouts against a plain walk over the elements, promotion,
// in-place and out variants, overlap, gradients.

import { beforeAll, describe, expect, it } from "vitest";
import "../chips/index.js";
import { shorten, testedChips } from "../../test/chips.js";
import { setDefaultChip } from "../runtime/index.js";
import { empty, grad, type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { pointwise } from "./pointwise.js";

/** Row-major numbers 0, 1, 2, … */
const range = (shape: readonly number[]): Tensor =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i),
    { shape },
  );

const numbers = async (t: Tensor): Promise<number[]> => Array.from(await t.data(), Number);

/** `x + 2 y` computed on the host from nested lists. */
const expected = async (x: Tensor, y: Tensor): Promise<number[]> => {
  const [a, b] = [await numbers(x), await numbers(y)];
  return a.map((v, i) => v + 2 * b[i]!);
};

const plus = pointwise((_tl, x, y) => x + 2 * y, { name: "plus_twice" });

for (const { name, title, missing } of testedChips)
  describe.skipIf(missing !== undefined)(title, () => {
    beforeAll(() => setDefaultChip(name));
    shorten(name);

    it.each<[string, () => readonly [Tensor, Tensor]]>([
      ["contiguous", () => [range([3, 70]), range([3, 70])]],
      ["several programs", () => [range([40000]), range([40000])]],
      ["zero-dim", () => [range([]), range([])]],
      ["a column and a row", () => [range([5, 1]).expand([5, 7]), range([7]).expand([5, 7])]],
      ["small and turned", () => [range([6, 5]).permute(1, 0), range([5, 6])]],
      ["five dimensions", () => [range([2, 3, 2, 3, 2]).permute(4, 2, 0, 1, 3), range([2, 2, 2, 3, 3])]],
      ["rows that are turned", () => [range([130, 90]).permute(1, 0), range([90, 130])]],
      ["rows with a row to repeat", () => [range([300, 40]), range([40]).expand([300, 40])]],
      ["rows with a column to repeat", () => [range([40, 300]), range([40, 1]).expand([40, 300])]],
      ["long rows of a larger tensor", () => [range([9, 5000]).narrow(1, 1, 4500), range([9, 4500])]],
      ["every other element", () => [range([10000]).slice(0, 0, 10000, 2), range([5000])]],
      ["every other element, beside whole ones", () => [range([5000]), range([10000]).slice(0, 0, 10000, 2)]],
      ["three dimensions, turned", () => [range([20, 30, 17]).permute(2, 0, 1), range([17, 20, 30])]],
      ["whole tiles, turned", () => [range([192, 128]).permute(1, 0), range([128, 192])]],
      ["turned on both sides", () => [range([70, 150]).permute(1, 0), range([70, 150]).permute(1, 0)]],
      ["turned behind a batch", () => [range([2, 3, 67, 90]).permute(0, 1, 3, 2), range([2, 3, 90, 67])]],
      [
        "a dense dimension in the middle",
        () => [range([66, 40, 17]).permute(2, 1, 0).permute(1, 0, 2), range([40, 17, 66])],
      ],
      ["short rows of many", () => [range([900, 3, 8]).permute(0, 2, 1), range([900, 8, 3])]],
    ])("walks %s", async (_what, make) => {
      const [x, y] = make();
      const out = plus(x, y);
      expect(out.shape).toEqual(x.shape);
      expect(out.isContiguous).toBe(true);
      expect(await numbers(out)).toEqual(await expected(x, y));
    });

    it("copies turned tensors of every width", async () => {
      for (const dtype of ["f32", "f64", "i64", "i32", "bf16", "u8", "bool"] as const) {
        const [m, n] = [81, 133];
        const x = range([m, n]).to(dtype);
        const [from, to] = [await numbers(x), await numbers(x.t().contiguous())];
        const at = (j: number, i: number): number => from[i * n + j]!;
        expect(to, dtype).toEqual(Array.from({ length: m * n }, (_, k) => at(Math.floor(k / m), k % m)));
      }
    });

    it("copies turned planes of more blocks than a band", async () => {
      // Blocks of 64 in bands of 16 on chips with vectors: the second band has fewer.
      const [planes, m, n] = [3, 1300, 70];
      const x = range([planes, m, n]);
      const got = (await x.permute(0, 2, 1).contiguous().data()) as Float32Array;
      const want = Float32Array.from({ length: planes * m * n }, (_, k) => {
        const [plane, column, row] = [Math.floor(k / (m * n)), Math.floor(k / m) % n, k % m];
        return (plane * m + row) * n + column;
      });
      expect(got.findIndex((v, k) => v !== want[k])).toBe(-1);
    });

    it("writes outputs of any strides and leaves the rest alone", async () => {
      const whole = range([6, 8]);
      const part = whole.narrow(1, 2, 3).permute(1, 0);
      plus.out(part, range([3, 6]), 1);
      const want = Array.from({ length: 48 }, (_, i) => i);
      for (let r = 0; r < 6; r++) for (let c = 0; c < 3; c++) want[r * 8 + 2 + c] = c * 6 + r + 2;
      expect(await numbers(whole)).toEqual(want);
    });

    it("reads all inputs before it overwrites one through another view", async () => {
      const x = range([1000]);
      plus.out(x.narrow(0, 1, 999), x.narrow(0, 0, 999), 0);
      expect(await numbers(x)).toEqual([0, ...Array.from({ length: 999 }, (_, i) => i)]);
      const square = range([20, 20]);
      plus.inPlace(square, square.permute(1, 0));
      expect(await numbers(square)).toEqual(
        Array.from({ length: 400 }, (_, i) => i + 2 * ((i % 20) * 20 + Math.floor(i / 20))),
      );
      expect(square.version).toBe(1);
    });

    it("promotes as PyTorch does", async () => {
      const half = tensor([1.5], { dtype: "f16" });
      expect(plus(half, 1).dtype).toBe("f16");
      expect(plus(half, tensor([1], { dtype: "bf16" })).dtype).toBe("f32");
      expect(plus(tensor([1], { dtype: "i32" }), 0.5).dtype).toBe("f32");
      const wide = plus(tensor([2n ** 53n + 1n], { dtype: "i64" }), 1);
      expect(await wide.tolist()).toEqual([2n ** 53n + 3n]);
      expect(await plus(tensor([250], { dtype: "u8" }), 4).tolist()).toEqual([2]);
    });

    it("takes numbers, gives several results, and nothing for nothing", async () => {
      const both = pointwise((tl, x) => [x * x, tl.cast(x > 1, tl.i64)], {
        outputs: ["promoted", "i64"],
        name: "both",
      });
      const [a, b] = both(tensor([1, 2, 3], { dtype: "f32" })) as readonly Tensor[];
      expect(await a!.tolist()).toEqual([1, 4, 9]);
      expect(await b!.tolist()).toEqual([0n, 1n, 1n]);
      expect(await plus(2, 0.25).tolist()).toBe(2.5);
      expect(plus(empty([0, 3]), 1).shape).toEqual([0, 3]);
    });

    it("differentiates, also twice, and only what is asked for", async () => {
      const f = pointwise((tl, x, y) => x * x * tl.exp(y), { name: "square_exp" });
      const x = tensor([1, 2, -3], { dtype: "f32", requiresGrad: true });
      const y = tensor([[0], [1]], { dtype: "f32", requiresGrad: true });
      const ones = tensor(new Float32Array(6).fill(1), { shape: [2, 3] });
      const z = f(x, y);
      expect(z.shape).toEqual([2, 3]);
      const [dx, dy] = grad([z], [x, y], [ones], { createGraph: true });
      const e = 1 + Math.E;
      const close = async (t: Tensor, want: number[]) =>
        (await numbers(t)).forEach((v, i) => {
          expect(v).toBeCloseTo(want[i]!, 4);
        });
      await close(dx!, [2 * e, 4 * e, -6 * e]);
      await close(dy!, [14, 14 * Math.E]);
      const [dxx] = grad([dx!], [x], [tensor([1, 1, 1], { dtype: "f32" })]);
      await close(dxx!, [2 * e, 2 * e, 2 * e]);
    });

    it("passes NaN on where a bound is a literal, on either side, in whole vectors and single elements", async () => {
      for (const dtype of ["f32", "f64"] as const) {
        const given = Array.from({ length: 19 }, (_, i) => (i % 3 === 1 ? Number.NaN : i - 9));
        const x = tensor(given, { dtype });
        const between = pointwise(
          (tl, v) => tl.maximum(-4, tl.minimum(v, 5, { propagateNan: true }), { propagateNan: true }),
          { name: "between" },
        );
        expect(await between(x).tolist()).toEqual(given.map((v) => Math.max(-4, Math.min(v, 5))));
      }
    });

    it("takes a written derivative", async () => {
      const f = pointwise((_tl, x) => x * x, { grad: (_tl, x, g) => g * x * 100, name: "own" });
      const x = tensor([2], { dtype: "f32", requiresGrad: true });
      f(x).backward(tensor([1], { dtype: "f32" }));
      expect(await x.grad!.tolist()).toEqual([200]);
    });
  });

describe("mistakes", () => {
  beforeAll(() => setDefaultChip("interpreter"));

  it("names the operator and the shapes that do not broadcast", () => {
    expect(() => plus(range([2, 3]), range([4]))).toThrow(/plus_twice: .*\[2, 3\] and \[4\]/);
    expect(() => plus.out(range([2]), range([2, 2]), 1)).toThrow(
      /does not broadcast to the written one's \[2\]/,
    );
  });

  it("says where the function does what the language does not allow", () => {
    const bad = pointwise((tl, x) => (tl as unknown as { cotangent(v: number): number }).cotangent(x), {
      name: "bad",
    });
    expect(() => bad(range([2]))).toThrow(/cotangent/);
  });

  it("refuses to write in place while gradients are recorded", () => {
    const x = tensor([1], { dtype: "f32", requiresGrad: true });
    expect(() => plus.inPlace(x, 1)).toThrow(/noGrad/);
  });
});
