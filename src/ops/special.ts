// Special functions, element by element: error functions, gamma functions, Bessel functions of imaginary argument, the
// normal distribution. The semantics are those of torch.special.* of the same name; the series stand in the kernel
// language's library.

import {
  isFloatDType,
  type Method,
  operator,
  type Operator,
  type OpInfoEntry,
  type Tensor,
} from "../tensor/index.js";
import type { Operand } from "./binary.js";
import { binary, type Binary } from "./binary.js";
import { toCopy } from "./cast.js";
import { type Choice, elementwise } from "./pointwise/elementwise.js";
import { pointwise, pointwiseKernel } from "./pointwise.js";
import { type Unary, unary, type UnaryOptions } from "./unary.js";

const toFloat = { promote: "intToFloat" } as const;

/** Declares `special_NAME` as the function and sample `special.NAME`. */
const special = (name: string, fn: Parameters<typeof unary>[1], options: UnaryOptions = {}): Unary =>
  unary(`special_${name}`, fn, {
    ...toFloat,
    inPlace: false,
    method: false,
    opinfo: [`special.${name}`],
    ...options,
  });

// --- Error functions and the normal distribution ---

/** 1 - erf(x), exact also where it is small. Integers give f32. */
export const erfc = unary("erfc", (tl, x) => tl.erfc(x), {
  ...toFloat,
  grad: (tl, x, g) => g * -1.1283791670955126 * tl.exp(-x * x),
});
/** The number whose erf is x: infinite at 1, NaN beyond. Integers give f32. */
export const erfinv = unary("erfinv", (tl, x) => tl.erfinv(x), {
  ...toFloat,
  grad: (tl, x, g) => {
    const y = tl.erfinv(x);
    return g * 0.886226925452758 * tl.exp(y * y);
  },
});
/** exp(x * x) * erfc(x). Integers give f32. */
export const specialErfcx = special("erfcx", (tl, x) => tl.erfcx(x), {
  grad: (tl, x, g) => g * (2 * x * tl.erfcx(x) - 1.1283791670955126),
});
/** The normal distribution's cumulative probability at x. Integers give f32. */
export const specialNdtr = special("ndtr", (tl, x) => 0.5 * tl.erfc(-x * tl.rsqrt(2)), {
  grad: (tl, x, g) => g * 0.3989422804014327 * tl.exp(-0.5 * x * x),
});
/** The logarithm of {@link specialNdtr}, exact also far below 0. Integers give f32. */
export const specialLogNdtr = special(
  "log_ndtr",
  (tl, x) => {
    const low = tl.minimum(x, 0, { propagateNan: true }) * tl.rsqrt(2);
    return tl.where(
      x < 0,
      tl.log(0.5 * tl.erfcxPositive(-low)) - low * low,
      tl.log1p(-0.5 * tl.erfc(x * tl.rsqrt(2))),
    );
  },
  { grad: (tl, x, g) => (g * 0.7978845608028654) / tl.erfcx(-x * tl.rsqrt(2)) },
);
/** The number whose {@link specialNdtr} is x. Integers give f32. */
export const specialNdtri = special("ndtri", (tl, x) => -tl.sqrt(2) * tl.erfcinv(2 * x), {
  grad: (tl, x, g) => {
    const y = tl.erfcinv(2 * x);
    return g * 2.5066282746310002 * tl.exp(y * y);
  },
});

// --- Gamma functions ---

/** The logarithm of the gamma function's magnitude. Integers give f32. */
export const lgamma = unary("lgamma", (tl, x) => tl.lgamma(x), {
  ...toFloat,
  grad: (tl, x, g) => g * tl.digamma(x),
});
const trigamma = pointwiseKernel((tl, x) => tl.zeta(2 + 0 * x, x), {
  name: "trigamma",
  ...toFloat,
  grad: (tl, x, g) => -2 * g * tl.zeta(3 + 0 * x, x),
});
/** The derivative of {@link lgamma}. Integers give f32. */
export const digamma = unary("digamma", (tl, x) => tl.digamma(x), {
  ...toFloat,
  grad: (tl, x, g) => g * tl.zeta(2 + 0 * x, x),
});
const polygammaOf = pointwiseKernel(
  (tl, x, n) => {
    const sign = tl.where(n % 2 === 0, -1, 1);
    return sign * tl.exp(tl.lgamma(n + 1 + 0 * x)) * tl.zeta(n + 1 + 0 * x, x);
  },
  {
    name: "polygamma",
    over: [0],
    ...toFloat,
    grad: (tl, x, n, g) => {
      const sign = tl.where(n % 2 === 0, 1, -1);
      return [g * sign * tl.exp(tl.lgamma(n + 2 + 0 * x)) * tl.zeta(n + 2 + 0 * x, x), 0 * g];
    },
  },
);
const digammaOf = pointwiseKernel((tl, x) => tl.digamma(x), {
  name: "digamma",
  ...toFloat,
  grad: (tl, x, g) => g * tl.zeta(2 + 0 * x, x),
});
const polygammaEntries = (op: string, variant: string): OpInfoEntry[] =>
  [0, 1, 2, 3, 4].map((n) => ({
    op,
    variant: `${variant}_n_${n}`,
    adapt: (input: unknown, args: unknown[]) => [args[0], input],
  }));
/** Derivative `n` of {@link digamma}, for arguments of -10 and above. Integers give f32. PyTorch: `torch.polygamma`. */
export const polygamma: Operator<(n: number, self: Tensor) => Tensor> = elementwise({
  schema: "polygamma(int n, Tensor self) -> Tensor",
  fn: ([n]): Choice => {
    if ((n as number) < 0) throw new RangeError(`polygamma: n is 0 or more, not ${String(n)}`);
    if (n === 0) return { fn: digammaOf, order: [1] };
    return n === 1 ? { fn: trigamma, order: [1] } : { fn: polygammaOf, order: [1, 0] };
  },
  method: false,
  opinfo: [
    ...polygammaEntries("polygamma", "polygamma"),
    ...polygammaEntries("special.polygamma", "special_polygamma"),
  ],
});
const minusHalves = pointwise((tl, x, i) => tl.lgamma(x - 0.5 * i), {
  name: "lgamma_half_steps",
  over: [0],
  ...toFloat,
  grad: (tl, x, i, g) => [g * tl.digamma(x - 0.5 * i), 0 * g],
});
const plus = pointwise((_tl, a, b) => a + b, { name: "plus" });
/** The logarithm of the multivariate gamma function of dimension `p`. Integers give f32. PyTorch: `torch.mvlgamma`. */
export const mvlgamma: Operator<(self: Tensor, p: number) => Tensor> = operator({
  schema: "mvlgamma(Tensor self, int p) -> Tensor",
  run: (self: Tensor, p: number) => {
    if (p < 1) throw new RangeError(`mvlgamma: p is 1 or more, not ${p}`);
    const x = self.dtype === "f64" || !isFloatDType(self.dtype) ? self : toCopy(self, { dtype: "f32" });
    let sum = minusHalves(x, 0);
    for (let i = 1; i < p; i++) sum = plus(sum, minusHalves(x, i));
    const y = plus(sum, (p * (p - 1) * Math.log(Math.PI)) / 4);
    return isFloatDType(self.dtype) && self.dtype !== y.dtype ? toCopy(y, { dtype: self.dtype }) : y;
  },
  derivative: "composite",
  opinfo: [1, 3, 5].map((p) => ({ op: "mvlgamma", variant: `mvlgamma_p_${p}` })),
  stage: "stable",
  summary: "Logarithm of the multivariate gamma function",
});
/** Hurwitz' zeta function: the sum of (other + k)^-self over k = 0, 1, ... Of `other` below -10 NaN. */
export const specialZeta: Binary = elementwise({
  schema: "special_zeta(Tensor self, Tensor other) -> Tensor",
  fn: pointwiseKernel((tl, s, q) => tl.zeta(s, q), { name: "zeta", ...toFloat }),
  derivative: {
    backward: () => {
      throw new Error("special_zeta has no derivative, as in PyTorch");
    },
  },
  method: false,
  opinfo: ["special.zeta"],
});

// --- Bessel functions of imaginary argument ---

/** The modified Bessel function of order 0. Integers give f32. */
export const i0 = unary("i0", (tl, x) => tl.exp(tl.abs(x)) * tl.i0e(x), {
  ...toFloat,
  opinfo: ["i0", "special.modified_bessel_i0"],
  grad: (tl, x, g) => g * tl.exp(tl.abs(x)) * tl.i1e(x),
});
/** {@link i0} times exp(-|x|). Integers give f32. */
export const specialI0e = special("i0e", (tl, x) => tl.i0e(x), {
  grad: (tl, x, g) => g * (tl.i1e(x) - tl.where(x > 0, 1, tl.where(x < 0, -1, 0)) * tl.i0e(x)),
});
/** The modified Bessel function of order 1. Integers give f32. */
export const specialI1 = special("i1", (tl, x) => tl.exp(tl.abs(x)) * tl.i1e(x), {
  opinfo: ["special.i1", "special.modified_bessel_i1"],
  grad: (tl, x, g) => {
    const slope = tl.where(x === 0, 0.5, tl.i0e(x) - tl.i1e(x) / x);
    return g * tl.exp(tl.abs(x)) * slope;
  },
});
/** {@link specialI1} times exp(-|x|). Integers give f32. */
export const specialI1e = special("i1e", (tl, x) => tl.i1e(x), {
  grad: (tl, x, g) => {
    const sign = tl.where(x > 0, 1, -1);
    const slope = tl.where(x === 0, 0.5, tl.i0e(x) - tl.i1e(x) * (sign + 1 / x));
    return g * slope;
  },
});

// --- Logarithms times something ---

/** self * log(other), 0 where self is 0. Integers give f32. */
export const xlogy: Binary = binary(
  "xlogy.Tensor",
  (tl, x, y) => tl.where(tl.isnan(y), y, tl.where(x === 0, 0, x * tl.log(y))),
  {
    ...toFloat,
    grad: (tl, x, y, g) => [tl.where(x === 0 && y <= 0, 0, g * tl.log(y)), (g * x) / y],
    opinfo: ["xlogy"],
  },
);
/** self * log(1 + other), 0 where self is 0. Integers give f32. */
export const specialXlog1py: Binary = elementwise({
  schema: "special_xlog1py(Tensor self, Tensor other) -> Tensor",
  fn: pointwiseKernel((tl, x, y) => tl.where(tl.isnan(y), y, tl.where(x === 0, 0, x * tl.log1p(y))), {
    name: "xlog1py",
    ...toFloat,
    grad: (tl, x, y, g) => [tl.where(x === 0 && y <= -1, 0, g * tl.log1p(y)), (g * x) / (y + 1)],
  }),
  method: false,
  opinfo: ["special.xlog1py"],
});
/** -x * log(x): 0 at 0, minus infinity below. Integers give f32. */
export const specialEntr = special(
  "entr",
  (tl, x) => tl.where(tl.isnan(x), x, tl.where(x > 0, -x * tl.log(x), tl.where(x === 0, 0, -Infinity))),
  { grad: (tl, x, g) => g * (-1 - tl.log(x)) },
);
const logitOf = pointwiseKernel((tl, x) => tl.log(x / (1 - x)), {
  name: "logit",
  ...toFloat,
  grad: (tl, x, g) => tl.where(x < 0 || x > 1, 0 / 0, g / (x * (1 - x))),
});
const logitWithin = pointwiseKernel(
  (tl, x, eps) => {
    const v = tl.clamp(x, eps, 1 - eps, { propagateNan: true });
    return tl.log(v / (1 - v));
  },
  {
    name: "logit_within",
    over: [0],
    ...toFloat,
    grad: (tl, x, eps, g) => [tl.where(x < eps || x > 1 - eps, 0, g / (x * (1 - x))), 0 * g],
  },
);
/** log(x / (1 - x)), with `eps` of x kept that far from 0 and 1. Integers give f32. */
export const logit: Operator<(self: Tensor, eps?: number | null) => Tensor> = elementwise({
  schema: "logit(Tensor self, float? eps=None) -> Tensor",
  fn: ([, eps]): Choice => (eps === null ? { fn: logitOf, order: [0] } : { fn: logitWithin, order: [0, 1] }),
  opinfo: ["logit"],
  inPlace: true,
});

const sumOfPowers = (
  name: string,
  fn: Parameters<typeof binary>[1],
  grad: NonNullable<UnaryOptions["grad"]>,
) => binary(name, fn, { grad });
/** log(exp(self) + exp(other)), without overflow. Floats. */
export const logaddexp: Binary = sumOfPowers(
  "logaddexp",
  (tl, x, y) => {
    const most = tl.maximum(x, y, { propagateNan: true });
    const apart = tl.where(x === y, 0, tl.abs(x - y));
    return most + tl.log1p(tl.exp(-apart));
  },
  (tl, x, y, g) => [g * tl.sigmoid(x - y), g * tl.sigmoid(y - x)],
);
/** log2(2^self + 2^other), without overflow. Floats. */
export const logaddexp2: Binary = sumOfPowers(
  "logaddexp2",
  (tl, x, y) => {
    const most = tl.maximum(x, y, { propagateNan: true });
    const apart = tl.where(x === y, 0, tl.abs(x - y));
    return most + tl.log1p(tl.exp2(-apart)) / tl.log(2);
  },
  (tl, x, y, g) => [g / (1 + tl.exp2(y - x)), g / (1 + tl.exp2(x - y))],
);

/** self to the power of exponent, computed and given in f64. PyTorch: `torch.float_power`. */
export const floatPower: Operator<(self: Operand, exponent: Operand) => Tensor> = elementwise({
  schema: "float_power.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor",
  fn: pointwiseKernel((tl, x, y) => tl.pow(tl.cast(x, tl.f64), tl.cast(y, tl.f64)), {
    name: "float_power",
    promote: "none",
    outputs: ["f64"],
  }),
  opinfo: ["float_power"],
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    erfc: Method<Unary>;
    erfinv: Method<Unary>;
    lgamma: Method<Unary>;
    digamma: Method<Unary>;
    mvlgamma: Method<typeof mvlgamma>;
    i0: Method<Unary>;
    xlogy: Method<Binary>;
    logit: Method<typeof logit>;
    logaddexp: Method<Binary>;
    logaddexp2: Method<Binary>;
    floatPower: Method<typeof floatPower>;
  }
}
