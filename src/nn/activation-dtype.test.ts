// Layers of integer weights under `withActivationDType`, alone, side by side and gated: what the operator gives.

import { beforeAll, expect, it } from "vitest";
import "../chips/index.js";
import { gatedLinear, quantizedLinear, quantizeInt4, siluMul } from "../ops/index.js";
import { loadChip, setDefaultChip } from "../runtime/index.js";
import { noGrad, tensor, type Tensor } from "../tensor/index.js";
import { forwardEach, forwardGated, Linear, withActivationDType } from "./index.js";

const [N, K] = [24, 64];
const some = (n: number, seed: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898 + seed * 78.233));
const matrix = (seed: number) => {
  const [packed, scales] = quantizeInt4(tensor(some(N * K, seed), { shape: [N, K] }), 32);
  return { packed, scales, zeros: undefined, groupSize: 32 };
};
const layer = (seed: number): Linear =>
  new Linear(
    Object.assign(
      () => {
        throw new Error("no floats here");
      },
      { integers: () => matrix(seed) },
    ),
    "layer",
    K,
    N,
  );
const values = async (t: Tensor): Promise<number[]> => [...((await t.data()) as Float32Array)];

beforeAll(async () => {
  await loadChip("wasm");
  setDefaultChip("wasm");
});

it("rounds activations inside, and not outside or after an error", async () => {
  const x = tensor(some(3 * K, 9), { shape: [3, K] });
  const layers = [1, 2, 3].map(layer);
  const of = (seed: number, activationDtype: "keep" | "int8"): Tensor => {
    const { packed, scales } = matrix(seed);
    return quantizedLinear(x, packed, scales, null, null, { groupSize: 32, activationDtype });
  };
  const [a, b] = layers as [Linear, Linear];
  const inside = noGrad(() =>
    withActivationDType("int8", () => [...forwardEach(layers, x), forwardGated(a, b, x)]),
  );
  for (const [i, y] of inside.slice(0, 3).entries())
    expect(await values(y)).toEqual(await values(of(i + 1, "int8")));
  expect(await values(inside[3]!)).toEqual(await values(siluMul(of(1, "int8"), of(2, "int8"))));
  expect(() =>
    withActivationDType("int8", () => {
      throw new Error("stop");
    }),
  ).toThrow("stop");
  const outside = await values(a.forward(x));
  expect(outside).toEqual(await values(of(1, "keep")));
  expect(outside).not.toEqual(await values(inside[0]!));
  const [p, q] = [matrix(1), matrix(2)];
  expect(await values(noGrad(() => forwardGated(a, b, x)))).toEqual(
    await values(gatedLinear(x, p.packed, q.packed, p.scales, q.scales, 32)),
  );
});
