// Places of equal elements. PyTorch leaves open which of several equal elements an index names (of sort that is not
// stable, topk, kthvalue, mode). Such indices are right when they name elements of the same value as PyTorch's,
// none of them twice.

import { decode } from "../../tensor/host.js";
import { normalizeDim, type Tensor } from "../../tensor/index.js";
import { around } from "../../ops/index-kernels.js";
import type { StoredTensor } from "./read.js";

/** Whether `got` differs from `want` only in which of equal elements along `dim` of `input` it names. */
export async function sameButTies(
  input: Tensor,
  dim: number,
  got: Tensor,
  want: StoredTensor,
): Promise<boolean> {
  if (got.dtype !== "i64" || want.dtype !== "i64" || String(got.shape) !== String(want.shape)) return false;
  const d = normalizeDim(dim, input.ndim);
  const { outer, length, inner } = around(input.shape, d);
  const picked = outer * inner === 0 ? 0 : got.numel / (outer * inner);
  if (!Number.isInteger(picked)) return false;
  const values = await input.data();
  const [a, b] = [await got.data(), decode(want.bytes.slice(), "i64")];
  for (let o = 0; o < outer; o++)
    for (let k = 0; k < inner; k++) {
      const named = new Set<number>();
      for (let j = 0; j < picked; j++) {
        const at = (o * picked + j) * inner + k;
        const [mine, theirs] = [Number(a[at]), Number(b[at])];
        if (!(mine >= 0 && mine < length) || named.has(mine)) return false;
        named.add(mine);
        const value = (i: number) => values[(o * length + i) * inner + k];
        const [x, y] = [value(mine), value(theirs)];
        if (x !== y && !(Number.isNaN(x) && Number.isNaN(y))) return false;
      }
    }
  return true;
}
