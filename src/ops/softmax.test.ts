// Second derivatives of softmax and its logarithm, against the same from exponentials and sums.

import { expect, it } from "vitest";
import { callOperator, grad, type Tensor } from "../tensor/index.js";
import "./index.js";
import { logSoftmax, softmax } from "./softmax.js";
import { distance, noise, onEachChip } from "./testing/chips.js";

const call = (name: string, ...args: unknown[]): Tensor => callOperator(name, ...args) as Tensor;

await onEachChip(() => {
  it.each([
    [[3, 5], 1],
    [[4, 7, 3], 1],
    [[2, 130], -1],
  ] as const)("of %j along %i", async (shape, dim) => {
    for (const log of [false, true]) {
      const plain = (x: Tensor): Tensor => {
        const e = call("exp", x);
        const sum = call("sum.dim_IntList", e, [dim], true);
        return log ? call("sub.Tensor", x, call("log", sum)) : call("div.Tensor", e, sum);
      };
      const twice = (f: (x: Tensor) => Tensor): Tensor[] => {
        const x = noise(shape, 1).requiresGrad_() as Tensor;
        const w = noise(shape, 2).requiresGrad_() as Tensor;
        const [dx] = grad([f(x)], [x], [w], { createGraph: true }) as [Tensor];
        return grad([dx], [x, w], [noise(shape, 3)]) as Tensor[];
      };
      const got = twice((x) => (log ? logSoftmax(x, dim) : softmax(x, dim)));
      const want = twice(plain);
      for (const [i, g] of got.entries()) expect(await distance(g, want[i]!)).toBeLessThan(2e-6);
    }
  });
});
