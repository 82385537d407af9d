// The kernels that fill tensors with random numbers. Which operators are made of them stands in `random.ts`.
//
// Counter `c` of a draw gives the elements c, c + q, c + 2q and c + 3q, where q is the number of counters: an element
// depends on the seed, the draw's offset and the number of elements, not on the chip or how the launch is cut.

import { constexpr, f32, f64, helper, i32, i64, ptr, u32, u64 } from "../compiler/lang/index.js";
import { defaultGenerator, type Generator, kernel } from "../runtime/index.js";
import { empty, type Tensor } from "../tensor/index.js";

/** The four words of each counter from `at` on. */
const words = helper((tl, seed, low, high, at) => {
  const c0 = low + tl.cast(at, tl.u32);
  return tl.philox(seed, c0, high + tl.cast(c0 < low, tl.u32), 0, 0);
});

/** Two words as an f64 that is at least 0 and below 1, in steps of 2^-53. */
const wide = helper(
  (tl, a, b) => (tl.cast(a >>> 5, tl.f64) * 67108864 + tl.cast(b >>> 6, tl.f64)) * 1.1102230246251565e-16,
);

/** A word as an f32 with as many bits as the dtype's mantissa, so that rounding does not reach 1. */
const narrow = helper((tl, bits, digits) => tl.cast(bits >>> (32 - digits), tl.f32) * 2 ** -digits);

/** A word as an exponentially distributed f32; never infinite. */
export const exponential = helper((tl, bits) => {
  const u = (tl.cast(bits, tl.f32) + 0.5) * 2.3283064365386963e-10;
  return -tl.log1p(-tl.minimum(u, 0.99999994));
});

const uniformKernel = kernel(
  // biome-ignore format: one line per group
  { y: ptr, n: i32, q: i32, seed: u64, low: u32, high: u32, from: f64, to: f64,
    BLOCK: constexpr, DIGITS: constexpr, words, wide, narrow },
  ({ y, n, q, seed, low, high, from, to, BLOCK, DIGITS, words, wide, narrow }, tl) => {
    const c = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const bits = words(seed, low, high, c);
    if (DIGITS === 53) {
      for (const k of tl.staticRange(2)) {
        const at = k * q + c;
        tl.store(y + at, from + wide(bits[2 * k]!, bits[2 * k + 1]!) * (to - from), c < q && at < n);
      }
    } else {
      const start = tl.cast(from, tl.f32);
      const width = tl.cast(to - from, tl.f32);
      for (const k of tl.staticRange(4)) {
        const at = k * q + c;
        tl.store(y + at, start + narrow(bits[k]!, DIGITS) * width, c < q && at < n);
      }
    }
  },
  "random_uniform",
);

/** Box and Muller's transform of pairs of evenly distributed numbers. */
const normalKernel = kernel(
  // biome-ignore format: one line per group
  { y: ptr, n: i32, q: i32, seed: u64, low: u32, high: u32, mean: f64, std: f64,
    BLOCK: constexpr, T: constexpr.dtype, words, wide, narrow },
  ({ y, n, q, seed, low, high, mean, std, BLOCK, T, words, wide, narrow }, tl) => {
    const c = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const bits = words(seed, low, high, c);
    const center = tl.cast(mean, T);
    const scale = tl.cast(std, T);
    const pairs = T === "f64" ? 1 : 2;
    for (const k of tl.staticRange(pairs)) {
      const a = T === "f64" ? wide(bits[0]!, bits[1]!) : narrow(bits[2 * k]!, 24);
      const b = T === "f64" ? wide(bits[2]!, bits[3]!) : narrow(bits[2 * k + 1]!, 24);
      const radius = tl.sqrt(-2 * tl.log(1 - a)) * scale;
      const turn = 6.283185307179586 * b;
      const at = 2 * k * q + c;
      tl.store(y + at, center + radius * tl.cos(turn), c < q && at < n);
      tl.store(y + at + q, center + radius * tl.sin(turn), c < q && at + q < n);
    }
  },
  "random_normal",
);

const integerKernel = kernel(
  // biome-ignore format: one line per group
  { y: ptr, n: i32, q: i32, seed: u64, low: u32, high: u32, from: i64, range: u64,
    BLOCK: constexpr, WIDE: constexpr.bool, words },
  ({ y, n, q, seed, low, high, from, range, BLOCK, WIDE, words }, tl) => {
    const c = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const bits = words(seed, low, high, c);
    if (WIDE) {
      for (const k of tl.staticRange(2)) {
        const at = k * q + c;
        const word = (tl.cast(bits[2 * k]!, tl.u64) << 32) | tl.cast(bits[2 * k + 1]!, tl.u64);
        // A range of 0 stands for 2^64.
        const v = range === 0 ? word : tl.rem(word, range);
        tl.store(y + at, from + tl.cast(v, tl.i64), c < q && at < n);
      }
    } else {
      const r = tl.cast(range, tl.u32);
      for (const k of tl.staticRange(4)) {
        const at = k * q + c;
        tl.store(y + at, from + tl.cast(tl.umulhi(bits[k]!, r), tl.i64), c < q && at < n);
      }
    }
  },
  "random_integer",
);

/**
 * Exponentially distributed numbers, by the logarithm of evenly distributed ones. All 32 bits count, so that small
 * results, which decide races, are as fine as floats are.
 */
const exponentialKernel = kernel(
  // biome-ignore format: one line per group
  { y: ptr, n: i32, q: i32, seed: u64, low: u32, high: u32, rate: f64,
    BLOCK: constexpr, T: constexpr.dtype, words, wide, exponential },
  ({ y, n, q, seed, low, high, rate, BLOCK, T, words, wide, exponential }, tl) => {
    const c = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const bits = words(seed, low, high, c);
    const by = tl.cast(rate, T);
    if (T === "f64") {
      for (const k of tl.staticRange(2)) {
        const at = k * q + c;
        tl.store(y + at, -tl.log1p(-wide(bits[2 * k]!, bits[2 * k + 1]!)) / by, c < q && at < n);
      }
    } else {
      for (const k of tl.staticRange(4)) {
        const at = k * q + c;
        tl.store(y + at, exponential(bits[k]!) / by, c < q && at < n);
      }
    }
  },
  "random_exponential",
);

/** 1 with the probability that stands at the element's place in `p`, else 0. */
const bernoulliKernel = kernel(
  // biome-ignore format: one line per group
  { y: ptr, p: ptr, step: i32, n: i32, q: i32, seed: u64, low: u32, high: u32,
    BLOCK: constexpr, T: constexpr.dtype, words, wide, narrow },
  ({ y, p, step, n, q, seed, low, high, BLOCK, T, words, wide, narrow }, tl) => {
    const c = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const bits = words(seed, low, high, c);
    const parts = T === "f64" ? 2 : 4;
    for (const k of tl.staticRange(parts)) {
      const at = k * q + c;
      const inside = c < q && at < n;
      const u = T === "f64" ? wide(bits[2 * k]!, bits[2 * k + 1]!) : narrow(bits[k]!, 24);
      const chance = tl.cast(tl.load(p + at * step, inside, 0), T);
      tl.store(y + at, tl.cast(u < chance, tl.i32), inside);
    }
  },
  "random_bernoulli",
);

/** Zeroes elements with the probability `p`, scales the others, and notes which those are. */
const dropoutKernel = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, mask: ptr, n: i32, q: i32, seed: u64, low: u32, high: u32, p: f32, scale: f64,
    BLOCK: constexpr, T: constexpr.dtype, words, narrow },
  ({ x, y, mask, n, q, seed, low, high, p, scale, BLOCK, T, words, narrow }, tl) => {
    const c = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const bits = words(seed, low, high, c);
    const by = tl.cast(scale, T);
    for (const k of tl.staticRange(4)) {
      const at = k * q + c;
      const inside = c < q && at < n;
      const kept = narrow(bits[k]!, 24) >= p;
      tl.store(y + at, tl.where(kept, tl.cast(tl.load(x + at, inside, 0), T) * by, 0), inside);
      tl.store(mask + at, kept, inside);
    }
  },
  "dropout",
);

/**
 * Indices drawn in proportion to the weights of a row: the largest of weight / exponential variate. One program per
 * row and draw with replacement; else one per row, which takes the largest again and again.
 */
const multinomialKernel = kernel(
  // biome-ignore format: one line per group
  { weights: ptr, scores: ptr, out: ptr, cols: i32, draws: i32, seed: u64, low: u32, high: u32,
    BLOCK: constexpr, REPLACE: constexpr.bool, exponential },
  ({ weights, scores, out, cols, draws, seed, low, high, BLOCK, REPLACE, exponential }, tl) => {
    const row = tl.programId(0);
    const race = REPLACE ? row * draws + tl.programId(1) : row;
    const w = weights + row * cols;
    const s = scores + row * cols;
    const q = (cols + 3) >> 2;
    let best = tl.full([BLOCK], -1);
    let choice = tl.zeros([BLOCK], tl.i32);
    for (let start = 0; start < q; start += BLOCK) {
      const c = start + tl.arange(0, BLOCK);
      const bits = tl.philox(seed, low, high, c, race);
      for (const k of tl.staticRange(4)) {
        const at = k * q + c;
        const inside = c < q && at < cols;
        const p = tl.cast(tl.load(w + at, inside, 0), tl.f32);
        const score = p / exponential(bits[k]!);
        if (!REPLACE) tl.store(s + at, score, inside);
        const better = inside && score > best;
        best = tl.where(better, score, best);
        choice = tl.where(better, at, choice);
      }
    }
    let top = tl.max(best, 0);
    let winner = tl.min(tl.where(best === top, choice, 0x7fffffff), 0);
    if (REPLACE) tl.store(out + race, winner);
    else {
      for (let j = 0; j < draws; j += 1) {
        tl.store(out + (row * draws + j), winner);
        tl.store(s + winner, -1);
        let most = tl.full([BLOCK], -1);
        let index = tl.zeros([BLOCK], tl.i32);
        for (let start = 0; start < cols; start += BLOCK) {
          const at = start + tl.arange(0, BLOCK);
          const score = tl.load(s + at, at < cols, -1);
          const better = score > most;
          most = tl.where(better, score, most);
          index = tl.where(better, at, index);
        }
        top = tl.max(most, 0);
        winner = tl.min(tl.where(most === top, index, 0x7fffffff), 0);
      }
    }
  },
  "multinomial",
);

/** Mantissa bits that a random number below 1 may have. */
const DIGITS: Readonly<Record<string, number>> = { f64: 53, f32: 24, f16: 11, bf16: 8 };

interface Cut {
  readonly n: number;
  readonly q: number;
  readonly seed: bigint;
  readonly low: number;
  readonly high: number;
  readonly BLOCK: number;
}

/** Takes the counters that `n` elements need, `per` elements from each. */
function cut(t: Tensor, per: number, generator: Generator | null): { grid: [number]; args: Cut } {
  const n = t.numel;
  const q = Math.ceil(n / per);
  const { seed, offset } = (generator ?? defaultGenerator).take(q);
  const BLOCK = q <= 64 ? 64 : Math.max(64, Math.min(4096, t.chip.capabilities.elementsPerProgram / 4));
  const low = offset % 2 ** 32;
  return {
    grid: [Math.ceil(q / BLOCK)],
    args: { n, q, seed, low, high: Math.floor(offset / 2 ** 32), BLOCK },
  };
}

/** Fills a row-major float tensor evenly from `from` up to, not including, `to`. */
export function fillUniform(y: Tensor, from: number, to: number, generator: Generator | null): Tensor {
  if (y.numel === 0) return y;
  const { grid, args } = cut(y, y.dtype === "f64" ? 2 : 4, generator);
  uniformKernel.launch(grid, { y, from, to, DIGITS: DIGITS[y.dtype]!, ...args });
  return y;
}

/** Throws for a negative standard deviation. */
export function checkStd(std: number): void {
  if (!(std >= 0)) throw new RangeError(`normal: the standard deviation is 0 or more, not ${std}`);
}

/** Fills a row-major float tensor with normally distributed numbers. */
export function fillNormal(y: Tensor, mean: number, std: number, generator: Generator | null): Tensor {
  if (y.numel === 0) return y;
  const T = y.dtype === "f64" ? "f64" : "f32";
  const { grid, args } = cut(y, T === "f64" ? 2 : 4, generator);
  normalKernel.launch(grid, { y, mean, std, T, ...args });
  return y;
}

/** Fills a row-major tensor of any dtype with the integers from `from` up to, not including, `to`. */
export function fillIntegers(y: Tensor, from: bigint, to: bigint, generator: Generator | null): Tensor {
  if (y.numel === 0) return y;
  const range = to - from;
  const WIDE = range >= 2n ** 32n;
  const { grid, args } = cut(y, WIDE ? 2 : 4, generator);
  integerKernel.launch(grid, { y, from, range: BigInt.asUintN(64, range), WIDE, ...args });
  return y;
}

/** Fills a row-major float tensor with exponentially distributed numbers of the mean 1 / rate. */
export function fillExponential(y: Tensor, rate: number, generator: Generator | null): Tensor {
  if (y.numel === 0) return y;
  const T = y.dtype === "f64" ? "f64" : "f32";
  const { grid, args } = cut(y, T === "f64" ? 2 : 4, generator);
  exponentialKernel.launch(grid, { y, rate, T, ...args });
  return y;
}

/** Fills a row-major tensor with ones where a draw falls below `p`, which is row-major or has one element. */
export function fillBernoulli(y: Tensor, p: Tensor, generator: Generator | null): Tensor {
  if (y.numel === 0) return y;
  const T = p.dtype === "f64" ? "f64" : "f32";
  const { grid, args } = cut(y, T === "f64" ? 2 : 4, generator);
  bernoulliKernel.launch(grid, { y, p, step: p.numel === 1 ? 0 : 1, T, ...args });
  return y;
}

/** Row-major `x` with elements dropped, and which were kept. */
export function dropInto(x: Tensor, y: Tensor, mask: Tensor, p: number, generator: Generator | null): void {
  if (y.numel === 0) return;
  const { grid, args } = cut(y, 4, generator);
  dropoutKernel.launch(grid, {
    x,
    y,
    mask,
    p,
    scale: 1 / (1 - p),
    T: y.dtype === "f64" ? "f64" : "f32",
    ...args,
  });
}

/** Draws indices of row-major `weights [rows, cols]` into `out [rows, draws]`. */
export function drawIndices(
  weights: Tensor,
  out: Tensor,
  REPLACE: boolean,
  generator: Generator | null,
): void {
  const [rows, cols] = weights.shape as [number, number];
  const draws = out.shape[1]!;
  const { seed, offset } = (generator ?? defaultGenerator).take(1);
  const scores = empty(REPLACE ? [1] : [rows, cols], { dtype: "f32", device: out.device });
  multinomialKernel.launch([rows, REPLACE ? draws : 1], {
    weights, scores, out, cols, draws, seed, low: offset % 2 ** 32, high: Math.floor(offset / 2 ** 32),
    BLOCK: cols <= 256 ? 64 : 1024, REPLACE,
  }); // biome-ignore format: one line per group
}
