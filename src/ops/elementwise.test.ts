// What the samples do not show of the element-wise operators: in-place forms and their gradients, methods, dtype
// errors, copies between views. Values stand in test/opinfo.test.ts.

import { beforeAll, describe, expect, it } from "vitest";
import "../chips/index.js";
import { setDefaultChip } from "../runtime/index.js";
import { emptyStrided, noGrad, type Tensor, tensor } from "../tensor/index.js";
import * as ops from "./index.js";

beforeAll(() => setDefaultChip("interpreter"));

const f32 = (values: number[], requiresGrad = false): Tensor =>
  tensor(values, { dtype: "f32", requiresGrad });
const inPlace = (t: Tensor, name: string, ...args: unknown[]): Tensor =>
  (t as unknown as Record<string, (...a: unknown[]) => Tensor>)[name]!(...args);

/** The gradient of `f` at some points, by `backward` from ones. */
async function gradientOf(f: (x: Tensor) => Tensor, at: number[]): Promise<number[]> {
  const x = f32(at, true);
  f(x).backward(f32(at.map(() => 1)));
  return Array.from(await x.grad!.data(), Number);
}

describe("in-place forms", () => {
  it.each([
    ["sin_", [], (x: Tensor) => ops.sin(x)],
    ["exp_", [], (x: Tensor) => ops.exp(x)],
    ["relu_", [], (x: Tensor) => ops.relu(x)],
    ["mul_", [3], (x: Tensor) => ops.mul(x, 3)],
    ["pow_", [3], (x: Tensor) => ops.pow(x, 3)],
    ["div_", [4], (x: Tensor) => ops.div(x, 4)],
    ["clamp_", [-0.6, 0.7], (x: Tensor) => ops.clamp(x, -0.6, 0.7)],
    ["add_", [2, { alpha: 3 }], (x: Tensor) => ops.add(x, 2, { alpha: 3 })],
  ] as const)("%s writes the tensor and has the same gradient", async (name, args, plain) => {
    const at = [-1, -0.5, 0.5, 1];
    const x = f32(at);
    expect(inPlace(x, name, ...args)).toBe(x);
    expect(await x.tolist()).toEqual(await plain(f32(at)).tolist());
    expect(x.version).toBe(1);
    const got = await gradientOf((leaf) => inPlace(leaf.clone(), name, ...args), at);
    expect(got).toEqual(await gradientOf(plain, at));
  });

  it("refuse a result that the tensor's dtype cannot hold", () => {
    const whole = tensor([1, 2], { dtype: "i64" });
    expect(() => inPlace(whole, "add_", 0.5)).toThrow(
      /add: a result of f32 cannot be written into a tensor of i64/,
    );
    expect(() => inPlace(whole, "exp_")).toThrow(/f32/);
    expect(() => inPlace(f32([1, 2]), "add_", tensor([[1, 2]]))).toThrow(/broadcast/);
  });

  it("write through views", async () => {
    const x = tensor([[1, 2], [3, 4]], { dtype: "f32" }); // biome-ignore format: a matrix
    inPlace(x.select(1, 1), "mul_", 10);
    expect(await x.tolist()).toEqual([[1, 20], [3, 40]]); // biome-ignore format: a matrix
  });
});

describe("copies", () => {
  it("cast, broadcast and keep what lies between the strides", async () => {
    const target = emptyStrided([2, 3], [6, 2], { dtype: "i32" });
    noGrad(() => target.fill_(7));
    target.copy_(f32([1.9, -1.9, 3]));
    expect(await target.tolist()).toEqual([[1, -1, 3], [1, -1, 3]]); // biome-ignore format: a matrix
  });

  it("are safe where source and target overlap", async () => {
    const x = f32([0, 1, 2, 3, 4, 5]);
    x.narrow(0, 1, 5).copy_(x.narrow(0, 0, 5));
    expect(await x.tolist()).toEqual([0, 0, 1, 2, 3, 4]);
  });

  it("give back a contiguous tensor itself", () => {
    const x = tensor([[1, 2], [3, 4]]); // biome-ignore format: a matrix
    expect(x.contiguous()).toBe(x);
    expect(x.permute(1, 0).contiguous().strides).toEqual([2, 1]);
    expect(x.clone().storage).not.toBe(x.storage);
  });

  it("send gradients back in the source's dtype", async () => {
    const x = f32([1, 2], true);
    x.to("f16")
      .mul(2)
      .backward(tensor([1, 3], { dtype: "f16" }));
    expect(x.grad!.dtype).toBe("f32");
    expect(await x.grad!.tolist()).toEqual([2, 6]);
  });
});

describe("arguments", () => {
  it("are refused with a reason", () => {
    const bools = tensor([true, false]);
    expect(() => ops.sub(bools, bools)).toThrow(/sub does not take bool tensors/);
    expect(() => ops.gelu(f32([1]), { approximate: "erf" as never })).toThrow(/approximate/);
    expect(() => ops.clamp(f32([1]))).toThrow(/clamp needs min, max or both/);
    expect(() => ops.maskedFill(f32([1]), tensor([1]), 0)).toThrow(/mask must be bool/);
    expect(() => ops.pow(tensor([2]), -1)).toThrow(/negative power/);
    expect(() => ops.addcdiv(tensor([2]), tensor([1]), tensor([1]))).toThrow(/divide integers/);
    expect(() => ops.add(tensor([2]), 1, { alpha: 0.5 })).toThrow(/alpha/);
  });

  it("may be numbers on either side", async () => {
    expect(await ops.sub(1, f32([0.25])).tolist()).toEqual([0.75]);
    expect(await ops.where(tensor([true, false]), 1, f32([0.5, 0.5])).tolist()).toEqual([1, 0.5]);
    expect(ops.div(tensor([3]), 2).dtype).toBe("f32");
    expect(await f32([7]).div(2, { roundingMode: "floor" }).tolist()).toEqual([3]);
    expect(await f32([2.345]).round({ decimals: 2 }).tolist()).toEqual([Math.fround(2.34)]);
  });
});
