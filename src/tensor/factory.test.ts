// Making and reading tensors: dtypes from data, conversion, strided reading, printing.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { empty, fromBytes, tensor, TENSOR_DTYPES, type NestedData } from "./index.js";
import { mul } from "./testing/host-ops.js";

describe("tensor", () => {
  it.each<[NestedData, string, number[]]>([
    [1, "i64", []],
    [1.5, "f32", []],
    [[1, 2], "i64", [2]],
    [[1, 2.5], "f32", [2]],
    [[true, false], "bool", [2]],
    [[true, 2], "i64", [2]],
    [[[1n], [2n]], "i64", [2, 1]],
    [[], "f32", [0]],
    [[[], []], "f32", [2, 0]],
    [[Number.NaN], "f32", [1]],
    [new Float64Array(2), "f64", [2]],
    [new Uint8Array(3), "u8", [3]],
    [new Int16Array(1), "i16", [1]],
    [[Float32Array.of(1, 2), Float32Array.of(3, 4)], "i64", [2, 2]],
  ])("infers dtype and shape (%#)", (data, dtype, shape) => {
    const t = tensor(data);
    expect([t.dtype, t.shape]).toEqual([dtype, shape]);
  });

  it("refuses ragged data, wrong shapes and strange elements", () => {
    expect(() => tensor([[1, 2], [3]])).toThrow(
      /ragged data: element 1 has shape \[1\], those before it \[2\]/,
    );
    expect(() => tensor([1, 2, 3], { shape: [2, 2] })).toThrow(/shape \[2, 2\] does not hold 3 elements/);
    expect(() => tensor("x" as unknown as number)).toThrow(/not string/);
    expect(() => tensor([{}] as unknown as number[])).toThrow(/numbers nested in arrays/);
    expect(() => tensor(new Uint32Array(2))).toThrow(/no dtype u32/);
    expect(() => fromBytes(new Uint8Array(7), [2], "f32")).toThrow(/takes 8 bytes, not 7/);
    expect(() => tensor([1, 2], { requiresGrad: true })).toThrow(/only float/);
    expect(() => empty([1], { device: "nowhere" })).toThrow(/nowhere/);
  });

  it("converts as a cast does", async () => {
    const values = [0, 1, -1, 300.7, -129, 2 ** 31, 65519];
    const as = async (dtype: (typeof TENSOR_DTYPES)[number]): Promise<unknown> => [
      ...(await tensor(values, { dtype }).data()),
    ];
    expect(await as("u8")).toEqual([0, 1, 255, 44, 127, 0, 239]);
    expect(await as("i8")).toEqual([0, 1, -1, 44, 127, 0, -17]);
    expect(await as("i32")).toEqual([0, 1, -1, 300, -129, -(2 ** 31), 65519]);
    expect(await as("i64")).toEqual([0n, 1n, -1n, 300n, -129n, 2147483648n, 65519n]);
    expect(await as("bool")).toEqual([0, 1, 1, 1, 1, 1, 1]);
    expect(await as("f16")).toEqual([0, 1, -1, 300.75, -129, Infinity, 65504]);
    expect(await as("bf16")).toEqual([0, 1, -1, 300, -129, 2 ** 31, 65536]);
    expect(await as("f8e4m3")).toEqual([0, 1, -1, 288, -128, NaN, NaN]);
    expect(await as("f8e5m2")).toEqual([0, 1, -1, 320, -128, Infinity, Infinity]);
    expect([...(await tensor([2n ** 40n + 5n, -1n], { dtype: "i32" }).data())]).toEqual([5, -1]);
    expect([...(await tensor([2n ** 62n + 1n]).data())]).toEqual([2n ** 62n + 1n]);
  });

  it("brings every value back", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...TENSOR_DTYPES),
        fc.array(fc.integer({ min: 0, max: 1 })),
        async (dtype, data) => {
          const t = tensor(data, { dtype });
          expect([...(await t.data())].map(Number)).toEqual(data);
          expect([...(await fromBytes(await t.bytes(), t.shape, dtype).data())].map(Number)).toEqual(data);
        },
      ),
    );
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    for (const dtype of ["f16", "bf16"] as const) {
      const t = fromBytes(new Uint8Array(bits.buffer), [65536], dtype);
      const values = (await t.data()) as Float32Array;
      const again = (await tensor(values, { dtype }).bytes()).slice();
      const back = new Uint16Array(again.buffer);
      for (let i = 0; i < bits.length; i++) if (!Number.isNaN(values[i])) expect(back[i]).toBe(i);
    }
  });
});

describe("reading", () => {
  it("gives elements in the types of their dtype", async () => {
    expect(await tensor([true, false]).tolist()).toEqual([true, false]);
    expect(await tensor([[1], [2]]).tolist()).toEqual([[1n], [2n]]);
    expect(await tensor(2.5).tolist()).toBe(2.5);
    expect(tensor([7], { dtype: "u8" }).itemSync()).toBe(7);
    await expect(tensor([1, 2]).item()).rejects.toThrow(/one element, not of shape \[2\]/);
    expect(await empty([2, 0]).tolist()).toEqual([[], []]);
  });

  it("is refused after dispose, which a view does not do", async () => {
    const t = tensor([1, 2, 3]);
    t.at(0).dispose();
    expect(await t.tolist()).toEqual([1n, 2n, 3n]);
    t.dispose();
    await expect(t.data()).rejects.toThrow(/freed/);
    {
      using u = tensor([1]);
      expect(u.storage.disposed).toBe(false);
    }
  });
});

describe("format", () => {
  const cases: [string, NestedData | (() => ReturnType<typeof tensor>), string][] = [
    [
      "floats",
      [
        [1.5, -2.25],
        [100, 0.125],
      ],
      "tensor([[  1.5000,  -2.2500],\n        [100.0000,   0.1250]])",
    ],
    ["whole floats", () => tensor([1, 2, 30], { dtype: "f32" }), "tensor([ 1.,  2., 30.])"],
    [
      "integers",
      [
        [1, -20],
        [3, 4],
      ],
      "tensor([[  1, -20],\n        [  3,   4]])",
    ],
    ["booleans", [true, false], "tensor([ true, false])"],
    ["other dtypes", () => tensor([1.5], { dtype: "f64" }), "tensor([1.5000], dtype=f64)"],
    ["wide ranges", [1e-6, 12345.678], "tensor([1.0000e-06, 1.2346e+04])"],
    ["wide whole ranges", () => tensor([1, 2000], { dtype: "f32" }), "tensor([1.0000e+00, 2.0000e+03])"],
    ["no numbers", [Number.NaN, Infinity, -Infinity, 1.5], "tensor([   nan,    inf,   -inf, 1.5000])"],
    ["a scalar", 2.5, "tensor(2.5000)"],
    ["nothing", [], "tensor([])"],
    ["empty shapes", [[], []], "tensor([], shape=[2, 0])"],
    ["three dimensions", [[[1, 2]], [[3, 4]]], "tensor([[[1, 2]],\n\n        [[3, 4]]])"],
    ["leaves", () => tensor([1.5], { requiresGrad: true }), "tensor([1.5000], requiresGrad=true)"],
    ["results", () => mul(tensor([1.5], { requiresGrad: true }), 2), "tensor([3.], gradNode=<mul.Tensor>)"],
    [
      "long ones in short",
      () =>
        tensor(
          Int32Array.from({ length: 2000 }, (_, i) => i),
          { shape: [1000, 2] },
        ),
      "tensor([[   0,    1],\n        [   2,    3],\n        [   4,    5],\n        ...,\n        [1994, 1995],\n        [1996, 1997],\n        [1998, 1999]], dtype=i32)",
    ],
    ["long rows in short", () => tensor(new Float32Array(1001)), "tensor([0., 0., 0.,  ..., 0., 0., 0.])"],
  ];
  it.each(cases)("writes %s", async (_name, data, text) => {
    expect(await (typeof data === "function" ? data() : tensor(data)).format()).toBe(text);
  });

  it("breaks long rows", async () => {
    const lines = (await tensor(Array.from({ length: 40 }, (_, i) => i)).format()).split("\n");
    expect(lines.length).toBe(3);
    expect(lines.every((l) => l.length <= 80)).toBe(true);
    expect(lines[1]!.startsWith("        1")).toBe(true);
  });

  it("has a short form", () => {
    expect(String(tensor([[1.5]], { requiresGrad: true }))).toBe(
      "Tensor(shape=[1, 1], f32, interpreter, requiresGrad)",
    );
  });
});
