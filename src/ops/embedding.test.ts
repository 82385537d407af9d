// Embeddings: gradients where indices repeat, large tables, options, what is out of range.

import { beforeAll, describe, expect, it } from "vitest";
import { testedChips } from "../../test/chips.js";
import "../chips/index.js";
import { Generator, loadChip, setDefaultChip } from "../runtime/index.js";
import { callOperator, type DType, grad, type Tensor, tensor } from "../tensor/index.js";
import { embedding, embeddingMaxNorm, mul, ones, randint, randn, sum } from "./index.js";

const chips = testedChips.filter((c) => c.missing === undefined).map((c) => c.name);
beforeAll(async () => {
  for (const chip of chips) await loadChip(chip);
  await setDefaultChip(chips[0]!);
});
const numbers = async (t: Tensor): Promise<number[]> => Array.from(await t.data(), Number);

describe.each(chips)("on %s", (device) => {
  // Few rows that all repeat; more rows than indices; columns of several blocks and no power of two.
  it.each([
    [14, 32, 1152],
    [3000, 40, 500],
    [7, 1300, 60],
    [1, 1, 5],
  ])("a table of %i x %i gathers and sums %i rows", async (rows, cols, count) => {
    const w = randn([rows, cols], { device, generator: new Generator(1), requiresGrad: true });
    const ids = randint(0, rows, [count], { device, generator: new Generator(2) });
    const g = randn([count, cols], { device, generator: new Generator(3) });
    const y = embedding(w, ids);
    const [table, index, given] = [await numbers(w), await numbers(ids), await numbers(g)];
    const got = await numbers(y);
    index.forEach((id, i) => {
      expect(got.slice(i * cols, (i + 1) * cols)).toEqual(table.slice(id * cols, (id + 1) * cols));
    });
    const want = new Float64Array(rows * cols);
    index.forEach((id, i) => {
      for (let c = 0; c < cols; c++) want[id * cols + c]! += given[i * cols + c]!;
    });
    y.backward(g);
    const gradient = await numbers(w.grad!);
    const worst = Math.max(...gradient.map((v, i) => Math.abs(v - want[i]!)));
    expect(worst).toBeLessThan(1e-4);
  });

  it.each(["f16", "bf16"] as const)("sums gradients of %s in f32", async (dtype: DType) => {
    const w = ones([2, 3], { dtype, device, requiresGrad: true });
    // 1000 times 0.25 and one 1: a half float's own sum would stop growing at 512.
    const ids = tensor(new BigInt64Array(4001), { device });
    const y = embedding(w, ids);
    y.backward(mul(ones([4001, 3], { dtype, device }), 0.25));
    expect((await numbers(w.grad!))[0]).toBeCloseTo(1000.25, dtype === "f16" ? -0.1 : -1);
    expect(w.grad!.dtype).toBe(dtype);
  });

  it("leaves the padding row without gradient, and weighs by frequency", async () => {
    const ids = tensor([1, 2, 1, 1], { device });
    const table = () => ones([4, 2], { device, requiresGrad: true });
    const a = table();
    embedding(a, ids, { paddingIdx: 1 }).backward(ones([4, 2], { device }));
    expect(await a.grad!.tolist()).toEqual([
      [0, 0],
      [0, 0],
      [1, 1],
      [0, 0],
    ]);
    const b = table();
    embedding(b, ids, { scaleGradByFreq: true }).backward(ones([4, 2], { device }));
    const rows = (await b.grad!.tolist()) as number[][];
    expect(rows[1]![0]).toBeCloseTo(1, 6);
    expect(rows[2]).toEqual([1, 1]);
    expect(rows[0]).toEqual([0, 0]);
  });

  it("gives zeros for indices out of range, and no gradient", async () => {
    const w = ones([3, 2], { device, requiresGrad: true });
    const y = embedding(w, tensor([-1, 3, 2], { device }));
    expect(await y.tolist()).toEqual([
      [0, 0],
      [0, 0],
      [1, 1],
    ]);
    y.backward(ones([3, 2], { device }));
    expect(await w.grad!.tolist()).toEqual([
      [0, 0],
      [0, 0],
      [1, 1],
    ]);
  });

  it("takes i32 indices of any shape and strides", async () => {
    const w = tensor(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      { dtype: "f32", device },
    );
    const ids = tensor(
      [
        [0, 1],
        [2, 2],
      ],
      { dtype: "i32", device },
    ).transpose(0, 1);
    expect(await embedding(w.transpose(0, 1).contiguous().transpose(0, 1), ids).tolist()).toEqual([
      [
        [1, 2],
        [5, 6],
      ],
      [
        [3, 4],
        [5, 6],
      ],
    ]);
    expect(embedding(w, tensor(new BigInt64Array(0), { shape: [0, 4], device })).shape).toEqual([0, 4, 2]);
  });

  it("shrinks rows to a norm, once each", async () => {
    const w = tensor(
      [
        [3, 4],
        [0.3, 0.4],
        [6, 8],
      ],
      { dtype: "f32", device, requiresGrad: true },
    );
    const y = embeddingMaxNorm(w, tensor([0, 0, 1], { device }), 1);
    const rows = (await y.tolist()) as number[][];
    expect(rows[0]![0]).toBeCloseTo(0.6, 5);
    expect(rows[1]).toEqual(rows[0]);
    expect(rows[2]![1]).toBeCloseTo(0.4, 6);
    expect(((await w.tolist()) as number[][])[2]).toEqual([6, 8]);
    y.backward(ones([3, 2], { device }));
    expect(await w.grad!.tolist()).toEqual([
      [2, 2],
      [1, 1],
      [0, 0],
    ]);
  });

  it("can be differentiated twice", async () => {
    const w = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { dtype: "f32", device, requiresGrad: true },
    );
    const ids = tensor([1, 1, 0], { device });
    const y = embedding(w, ids);
    const [g] = grad([sum(mul(mul(y, y), y))], [w], undefined, { createGraph: true });
    const [h] = grad([sum(g!)], [w]);
    // d2/dw2 of w^3, once for row 0, twice for row 1.
    expect(await h!.tolist()).toEqual([
      [6, 12],
      [36, 48],
    ]);
  });
});

it("refuses tables and indices of other kinds", () => {
  expect(() => embedding(ones([3]), tensor([0]))).toThrow(/\[rows, features\]/);
  expect(() => embedding(ones([3, 2]), ones([2]))).toThrow(/i64 or i32, not f32/);
  const gradient = (g: Tensor, ids: Tensor) => callOperator("embedding_dense_backward", g, ids, 3, -1, false);
  expect(() => gradient(ones([2, 2]), ones([2]))).toThrow(/i64 or i32, not f32/);
  expect(() => gradient(ones([2, 2]), tensor([0, 1, 2]))).toThrow(/\[2, 2\] has not one row for each.*\[3\]/);
});
