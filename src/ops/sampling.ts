// Choosing the next token: one random draw for each row of logits, after temperature, top-k, top-p and min-p.

import { constexpr, f32, i32, ptr, u32, u64 } from "../compiler/lang/index.js";
import { defaultGenerator, type Generator, kernel } from "../runtime/index.js";
import { empty, isFloatDType, type Operator, operator, showShape, type Tensor } from "../tensor/index.js";
import { exponential } from "./random-kernels.js";
import { rowMajor } from "./rows.js";

/**
 * One program per row, without sorting: thresholds are found by halving intervals of the floats' bit patterns, which
 * are ordered as the floats are. The draw is the largest of weight / exponential variate (the "exponential race", as
 * in Gumbel's trick), so it needs no running sums.
 */
const draw = kernel(
  // biome-ignore format: one line per group
  { logits: ptr, weights: ptr, out: ptr, cols: i32, seed: u64, low: u32, high: u32,
    inverse: f32, topK: i32, topP: f32, minP: f32, BLOCK: constexpr, exponential },
  ({ logits, weights, out, cols, seed, low, high, inverse, topK, topP, minP, BLOCK, exponential }, tl) => {
    const row = tl.programId(0);
    const x = logits + row * cols;
    const w = weights + row * cols;
    let most = tl.full([BLOCK], -Infinity);
    for (let start = 0; start < cols; start += BLOCK) {
      const at = start + tl.arange(0, BLOCK);
      most = tl.maximum(most, tl.cast(tl.load(x + at, at < cols, -Infinity), tl.f32));
    }
    const top = tl.max(most, 0);
    // The smallest logit that is kept, as an ordered integer.
    let kept = tl.cast(-2147483647, tl.i32);
    if (topK > 0 && topK < cols) {
      const bits = tl.bitcast(top, tl.i32);
      let above = (bits ^ ((bits >> 31) & 0x7fffffff)) + 1;
      let middle = (kept >> 1) + (above >> 1) + (kept & above & 1);
      while (middle > kept) {
        let counts = tl.zeros([BLOCK], tl.i32);
        for (let start = 0; start < cols; start += BLOCK) {
          const at = start + tl.arange(0, BLOCK);
          const v = tl.cast(tl.load(x + at, at < cols, -Infinity), tl.f32);
          const b = tl.bitcast(tl.where(tl.isnan(v), -Infinity, v), tl.i32);
          const key = b ^ ((b >> 31) & 0x7fffffff);
          counts += tl.cast(key >= middle && at < cols, tl.i32);
        }
        const count = tl.sum(counts, 0);
        if (count >= topK) kept = middle;
        else above = middle;
        if (count === topK) above = middle + 1;
        middle = (kept >> 1) + (above >> 1) + (kept & above & 1);
      }
    }
    // Unnormalised probabilities; 0 for what top-k dropped.
    let sums = tl.zeros([BLOCK]);
    for (let start = 0; start < cols; start += BLOCK) {
      const at = start + tl.arange(0, BLOCK);
      const v = tl.cast(tl.load(x + at, at < cols, -Infinity), tl.f32);
      const b = tl.bitcast(v, tl.i32);
      const key = b ^ ((b >> 31) & 0x7fffffff);
      const p = tl.where(v >= top, 1, tl.exp((v - top) * inverse));
      const weight = tl.where(key >= kept && p >= minP && at < cols, p, 0);
      sums += weight;
      tl.store(w + at, weight, at < cols);
    }
    // The smallest weight that is kept: the largest whose own and higher weights make up the share `topP`.
    let least = tl.cast(0, tl.i32);
    if (topP < 1) {
      const share = tl.sum(sums, 0) * topP;
      let above = tl.cast(0x3f800001, tl.i32);
      let middle = above >> 1;
      while (middle > least) {
        let part = tl.zeros([BLOCK]);
        for (let start = 0; start < cols; start += BLOCK) {
          const at = start + tl.arange(0, BLOCK);
          const p = tl.load(w + at, at < cols, 0);
          part += tl.where(tl.bitcast(p, tl.i32) >= middle, p, 0);
        }
        if (tl.sum(part, 0) >= share) least = middle;
        else above = middle;
        middle = (least + above) >> 1;
      }
    }
    // Four random words serve the columns c, c + q, c + 2q, c + 3q.
    const q = (cols + 3) >> 2;
    let best = tl.zeros([BLOCK]);
    let choice = tl.zeros([BLOCK], tl.i32);
    for (let start = 0; start < q; start += BLOCK) {
      const c = start + tl.arange(0, BLOCK);
      const words = tl.philox(seed, low, high, c, row);
      for (const k of tl.staticRange(4)) {
        const at = k * q + c;
        const p = tl.load(w + at, c < q && at < cols, 0);
        const score = p / exponential(words[k]!);
        const better = tl.bitcast(p, tl.i32) >= least && score > best;
        best = tl.where(better, score, best);
        choice = tl.where(better, at, choice);
      }
    }
    const winner = tl.max(best, 0);
    tl.store(out + row, tl.min(tl.where(best === winner, choice, 0x7fffffff), 0));
  },
  "sample",
);

export interface SampleOptions {
  /** Logits are divided by it; 0 takes the largest. Default 1. */
  readonly temperature?: number;
  /** Keep this many of the largest logits (and those equal to the last of them); 0 keeps all. Default 0. */
  readonly topK?: number;
  /** Then keep the most probable ones that together reach this share. Default 1: all. */
  readonly topP?: number;
  /** Drop those whose probability is below this share of the largest. Default 0. */
  readonly minP?: number;
  readonly generator?: Generator | null;
}

/**
 * Draws an index for each row: `logits [B, V]` (any float dtype) give `[B]` i64. Which index a row gives depends on
 * the generator, the row's number and its logits, not on other rows, and is the same on every chip up to rounding of
 * the probabilities.
 *
 * @throws RangeError for options out of range
 * @example sample(logits, { temperature: 0.7, topP: 0.9, generator: new Generator(1) });
 */
export const sample: Operator<(logits: Tensor, options?: SampleOptions) => Tensor> = operator({
  schema:
    "vexil::sample(Tensor logits, float temperature=1, int top_k=0, float top_p=1, float min_p=0, *, Generator? generator=None) -> Tensor",
  run: (
    logits: Tensor,
    temperature: number,
    topK: number,
    topP: number,
    minP: number,
    generator: Generator | null,
  ) => {
    if (logits.ndim !== 2 || logits.shape[1] === 0 || !isFloatDType(logits.dtype))
      throw new RangeError(
        `sample: logits are floats of shape [rows, vocabulary], not ${logits.dtype} ${showShape(logits.shape)}`,
      );
    if (!(temperature >= 0)) throw new RangeError(`sample: the temperature is 0 or more, not ${temperature}`);
    if (topK < 0) throw new RangeError(`sample: topK is 0 or more, not ${topK}`);
    if (!(topP > 0 && topP <= 1)) throw new RangeError(`sample: topP is above 0 and at most 1, not ${topP}`);
    if (!(minP >= 0 && minP <= 1)) throw new RangeError(`sample: minP is between 0 and 1, not ${minP}`);
    const [rows, cols] = logits.shape as [number, number];
    const { device } = logits;
    const out = empty([rows], { dtype: "i64", device });
    const weights = empty([rows, cols], { dtype: "f32", device });
    const { seed, offset } = (generator ?? defaultGenerator).take(1);
    draw.launch([rows], {
      logits: rowMajor(logits), weights, out, cols, seed, low: offset % 2 ** 32, high: Math.floor(offset / 2 ** 32),
      inverse: 1 / temperature, topK, topP, minP, BLOCK: cols <= 256 ? 64 : 1024,
    }); // biome-ignore format: one line per group
    return out;
  },
  derivative: "none",
  summary: "A random index for each row of logits",
});
