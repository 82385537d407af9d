// Tensors of the floats of 8 bits: what PyTorch does with them on a CPU, on every chip.

import { expect, it } from "vitest";
import { cat, eq, flip, full, indexSelect, ones, stack, where, zeros } from "./index.js";
import { empty, fromBytes, promoteTypes, resultType, tensor } from "../tensor/index.js";
import { formatTensor } from "../tensor/print.js";
import { parseDType, torchDType } from "../tensor/dtype.js";
import { onEachChip } from "./testing/chips.js";

const every = Uint8Array.from({ length: 256 }, (_, i) => i);

await onEachChip(() => {
  it.each(["f8e4m3", "f8e5m2"] as const)("%s: bytes, values, views, copies", async (dtype) => {
    const t = fromBytes(every, [16, 16], dtype);
    expect([t.itemSize, t.dtype]).toEqual([1, dtype]);
    expect([...(await t.bytes())]).toEqual([...every]);
    const values = [...(await t.data())] as number[];
    const turned = t.t();
    const copy = turned.contiguous();
    expect([...(await copy.data())]).toEqual([...(await turned.data())]);
    expect([...(await t.select(0, 3).data())]).toEqual(values.slice(48, 64));
    expect([...(await t.narrow(1, 2, 3).clone().data())].slice(0, 3)).toEqual(values.slice(2, 5));
    // Through every wider float and back all values stay.
    for (const wide of ["f16", "bf16", "f32", "f64"] as const) {
      expect([...(await t.to(wide).data())]).toEqual(values);
      expect([...(await t.t().to(wide).to(dtype).data())]).toEqual([...(await turned.data())]);
    }
  });

  it("conversions round as PyTorch's", async () => {
    const x = tensor([0.3, 448, 464, 465, 1e9, -1e9, 2 ** -10, 1.5 * 2 ** -10, -0.0625, Number.NaN]);
    const e4m3 = [0.3125, 448, 448, NaN, NaN, NaN, 0, 2 ** -9, -0.0625, NaN];
    expect([...(await x.to("f8e4m3").data())]).toEqual(e4m3);
    const y = tensor([0.3, 57344, 61439, 61440, -1e9, 2 ** -17, 1.5 * 2 ** -17, Number.NEGATIVE_INFINITY]);
    expect([...(await y.to("f8e5m2").data())]).toEqual([
      0.3125,
      57344,
      57344,
      Infinity,
      -Infinity,
      0,
      2 ** -16,
      -Infinity,
    ]);
    expect([...(await x.to("f8e5m2").to("f8e4m3").data())].slice(0, 2)).toEqual([0.3125, 448]);
    expect([...(await tensor([3, -7, 1000]).to("f8e5m2").data())]).toEqual([3, -7, 1024]);
    expect([...(await tensor([1.9, -3.5], { dtype: "f8e4m3" }).to("i32").data())]).toEqual([1, -3]);
    expect([...(await tensor([0, 2], { dtype: "f8e5m2" }).to("bool").data())]).toEqual([0, 1]);
  });

  it("creation, joining, choosing, comparing", async () => {
    const options = { dtype: "f8e4m3" } as const;
    expect(await zeros([2], options).tolist()).toEqual([0, 0]);
    expect(await ones([2], options).tolist()).toEqual([1, 1]);
    expect(await full([2], 3.3, options).tolist()).toEqual([3.25, 3.25]);
    const a = tensor([1, 2, 3.5], options);
    const b = tensor([1, -2, 100], options);
    expect(await cat([a, b]).tolist()).toEqual([1, 2, 3.5, 1, -2, 96]);
    expect(await stack([a, b], 1).tolist()).toEqual([
      [1, 1],
      [2, -2],
      [3.5, 96],
    ]);
    expect(await eq(a, b).tolist()).toEqual([true, false, false]);
    expect(await where(eq(a, b), a, b).tolist()).toEqual([1, -2, 96]);
    expect(await flip(a, [0]).tolist()).toEqual([3.5, 2, 1]);
    expect(await indexSelect(a, 0, tensor([2, 0])).tolist()).toEqual([3.5, 1]);
    const c = empty([3], options);
    c.fill_(0.1);
    expect(await c.tolist()).toEqual([0.1015625, 0.1015625, 0.1015625]);
    c.copy_(b);
    expect(await c.tolist()).toEqual([1, -2, 96]);
    expect(await formatTensor(a)).toBe("tensor([1.0000, 2.0000, 3.5000], dtype=f8e4m3)");
    a.requiresGrad = true;
    a.to("f32").backward(tensor([1, 2, 4.0001], { dtype: "f32" }));
    expect(a.grad!.dtype).toBe("f8e4m3");
    expect(await a.grad!.tolist()).toEqual([1, 2, 4]);
  });
});

it("names and promotion are PyTorch's", () => {
  expect([parseDType("torch.float8_e4m3fn"), parseDType("float8_e5m2")]).toEqual(["f8e4m3", "f8e5m2"]);
  expect(torchDType("f8e4m3")).toBe("float8_e4m3fn");
  expect(promoteTypes("f8e5m2", "f8e5m2")).toBe("f8e5m2");
  for (const other of ["f32", "f16", "i64", "bool", "f8e4m3"] as const)
    expect(() => promoteTypes("f8e5m2", other)).toThrow(/f8e5m2 and \w+ have no common dtype/);
  expect(resultType({ dtype: "f8e4m3", shape: [2] }, 2.5)).toBe("f8e4m3");
  expect(() => resultType({ dtype: "i32", shape: [2] }, { dtype: "f8e4m3", shape: [] })).toThrow(/common/);
});
