// What the samples do not show of indexing, joining and creation: options, errors, order of writes, many blocks.

import { beforeAll, describe, expect, it } from "vitest";
import { testedChips } from "../../test/chips.js";
import "../chips/index.js";
import { Generator, loadChip, setDefaultChip } from "../runtime/index.js";
import { noGrad, slice, type Tensor, tensor } from "../tensor/index.js";
import * as ops from "./index.js";

const chips = testedChips.filter((c) => c.missing === undefined).map((c) => c.name);
beforeAll(async () => {
  for (const chip of chips) await loadChip(chip);
  await setDefaultChip(chips[0]!);
});
const numbers = async (t: Tensor): Promise<number[]> => Array.from(await t.data(), Number);

describe("creation", () => {
  it("takes dtype, device and requiresGrad", async () => {
    for (const device of chips) {
      const x = ops.zeros([2, 2], { dtype: "f16", device, requiresGrad: true });
      expect([x.dtype, x.device, x.requiresGrad, x.isLeaf]).toEqual(["f16", device, true, true]);
      expect(ops.onesLike(x).requiresGrad).toBe(false);
      expect([ops.fullLike(x, 3).dtype, x.newZeros([1]).device]).toEqual(["f16", device]);
    }
    expect(ops.ones(3).shape).toEqual([3]);
    expect(() => ops.zeros([2, -1])).toThrow(/0 or more/);
    expect(() => ops.zeros([2], { dytpe: "f32" } as never)).toThrow(/dtype/);
  });

  it("full takes its dtype from the value", () => {
    expect([ops.full([1], true), ops.full([1], 2), ops.full([1], 2.5)].map((t) => t.dtype)).toEqual([
      "bool",
      "i64",
      "f32",
    ]);
  });

  it("arange counts integers exactly and floats without drift", async () => {
    const big = 2n ** 60n;
    expect(await ops.arange(big, big + 3n).tolist()).toEqual([big, big + 1n, big + 2n]);
    expect(await ops.arange(5, 0, -2).tolist()).toEqual([5n, 3n, 1n]);
    const x = await numbers(ops.arange(0, 1000, 0.1));
    expect(x.length).toBe(10_000);
    expect(x[9999]).toBe(Math.fround(999.9));
    expect(ops.arange(0, 1, 0.25).dtype).toBe("f32");
    expect(() => ops.arange(0, 1, 0)).toThrow(/step is 0/);
    expect(() => ops.arange(0, 1, -1)).toThrow(/wrong way/);
    expect(() => ops.arange(0, Number.POSITIVE_INFINITY)).toThrow(/finite/);
  });

  it("linspace holds both ends exactly", async () => {
    const x = await numbers(ops.linspace(0.1, 0.7, 1001));
    expect([x[0], x[1000], x.length]).toEqual([Math.fround(0.1), Math.fround(0.7), 1001]);
    expect(await numbers(ops.logspace(0, 3, 4))).toEqual([1, 10, 100, 1000]);
    expect(() => ops.linspace(0, 1, -1)).toThrow(/0 or more/);
  });
});

describe.each(chips)("indexing on %s", (device) => {
  const grid = (rows: number, cols: number): Tensor =>
    ops.arange(rows * cols, { dtype: "f32", device }).view([rows, cols]);

  it("t.index gathers with tensors, lists, slices and numbers together", async () => {
    const x = grid(4, 5);
    const at = (v: number[]) => tensor(v, { dtype: "i64", device });
    expect(await x.index(at([3, -1, 0])).tolist()).toEqual(
      await ops.stack([x.select(0, 3), x.select(0, 3), x.select(0, 0)]).tolist(),
    );
    expect(await x.index([0, 1], [-1, 2]).tolist()).toEqual([4, 7]);
    expect(await x.index(slice(1, 3), [0, 4]).tolist()).toEqual([
      [5, 9],
      [10, 14],
    ]);
    const cube = ops.arange(24, { device }).view([2, 3, 4]);
    // Indices that are no neighbours come first.
    expect(cube.index([0, 1, 1], slice(), [1, 1, 0]).shape).toEqual([3, 3]);
    expect(await cube.index([0, 1, 1], slice(), [1, 1, 0]).select(0, 2).tolist()).toEqual([12n, 16n, 20n]);
    expect(cube.index(slice(), at([0, 1]).unsqueeze(1), [0, 3]).shape).toEqual([2, 2, 2]);
    expect(() => x.index([0, 1], [0, 1, 2])).toThrow(/broadcast/);
  });

  it("indices out of range give zeros, and do not reach other rows", async () => {
    const x = ops.ones([3, 4], { device });
    expect(await x.index([0, 5, -4], [0, 0, 0]).tolist()).toEqual([1, 0, 0]);
    expect(await x.index([0, 0, 0], [3, 4, -5]).tolist()).toEqual([1, 0, 0]);
    expect(await ops.indexSelect(x, 1, tensor([7], { device })).tolist()).toEqual([[0], [0], [0]]);
  });

  it("masks give promises, also inside noGrad", async () => {
    const x = grid(3, 4).requiresGrad_();
    const big = ops.gt(x, 8.5);
    const y = await ops.maskedSelect(x, big);
    expect([await y.tolist(), y.requiresGrad]).toEqual([[9, 10, 11], true]);
    y.backward(tensor([1, 2, 3], { dtype: "f32", device }));
    expect((await numbers(x.grad!)).slice(8)).toEqual([0, 1, 2, 3]);
    expect((await noGrad(() => ops.maskedSelect(x, big))).requiresGrad).toBe(false);
    expect(
      await (
        await ops.indexTensors(x, [tensor([true, false, true], { device }), tensor([1, 2], { device })])
      ).tolist(),
    ).toEqual([1, 10]);
    expect(
      await (
        await ops.indexPut(
          grid(2, 2),
          [
            tensor(
              [
                [true, false],
                [false, true],
              ],
              { device },
            ),
          ],
          tensor([-1], { dtype: "f32", device }),
        )
      ).tolist(),
    ).toEqual([
      [-1, 1],
      [2, -1],
    ]);
  });

  it("nonzero counts over many blocks", async () => {
    const n = 70_001;
    const x = ops.lt(ops.rand([n], { device, generator: new Generator(1) }), 0.3);
    const want = (await numbers(x)).flatMap((v, i) => (v ? [i] : []));
    expect(await numbers((await ops.nonzero(x)).view([-1]))).toEqual(want);
    expect((await ops.nonzero(ops.zeros([4, 3], { device }))).shape).toEqual([0, 2]);
  });

  it("of equal indices the last stays, and sums have one order", async () => {
    const at = tensor([1, 0, 1, 1], { device });
    const v = tensor([1, 2, 3, 4], { dtype: "f32", device });
    const zeros = ops.zeros([2], { device });
    expect(await ops.scatter(zeros, 0, at, v).tolist()).toEqual([2, 4]);
    expect(await ops.scatterAdd(zeros, 0, at, v).tolist()).toEqual([2, 8]);
    expect(await ops.scatter(ops.ones([2], { device }), 0, at, v, { reduce: "multiply" }).tolist()).toEqual([
      2, 12,
    ]);
    const many = ops.randn([20_000], { device, generator: new Generator(2) });
    const ids = ops.randint(0, 50, [20_000], { device, generator: new Generator(3) });
    const want = new Float32Array(50);
    const [values, where] = [await numbers(many), await numbers(ids)];
    where.forEach((id, i) => {
      want[id] = Math.fround(want[id]! + values[i]!);
    });
    expect(await numbers(ops.scatterAdd(ops.zeros([50], { device }), 0, ids, many))).toEqual(
      Array.from(want),
    );
    expect(await numbers(ops.indexAdd(ops.zeros([50], { device }), 0, ids, many))).toEqual(Array.from(want));
  });

  it("in-place forms write views and carry gradients", async () => {
    const base = ops.zeros([3, 4], { device });
    base.select(1, 2).indexAdd_(0, tensor([0, 2, 2], { device }), ops.ones([3], { device }));
    expect(await base.tolist()).toEqual([
      [0, 0, 1, 0],
      [0, 0, 0, 0],
      [0, 0, 2, 0],
    ]);
    const x = ops.ones([3], { device }).requiresGrad_();
    const s = ops.ones([2], { device }).requiresGrad_();
    const y = x.clone();
    y.scatter_(0, tensor([2, 0], { device }), s);
    y.backward(tensor([1, 2, 3], { dtype: "f32", device }));
    expect([await x.grad!.tolist(), await s.grad!.tolist()]).toEqual([
      [0, 2, 0],
      [3, 1],
    ]);
    const z = ops.zeros([2, 3], { device });
    expect(await z.indexFill_(1, tensor([1], { device }), 7).tolist()).toEqual([
      [0, 7, 0],
      [0, 7, 0],
    ]);
  });

  it("cat promotes, passes over empty lists, and joins many", async () => {
    const parts = Array.from({ length: 9 }, (_, i) => ops.full([2, i], i, { dtype: "f32", device }));
    const all = ops.cat(parts, 1);
    expect(all.shape).toEqual([2, 36]);
    expect((await numbers(all)).slice(0, 4)).toEqual([1, 2, 2, 3]);
    expect(
      ops.cat([ops.ones([1], { dtype: "i64", device }), ops.ones([1], { dtype: "f16", device })]).dtype,
    ).toBe("f16");
    expect(ops.cat([ops.zeros([0], { device }), ops.ones([2, 3], { device })], 1).shape).toEqual([2, 3]);
    expect(() => ops.cat([ops.ones([2, 3], { device }), ops.ones([2, 4], { device })])).toThrow(/differ/);
    expect(() => ops.cat([])).toThrow(/no tensors/);
  });

  it("repeats by a tensor of counts", async () => {
    const x = grid(3, 1).view([3]);
    const counts = tensor([2, 0, 3], { device });
    expect(await (await ops.repeatInterleave(x, counts)).tolist()).toEqual([0, 0, 2, 2, 2]);
    expect(await (await x.repeatInterleave(counts, 0, { outputSize: 5 })).tolist()).toEqual([0, 0, 2, 2, 2]);
  });

  it("triangles of long rows and batches", async () => {
    const x = ops.ones([2, 3, 1500], { device });
    const low = await numbers(ops.sum(ops.tril(x, 1200), [2]));
    expect(low).toEqual([1201, 1202, 1203, 1201, 1202, 1203]);
    expect(await numbers(ops.sum(ops.triu(x, -5)))).toEqual([9000]);
  });
});

it("errors name what does not fit", () => {
  const x = ops.ones([3, 4]);
  const at = tensor([[0]]);
  expect(() => ops.gather(x, 2, at)).toThrow(/dimension 2/);
  expect(() => ops.gather(x, 0, ops.ones([1, 1]))).toThrow(/i64 or i32, not f32/);
  expect(() => ops.gather(x, 0, tensor([0]))).toThrow(/1 dimensions .* the tensor 2/);
  expect(() => ops.gather(x, 0, tensor([[0, 0, 0, 0, 0]]))).toThrow(/larger/);
  expect(() => ops.scatterAdd(x, 0, at, ops.ones([1, 1], { dtype: "f64" }))).toThrow(/dtype f64/);
  expect(() => ops.scatter(x, 0, at, 1, { reduce: "mean" as never })).toThrow(/"mean"/);
  expect(() => ops.indexSelect(x, 0, at)).toThrow(/list of numbers/);
  expect(() => ops.indexAdd(x, 0, tensor([0]), ops.ones([2, 4]))).toThrow(/takes \[1, 4\]/);
  expect(() => ops.oneHot(ops.ones([2]), 3)).toThrow(/i64/);
  expect(() => ops.tril(ops.ones([3]))).toThrow(/matrices/);
  expect(() => ops.roll(x, [1, 2], [0])).toThrow(/2 shifts/);
  expect(() => x.repeat(2)).toThrow(/1 repeats/);
});
