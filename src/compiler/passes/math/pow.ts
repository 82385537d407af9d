// pow and rsqrt. f32 powers are computed in f64; f64 powers with logarithms in twice the precision.

import type { Builder } from "../../ir/builder.js";
import type { Value } from "../../ir/ir.js";
import { constantOf } from "../../ir/ops/define.js";
import { COEFFICIENTS } from "./coefficients.js";
import { exp2InRange } from "./exp.js";
import { decompose } from "./log.js";
import { Kit } from "./kit.js";

/** 1 / sqrt(x), at most 1.5 ULP. */
export function rsqrt(b: Builder, x: Value): Value {
  const k = new Kit(b, x);
  return k.div(1, k.sqrt(x));
}

/**
 * x^y, at most 1 ULP in f32 and 2 ULP in f64, with C's special cases: pow(x, 0) = pow(1, y) = 1 (of NaN too), a
 * negative base with a non-integer exponent is NaN, and odd integer exponents keep the sign.
 */
export function pow(b: Builder, x: Value, y: Value): Value {
  const simple = constantExponent(b, x, constantOf(y) as number | undefined);
  if (simple) return simple;
  const k = new Kit(b, x);
  const a = k.abs(x);
  const size = x.type.dtype === "f64" ? powerF64(k, a, y) : b.cast(powerF32(b, a, y), "f32");
  const isInteger = k.cmp(k.floor(y), "eq", y);
  const half = k.mul(y, 0.5);
  const isOdd = k.both(isInteger, k.cmp(k.floor(half), "ne", half));
  let r = k.fromBits(k.xor(k.bits(size), k.select(isOdd, k.signBit(x), k.int(0))));
  const isComplex = k.both(
    k.cmp(x, "lt", 0),
    k.both(k.not(isInteger), k.cmp(a, "lt", Number.POSITIVE_INFINITY)),
  );
  r = k.select(isComplex, Number.NaN, r);
  return k.select(k.either(k.cmp(y, "eq", 0), k.cmp(x, "eq", 1)), 1, r);
}

/** Exponents that need a product or two; each has the special cases of C. */
function constantExponent(b: Builder, x: Value, y: number | undefined): Value | undefined {
  const k = new Kit(b, x);
  switch (y) {
    case 0:
      return k.num(1);
    case 1:
      return x;
    case 2:
      return k.mul(x, x);
    case 3:
      return k.mul(k.mul(x, x), x);
    case -1:
      return k.div(1, x);
    case 0.5: {
      // sqrt(-0) is -0 and sqrt(-infinity) NaN; the powers are 0 and infinity.
      const root = k.sqrt(k.add(x, 0));
      return k.select(k.cmp(x, "eq", Number.NEGATIVE_INFINITY), Number.POSITIVE_INFINITY, root);
    }
    default:
      return undefined;
  }
}

/** Exponents are clamped here: past it every base but 1 over- or underflows. */
const LARGE = 2 ** 64;

/** For a base that is 0, infinity or NaN: its logarithm. `usual` tells the others. */
function special(k: Kit, a: Value): { usual: Value; log: Value } {
  const zero = k.cmp(a, "eq", 0);
  const finite = k.cmp(a, "lt", Number.POSITIVE_INFINITY);
  return { usual: k.both(finite, k.not(zero)), log: k.select(zero, Number.NEGATIVE_INFINITY, a) };
}

/** `a^y` of f32 operands, `a` not negative, as f64. */
function powerF32(b: Builder, a32: Value, y32: Value): Value {
  const [a, wideY] = [b.cast(a32, "f64"), b.cast(y32, "f64")];
  const k = new Kit(b, a);
  const y = k.clamp(wideY, -LARGE, LARGE);
  const { e, f } = decompose(k, a, false);
  const s = k.div(f, k.add(f, 2));
  const finite = k.fma(s, k.poly(k.mul(s, s), COEFFICIENTS.f64.LOG2_SHORT), e);
  const { usual, log } = special(k, a);
  // Past these bounds f32 has only infinity and 0.
  const v = k.clamp(k.mul(y, k.select(usual, finite, log)), -160, 140);
  const t = k.add(v, k.format.magic + k.format.bias);
  const r = k.sub(v, k.sub(t, k.format.magic + k.format.bias));
  return k.mul(k.poly(r, [1, Math.LN2, ...COEFFICIENTS.f64.EXP2_SHORT]), k.fromBits(k.shl(k.bits(t), 52)));
}

/** A number as the sum of two floats, the second below the first's last digit. */
type Double = readonly [hi: Value, lo: Value];

/** The exact sum, where |x| >= |y|. */
function quickSum(k: Kit, x: Value, y: Value): Double {
  const s = k.add(x, y);
  return [s, k.sub(y, k.sub(s, x))];
}

/** The exact product of f64 numbers by Dekker's method: halves of 26 and 27 bits, cut by a mask. */
function product(k: Kit, x: Value, y: Value): Double {
  const upper = (v: Value) => k.fromBits(k.and(k.bits(v), k.int(-(1n << 27n))));
  const [xh, yh] = [upper(x), upper(y)];
  const [xl, yl] = [k.sub(x, xh), k.sub(y, yh)];
  const p = k.mul(x, y);
  const rest = k.add(k.add(k.sub(k.mul(xh, yh), p), k.mul(xh, yl)), k.mul(xl, yh));
  return [p, k.add(rest, k.mul(xl, yl))];
}

function times(k: Kit, x: Double, y: Double): Double {
  const [p, e] = product(k, x[0], y[0]);
  return quickSum(k, p, k.add(e, k.add(k.mul(x[0], y[1]), k.mul(x[1], y[0]))));
}

/** 1/3 and 2 / ln 2. */
const THIRD = [1 / 3, 1.850371707708594e-17] as const;
const TWO_LOG2E = [2.8853900817779268, 4.0710547481862066e-17] as const;

/** `a^y` in f64, `a` not negative. */
function powerF64(k: Kit, a: Value, exponent: Value): Value {
  const y = k.clamp(exponent, -LARGE, LARGE);
  const log = log2Double(k, a);
  const [vh, ve] = product(k, y, log[0]);
  const lo = k.add(ve, k.mul(y, log[1]));
  const infinite = special(k, a);
  const hi = k.select(infinite.usual, vh, k.mul(y, infinite.log));
  const inside = k.both(infinite.usual, k.cmp(k.abs(vh), "lt", 1080));
  return exp2InRange(k, k.clamp(hi, -1090, 1090), k.select(inside, lo, 0));
}

/** log2 to about 2^-64 of its value: `e + 2/ln2 * atanh(s)`, `s = f / (2 + f)`. */
function log2Double(k: Kit, a: Value): Double {
  const { e, f } = decompose(k, a, true);
  const m = k.add(f, 1);
  const [uh, ul] = quickSum(k, k.num(1), m);
  const sh = k.div(f, uh);
  const [ph, pl] = product(k, sh, uh);
  const s: Double = [sh, k.div(k.sub(k.sub(k.sub(f, ph), pl), k.mul(sh, ul)), uh)];
  const z = times(k, s, s);
  const [th, te] = quickSum(k, k.num(THIRD[0]), k.mul(z[0], k.poly(z[0], COEFFICIENTS.f64.LOG_TAIL)));
  const tail = times(k, s, times(k, z, [th, k.add(te, THIRD[1])]));
  const [ah, ae] = quickSum(k, s[0], tail[0]);
  const b = times(k, [ah, k.add(ae, k.add(s[1], tail[1]))], [k.num(TWO_LOG2E[0]), k.num(TWO_LOG2E[1])]);
  const [hi, he] = quickSum(k, e, b[0]);
  return [hi, k.add(he, b[1])];
}
