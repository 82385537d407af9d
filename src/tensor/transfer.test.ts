// Moving tensors between chips and dtypes with `to`.

import { expect, it } from "vitest";
import { createInterpreter } from "../chips/interpreter/index.js";
import { loadChip, registerChip } from "../runtime/registry.js";
import { tensor, type Tensor } from "./index.js";
import { mul, sum } from "./testing/host-ops.js";

const other = (name: string, syncRead: boolean): void => {
  const chip = createInterpreter();
  registerChip({
    name,
    summary: "",
    probe: async () => ({ available: true, found: "" }),
    open: async () => ({ ...chip, name, capabilities: { ...chip.capabilities, syncRead } }),
  });
};
other("second", true);
other("slow", false);
await loadChip("second");
await loadChip("slow");

it("casts, and gives the tensor itself where nothing changes", async () => {
  const t = tensor([1.5, 2.5]);
  expect(t.to("f32")).toBe(t);
  expect(t.to("interpreter")).toBe(t);
  expect(await t.to("i32").tolist()).toEqual([1, 2]);
});

it("moves to another chip at once where both can be read, and lets gradients come back", async () => {
  const x = tensor(
    [
      [1.5, 2.5],
      [3.5, 4.5],
    ],
    { requiresGrad: true },
  );
  const moved = mul(x, 2).t().to("second") as Tensor;
  expect([moved.device, moved.shape]).toEqual(["second", [2, 2]]);
  expect(await moved.tolist()).toEqual([
    [3, 7],
    [5, 9],
  ]);
  sum(moved.to("interpreter") as Tensor).backward();
  expect(await x.grad!.tolist()).toEqual([
    [2, 2],
    [2, 2],
  ]);
});

it("is a promise where the chip is read asynchronously", async () => {
  const slow = tensor([1.5, 2.5], { device: "slow" });
  const moved = slow.to("interpreter");
  expect(moved).toBeInstanceOf(Promise);
  expect(await (await moved).tolist()).toEqual([1.5, 2.5]);
  expect(() => slow.itemSync()).toThrow(/one element/);
  expect(() => slow.dataSync()).toThrow(/slow cannot be read synchronously.*await t\.data\(\)/);
  expect(() => slow.requiresGrad_().to("interpreter")).toThrow(/gradients cannot flow.*detach/);
  expect(() => slow.to("nowhere")).toThrow(/nowhere/);
});
