// The two kernels behind all indexing along a dimension: `take` reads at indices, `put` writes at them. Tensors are
// seen as [outer, length, inner] with the indexed dimension in the middle. The operators stand in `gather.ts` and
// `scatter.ts`.

import { DTYPES, type DType } from "../compiler/ir/index.js";
import { constexpr, dim, i32, i64, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { showShape, type Tensor } from "../tensor/index.js";
import { nextPowerOf2 } from "./rows.js";

/** A row-major tensor around a dimension: products of the lengths before, at and behind it. */
export interface Around {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

export function around(shape: readonly number[], dim: number): Around {
  let [outer, inner] = [1, 1];
  for (let d = 0; d < dim; d++) outer *= shape[d]!;
  for (let d = dim + 1; d < shape.length; d++) inner *= shape[d]!;
  return { outer, length: shape[dim] ?? 1, inner };
}

/** Elements of a row that a program copies at once: where many threads share it, as many bytes as keep the memory busy. */
export function rowBlock(y: Tensor): number {
  const { programThreads = 1 } = y.chip.capabilities;
  return programThreads > 1 ? 8192 / DTYPES[y.dtype].bytes : 1024;
}

const takeKernel = kernel(
  // biome-ignore format: one line per group
  { x: ptr, index: ptr, y: ptr, rows: i32, n: i32, length: i64, inner: dim, io: i32, ij: i32, ik: i32,
    ROWS: constexpr, COLS: constexpr, EACH: constexpr.bool },
  ({ x, index, y, rows, n, length, inner, io, ij, ik, ROWS, COLS, EACH }, tl) => {
    const r = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const o = tl.cast(tl.floorDiv(tl.cast(r, tl.u32), tl.cast(n, tl.u32)), tl.i32);
    const place = o * io + (r - o * n) * ij;
    const from = tl.col(tl.cast(o, tl.i64) * length);
    const to = tl.col(r * inner);
    const row = tl.col(r < rows);
    if (EACH) {
      for (let start = 0; start < inner; start += COLS) {
        const c = tl.row(start + tl.arange(0, COLS));
        const inside = row && c < inner;
        const given = tl.cast(tl.load(index + (tl.col(place) + c * ik), inside, 0), tl.i64);
        const id = tl.where(given < 0, given + length, given);
        const known = inside && id >= 0 && id < length;
        tl.store(y + to + c, tl.load(x + ((from + id) * inner + c), known, 0), inside);
      }
    } else {
      const given = tl.cast(tl.load(index + place, r < rows, 0), tl.i64);
      const id = tl.where(given < 0, given + length, given);
      const known = tl.col(id >= 0 && id < length);
      const base = (from + tl.col(id)) * inner;
      for (let start = 0; start < inner; start += COLS) {
        const c = tl.row(start + tl.arange(0, COLS));
        const inside = row && c < inner;
        tl.store(y + to + c, tl.load(x + base + c, inside && known, 0), inside);
      }
    }
  },
  "take",
);

/** Where an index stands: strides over outer, the indexed dimension and inner. */
export interface IndexSteps {
  readonly io: number;
  readonly ij: number;
  readonly ik: number;
}

/** One index for each element of `[outer, n, inner]`. */
export const eachElement = (n: number, inner: number): IndexSteps => ({ io: n * inner, ij: inner, ik: 1 });
/** One index for all elements of a slice. */
export const eachSlice: IndexSteps = { io: 0, ij: 1, ik: 0 };

/**
 * `y[o, j, k] = x[o, index[...], k]`. Negative indices count from the end; out of range the result is 0. All tensors are row-major.
 * @param n the number of indices along the dimension
 */
export function take(
  x: Tensor,
  index: Tensor,
  y: Tensor,
  { outer, length, inner }: Around,
  n: number,
  steps: IndexSteps,
): void {
  const rows = outer * n;
  if (rows === 0 || inner === 0) return;
  const { elementsPerProgram, threads } = y.chip.capabilities;
  const COLS = Math.min(rowBlock(y), nextPowerOf2(inner));
  const share = nextPowerOf2(Math.ceil(rows / threads));
  const ROWS = Math.max(1, Math.min(Math.floor(Math.min(elementsPerProgram, 4096) / COLS), share));
  const EACH = steps.ik !== 0 && inner > 1;
  takeKernel.launch([Math.ceil(rows / ROWS)], {
    x,
    index,
    y,
    rows,
    n,
    length,
    inner,
    ...steps,
    ROWS,
    COLS,
    EACH,
  });
}

const putKernel = kernel(
  // biome-ignore format: one line per group
  { y: ptr, index: ptr, source: ptr, outer: i32, n: i32, length: i64, inner: i32, io: i32, ij: i32, ik: i32,
    so: i32, sj: i32, sk: i32, ROWS: constexpr, COLS: constexpr, EACH: constexpr.bool, MODE: constexpr.string, T: constexpr.dtype },
  ({ y, index, source, outer, n, length, inner, io, ij, ik, so, sj, sk, ROWS, COLS, EACH, MODE, T }, tl) => {
    const o = tl.col(tl.programId(0) * ROWS + tl.arange(0, ROWS));
    const k = tl.row(tl.programId(1) * COLS + tl.arange(0, COLS));
    const inside = o < outer && k < inner;
    const base = tl.cast(o, tl.i64) * length;
    for (let j = 0; j < n; j += 1) {
      if (EACH) {
        const given = tl.cast(tl.load(index + (o * io + j * ij + k * ik), inside, 0), tl.i64);
        const id = tl.where(given < 0, given + length, given);
        const known = inside && id >= 0 && id < length;
        const at = (base + id) * inner + k;
        const v = tl.cast(tl.load(source + (o * so + j * sj + k * sk), known, 0), T);
        if (MODE === "set") tl.store(y + at, v, known);
        else if (MODE === "add") tl.store(y + at, tl.cast(tl.load(y + at, known, 0), T) + v, known);
        else if (MODE === "multiply") tl.store(y + at, tl.cast(tl.load(y + at, known, 0), T) * v, known);
        else {
          const before = tl.cast(tl.load(y + at, known, 0), T);
          const most = tl.maximum(before, v, { propagateNan: true });
          tl.store(y + at, MODE === "max" ? most : tl.minimum(before, v, { propagateNan: true }), known);
        }
      } else {
        const given = tl.cast(tl.load(index + j * ij), tl.i64);
        const id = given < 0 ? given + length : given;
        if (id >= 0 && id < length) {
          const at = (base + id) * inner + k;
          const v = tl.cast(tl.load(source + (o * so + j * sj + k * sk), inside, 0), T);
          if (MODE === "set") tl.store(y + at, v, inside);
          else if (MODE === "add") tl.store(y + at, tl.cast(tl.load(y + at, inside, 0), T) + v, inside);
          else if (MODE === "multiply") tl.store(y + at, tl.cast(tl.load(y + at, inside, 0), T) * v, inside);
          else {
            const before = tl.cast(tl.load(y + at, inside, 0), T);
            const most = tl.maximum(before, v, { propagateNan: true });
            tl.store(y + at, MODE === "max" ? most : tl.minimum(before, v, { propagateNan: true }), inside);
          }
        }
      }
    }
  },
  "put",
);

export type PutMode = "set" | "add" | "multiply" | "max" | "min";

/** The dtype in which elements are combined: a bool's sum is "or". */
const combineDtype = (d: DType): DType => (d === "bool" ? "i32" : d);

/**
 * `y[o, index[...], k] = source[o, j, k]`, or adds, multiplies, takes the larger or the smaller. Negative indices count from the end, others out of
 * range are passed over. A program owns lines along the dimension and takes
 * their indices in order, so that what meets at one element is combined in a fixed order, and the last one stays.
 *
 * @param y, index row-major
 * @param source strides `[so, sj, sk]` over outer, the dimension and inner
 */
export function put(
  y: Tensor,
  index: Tensor,
  source: Tensor,
  { outer, length, inner }: Around,
  n: number,
  steps: IndexSteps,
  [so, sj, sk]: readonly [number, number, number],
  MODE: PutMode,
): void {
  if (outer * inner * n * length === 0) return;
  const COLS = Math.min(1024, nextPowerOf2(inner));
  const share = nextPowerOf2(Math.ceil(outer / y.chip.capabilities.threads));
  const ROWS = Math.max(1, Math.min(Math.floor(1024 / COLS), share));
  putKernel.launch([Math.ceil(outer / ROWS), Math.ceil(inner / COLS)], {
    y, index, source, outer, n, length, inner, ...steps, so, sj, sk, ROWS, COLS,
    EACH: steps.io !== 0 || steps.ik !== 0, MODE, T: MODE === "set" ? y.dtype : combineDtype(y.dtype),
  }); // biome-ignore format: one line per group
}

/** Throws unless the tensor holds indices. */
export function checkIndex(index: Tensor, what: string): void {
  if (index.dtype !== "i64" && index.dtype !== "i32")
    throw new TypeError(`${what}: the index is a tensor of i64 or i32, not ${index.dtype}`);
}

/** The part of `self` that indices of a shape reach: as long as the index in all dimensions but one. */
export function reached(self: Tensor, shape: readonly number[], dim: number, what: string): Tensor {
  if (shape.length !== self.ndim)
    throw new RangeError(
      `${what}: the index has ${shape.length} dimensions (shape ${showShape(shape)}), the tensor ${self.ndim} (${showShape(self.shape)})`,
    );
  let part = self;
  for (let d = 0; d < shape.length; d++) {
    if (d === dim || shape[d] === self.shape[d]) continue;
    if (shape[d]! > self.shape[d]!)
      throw new RangeError(
        `${what}: the index ${showShape(shape)} is larger than the tensor ${showShape(self.shape)} in dimension ${d}`,
      );
    part = part.narrow(d, 0, shape[d]!);
  }
  return part;
}
