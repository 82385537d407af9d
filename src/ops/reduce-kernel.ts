// The kernels of reductions and their launch: any strides, any dimensions, without a copy where the dimensions
// collapse. What PyTorch calls them stands in `reduce.ts` and `extreme.ts`.

import { type DType, DTYPES, isFloat } from "../compiler/ir/index.js";
import { constexpr, dim, f64, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { callOperator, empty, type Tensor } from "../tensor/index.js";

/** Sums, products and extremes; `max` and `min` give NaN if an element is NaN. */
export type ReduceKind = "sum" | "prod" | "max" | "min";
/** What becomes of an element first: nothing, whether it is not 0, 0 for NaN, its square, its magnitude. */
export type Before = "none" | "nonzero" | "nan0" | "square" | "abs";

// Both kernels reduce over `R0 x R1` elements for each of `K0 x K1` results. Programs along axis 1 (rows) or 2
// (columns) of the grid take a part of the reduced elements each: `iLen x jLen` of them from part * (iStep, jStep).

/** Vectors along the reduced elements: one program takes `ROWS` results. */
const reduceRows = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, K: i32, K1: i32, sk0: dim, sk1: dim, R0: i32, sr0: dim, R1: i32, sr1: dim,
    iStep: i32, iLen: i32, jStep: dim, jLen: i32, count: f64,
    KIND: constexpr.string, BEFORE: constexpr.string, UNIT: constexpr.bool, MEAN: constexpr.bool, WIDE: constexpr.bool,
    ROWS: constexpr, COLS: constexpr, T: constexpr.dtype, INIT: constexpr },
  (
    {
      x,
      y,
      K,
      K1,
      sk0,
      sk1,
      R0,
      sr0,
      R1,
      sr1,
      iStep,
      iLen,
      jStep,
      jLen,
      count,
      KIND,
      BEFORE,
      UNIT,
      MEAN,
      WIDE,
      ROWS,
      COLS,
      T,
      INIT,
    },
    tl,
  ) => {
    const k = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const inside = k < K;
    const base = x + tl.col(tl.floorDiv(k, K1) * sk0 + (k % K1) * sk1);
    const part = tl.programId(1);
    const iEnd = tl.minimum(part * iStep + iLen, R0);
    const jStart = part * jStep;
    const jEnd = tl.minimum(jStart + jLen, R1);
    let acc = tl.full(WIDE ? [ROWS, COLS] : [ROWS], INIT, T);
    for (let i = part * iStep; i < iEnd; i += 1) {
      for (let j = jStart; j < jEnd; j += COLS) {
        const r = tl.row(j + tl.arange(0, COLS));
        const mask = tl.col(inside) && r < jEnd;
        const raw = tl.load(base + (i * sr0 + (UNIT ? r : r * sr1)), mask, 0);
        let v = BEFORE === "nonzero" ? tl.cast(raw !== 0, T) : tl.cast(raw, T);
        if (BEFORE === "nan0") v = tl.where(tl.isnan(v), 0, v);
        if (BEFORE === "square") v = v * v;
        if (BEFORE === "abs") v = tl.abs(v);
        if (KIND !== "sum") v = tl.where(mask, v, INIT);
        if (WIDE) {
          if (KIND === "sum") acc = acc + v;
          if (KIND === "prod") acc = acc * v;
          if (KIND === "max") acc = tl.maximum(acc, v, { propagateNan: true });
          if (KIND === "min") acc = tl.minimum(acc, v, { propagateNan: true });
        } else {
          if (KIND === "sum") acc = acc + tl.sum(v, 1);
          if (KIND === "prod") acc = acc * tl.prod(v, 1);
          if (KIND === "max")
            acc = tl.maximum(acc, tl.max(v, 1, { propagateNan: true }), { propagateNan: true });
          if (KIND === "min")
            acc = tl.minimum(acc, tl.min(v, 1, { propagateNan: true }), { propagateNan: true });
        }
      }
    }
    if (WIDE) {
      if (KIND === "sum") acc = tl.sum(acc, 1);
      if (KIND === "prod") acc = tl.prod(acc, 1);
      if (KIND === "max") acc = tl.max(acc, 1, { propagateNan: true });
      if (KIND === "min") acc = tl.min(acc, 1, { propagateNan: true });
    }
    if (MEAN) acc = acc / tl.cast(count, T);
    tl.store(y + part * K + k, acc, inside);
  },
  "reduce_rows",
);

/** Vectors along neighbouring results: one program takes `COLS` of them. */
const reduceColumns = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, K1: i32, sk0: i32, R0: i32, sr0: i32, R1: i32, sr1: i32,
    iStep: i32, iLen: i32, jStep: dim, jLen: i32, count: f64,
    KIND: constexpr.string, BEFORE: constexpr.string, MEAN: constexpr.bool,
    REDS: constexpr, COLS: constexpr, T: constexpr.dtype, INIT: constexpr },
  (
    {
      x,
      y,
      K1,
      sk0,
      R0,
      sr0,
      R1,
      sr1,
      iStep,
      iLen,
      jStep,
      jLen,
      count,
      KIND,
      BEFORE,
      MEAN,
      REDS,
      COLS,
      T,
      INIT,
    },
    tl,
  ) => {
    const c = tl.programId(0) * COLS + tl.arange(0, COLS);
    const k0 = tl.programId(1);
    const part = tl.programId(2);
    const base = x + k0 * sk0 + tl.row(c);
    const iEnd = tl.minimum(part * iStep + iLen, R0);
    const jStart = part * jStep;
    const jEnd = tl.minimum(jStart + jLen, R1);
    let acc = tl.full([COLS], INIT, T);
    for (let i = part * iStep; i < iEnd; i += 1) {
      for (let j = jStart; j < jEnd; j += REDS) {
        const r = tl.col(j + tl.arange(0, REDS));
        const mask = tl.row(c) < K1 && r < jEnd;
        const raw = tl.load(base + (i * sr0 + r * sr1), mask, 0);
        let v = BEFORE === "nonzero" ? tl.cast(raw !== 0, T) : tl.cast(raw, T);
        if (BEFORE === "nan0") v = tl.where(tl.isnan(v), 0, v);
        if (BEFORE === "square") v = v * v;
        if (BEFORE === "abs") v = tl.abs(v);
        if (KIND !== "sum") v = tl.where(mask, v, INIT);
        if (KIND === "sum") acc = acc + tl.sum(v, 0);
        if (KIND === "prod") acc = acc * tl.prod(v, 0);
        if (KIND === "max")
          acc = tl.maximum(acc, tl.max(v, 0, { propagateNan: true }), { propagateNan: true });
        if (KIND === "min")
          acc = tl.minimum(acc, tl.min(v, 0, { propagateNan: true }), { propagateNan: true });
      }
    }
    if (MEAN) acc = acc / tl.cast(count, T);
    tl.store(y + (part * tl.numPrograms(1) + k0) * K1 + c, acc, c < K1);
  },
  "reduce_columns",
);

/** A tensor's elements as `K0 x K1` results of `R0 x R1` elements each, with the strides of each of the four. */
export interface Walk {
  readonly tensor: Tensor;
  readonly K0: number;
  readonly K1: number;
  readonly sk0: number;
  readonly sk1: number;
  readonly R0: number;
  readonly R1: number;
  readonly sr0: number;
  readonly sr1: number;
}

/** Sizes and strides of some dimensions, those of length 1 dropped and even neighbours merged. */
function merge(x: Tensor, dims: readonly number[]): { sizes: number[]; strides: number[] } {
  const sizes: number[] = [];
  const strides: number[] = [];
  for (const d of dims) {
    const n = x.shape[d]!;
    const s = x.strides[d]!;
    const last = sizes.length - 1;
    if (n === 1) continue;
    if (last >= 0 && strides[last] === s * n) {
      sizes[last]! *= n;
      strides[last] = s;
    } else {
      sizes.push(n);
      strides.push(s);
    }
  }
  return { sizes, strides };
}

/**
 * How to walk `x` when the dimensions `reduced` (distinct, in range) go. With `ordered`, reduced elements keep
 * their row-major order; else they come as memory likes it. Copies only where the dimensions do not collapse to
 * two kept and two reduced (one with `ordered`).
 */
export function walk(x: Tensor, reduced: readonly number[], ordered = false): Walk {
  const kept: number[] = [];
  for (let d = 0; d < x.ndim; d++) if (!reduced.includes(d)) kept.push(d);
  const gone = reduced.slice();
  if (ordered) gone.sort((a, b) => a - b);
  else gone.sort((a, b) => Math.abs(x.strides[b]!) - Math.abs(x.strides[a]!) || a - b);
  let tensor = x;
  let k = merge(x, kept);
  let r = merge(x, gone);
  if (k.sizes.length > 2 || r.sizes.length > (ordered ? 1 : 2)) {
    tensor = callOperator("contiguous", x.permute([...kept, ...gone])) as Tensor;
    const first = kept.length;
    k = merge(
      tensor,
      Array.from({ length: first }, (_, i) => i),
    );
    r = merge(
      tensor,
      Array.from({ length: x.ndim - first }, (_, i) => first + i),
    );
  }
  const two = (sizes: readonly number[], at: number, otherwise: number): number => {
    const i = sizes.length - 2 + at;
    return i < 0 ? otherwise : sizes[i]!;
  };
  return {
    tensor,
    K0: two(k.sizes, 0, 1),
    K1: two(k.sizes, 1, 1),
    sk0: two(k.strides, 0, 0),
    sk1: two(k.strides, 1, 0),
    R0: two(r.sizes, 0, 1),
    R1: two(r.sizes, 1, 1),
    sr0: two(r.strides, 0, 0),
    sr1: two(r.strides, 1, 0),
  };
}

/** The dtype in which elements of `d` are compared. */
export const orderDtype = (d: DType): DType => (d === "f64" || d === "i64" ? d : isFloat(d) ? "f32" : "i32");

/** Where a search for the largest or smallest starts; `I64` limits do not fit into numbers. */
export function startOf(kind: "max" | "min", d: DType): number {
  const low = kind === "max";
  if (d === "f64" || d === "f32") return low ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (d === "i64") return (low ? -(2n ** 63n) : 2n ** 63n - 1n) as unknown as number;
  return low ? -(2 ** 31) : 2 ** 31 - 1;
}

/** How many elements one program should at least reduce before a reduction is cut into parts. */
const LEAST_PART = 16384;

/**
 * Into how many parts a reduction over `length` elements (or rows of them) is cut, where `programs` are too few for the chip's
 * `threads`; 1: it is not. A part has two at least, so that reducing the parts comes to an end.
 */
export function partsOf(programs: number, threads: number, elements: number, length: number): number {
  if (programs >= 2 * threads || elements < 2 * LEAST_PART) return 1;
  const most = Math.min(Math.ceil((4 * threads) / programs), Math.floor(elements / LEAST_PART));
  const parts = Math.min(most, Math.floor(length / 2));
  return parts <= 1 ? 1 : Math.ceil(length / Math.ceil(length / parts));
}

export interface ReduceOptions {
  readonly kind: ReduceKind;
  readonly before?: Before;
  /** The dtype it is computed in. */
  readonly compute: DType;
  readonly out: DType;
  /** Divide by this in the end. */
  readonly count?: number;
}

function initial(kind: ReduceKind, before: Before | undefined, T: DType): number {
  if (kind === "sum") return 0;
  if (kind === "prod") return 1;
  // Truth values: any of nothing is false, all of nothing is true.
  if (before === "nonzero") return kind === "max" ? 0 : 1;
  return startOf(kind, T);
}

/** Reduces; the result has as many elements as are kept, in one dimension. */
export function launchReduce(w: Walk, o: ReduceOptions): Tensor {
  const { tensor: x, K0, K1, R0, R1 } = w;
  const K = K0 * K1;
  const device = x.device;
  if (K === 0) return empty([0], { dtype: o.out, device });
  const T = o.compute;
  const INIT = initial(o.kind, o.before, T);
  const columns = w.sk1 === 1 && K1 >= 8 && !(w.sr1 === 1 && R1 >= 8) && K0 <= x.chip.capabilities.maxGrid[1];
  const COLS = columns ? bucket(K1) : bucket(R1, 4096);
  const ROWS =
    COLS === 4096
      ? 1
      : columns
        ? 16
        : COLS === 16
          ? K >= 4096
            ? 256
            : 16
          : COLS === 128
            ? 8
            : K === 1
              ? 1
              : 4;
  const programs = columns ? Math.ceil(K1 / COLS) * K0 : Math.ceil(K / ROWS);
  // Few results of many elements: parts first, then the parts. The order of the sum is fixed by the shapes.
  const { threads, programThreads = 1 } = x.chip.capabilities;
  const alongI = R0 > 1;
  // As many bytes are to be on their way as keep the memory busy.
  const together = programThreads > 1 ? Math.max(1, 8 / DTYPES[x.dtype].bytes) : 1;
  const cut = partsOf(programs, threads * together, R0 * R1 * K, alongI ? R0 : R1);
  const even = Math.ceil((alongI ? R0 : R1) / cut) || 1;
  // Parts of whole blocks begin where accesses are aligned.
  const length = !alongI && !columns && cut > 1 ? Math.ceil(even / COLS) * COLS : even;
  const parts = Math.max(1, Math.ceil((alongI ? R0 : R1) / length));
  const last = parts === 1;
  const y = empty([parts * K], { dtype: last ? o.out : T, device });
  const shared = {
    x,
    y,
    K1,
    sk0: w.sk0,
    R0,
    sr0: w.sr0,
    R1,
    sr1: w.sr1,
    iStep: alongI ? length : 0,
    iLen: alongI ? length : R0,
    jStep: alongI ? 0 : length,
    jLen: alongI ? R1 : length,
    count: o.count ?? 1,
    KIND: o.kind,
    BEFORE: o.before ?? "none",
    MEAN: last && o.count !== undefined,
    COLS,
    T,
    INIT,
  };
  if (columns) reduceColumns.launch([Math.ceil(K1 / COLS), K0, parts], { ...shared, REDS: ROWS });
  else {
    // Threads that share a program add up what each of them reads, and meet at the end.
    const WIDE = programThreads > 1 && (alongI || Math.min(length, R1) > COLS);
    reduceRows.launch([programs, parts], { ...shared, K, sk1: w.sk1, UNIT: w.sr1 === 1, WIDE, ROWS });
  }
  if (last) return y;
  // The parts are whole values: what comes before must not come again.
  const { kind, compute, out, count } = o;
  return launchReduce(walk(y.view([parts, K]), [0]), {
    kind,
    compute,
    out,
    ...(count === undefined ? {} : { count }),
  });
}

const bucket = (n: number, most = 1024): number => (n <= 16 ? 16 : n <= 128 ? 128 : n < most ? 1024 : most);
