// GPTQ (Frantar et al., 2022): rounds the columns of a weight to integers one after the other, and lets the columns that are not
// rounded yet make up for each column's error, by the second derivatives of the layer's squared output error.
//
// For inputs `X [tokens, K]` these are `H = X^T X`. With `U` the upper Cholesky factor of `H^-1` (`H^-1 = U^T U`), the error of
// column `j`, over `U[j, j]` and times row `j` of `U`, is what the columns behind it have to give. `H^-1` itself is never made:
// if `H = R R^T` with `R` upper, which is a Cholesky factor of `H` read backwards, then `U = R^-1`.

import { diagonal, empty, type Tensor, tensor } from "../tensor/index.js";
import { add, div, mul } from "./binary.js";
import { eq } from "./compare.js";
import { zeros } from "./creation.js";
import { amax } from "./extreme.js";
import { indexSelect } from "./gather.js";
import { factorBlock, roundColumns } from "./gptq-kernels.js";
import { mm } from "./matmul.js";
import { mean } from "./reduce.js";
import { flip } from "./repeat.js";
import { argsort } from "./sort.js";
import { abs, neg } from "./unary.js";

/** Rows of the blocks that a factor is made of. */
const BLOCK = 64;
/** Columns that are rounded before those behind them are touched, and rows of one program. */
const COLUMNS = 128;
const ROWS = 16;

const part = (t: Tensor, r: number, rows: number, c: number, columns: number): Tensor =>
  t.narrow(0, r, rows).narrow(1, c, columns);

/**
 * `U`, upper, with `H^-1 = U^T U`, of a symmetric positive definite matrix `[K, K]` f32. Where it is not positive definite, NaN
 * stand in the result.
 */
export function inverseFactor(h: Tensor): Tensor {
  const K = h.shape[0]!;
  const { device } = h;
  // Read backwards, so that a lower factor is an upper one.
  const rest = flip(h, [0, 1]);
  const inverse = zeros([K, K], { dtype: "f32", device });
  const lower = zeros([K, K], { dtype: "f32", device });
  for (let i = 0; i < K; i += BLOCK) {
    const size = Math.min(BLOCK, K - i);
    const own = empty([size, size], { dtype: "f32", device });
    factorBlock.launch([1], {
      a: part(rest, i, size, i, size),
      l: part(lower, i, size, i, size),
      x: own,
      stride: K,
      size,
      B: BLOCK,
    });
    part(inverse, i, size, i, size).copy_(own);
    if (i > 0) {
      const before = mm(part(lower, i, size, 0, i), part(inverse, 0, i, 0, i));
      part(inverse, i, size, 0, i).copy_(neg(mm(own, before)));
    }
    const [next, left] = [i + size, K - i - size];
    if (left === 0) break;
    const below = mm(part(rest, next, left, i, size), own.t());
    part(lower, next, left, i, size).copy_(below);
    part(rest, next, left, next, left).sub_(mm(below, below.t()));
  }
  return flip(inverse, [0, 1]);
}

export interface GptqOptions {
  readonly bits: 4 | 8;
  /** Input channels that share a scale; 0: the whole row. */
  readonly groupSize: number;
  /** Columns with the largest second derivatives first; scales are then those of the weight as it came. Default false. */
  readonly actOrder?: boolean;
  /** What is added to the diagonal, as a share of its mean. Default 0.01. */
  readonly damping?: number;
}

/**
 * A weight `[N, K]` f32 rounded by GPTQ.
 * @param h `X^T X` of the layer's inputs, `[K, K]` f32, by any factor
 * @returns the rounded weight, and the scales `[N, groups]` that it is a multiple of
 *
 * @example const [rounded, scales] = gptq(weight, mm(x.t(), x), { bits: 4, groupSize: 128 });
 */
export function gptq(weight: Tensor, h: Tensor, options: GptqOptions): [rounded: Tensor, scales: Tensor] {
  const [N, K] = weight.shape as [number, number];
  const { device } = weight;
  const size = options.groupSize === 0 ? K : options.groupSize;
  const groups = Math.ceil(K / size);
  const most = options.bits === 8 ? 127 : 7;
  const second = diagonal(h);
  // Channels that are never used weigh nothing: they become 0, and anything on their diagonal will do.
  const unused = mul(eq(second, 0), 1.0);
  let damped = h.clone();
  diagonal(damped).add_(add(mul(mean(second), options.damping ?? 0.01), unused));
  let w = mul(weight, add(neg(unused), 1));
  const scalesOf = (columns: Tensor): Tensor => div(amax(abs(columns), [1], true), most);
  const scales = empty([N, groups], { dtype: "f32", device });
  const ahead = options.actOrder === true || groups === 1;
  if (ahead)
    for (let g = 0; g < groups; g++)
      scales.narrow(1, g, 1).copy_(scalesOf(w.narrow(1, g * size, Math.min(size, K - g * size))));
  const groupOf = tensor(
    Int32Array.from({ length: K }, (_, k) => Math.floor(k / size)),
    { device },
  );
  let [order, group]: [Tensor | undefined, Tensor] = [undefined, groupOf];
  if (options.actOrder) {
    order = argsort(second, 0, true);
    w = indexSelect(w, 1, order);
    damped = indexSelect(indexSelect(damped, 0, order), 1, order);
    group = indexSelect(groupOf, 0, order);
  }
  const u = inverseFactor(damped);
  const step = Math.min(size, COLUMNS);
  for (let k = 0; k < K; k += step) {
    const count = Math.min(step, K - k);
    const g = Math.floor(k / size);
    if (!ahead && k % size === 0)
      scales.narrow(1, g, 1).copy_(scalesOf(w.narrow(1, k, Math.min(size, K - k))));
    const errors = empty([N, count], { dtype: "f32", device });
    roundColumns.launch([Math.ceil(N / ROWS)], {
      w: w.narrow(1, k, count),
      sw: K,
      u: part(u, k, count, k, count),
      su: K,
      s: scales,
      group: group.narrow(0, k, count),
      e: errors,
      N,
      groups,
      count,
      MOST: most,
      BN: ROWS,
      BC: Math.max(16, 2 ** Math.ceil(Math.log2(step))),
    });
    const left = K - k - count;
    if (left > 0) w.narrow(1, k + count, left).sub_(mm(errors, part(u, k, count, k + count, left)));
  }
  return [order ? indexSelect(w, 1, argsort(order)) : w, scales];
}
