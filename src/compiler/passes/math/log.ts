// log, log2, log10, log1p.

import type { Builder } from "../../ir/builder.js";
import type { Value } from "../../ir/ir.js";
import { COEFFICIENTS } from "./coefficients.js";
import { LN2 } from "./exp.js";
import { Kit } from "./kit.js";

/** log10 of 2 in two parts, the first short. */
const LOG10_2 = {
  f32: [0.301025390625, 4.605038981195214e-6],
  f64: [0.3010299955494702, 1.1451100898021838e-10],
} as const;

/** The bits of the square root of one half. */
const ROOT_HALF = { f32: 0x3f3504f3, f64: 0x3fe6a09e667f3bcdn } as const;

/**
 * `x = 2^e * (1 + f)` with `f` in [sqrt(1/2) - 1, sqrt(2) - 1], both exact, for positive finite `x`; any finite
 * numbers for others. `e` is a float.
 */
export function decompose(k: Kit, x: Value, denormals: boolean): { e: Value; f: Value } {
  const { mantissa, bias, smallestNormal } = k.format;
  const root = k.int(k.wide ? ROOT_HALF.f64 : ROOT_HALF.f32);
  let bits = k.bits(x);
  let offset = k.num(bias);
  if (denormals) {
    const tiny = k.cmp(x, "lt", smallestNormal);
    bits = k.bits(k.select(tiny, k.mul(x, 2 ** mantissa), x));
    offset = k.select(tiny, bias + mantissa, bias);
  }
  const one = k.wide ? BigInt(bias) << 52n : bias << 23;
  bits = k.add(bits, k.sub(k.int(one), root));
  const low = k.wide ? (1n << 52n) - 1n : (1 << 23) - 1;
  const f = k.sub(k.fromBits(k.add(k.and(bits, k.int(low)), root)), 1);
  return { e: k.sub(toFloat(k, k.shr(bits, mantissa)), offset), f };
}

/** An integer below 2^31 as a float: in f64 by its bits, as chips rarely convert vectors of i64. */
function toFloat(k: Kit, n: Value): Value {
  if (!k.wide) return k.b.cast(n, "f32");
  return k.sub(k.fromBits(k.add(n, k.bits(k.num(k.format.magic)))), k.format.magic);
}

/** log(1 + f) = f + small, for `f` as {@link decompose} makes it. */
function log1pSmall(k: Kit, f: Value): Value {
  if (!k.wide) return k.mul(k.mul(f, f), k.fma(f, k.poly(f, COEFFICIENTS.f32.LOG), -0.5));
  // log(1 + f) = 2s + s R with s = f / (2 + f); 2s = f - f^2/2 + s f^2/2.
  const s = k.div(f, k.add(f, 2));
  const z = k.mul(s, s);
  const half = k.mul(k.mul(f, f), 0.5);
  const r = k.mul(z, k.poly(z, COEFFICIENTS.f64.LOG));
  return k.sub(k.mul(s, k.add(half, r)), half);
}

/** log of 0 is -infinity, of negative numbers NaN, of infinity infinity. */
function withPoles(k: Kit, x: Value, result: Value, pole: number): Value {
  let r = k.select(k.cmp(x, "lt", Number.POSITIVE_INFINITY), result, x);
  r = k.select(k.cmp(x, "lt", pole), Number.NaN, r);
  return k.select(k.cmp(x, "eq", pole), Number.NEGATIVE_INFINITY, r);
}

/** `e * (hi + lo) + f + small`, smallest first. */
function sum(k: Kit, e: Value, [hi, lo]: readonly [number, number], f: Value, small: Value): Value {
  return k.fma(e, hi, k.add(f, k.fma(e, lo, small)));
}

/** The natural logarithm, at most 2 ULP. */
export function log(b: Builder, x: Value): Value {
  const k = new Kit(b, x);
  const { e, f } = decompose(k, x, true);
  return withPoles(k, x, sum(k, e, LN2[k.wide ? "f64" : "f32"], f, log1pSmall(k, f)), 0);
}

/** log(1 + x), at most 3 ULP, also near 0. */
export function log1p(b: Builder, x: Value): Value {
  const k = new Kit(b, x);
  const u = k.add(x, 1);
  const split = decompose(k, u, false);
  // What rounding 1 + x lost. Where no power of two was split off, x itself is exact.
  const lost = k.select(k.cmp(k.abs(x), "lt", 1), k.sub(x, k.sub(u, 1)), k.sub(1, k.sub(u, x)));
  const plain = k.cmp(split.e, "eq", 0);
  const f = k.select(plain, x, split.f);
  const small = k.add(log1pSmall(k, f), k.select(plain, 0, k.div(lost, u)));
  const result = withPoles(k, x, sum(k, split.e, LN2[k.wide ? "f64" : "f32"], f, small), -1);
  return k.select(k.cmp(x, "eq", 0), x, result);
}

/** The logarithm to base 2, at most 3 ULP; exact for powers of two. */
export function log2(b: Builder, x: Value): Value {
  const k = new Kit(b, x);
  const { e, f } = decompose(k, x, true);
  const l = k.add(f, log1pSmall(k, f));
  return withPoles(k, x, k.add(e, k.fma(l, Math.LOG2E - 1, l)), 0);
}

/** The logarithm to base 10, at most 3 ULP. */
export function log10(b: Builder, x: Value): Value {
  const k = new Kit(b, x);
  const { e, f } = decompose(k, x, true);
  const l = k.add(f, log1pSmall(k, f));
  const [hi, lo] = LOG10_2[k.wide ? "f64" : "f32"];
  return withPoles(k, x, k.fma(e, hi, k.fma(l, Math.LOG10E, k.mul(e, lo))), 0);
}
