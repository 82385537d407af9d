// Whether a launch should write past the caches: it touches so much that what it writes would not stay there anyway.
// Then a store need not first read the lines that it overwrites. A hint; results do not depend on it.

import type { Tensor } from "../tensor/tensor.js";

/** Whether `out` (written, not also read) and `inputs` together are more than the chip's caches hold. */
export function streams(out: Tensor, inputs: readonly Tensor[]): boolean {
  const { cacheBytes } = out.storage.chip.capabilities;
  let bytes = out.numel * out.itemSize;
  // Most launches are small: no more work for them.
  if (cacheBytes === undefined || bytes * 8 < cacheBytes) return false;
  for (const x of inputs) {
    if (x.storage === out.storage) return false;
    bytes += x.numel * x.itemSize;
  }
  return bytes > cacheBytes;
}
