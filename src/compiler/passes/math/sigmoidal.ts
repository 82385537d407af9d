// tanh and erf, odd functions that end at -1 and 1, and what tanh is made into with other ends.

import type { Builder } from "../../ir/builder.js";
import type { Value } from "../../ir/ir.js";
import { COEFFICIENTS } from "./coefficients.js";
import { exp, exp2InRange, expFinite, expm1 } from "./exp.js";
import { Kit } from "./kit.js";

/** The hyperbolic tangent. f32: at most 2 ULP, f64: at most 4 ULP. */
export function tanh(b: Builder, x: Value): Value {
  const k = new Kit(b, x);
  const a = k.abs(x);
  if (k.wide) {
    const t = expm1(b, k.add(a, a));
    const small = k.cmp(a, "lt", 0.55);
    const q = k.div(k.select(small, t, -2), k.add(t, 2));
    return k.withSign(k.select(small, q, k.add(q, 1)), x);
  }
  const z = k.mul(x, x);
  const small = k.mul(x, k.poly(z, [1, ...COEFFICIENTS.f32.TANH]));
  const large = k.sub(1, k.div(2, k.add(exp(b, k.add(a, a)), 1)));
  return k.select(k.cmp(a, "lt", 0.625), small, k.withSign(large, x));
}

/** 1 / (1 + exp(-x)), as `tl.sigmoid` writes it. */
export function sigmoid(b: Builder, x: Value): Value {
  const k = new Kit(b, x);
  return k.div(1, k.add(exp(b, k.neg(x)), 1));
}

/** The error function. f32: at most 2 ULP, f64: at most 3 ULP. */
export function erf(b: Builder, x: Value): Value {
  const k = new Kit(b, x);
  const a = k.atMost(k.abs(x), k.wide ? 6 : 4);
  const small = k.fma(x, k.poly(k.mul(x, x), COEFFICIENTS[k.wide ? "f64" : "f32"].ERF), x);
  let complement: Value;
  if (k.wide) {
    const t = k.div(k.sub(a, 2.5), k.add(a, 2.5));
    complement = k.mul(expFinite(k, k.neg(k.mul(a, a))), k.poly(t, COEFFICIENTS.f64.ERFCX));
  } else complement = exp2InRange(k, k.poly(a, COEFFICIENTS.f32.ERFC_LOG2));
  const large = k.withSign(k.sub(1, complement), x);
  return k.select(k.cmp(k.abs(x), "lt", 1), small, large);
}
