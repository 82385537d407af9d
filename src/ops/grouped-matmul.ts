// Products of rows with the matrix of their group: tokens sorted by expert. How many rows a group has is known on the
// chip alone, so programs find their group themselves and nobody waits.

import { constexpr, dim, i32, ptr } from "../compiler/lang/index.js";
import { dotAccumulator } from "../compiler/ir/ops/reduce.js";
import { kernel } from "../runtime/index.js";
import { callOperator, emptyLike, type Operator, operator, showShape, type Tensor } from "../tensor/index.js";
import { blockFor } from "./matmul-kernel.js";
import { rowMajor } from "./rows.js";

/** `y[r] = x[r] @ w[g]` for the rows of each group `g`. Programs beyond the last block of rows do nothing. */
const product = kernel(
  // biome-ignore format: one line per group
  { x: ptr, w: ptr, swg: i32, swk: dim, swn: dim, y: ptr, ends: ptr, groups: i32, N: dim, K: dim,
    BM: constexpr, BN: constexpr, BK: constexpr, IN: constexpr.dtype, ACC: constexpr.dtype },
  ({ x, w, swg, swk, swn, y, ends, groups, N, K, BM, BN, BK, IN, ACC }, tl) => {
    const block = tl.programId(0);
    // The group that has block number `block`, if each group begins a block of its own.
    let before = tl.cast(0, tl.i32);
    let start = tl.cast(0, tl.i32);
    let group = tl.cast(-1, tl.i32);
    let first = tl.cast(0, tl.i32);
    let end = tl.cast(0, tl.i32);
    for (let g = 0; g < groups; g += 1) {
      const stop = tl.cast(tl.load(ends + g), tl.i32);
      const blocks = tl.cdiv(stop - start, BM);
      const mine = block >= before && block < before + blocks;
      group = mine ? g : group;
      first = mine ? start + (block - before) * BM : first;
      end = mine ? stop : end;
      before += blocks;
      start = stop;
    }
    if (group >= 0) {
      const rows = tl.col(first + tl.arange(0, BM));
      const cols = tl.row(tl.programId(1) * BN + tl.arange(0, BN));
      const ks = tl.arange(0, BK);
      let acc = tl.zeros([BM, BN], ACC);
      for (let k = 0; k < K; k += BK) {
        const ak = tl.row(k + ks);
        const bk = tl.col(k + ks);
        const a = tl.load(x + rows * K + ak, rows < end && ak < K, 0);
        const b = tl.load(w + group * swg + bk * swk + cols * swn, bk < K && cols < N, 0);
        acc = tl.dot(tl.cast(a, IN), tl.cast(b, IN), acc);
      }
      tl.store(y + rows * N + cols, acc, rows < end && cols < N);
    }
  },
  "grouped_mm",
);

/** `dw[g] = x[rows of g]^T @ dy[rows of g]`. */
const weightGradient = kernel(
  // biome-ignore format: one line per group
  { x: ptr, dy: ptr, dw: ptr, ends: ptr, N: dim, K: dim,
    BM: constexpr, BN: constexpr, BK: constexpr, IN: constexpr.dtype, ACC: constexpr.dtype },
  ({ x, dy, dw, ends, N, K, BM, BN, BK, IN, ACC }, tl) => {
    const g = tl.programId(2);
    const start = g > 0 ? tl.cast(tl.load(ends + g - 1), tl.i32) : tl.cast(0, tl.i32);
    const stop = tl.cast(tl.load(ends + g), tl.i32);
    const k = tl.col(tl.programId(0) * BK + tl.arange(0, BK));
    const n = tl.row(tl.programId(1) * BN + tl.arange(0, BN));
    let acc = tl.zeros([BK, BN], ACC);
    for (let r = start; r < stop; r += BM) {
      const across = tl.row(r + tl.arange(0, BM));
      const down = tl.col(r + tl.arange(0, BM));
      const a = tl.load(x + across * K + k, across < stop && k < K, 0);
      const b = tl.load(dy + down * N + n, down < stop && n < N, 0);
      acc = tl.dot(tl.cast(a, IN), tl.cast(b, IN), acc);
    }
    tl.store(dw + g * K * N + k * N + n, acc, k < K && n < N);
  },
  "grouped_mm_weight",
);

const groupedMmWeight: Operator<(x: Tensor, grad: Tensor, ends: Tensor) => Tensor> = operator({
  schema: "vexil::grouped_mm_weight(Tensor x, Tensor grad, Tensor ends) -> Tensor",
  method: false,
  run: (x: Tensor, grad: Tensor, ends: Tensor) => {
    const [groups, K, N] = [ends.shape[0]!, x.shape[1]!, grad.shape[1]!];
    const dw = emptyLike(x, { shape: [groups, K, N] });
    const [mostK, mostN, mostM] = x.chip.capabilities.dotBlock;
    const [BK, BN] = [blockFor(K, mostK, 8), blockFor(N, mostN, 8)];
    const BM = blockFor(Math.ceil(x.shape[0]! / groups), mostM, 8);
    if (dw.numel > 0)
      weightGradient.launch([Math.ceil(K / BK), Math.ceil(N / BN), groups], {
        x: rowMajor(x), dy: rowMajor(grad), dw, ends: rowMajor(ends), N, K, BM, BN, BK, IN: x.dtype, ACC: dotAccumulator(x.dtype),
      }); // biome-ignore format: one line per group
    return dw;
  },
  summary: "Gradient of the matrices of grouped_mm",
});

/**
 * `y[r] = x[r] @ weight[g]` where row `r` lies in group `g`: rows `ends[g-1] .. ends[g]`. Rows behind the last end are left
 * unspecified.
 *
 * @param x `[rows, k]`, sorted by group
 * @param weight `[groups, k, n]`, any strides, of the same dtype
 * @param ends `[groups]` i32 or i64, non-decreasing: where each group ends
 * @returns `[rows, n]`
 * @throws RangeError where the shapes or dtypes do not fit
 */
export const groupedMm: Operator<(x: Tensor, weight: Tensor, ends: Tensor) => Tensor> = operator({
  schema: "vexil::grouped_mm(Tensor x, Tensor weight, Tensor ends) -> Tensor",
  method: false,
  run: (x: Tensor, weight: Tensor, ends: Tensor) => {
    if (
      x.ndim !== 2 ||
      weight.ndim !== 3 ||
      ends.ndim !== 1 ||
      weight.shape[1] !== x.shape[1] ||
      ends.shape[0] !== weight.shape[0] ||
      x.dtype !== weight.dtype ||
      (ends.dtype !== "i32" && ends.dtype !== "i64")
    )
      throw new RangeError(
        `grouped_mm: needs x [rows, k], weight [groups, k, n] of one dtype and ends [groups] i32 or i64, not ${x.dtype} ${showShape(x.shape)}, ${weight.dtype} ${showShape(weight.shape)} and ${ends.dtype} ${showShape(ends.shape)}`,
      );
    const [rows, K] = x.shape as [number, number];
    const [groups, , N] = weight.shape as [number, number, number];
    const y = emptyLike(x, { shape: [rows, N] });
    if (y.numel === 0 || groups === 0) return y;
    const [mostM, mostN, mostK] = x.chip.capabilities.dotBlock;
    const BM = blockFor(Math.ceil(rows / groups), mostM, 1);
    const [BN, BK] = [blockFor(N, mostN, 8), blockFor(K, mostK, 8)];
    // Each group may leave one block partly empty.
    product.launch([Math.ceil(rows / BM) + groups, Math.ceil(N / BN)], {
      x: rowMajor(x), w: weight, swg: weight.strides[0]!, swk: weight.strides[1]!, swn: weight.strides[2]!, y, ends: rowMajor(ends), groups, N, K,
      BM, BN, BK, IN: x.dtype, ACC: dotAccumulator(x.dtype),
    }); // biome-ignore format: one line per group
    return y;
  },
  derivative: {
    save: (args, _outputs, needs) => [
      args[2] as Tensor,
      ...(needs[0] ? [args[1] as Tensor] : []),
      ...(needs[1] ? [args[0] as Tensor] : []),
    ],
    backward: (ctx, grad) => {
      const [ends, ...rest] = ctx.saved as [Tensor, ...Tensor[]];
      const weight = ctx.needs[0] ? rest.shift()! : null;
      const x = ctx.needs[1] ? rest.shift()! : null;
      return [
        weight && groupedMm(grad, weight.transpose(1, 2), ends),
        x && groupedMmWeight(x, grad, ends),
        null,
      ];
    },
  },
  summary: "Rows times the matrix of their group",
});

/**
 * The order that brings tokens to their experts: `[order, ends]`. `order [tokens * topK]` i64 are positions in
 * `experts.flatten()`, sorted by expert and stable; `ends [numExperts]` i64 is what {@link groupedMm} takes.
 *
 * @param experts `[tokens, topK]` i64, as {@link moeRoute} gives them
 */
export function sortByExpert(experts: Tensor, numExperts: number): [Tensor, Tensor] {
  const flat = experts.detach().reshape([-1]);
  const [sorted, order] = callOperator("sort.stable", flat, { stable: true, dim: 0, descending: false }) as [
    Tensor,
    Tensor,
  ];
  const bounds = callOperator("arange", numExperts, { dtype: "i64", device: experts.device }) as Tensor;
  // How many of the sorted numbers are at most g: there group g ends.
  const below = callOperator("le.Tensor", sorted.view(1, -1), bounds.view(-1, 1)) as Tensor;
  const ends = callOperator("sum.dim_IntList", below, [1]) as Tensor;
  return [order, ends];
}

/**
 * A whole layer of experts: every token goes through its chosen experts and comes back as their weighted sum.
 *
 * @param x `[tokens, n]`
 * @param weights, experts `[tokens, topK]` from {@link moeRoute}
 * @param run takes rows sorted by expert `[tokens * topK, n]` and where the groups end, gives `[tokens * topK, m]`
 * @returns `[tokens, m]` in the dtype of `x`
 * @example moeApply(x, w, e, 64, (rows, ends) => groupedMm(siluMul(groupedMm(rows, gate, ends), groupedMm(rows, up, ends)), down, ends));
 */
export function moeApply(
  x: Tensor,
  weights: Tensor,
  experts: Tensor,
  numExperts: number,
  run: (rows: Tensor, ends: Tensor) => Tensor,
): Tensor {
  const [tokens, K] = experts.shape as [number, number];
  const [order, ends] = sortByExpert(experts, numExperts);
  const token = callOperator("floor_divide", order, K) as Tensor;
  const rows = callOperator("index_select", x, 0, token) as Tensor;
  const out = run(rows, ends);
  // Where each (token, choice) went: the inverse of the order.
  const inverse = callOperator("argsort.stable", order, {
    stable: true,
    dim: 0,
    descending: false,
  }) as Tensor;
  const back = (callOperator("index_select", out, 0, inverse) as Tensor).view(tokens, K, out.shape[1]!);
  const weighted = callOperator("mul.Tensor", back, weights.unsqueeze(-1)) as Tensor;
  return (callOperator("sum.dim_IntList", weighted, [1]) as Tensor).to(x.dtype) as Tensor;
}
