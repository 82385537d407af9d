// For tests of operators: the same suite on every chip of this machine.

import { beforeAll, describe } from "vitest";
import "../../chips/index.js";
import { shorten, testedChips } from "../../../test/chips.js";
import { setDefaultChip } from "../../runtime/index.js";
import { type Tensor, tensor } from "../../tensor/index.js";

/** Declares the suite once for each chip, shortened where compiling takes long; what is missing here is skipped, and its name says why. */
export async function onEachChip(suite: (chip: string) => void): Promise<void> {
  for (const { name, title, missing } of testedChips)
    describe.skipIf(missing !== undefined)(title, () => {
      beforeAll(() => setDefaultChip(name));
      shorten(name);
      suite(name);
    });
}

/** Numbers between -1 and 1 that look random and are the same in every run. */
export function noise(shape: readonly number[], seed = 1): Tensor {
  let state = seed * 2654435761;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  };
  for (let i = 0; i < 8; i++) next();
  return tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next), { shape });
}

export const numbers = async (t: Tensor): Promise<number[]> => Array.from(await t.data(), Number);

/** The largest difference of two tensors' elements; NaN counts as infinite. */
export async function distance(a: Tensor, b: Tensor): Promise<number> {
  const [x, y] = [await numbers(a), await numbers(b)];
  if (x.length !== y.length) return Number.POSITIVE_INFINITY;
  return x.reduce((most, v, i) => {
    const d = Math.abs(v - y[i]!);
    return Number.isNaN(d) ? Number.POSITIVE_INFINITY : Math.max(most, d);
  }, 0);
}
