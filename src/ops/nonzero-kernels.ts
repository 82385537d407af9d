// Finding the elements that are not 0, in order: counts of blocks, their running sums, then the positions. What is made
// of it stands in `nonzero.ts` and `index-tensor.ts`.

import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { empty, enableGrad, noGrad, type Tensor } from "../tensor/index.js";
import { pointwiseKernel } from "./pointwise.js";
import { rowMajor } from "./rows.js";

/** Elements that one program looks at. */
const BLOCK = 1024;

const count = kernel(
  { x: ptr, counts: ptr, n: i32, BLOCK: constexpr },
  ({ x, counts, n, BLOCK }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const set = tl.load(x + at, at < n, 0) !== 0;
    tl.store(counts + tl.programId(0), tl.sum(tl.cast(set, tl.i32), 0));
  },
  "count_nonzero_blocks",
);

/** Running sums of the counts, exclusive; the total stands behind them. */
const offsets = kernel(
  { counts: ptr, starts: ptr, n: i32, BLOCK: constexpr },
  ({ counts, starts, n, BLOCK }, tl) => {
    let before = tl.cast(0, tl.i32);
    for (let first = 0; first < n; first += BLOCK) {
      const at = first + tl.arange(0, BLOCK);
      const c = tl.load(counts + at, at < n, 0);
      tl.store(starts + at, before + tl.cumsum(c, 0) - c, at < n);
      before += tl.sum(c, 0);
    }
    tl.store(starts + n, before);
  },
  "nonzero_offsets",
);

const collect = kernel(
  { x: ptr, starts: ptr, y: ptr, n: i32, BLOCK: constexpr },
  ({ x, starts, y, n, BLOCK }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const set = tl.load(x + at, at < n, 0) !== 0;
    const one = tl.cast(set, tl.i32);
    const place = tl.load(starts + tl.programId(0)) + tl.cumsum(one, 0) - one;
    tl.store(y + place, at, set);
  },
  "nonzero_collect",
);

const coordinate = pointwiseKernel((tl, i, stride, length) => tl.rem(tl.floorDiv(i, stride), length), {
  name: "nonzero_coordinate",
}).kernel;

/** The row-major positions (i64) of the elements that are not 0, in order. */
export async function flatNonzero(self: Tensor): Promise<Tensor> {
  const { device, numel: n } = self;
  if (n === 0) return empty([0], { dtype: "i64", device });
  const x = rowMajor(self);
  const blocks = Math.ceil(n / BLOCK);
  const counts = empty([blocks], { dtype: "i32", device });
  const starts = empty([blocks + 1], { dtype: "i32", device });
  count.launch([blocks], { x, counts, n, BLOCK });
  offsets.launch([1], { counts, starts, n: blocks, BLOCK });
  const total = Number(await starts.select(0, blocks).item());
  const y = empty([total], { dtype: "i64", device });
  if (total > 0) collect.launch([blocks], { x, starts, y, n, BLOCK });
  return y;
}

/** `[count, ndim]` i64: the indices of the elements that are not 0, in row-major order. */
export async function coordinates(self: Tensor): Promise<Tensor> {
  const flat = await flatNonzero(self);
  const out = empty([flat.numel, self.ndim], { dtype: "i64", device: self.device });
  let stride = 1;
  for (let d = self.ndim - 1; d >= 0; d--) {
    if (flat.numel > 0) coordinate.into([flat, stride, self.shape[d]!], [out.select(1, d)]);
    stride *= self.shape[d]!;
  }
  return out;
}

/** Goes on, after waiting, with gradients recorded or not as they were. */
export const resumed = <T>(recording: boolean, fn: () => T): T => (recording ? enableGrad(fn) : noGrad(fn));
