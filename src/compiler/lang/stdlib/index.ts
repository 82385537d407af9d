// Functions of `tl` that are written in the kernel language itself, and read as any helper is.

import { philox, rand, rand4x, randint, randint4x, randn, randn4x, uniform } from "./random.js";
import { softmax } from "./softmax.js";
import {
  atan,
  atan2,
  chebyshev,
  cosh,
  digamma,
  erfc,
  erfcinv,
  erfcx,
  erfcxPositive,
  erfinv,
  i0e,
  i1e,
  lgamma,
  signbit,
  sinh,
  zeta,
} from "./special.js";
import { swizzle2d } from "./swizzle.js";

export const library = {
  /** exp(x - max) / sum of them along an axis (default 0): non-negative numbers whose sum is 1. */
  softmax,
  /**
   * Row-major places `(i, j)` of a matrix of `rows` and `columns`, renumbered so that neighbours in order run down groups
   * of `group` rows: programs that run at the same time then share rows and columns of their operands.
   * @returns the new row and column
   * @example const [row, col] = tl.swizzle2d(tl.programId(0), tl.programId(1), tl.numPrograms(0), tl.numPrograms(1), 8);
   */
  swizzle2d,
  /**
   * Four streams of random u32 from a key and a counter: Philox 4x32 with 10 rounds. The key is `seed` (32 or 64
   * bits), the counter is four u32.
   *
   * J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
   * @returns a list of four tiles
   */
  philox,
  /** Random u32: the first stream of Philox at the counter `offset` (32 or 64 bits) for a seed. */
  randint,
  /** Four tiles of random u32 at once, at the price of one. */
  randint4x,
  /** A u32 as an f32 that is at least 0 and below 1, in steps of 2^-24. */
  uniform,
  /** Random f32, at least 0 and below 1, evenly distributed; one per counter `offset`. */
  rand,
  /** Four tiles as of {@link rand} at once, at the price of one. */
  rand4x,
  /** Random f32 of the standard normal distribution; one per counter `offset`. */
  randn,
  /** Four tiles as of {@link randn} at once, at the price of one. */
  randn4x,
  /** The sum of `coefficients[n - 1 - k] * T_k(t)`, Chebyshev polynomials of t in [-1, 1]. The coefficients are literals. */
  chebyshev,
  /** The angle between -pi/2 and pi/2 whose tangent is x. Floats. */
  atan,
  /** The angle of the point (x, y), between -pi and pi. Floats. */
  atan2,
  /** The hyperbolic sine. Floats. */
  sinh,
  /** The hyperbolic cosine. Floats. */
  cosh,
  /** Whether the sign bit of a float is set, also of -0 and NaN: a mask. */
  signbit,
  /** 1 - erf(x), exact also where it is small. Floats. */
  erfc,
  /** exp(x * x) * erfc(x). Floats. */
  erfcx,
  /** {@link erfcx} of an x that is not negative. Floats. */
  erfcxPositive,
  /** The number whose erf is x. Floats. */
  erfinv,
  /** The number whose erfc is x. Floats. */
  erfcinv,
  /** The logarithm of the gamma function's magnitude. Floats. */
  lgamma,
  /** The derivative of the gamma function's logarithm. Floats. */
  digamma,
  /** Hurwitz' zeta function of s above 1 and q. Floats. */
  zeta,
  /** The modified Bessel function of order 0, times exp(-|x|). Floats. */
  i0e,
  /** The modified Bessel function of order 1, times exp(-|x|). Floats. */
  i1e,
};

/** Library functions as callers see them: without `tl`. */
export type LibraryOf<T> = {
  readonly [K in keyof T]: T[K] extends (tl: never, ...args: infer A) => infer R ? (...args: A) => R : never;
};
