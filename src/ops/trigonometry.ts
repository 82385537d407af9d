// Angles and hyperbolic functions of one or two tensors, element by element. The semantics are those of torch.* of the
// same name; sin, cos, tan and tanh are `unary.ts`.

import type { Method } from "../tensor/index.js";
import { type Binary, binary } from "./binary.js";
import { type Unary, unary } from "./unary.js";

const toFloat = { promote: "intToFloat" } as const;

/** The angle between -pi/2 and pi/2 whose tangent is x. Integers give f32. */
export const atan = unary("atan", (tl, x) => tl.atan(x), {
  ...toFloat,
  grad: (_tl, x, g) => g / (1 + x * x),
});
/** The angle between -pi/2 and pi/2 whose sine is x; NaN beyond 1. Integers give f32. */
export const asin = unary("asin", (tl, x) => 2 * tl.atan(x / (1 + tl.sqrt((1 - x) * (1 + x)))), {
  ...toFloat,
  grad: (tl, x, g) => g * tl.rsqrt((1 - x) * (1 + x)),
});
/** The angle between 0 and pi whose cosine is x; NaN beyond 1. Integers give f32. */
export const acos = unary("acos", (tl, x) => 2 * tl.atan(tl.sqrt(1 - x) / tl.sqrt(1 + x)), {
  ...toFloat,
  grad: (tl, x, g) => -g * tl.rsqrt((1 - x) * (1 + x)),
});
/** The hyperbolic sine. Integers give f32. */
export const sinh = unary("sinh", (tl, x) => tl.sinh(x), {
  ...toFloat,
  grad: (tl, x, g) => g * tl.cosh(x),
});
/** The hyperbolic cosine. Integers give f32. */
export const cosh = unary("cosh", (tl, x) => tl.cosh(x), {
  ...toFloat,
  grad: (tl, x, g) => g * tl.sinh(x),
});
/** The number whose hyperbolic sine is x. Integers give f32. */
export const asinh = unary(
  "asinh",
  (tl, x) => {
    const a = tl.abs(x);
    // Beyond 1e9 the 1 under the root is lost, and the square may overflow.
    const b = tl.minimum(a, 1e9);
    const y = tl.where(a > 1e9, tl.log(a) + tl.log(2), tl.log1p(b + (b * b) / (1 + tl.sqrt(1 + b * b))));
    return tl.where(x === 0 || tl.isnan(x), x, tl.where(x < 0, -y, y));
  },
  { ...toFloat, grad: (tl, x, g) => g * tl.rsqrt(1 + x * x) },
);
/** The positive number whose hyperbolic cosine is x; NaN below 1. Integers give f32. */
export const acosh = unary(
  "acosh",
  (tl, x) => {
    const t = tl.minimum(x, 1e9) - 1;
    const y = tl.where(x > 1e9, tl.log(x) + tl.log(2), tl.log1p(t + tl.sqrt(t * (t + 2))));
    return tl.where(x >= 1, y, 0 / 0);
  },
  { ...toFloat, grad: (tl, x, g) => g * tl.rsqrt((x - 1) * (x + 1)) },
);
/** The number whose hyperbolic tangent is x; infinite at 1, NaN beyond. Integers give f32. */
export const atanh = unary(
  "atanh",
  (tl, x) => {
    const a = tl.abs(x);
    const y = 0.5 * tl.log1p((2 * a) / (1 - a));
    return tl.where(x === 0, x, tl.where(x < 0, -y, y));
  },
  { ...toFloat, grad: (_tl, x, g) => g / ((1 - x) * (1 + x)) },
);
/** sin(pi x) / (pi x), 1 at 0. Integers give f32. */
export const sinc = unary(
  "sinc",
  (tl, x) => {
    const a = 2 * x * 1.5707963267948966;
    return tl.where(x === 0, 1, tl.sin(a) / a);
  },
  {
    ...toFloat,
    grad: (tl, x, g) => {
      const a = 2 * x * 1.5707963267948966;
      return tl.where(x === 0, 0, (g * (tl.cos(a) * a - tl.sin(a))) / (a * x));
    },
  },
);
/** Degrees as radians. Integers give f32. */
export const deg2rad = unary("deg2rad", (_tl, x) => x * 0.017453292519943295, toFloat);
/** Radians as degrees. Integers give f32. */
export const rad2deg = unary("rad2deg", (_tl, x) => x * 57.29577951308232, toFloat);
/** The angle of a real number in the complex plane: 0, or pi where it is negative. Integers give f32. */
export const angle = unary(
  "angle",
  (tl, x) => tl.where(tl.isnan(x), x, tl.where(x < 0, 2 * 1.5707963267948966, 0)),
  {
    ...toFloat,
    inPlace: false,
    grad: (_tl, _x, g) => 0 * g,
  },
);

/** The angle of the point (other, self), between -pi and pi. Integers give f32. */
export const atan2: Binary = binary("atan2", (tl, y, x) => tl.atan2(y, x), {
  ...toFloat,
  grad: (tl, y, x, g) => {
    const square = x * x + y * y;
    const share = tl.where(square === 0, 0, g / square);
    return [share * x, -share * y];
  },
});
/** sqrt(self^2 + other^2), without overflow on the way. Floats. */
export const hypot: Binary = binary(
  "hypot",
  (tl, x, y) => {
    const a = tl.abs(x);
    const b = tl.abs(y);
    const big = tl.maximum(a, b, { propagateNan: true });
    const ratio = tl.minimum(a, b, { propagateNan: true }) / big;
    return tl.where(big === 0 || big === Infinity, big, big * tl.sqrt(1 + ratio * ratio));
  },
  {
    grad: (tl, x, y, g) => {
      const length = tl.sqrt(x * x + y * y);
      return [tl.where(length === 0, 0, (g * x) / length), tl.where(length === 0, 0, (g * y) / length)];
    },
  },
);

declare module "../tensor/tensor.js" {
  interface Tensor {
    atan: Method<Unary>;
    asin: Method<Unary>;
    acos: Method<Unary>;
    sinh: Method<Unary>;
    cosh: Method<Unary>;
    asinh: Method<Unary>;
    acosh: Method<Unary>;
    atanh: Method<Unary>;
    sinc: Method<Unary>;
    deg2rad: Method<Unary>;
    rad2deg: Method<Unary>;
    angle: Method<Unary>;
    atan2: Method<Binary>;
    hypot: Method<Binary>;
  }
}
