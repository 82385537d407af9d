// Element-wise operators of one tensor. Each is a scalar function of the kernel language; derivatives are generated
// unless PyTorch's convention at a kink needs another. The semantics are those of torch.* of the same name.

import { type Method, operator, type Operator, type OpInfoEntry, type Tensor } from "../tensor/index.js";
import { dtypeOf } from "./pointwise/elementwise.js";
import { elementwise, type PointwiseFunction, pointwiseKernel, type PointwiseOptions } from "./pointwise.js";

/** An operator of one tensor. */
export type Unary = Operator<(self: Tensor) => Tensor>;

export interface UnaryOptions extends PointwiseOptions {
  readonly opinfo?: readonly (string | OpInfoEntry)[];
  readonly inPlace?: boolean;
  readonly method?: boolean;
}

/** Declares `name(Tensor self) -> Tensor` and `name_`. */
export function unary(name: string, fn: PointwiseFunction, options: UnaryOptions = {}): Unary {
  return elementwise({
    schema: `${name}(Tensor self) -> Tensor`,
    fn: pointwiseKernel(fn, { ...options, name }),
    opinfo: options.opinfo ?? [name],
    inPlace: options.inPlace ?? true,
    ...(options.method === undefined ? {} : { method: options.method }),
    ...(options.promote === "bool" ? { derivative: "none" as const } : {}),
  });
}

const toFloat = { promote: "intToFloat" } as const;

/** |x|. The derivative at 0 is 0. */
export const abs = unary("abs", (tl, x) => tl.abs(x));
/** -x. */
export const neg = unary("neg", (_tl, x) => -x);
/** x itself (not a copy). */
export const positive: Unary = operator({
  schema: "positive(Tensor(a) self) -> Tensor(a)",
  run: (self: Tensor) => self,
  derivative: { backward: (_ctx, grad) => [grad] },
  opinfo: ["positive"],
  stage: "stable",
});

/** e to the power of x. Integers give f32. */
export const exp = unary("exp", (tl, x) => tl.exp(x), toFloat);
/** 2 to the power of x. Integers give f32. */
export const exp2 = unary("exp2", (tl, x) => tl.exp2(x), toFloat);
/** exp(x) - 1, exact near 0. Integers give f32. */
export const expm1 = unary("expm1", (tl, x) => tl.expm1(x), toFloat);
/** The natural logarithm. Integers give f32. */
export const log = unary("log", (tl, x) => tl.log(x), toFloat);
/** The logarithm to base 2. Integers give f32. */
export const log2 = unary("log2", (tl, x) => tl.log2(x), toFloat);
/** The logarithm to base 10. Integers give f32. */
export const log10 = unary("log10", (tl, x) => tl.log10(x), toFloat);
/** log(1 + x), exact near 0. Integers give f32. */
export const log1p = unary("log1p", (tl, x) => tl.log1p(x), toFloat);
/** The square root. Integers give f32. */
export const sqrt = unary("sqrt", (tl, x) => tl.sqrt(x), toFloat);
/** 1 / sqrt(x). Integers give f32. */
export const rsqrt = unary("rsqrt", (tl, x) => tl.rsqrt(x), toFloat);
/** 1 / x. Integers give f32. */
export const reciprocal = unary("reciprocal", (_tl, x) => 1 / x, toFloat);
const squared = pointwiseKernel((_tl, x) => x * x, { name: "square" });
const squaredBool = pointwiseKernel((tl, x) => tl.cast(x, tl.i64), {
  name: "square_bool",
  promote: "none",
  outputs: ["i64"],
});
/** x * x; bools give i64. */
export const square: Unary = elementwise({
  schema: "square(Tensor self) -> Tensor",
  fn: ([x]) => ({ fn: dtypeOf(x) === "bool" ? squaredBool : squared, order: [0] }),
  opinfo: ["square"],
  inPlace: true,
});
/** The sine of radians. Integers give f32. */
export const sin = unary("sin", (tl, x) => tl.sin(x), toFloat);
/** The cosine of radians. Integers give f32. */
export const cos = unary("cos", (tl, x) => tl.cos(x), toFloat);
/** The tangent of radians. Integers give f32. */
export const tan = unary("tan", (tl, x) => tl.tan(x), toFloat);
/** The hyperbolic tangent. Integers give f32. */
export const tanh = unary("tanh", (tl, x) => tl.tanh(x), toFloat);
/** 1 / (1 + exp(-x)). Integers give f32. */
export const sigmoid = unary("sigmoid", (tl, x) => tl.sigmoid(x), toFloat);
/** The error function. Integers give f32. */
export const erf = unary("erf", (tl, x) => tl.erf(x), toFloat);

/** The larger of x and 0; NaN stays NaN. The derivative at 0 is 0. */
export const relu = unary("relu", (tl, x) => tl.maximum(x, 0, { propagateNan: true }), {
  grad: (tl, x, g) => tl.where(x <= 0, 0, g),
  opinfo: ["nn.functional.relu"],
});
/** x * sigmoid(x). */
export const silu = unary("silu", (tl, x) => x * tl.sigmoid(x), { opinfo: ["nn.functional.silu"] });

/**
 * In f32 the probability of less than -|x| is the fourth power of a polynomial in |x|: good to 7e-8 of 1 before rounding, and
 * nothing from 5.6 on (the probability there: 1e-8). Taken from relu it needs no choice between the two sides.
 */
const geluErf = pointwiseKernel(
  (tl, x) => {
    if (tl.dtypeOf(x) === "f64") return 0.5 * x * (1 + tl.erf(x * tl.sqrt(0.5)));
    const a = tl.minimum(tl.abs(x), 5.6, { propagateNan: true });
    let root = tl.fma(a, -3.4140202842536382e-6, 5.852388858329505e-5);
    root = tl.fma(root, a, -0.0003076793800573796);
    root = tl.fma(root, a, -3.5203709558118135e-5);
    root = tl.fma(root, a, 0.0037963618524372578);
    root = tl.fma(root, a, 0.004648800939321518);
    root = tl.fma(root, a, -0.05019740015268326);
    root = tl.fma(root, a, -0.1677340418100357);
    root = tl.fma(root, a, 0.8408964276313782);
    const square = root * root;
    return tl.fma(-(a * square), square, tl.maximum(x, 0, { propagateNan: true }));
  },
  {
    name: "gelu",
    grad: (tl, x, g) =>
      g * (0.5 * (1 + tl.erf(x * tl.sqrt(0.5))) + x * 0.3989422804014327 * tl.exp(-0.5 * x * x)),
  },
);
const geluTanh = pointwiseKernel(
  (tl, x) => 0.5 * x * (1 + tl.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))),
  { name: "gelu_tanh" },
);
/**
 * x times the normal distribution's cumulative probability at x; with `approximate: "tanh"` by the tanh formula.
 *
 * D. Hendrycks, K. Gimpel: Gaussian error linear units (2016).
 */
export const gelu: Operator<(self: Tensor, options?: { approximate?: "none" | "tanh" }) => Tensor> =
  elementwise({
    schema: 'gelu(Tensor self, *, str approximate="none") -> Tensor',
    fn: ([, approximate]) => {
      if (approximate !== "none" && approximate !== "tanh")
        throw new RangeError(`gelu: approximate is "none" or "tanh", not ${JSON.stringify(approximate)}`);
      return { fn: approximate === "tanh" ? geluTanh : geluErf, order: [0] };
    },
    opinfo: ["nn.functional.gelu"],
    inPlace: true,
  });

// Integers are whole already.
/** The largest integer that is not above x. */
export const floor = unary("floor", (tl, x) =>
  tl.dtypeOf(x) === tl.f32 || tl.dtypeOf(x) === tl.f64 ? tl.floor(x) : x,
);
/** The smallest integer that is not below x. */
export const ceil = unary("ceil", (tl, x) =>
  tl.dtypeOf(x) === tl.f32 || tl.dtypeOf(x) === tl.f64 ? tl.ceil(x) : x,
);
/** x without its fraction. */
export const trunc = unary("trunc", (tl, x) =>
  tl.dtypeOf(x) === tl.f32 || tl.dtypeOf(x) === tl.f64 ? tl.trunc(x) : x,
);
/** The nearest integer, ties to even. */
export const round = unary("round", (tl, x) =>
  tl.dtypeOf(x) === tl.f32 || tl.dtypeOf(x) === tl.f64 ? tl.round(x) : x,
);
const scaledUp = pointwiseKernel((tl, x, scale) => tl.round(x * scale) / scale, {
  name: "round_up",
  over: [0],
});
const scaledDown = pointwiseKernel((tl, x, scale) => tl.round(x / scale) * scale, {
  name: "round_down",
  over: [0],
});
/** The nearest multiple of 10 to the power of -decimals, ties to even. */
export const roundDecimals: Operator<(self: Tensor, options: { decimals: number }) => Tensor> = elementwise({
  schema: "round.decimals(Tensor self, *, int decimals) -> Tensor",
  fn: ([, decimals]) => ({ fn: (decimals as number) < 0 ? scaledDown : scaledUp, order: [0, 1] }),
  defaults: ([self, decimals]) => [self!, 10 ** Math.abs(decimals as number)],
  name: "round",
  opinfo: ["0", "3", "neg_3"].map((n) => ({ op: "round", variant: `decimals_${n}` })),
  inPlace: true,
});
/** -1, 0 or 1. */
export const sign = unary(
  "sign",
  (tl, x) => {
    if (tl.dtypeOf(x) === tl.bool) return x;
    return tl.cast(x > 0, tl.dtypeOf(x)) - tl.cast(x < 0, tl.dtypeOf(x));
  },
  { opinfo: ["sign", "sgn"] },
);

/** Where x is NaN: bool. */
export const isnan = unary("isnan", (tl, x) => tl.isnan(x), { promote: "bool", inPlace: false });
/** Where x is infinite: bool. */
export const isinf = unary(
  "isinf",
  (tl, x) => (tl.dtypeOf(x) === tl.f32 || tl.dtypeOf(x) === tl.f64 ? tl.abs(x) === Infinity : false),
  { promote: "bool", inPlace: false },
);
/** Where x is neither infinite nor NaN: bool. */
export const isfinite = unary(
  "isfinite",
  (tl, x) => (tl.dtypeOf(x) === tl.f32 || tl.dtypeOf(x) === tl.f64 ? tl.abs(x) < Infinity : true),
  { promote: "bool", inPlace: false },
);
/** Where x is 0: bool. */
export const logicalNot = unary("logical_not", (_tl, x) => x === 0, { promote: "bool" });
/** The complement of the bits of integers, or of bools. */
export const bitwiseNot = unary("bitwise_not", (_tl, x) => ~x);

declare module "../tensor/tensor.js" {
  interface Tensor {
    abs: Method<Unary>;
    neg: Method<Unary>;
    positive: Method<Unary>;
    exp: Method<Unary>;
    exp2: Method<Unary>;
    expm1: Method<Unary>;
    log: Method<Unary>;
    log2: Method<Unary>;
    log10: Method<Unary>;
    log1p: Method<Unary>;
    sqrt: Method<Unary>;
    rsqrt: Method<Unary>;
    reciprocal: Method<Unary>;
    square: Method<Unary>;
    sin: Method<Unary>;
    cos: Method<Unary>;
    tan: Method<Unary>;
    tanh: Method<Unary>;
    sigmoid: Method<Unary>;
    erf: Method<Unary>;
    relu: Method<Unary>;
    silu: Method<Unary>;
    gelu: Method<typeof gelu>;
    floor: Method<Unary>;
    ceil: Method<Unary>;
    trunc: Method<Unary>;
    /** The nearest integer, ties to even; with `{ decimals }` the nearest multiple of a power of 10. */
    round(options?: { decimals: number }): Tensor;
    sign: Method<Unary>;
    isnan: Method<Unary>;
    isinf: Method<Unary>;
    isfinite: Method<Unary>;
    logicalNot: Method<Unary>;
    bitwiseNot: Method<Unary>;
  }
}
