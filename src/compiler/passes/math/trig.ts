// sin, cos, tan. f32 is computed in f64, where reducing the argument needs no tricks and one rounding is left.

import type { Builder } from "../../ir/builder.js";
import type { Value } from "../../ir/ir.js";
import { COEFFICIENTS } from "./coefficients.js";
import { Kit } from "./kit.js";

/** pi/2 in four parts; the first three have 22 bits, so that products with integers below 2^31 are exact. */
const HALF_PI = [
  1.570796012878418, 3.139164164167596e-7, 6.223371969669989e-14, 2.0222662487959506e-21,
] as const;
/** Its last two parts together, in 53 bits. */
const HALF_PI_REST = 6.223372171896613e-14;

interface Reduced {
  /** `x - quadrant * pi/2`, in [-pi/4, pi/4], as a sum of two floats. */
  readonly hi: Value;
  readonly lo: Value | undefined;
  /** An i64 whose two low bits are the quadrant. */
  readonly quadrant: Value;
}

/** Cody and Waite's reduction in f64. `tail`: with the low part, for a result in f64. */
function reduce(k: Kit, x: Value, tail: boolean): Reduced {
  const t = k.fma(x, 2 / Math.PI, k.format.magic);
  const n = k.sub(t, k.format.magic);
  const quadrant = k.bits(t);
  const first = k.sub(k.sub(x, k.mul(n, HALF_PI[0])), k.mul(n, HALF_PI[1]));
  if (!tail) return { hi: k.sub(first, k.mul(n, HALF_PI_REST)), lo: undefined, quadrant };
  const third = k.mul(n, HALF_PI[2]);
  const w = k.sub(first, third);
  const lost = k.sub(k.sub(first, w), third);
  const rest = k.sub(k.mul(n, HALF_PI[3]), lost);
  const hi = k.sub(w, rest);
  return { hi, lo: k.sub(k.sub(w, hi), rest), quadrant };
}

function sinOf(k: Kit, { hi, lo }: Reduced): Value {
  const z = k.mul(hi, hi);
  if (!lo) return k.fma(k.mul(hi, z), k.poly(z, COEFFICIENTS.f64.SIN_SHORT), hi);
  const tail = k.fma(k.mul(z, -0.5), lo, lo);
  return k.add(hi, k.fma(k.mul(hi, z), k.poly(z, COEFFICIENTS.f64.SIN), tail));
}

function cosOf(k: Kit, { hi, lo }: Reduced): Value {
  const z = k.mul(hi, hi);
  if (!lo) return k.fma(k.mul(z, z), k.poly(z, COEFFICIENTS.f64.COS_SHORT), k.fma(z, -0.5, 1));
  const half = k.mul(z, 0.5);
  const w = k.sub(1, half);
  const lost = k.sub(k.sub(1, w), half);
  const small = k.fma(k.mul(z, z), k.poly(z, COEFFICIENTS.f64.COS), k.neg(k.mul(hi, lo)));
  return k.add(w, k.add(lost, small));
}

/** Runs in f64 and rounds to the dtype of `x`. */
function inF64(b: Builder, x: Value, fn: (k: Kit, r: Reduced, wide: Value) => Value): Value {
  const wide = b.cast(x, "f64");
  const k = new Kit(b, wide);
  return b.cast(fn(k, reduce(k, wide, x.type.dtype === "f64"), wide), x.type.dtype);
}

const isOdd = (k: Kit, q: Value): Value => k.cmp(k.and(q, 1), "ne", 0);
/** Turns the sign where bit `bit` of `q` is set. */
const flip = (k: Kit, v: Value, q: Value, bit: number): Value =>
  k.fromBits(k.xor(k.bits(v), k.and(k.shl(q, 63 - bit), k.int(-(2n ** 63n)))));

/**
 * The sine. f32: at most 1 ULP, f64: at most 2 ULP, for |x| up to 2^31; beyond, the argument's reduction runs
 * out of digits and the value is meaningless. NaN for infinities.
 */
export function sin(b: Builder, x: Value): Value {
  return inF64(b, x, (k, r, wide) => {
    const v = k.select(isOdd(k, r.quadrant), cosOf(k, r), sinOf(k, r));
    return k.select(k.cmp(wide, "eq", 0), wide, flip(k, v, r.quadrant, 1));
  });
}

/** The cosine, with the bounds of {@link sin}. */
export function cos(b: Builder, x: Value): Value {
  return inF64(b, x, (k, r) => {
    const v = k.select(isOdd(k, r.quadrant), sinOf(k, r), cosOf(k, r));
    return flip(k, v, k.add(r.quadrant, 1), 1);
  });
}

/** The tangent. f32: at most 1 ULP, f64: at most 3 ULP, for |x| up to 2^31. */
export function tan(b: Builder, x: Value): Value {
  return inF64(b, x, (k, r, wide) => {
    const [s, c, odd] = [sinOf(k, r), cosOf(k, r), isOdd(k, r.quadrant)];
    const v = k.div(k.select(odd, c, s), k.select(odd, s, c));
    return k.select(k.cmp(wide, "eq", 0), wide, flip(k, v, r.quadrant, 0));
  });
}
