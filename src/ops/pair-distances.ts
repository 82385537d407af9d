// Distances of all pairs of rows: the kernels behind `cdist` and `pdist`, which never hold the differences of all pairs. What
// PyTorch calls them stands in `distances.ts`.

import { constexpr, dim, f64, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import {
  callOperator,
  empty,
  isFloatDType,
  isGradEnabled,
  type Operator,
  operator,
  type Tensor,
} from "../tensor/index.js";
import { sub } from "./binary.js";
import { normGradient } from "./norm.js";
import { sum } from "./reduce.js";
import { computeDtype, nextPowerOf2, rowMajor } from "./rows.js";

/** How a power is computed: p of 0, 1, 2, infinity, or any. */
const kindOf = (p: number): string =>
  p === 0 ? "zero" : p === 1 ? "one" : p === 2 ? "two" : p === Number.POSITIVE_INFINITY ? "most" : "any";

/**
 * `y[z, i, j]`: the p-norm of row `i` of `a[z]` minus row `j` of `b[z]`. `b` comes turned, `[z, m, j]`: vectors lie along `j`. Four
 * elements of the rows at a time, so that the sums are not written for each.
 */
const distances = kernel(
  // biome-ignore format: one line per group
  { a: ptr, b: ptr, y: ptr, P: i32, R: i32, M: i32, p: f64, bands: i32,
    ROWS: constexpr, COLS: constexpr, KIND: constexpr.string, T: constexpr.dtype },
  ({ a, b, y, P, R, M, p, bands, ROWS, COLS, KIND, T }, tl) => {
    const z = tl.floorDiv(tl.programId(0), bands);
    const i = (tl.programId(0) % bands) * ROWS + tl.arange(0, ROWS);
    const j = tl.programId(1) * COLS + tl.arange(0, COLS);
    const left = a + z * P * M + tl.col(i * M);
    const right = b + z * M * R + tl.row(j);
    const power = tl.cast(p, T);
    let acc = tl.zeros([ROWS, COLS], T);
    for (let m = 0; m < M; m += 4) {
      for (const k of tl.staticRange(4)) {
        const there = m + k < M;
        const u = tl.cast(tl.load(left + (m + k), tl.col(i < P) && there, 0), T);
        const v = tl.cast(tl.load(right + (m + k) * R, tl.row(j < R) && there, 0), T);
        const d = u - v;
        if (KIND === "zero") acc += tl.cast(d !== 0, T);
        if (KIND === "one") acc += tl.abs(d);
        if (KIND === "two") acc += d * d;
        if (KIND === "most") acc = tl.maximum(acc, tl.abs(d), { propagateNan: true });
        if (KIND === "any") acc += tl.pow(tl.abs(d), power);
      }
    }
    if (KIND === "two") acc = tl.sqrt(acc);
    if (KIND === "any") acc = tl.pow(acc, 1 / power);
    tl.store(y + z * P * R + tl.col(i * R) + tl.row(j), acc, tl.col(i < P) && tl.row(j < R));
  },
  "pair_distances",
);

/** The gradient at `a`: `dx[z, i, m]`, the sum over `j` of `g[z, i, j]` times the slope of the distance. */
const slopes = kernel(
  // biome-ignore format: one line per group
  { a: ptr, b: ptr, y: ptr, g: ptr, dx: ptr, si: dim, sj: dim, P: i32, R: i32, M: i32, p: f64, bands: i32,
    ROWS: constexpr, COLS: constexpr, KIND: constexpr.string, T: constexpr.dtype },
  ({ a, b, y, g, dx, si, sj, P, R, M, p, bands, ROWS, COLS, KIND, T }, tl) => {
    const z = tl.floorDiv(tl.programId(0), bands);
    const i = (tl.programId(0) % bands) * ROWS + tl.arange(0, ROWS);
    const m = tl.programId(1) * COLS + tl.arange(0, COLS);
    const inside = tl.col(i < P) && tl.row(m < M);
    const own = z * P * M + tl.col(i * M) + tl.row(m);
    const u = tl.cast(tl.load(a + own, inside, 0), T);
    const pairs = z * P * R + tl.col(i * si);
    let acc = tl.zeros([ROWS, COLS], T);
    for (let j = 0; j < R; j += 1) {
      const v = tl.cast(tl.load(b + (z * R + j) * M + tl.row(m), tl.row(m < M), 0), T);
      const far = tl.cast(tl.load(y + pairs + j * sj, tl.col(i < P), 0), T);
      const grad = tl.cast(tl.load(g + pairs + j * sj, tl.col(i < P), 0), T);
      const d = u - v;
      const size = tl.abs(d);
      const signed = tl.where(d > 0, grad, tl.where(d < 0, -grad, 0));
      if (KIND === "one") acc += signed;
      if (KIND === "two") acc += d * tl.where(far === 0, 0, grad / far);
      if (KIND === "most") acc += tl.where(size === far, signed, 0);
      if (KIND === "any")
        acc += tl.where(far === 0 || d === 0, 0, signed * tl.pow(size / far, tl.cast(p, T) - 1));
    }
    tl.store(dx + own, acc, inside);
  },
  "pair_distances_backward",
);

/** Rows and columns of a block of results. */
function blockOf(t: Tensor, rows: number, cols: number): { ROWS: number; COLS: number } {
  const { elementsPerProgram } = t.chip.capabilities;
  const ROWS = Math.min(16, nextPowerOf2(rows));
  // A block stays in the first cache.
  const COLS = Math.max(16, Math.min(256, nextPowerOf2(cols), elementsPerProgram / ROWS));
  return { ROWS, COLS };
}

interface Pairs {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly y: Tensor;
  readonly g: Tensor;
  readonly p: number;
}

/** @param turned whether the pairs stand as `[z, j, i]` */
function gradientAt({ a, b, y, g, p }: Pairs, turned: boolean): Tensor {
  const [Z, P, M] = a.shape as [number, number, number];
  const R = b.shape[1]!;
  const dx = empty([Z, P, M], { dtype: a.dtype, device: a.device });
  if (dx.numel === 0) return dx;
  const { ROWS, COLS } = blockOf(dx, P, M);
  const bands = Math.ceil(P / ROWS);
  slopes.launch([Z * bands, Math.ceil(M / COLS)], {
    a, b, y, g, dx, si: turned ? 1 : R, sj: turned ? P : 1, P, R, M, p, bands, ROWS, COLS, KIND: kindOf(p), T: computeDtype(a.dtype),
  }); // biome-ignore format: one line per group
  return dx;
}

const pairDistancesBackward: Operator<
  (grad: Tensor, a: Tensor, b: Tensor, y: Tensor, p: number) => [Tensor, Tensor]
> = operator({
  schema:
    "vexil::pair_distances_backward(Tensor grad, Tensor a, Tensor b, Tensor y, float p) -> (Tensor, Tensor)",
  method: false,
  run: (grad: Tensor, a: Tensor, b: Tensor, y: Tensor, p: number) => {
    const pairs = { a: rowMajor(a), b: rowMajor(b), y: rowMajor(y), g: rowMajor(grad), p };
    return [gradientAt(pairs, false), gradientAt({ ...pairs, a: pairs.b, b: pairs.a }, true)];
  },
  summary: "Gradients of pair_distances",
});

/**
 * The p-norms of the differences of all rows of `a [z, P, M]` and `b [z, R, M]`: `[z, P, R]`, floats of one dtype. Half types are
 * computed in f32.
 */
export const pairDistances: Operator<(a: Tensor, b: Tensor, p: number) => Tensor> = operator({
  schema: "vexil::pair_distances(Tensor a, Tensor b, float p) -> Tensor",
  method: false,
  run: (a: Tensor, b: Tensor, p: number) => {
    if (!isFloatDType(a.dtype) || a.dtype !== b.dtype)
      throw new TypeError(`cdist: needs floats of one dtype, not ${a.dtype} and ${b.dtype}`);
    const [Z, P, M] = a.shape as [number, number, number];
    const R = b.shape[1]!;
    const y = empty([Z, P, R], { dtype: a.dtype, device: a.device });
    if (y.numel === 0) return y;
    const turned = callOperator("contiguous", b.transpose(1, 2)) as Tensor;
    const { ROWS, COLS } = blockOf(y, P, R);
    const bands = Math.ceil(P / ROWS);
    distances.launch([Z * bands, Math.ceil(R / COLS)], {
      a: rowMajor(a), b: turned, y, P, R, M, p, bands, ROWS, COLS, KIND: kindOf(p), T: computeDtype(a.dtype),
    }); // biome-ignore format: one line per group
    return y;
  },
  derivative: {
    save: (args, outputs) => [args[0] as unknown as Tensor, args[1] as unknown as Tensor, outputs[0]!],
    backward: (ctx, grad) => {
      const [a, b, y] = ctx.saved as [Tensor, Tensor, Tensor];
      const p = ctx.args[2] as number;
      if (p === 0) return [null, null];
      if (!isGradEnabled()) return pairDistancesBackward(grad!, a, b, y, p);
      // To be differentiated again: made of operators, all differences at once.
      const all = normGradient(grad!, sub(a.unsqueeze(-2), b.unsqueeze(-3)), y, p, [-1], false)!;
      return [sum(all, [-2]), callOperator("neg", sum(all, [-3])) as Tensor];
    },
  },
  summary: "p-norms of the differences of all pairs of rows",
});

/** Row by row what stands right of the diagonal of a square, as a list; with `BACK` such a list as a square with zeros. */
const corner = kernel(
  { x: ptr, y: ptr, n: i32, BACK: constexpr.bool, COLS: constexpr },
  ({ x, y, n, BACK, COLS }, tl) => {
    const i = tl.programId(0);
    const first = i * n - tl.floorDiv(i * (i + 1), 2) - i - 1;
    for (let start = 0; start < n; start += COLS) {
      const j = start + tl.arange(0, COLS);
      const right = j > i && j < n;
      if (BACK) tl.store(y + i * n + j, tl.load(x + first + j, right, 0), j < n);
      else tl.store(y + first + j, tl.load(x + i * n + j, right, 0), right);
    }
  },
  "upper_corner",
);

function launchCorner(x: Tensor, y: Tensor, n: number, back: boolean): Tensor {
  if (y.numel > 0)
    corner.launch([n], {
      x: rowMajor(x),
      y,
      n,
      BACK: back,
      COLS: Math.min(1024, Math.max(16, nextPowerOf2(n))),
    });
  return y;
}

/** What stands right of the diagonal of `[n, n]`, row by row: `[n (n - 1) / 2]`. */
export const upperPairs: Operator<(square: Tensor) => Tensor> = operator({
  schema: "vexil::upper_pairs(Tensor square) -> Tensor",
  method: false,
  run: (square: Tensor) => {
    const n = square.shape[0]!;
    return launchCorner(
      square,
      empty([(n * (n - 1)) / 2], { dtype: square.dtype, device: square.device }),
      n,
      false,
    );
  },
  derivative: { backward: (ctx, grad) => [fromUpperPairs(grad!, ctx.meta(0).shape[0]!)] },
  summary: "What stands right of the diagonal of a square, as a list",
});

const fromUpperPairs: Operator<(list: Tensor, n: number) => Tensor> = operator({
  schema: "vexil::from_upper_pairs(Tensor list, int n) -> Tensor",
  method: false,
  run: (list: Tensor, n: number) =>
    launchCorner(list, empty([n, n], { dtype: list.dtype, device: list.device }), n, true),
  derivative: { backward: (_ctx, grad) => [upperPairs(grad!)] },
  summary: "A list as what stands right of the diagonal of a square",
});
