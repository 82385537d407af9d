// Reads a result to the host and lets go of it: what loops that run outside any scope do with each step's result.

import type { Tensor } from "../tensor/index.js";

/**
 * The values of a tensor, row-major; its memory is freed, also where the tensor is a view of something that
 * nobody else holds (`dispose` on a view frees nothing).
 */
export async function take(t: Tensor): Promise<Awaited<ReturnType<Tensor["data"]>>> {
  try {
    return await t.data();
  } finally {
    t.storage.dispose();
  }
}

/** {@link take} for a tensor of one element. */
export const takeNumber = async (t: Tensor): Promise<number> => Number((await take(t))[0]);
