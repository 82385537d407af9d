// Kernels of GPTQ: the Cholesky factor of one small block with its inverse, and the rounding of a run of columns where each
// column's error is taken off those behind it. What they are for is said in `gptq.ts`.

import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";

/**
 * Of a symmetric positive definite block `[size, size]` (rows `stride` apart): its lower factor, written to `l` with the same
 * rows, and the factor's inverse, written to `x`. One program.
 */
export const factorBlock = kernel(
  { a: ptr, l: ptr, x: ptr, stride: i32, size: i32, B: constexpr },
  ({ a, l, x, stride, size, B }, tl) => {
    const at = tl.arange(0, B);
    const r = tl.col(at);
    const c = tl.row(at);
    const inside = r < size && c < size;
    const unit = tl.where(r === c, tl.zeros([B, B], "f32") + 1, 0);
    // Beyond the block the matrix goes on with ones on its diagonal.
    let rest = tl.where(inside, tl.load(a + r * stride + c, inside, 0), unit);
    let lower = tl.zeros([B, B], "f32");
    let inverse = unit;
    for (let j = 0; j < size; j += 1) {
      const column = tl.sum(tl.where(c === j, rest, 0), 1);
      const pivot = tl.sqrt(tl.sum(tl.where(at === j, column, 0), 0));
      const scaled = tl.col(tl.where(at >= j, column / pivot, 0));
      lower = tl.where(c === j, scaled, lower);
      rest -= scaled * tl.row(tl.where(at >= j, column / pivot, 0));
      const own = tl.row(tl.sum(tl.where(r === j, inverse, 0), 0) / pivot);
      inverse = tl.where(r === j, own, tl.where(r > j, inverse - scaled * own, inverse));
    }
    tl.store(l + r * stride + c, lower, inside);
    tl.store(x + r * size + c, inverse, inside);
  },
  "gptq_factor_block",
);

/**
 * Rounds `count` columns of `w` one after the other: column `j` to the nearest step of its group's scale, ties to even. Its
 * error over `u[j, j]`, times row `j` of `u`, is taken off the columns behind it. `w` gets the rounded values, `e` the errors.
 */
export const roundColumns = kernel(
  // biome-ignore format: one line per operand
  {
    w: ptr, sw: i32, u: ptr, su: i32, s: ptr, group: ptr, e: ptr, N: i32, groups: i32, count: i32,
    MOST: constexpr, BN: constexpr, BC: constexpr,
  },
  ({ w, sw, u, su, s, group, e, N, groups, count, MOST, BN, BC }, tl) => {
    const n = tl.programId(0) * BN + tl.arange(0, BN);
    const rows = tl.col(n);
    const at = tl.arange(0, BC);
    const c = tl.row(at);
    const inside = rows < N && c < count;
    let left = tl.load(w + rows * sw + c, inside, 0);
    let rounded = tl.zeros([BN, BC], "f32");
    let errors = tl.zeros([BN, BC], "f32");
    for (let j = 0; j < count; j += 1) {
      const v = tl.sum(tl.where(c === j, left, 0), 1);
      const scale = tl.load(s + n * groups + tl.cast(tl.load(group + j), tl.i32), n < N, 0);
      const unit = tl.where(scale > 0, v / tl.where(scale > 0, scale, 1), 0);
      const value = tl.clamp(tl.round(unit), 0 - MOST, MOST) * scale;
      const error = (v - value) / tl.load(u + j * su + j);
      left -= tl.col(error) * tl.row(tl.load(u + j * su + at, at >= j && at < count, 0));
      rounded = tl.where(c === j, tl.col(value), rounded);
      errors = tl.where(c === j, tl.col(error), errors);
    }
    tl.store(w + rows * sw + c, rounded, inside);
    tl.store(e + rows * count + c, errors, inside);
  },
  "gptq_round_columns",
);
