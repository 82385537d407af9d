// Softmax of a tile, in the kernel language.

import type { Tl } from "../tl/index.js";

export function softmax(tl: Tl, x: number, axis = 0): number {
  const e = tl.exp(x - tl.max(x, axis, { keepDims: true }));
  return e / tl.sum(e, axis, { keepDims: true });
}
