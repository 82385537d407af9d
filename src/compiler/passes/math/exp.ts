// exp, exp2, expm1.

import type { Builder } from "../../ir/builder.js";
import type { Value } from "../../ir/ir.js";
import { constantOf, madeBy } from "../../ir/ops/define.js";
import { COEFFICIENTS } from "./coefficients.js";
import { Kit } from "./kit.js";
import { neverPositive } from "./never-positive.js";

/** ln 2 in two parts; the first is short, so that its product with an exponent is exact. */
export const LN2 = {
  f32: [0.693145751953125, 1.4286068203094173e-6],
  f64: [0.6931471803691238, 1.9082149292705877e-10],
} as const;

const tables = (k: Kit) => COEFFICIENTS[k.wide ? "f64" : "f32"];

/**
 * Splits off an even power of two: `x * scale = n + …` with integer `n`, and `root = 2^n`, so that `root * root`
 * reaches from the denormals to past the largest number although `root` itself is a normal number.
 */
function evenPower(k: Kit, x: Value, scale: number): { n: Value; root: Value } {
  const { magic, bias, mantissa } = k.format;
  const t = k.fma(x, scale, magic + bias);
  return { n: k.sub(t, magic + bias), root: k.fromBits(k.shl(k.bits(t), mantissa)) };
}

/** `p * root^2`: the first product is exact, the second rounds (denormals too). */
const scaled = (k: Kit, p: Value, root: Value): Value => k.mul(k.mul(p, root), root);

/** e^x for x in (-104, 90) in f32, (-746, 711) in f64. */
function expInRange(k: Kit, x: Value): Value {
  const { n, root } = evenPower(k, x, Math.LOG2E / 2);
  const [hi, lo] = LN2[k.wide ? "f64" : "f32"];
  const r = k.fma(n, -2 * lo, k.fma(n, -2 * hi, x));
  return scaled(k, k.poly(r, [1, 1, ...tables(k).EXP]), root);
}

/** e^x, at most 2 ULP in f32 and f64. Overflows to infinity, underflows through the denormals to 0. */
export function exp(b: Builder, x: Value): Value {
  const k = new Kit(b, x);
  return expInRange(k, k.wide ? k.clamp(x, -746, 711) : k.clamp(x, -105, 90));
}

/** 2^(hi + lo) for |hi| below 160 in f32, 1100 in f64; `lo` is small against 1. */
export function exp2InRange(k: Kit, hi: Value, lo?: Value): Value {
  const { n, root } = evenPower(k, hi, 0.5);
  let r = k.fma(n, -2, hi);
  if (lo) r = k.add(r, lo);
  return scaled(k, k.poly(r, [1, Math.LN2, ...tables(k).EXP2]), root);
}

/** 2^x, at most 2 ULP; exact for integers. */
export function exp2(b: Builder, x: Value): Value {
  const k = new Kit(b, x);
  return exp2InRange(k, k.wide ? k.clamp(x, -1080, 1030) : k.clamp(x, -155, 130));
}

/** 2^x in f32, at most 2 ULP; 0 where it is under 2^-126, infinity from 2^127.5 on. What fits one exponent needs no second. */
export function exp2Approx(b: Builder, x: Value): Value {
  const k = new Kit(b, x);
  if (k.wide) return exp2(b, x);
  const { magic, bias, mantissa } = k.format;
  const small = neverPositive(x);
  const factor = small ? Number(constantOf(madeBy(x, "mul")?.operands[1]) ?? 0) : 0;
  if (factor > 0) return exp2OfProduct(k, madeBy(x, "mul")!.operands[0]!, factor);
  const inside = small ? k.atLeast(x, -bias) : k.clamp(x, -bias, bias + 1);
  const t = k.add(inside, magic + bias);
  const r = k.sub(inside, k.sub(t, magic + bias));
  const power = k.fromBits(k.shl(k.bits(t), mantissa));
  // Where the power may be infinite it must not meet a 0; where it is not, this takes no constant 1, and adds to sums in one step.
  if (small) return k.fma(k.mul(r, k.poly(r, COEFFICIENTS.f32.EXP2_NEAR)), power, power);
  return k.mul(k.poly(r, [1, ...COEFFICIENTS.f32.EXP2_NEAR]), power);
}

/**
 * 2^(x * factor) for x that is not above 0. The product is never rounded to a number of its own, which is off by more the farther
 * it is from 0: that pays for a polynomial of one degree less, and it is two sums less an element.
 */
function exp2OfProduct(k: Kit, x: Value, factor: number): Value {
  const { magic, bias, mantissa } = k.format;
  const inside = k.atLeast(x, -bias / factor);
  const t = k.fma(inside, factor, magic + bias);
  const r = k.fma(inside, factor, k.sub(magic + bias, t));
  const power = k.fromBits(k.shl(k.bits(t), mantissa));
  return k.fma(k.mul(r, k.poly(r, COEFFICIENTS.f32.EXP2_FUSED)), power, power);
}

/** e^x - 1, at most 3 ULP, also near 0. */
export function expm1(b: Builder, x: Value): Value {
  const k = new Kit(b, x);
  const { magic, bias, mantissa } = k.format;
  const inside = k.wide ? k.clamp(x, -50, 710) : k.clamp(x, -30, 89);
  const t = k.fma(inside, Math.LOG2E, magic + bias - 1);
  const n = k.sub(t, magic + bias - 1);
  const [hi, lo] = LN2[k.wide ? "f64" : "f32"];
  const r = k.fma(n, -lo, k.fma(n, -hi, inside));
  const p = k.fma(k.mul(r, r), k.poly(r, tables(k).EXPM1), r);
  // Half the result, 2^(n-1) * (1 + p) - 1/2, is in range where 2^n is not.
  const half = k.fromBits(k.shl(k.bits(t), mantissa));
  const y = k.fma(half, p, k.sub(half, 0.5));
  const tiny = k.cmp(k.abs(x), "lt", k.wide ? 2 ** -55 : 2 ** -26);
  return k.select(tiny, x, k.add(y, y));
}

/** e^x without care for overflow: what `tanh` and `erf` need. */
export const expFinite = expInRange;
