// Smooth activations: softplus, softsign, mish, logsigmoid, tanhshrink, and the gated linear unit. The semantics are those
// of torch.nn.functional.* of the same name; sigmoid, tanh, silu and gelu are `unary.ts`.

import {
  type Method,
  normalizeDim,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { type Choice, elementwise } from "./pointwise/elementwise.js";
import { pointwise, pointwiseKernel } from "./pointwise.js";
import { type Unary, unary } from "./unary.js";

const softplusOf = pointwiseKernel(
  (tl, x, beta, threshold) => {
    const v = x * beta;
    return tl.where(
      v > threshold,
      x,
      tl.log1p(tl.exp(tl.minimum(v, threshold, { propagateNan: true }))) / beta,
    );
  },
  {
    name: "softplus",
    over: [0],
    grad: (tl, x, beta, threshold, g) => [
      tl.where(x * beta > threshold, g, g * tl.sigmoid(x * beta)),
      0 * g,
      0 * g,
    ],
  },
);
/** `log(1 + exp(beta * x)) / beta`, x itself where `beta * x` is above `threshold`. */
export const softplus: Operator<(self: Tensor, beta?: number, threshold?: number) => Tensor> = elementwise({
  schema: "softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor",
  fn: (): Choice => ({ fn: softplusOf, order: [0, 1, 2] }),
  opinfo: ["nn.functional.softplus"],
});
/** `x / (1 + |x|)`. Integers give f32. */
export const softsign = unary("softsign", (tl, x) => x / (1 + tl.abs(x)), {
  promote: "intToFloat",
  inPlace: false,
  method: false,
  grad: (tl, x, g) => {
    const d = 1 + tl.abs(x);
    return g / (d * d);
  },
  opinfo: ["nn.functional.softsign"],
});
/** `x - tanh(x)`. Integers give f32. */
export const tanhshrink = unary("tanhshrink", (tl, x) => x - tl.tanh(x), {
  promote: "intToFloat",
  inPlace: false,
  method: false,
  opinfo: ["nn.functional.tanhshrink"],
});
/** `log(sigmoid(x))`, without overflow. */
export const logSigmoid = unary(
  "log_sigmoid",
  (tl, x) => tl.minimum(x, 0, { propagateNan: true }) - tl.log1p(tl.exp(-tl.abs(x))),
  { inPlace: false, grad: (tl, x, g) => g * tl.sigmoid(-x), opinfo: ["nn.functional.logsigmoid"] },
);
/** `x * tanh(softplus(x))` (Misra, 2019). */
export const mish = unary(
  "mish",
  (tl, x) => x * tl.tanh(tl.where(x > 20, x, tl.log1p(tl.exp(tl.minimum(x, 20, { propagateNan: true }))))),
  {
    grad: (tl, x, g) => {
      const t = tl.tanh(tl.where(x > 20, x, tl.log1p(tl.exp(tl.minimum(x, 20)))));
      return g * (t + x * tl.sigmoid(x) * (1 - t * t));
    },
    opinfo: ["nn.functional.mish"],
  },
);
const gated = pointwise((tl, a, b) => a * tl.sigmoid(b), { name: "glu" });
/** The first half along `dim` times the sigmoid of the second (Dauphin et al., 2016). PyTorch: `F.glu`. */
export const glu: Operator<(self: Tensor, dim?: number) => Tensor> = operator({
  schema: "glu(Tensor self, int dim=-1) -> Tensor",
  run: (self: Tensor, dim: number) => {
    const d = normalizeDim(dim, self.ndim);
    const n = self.shape[d];
    if (n === undefined || n % 2 !== 0)
      throw new RangeError(`glu: dimension ${dim} of ${showShape(self.shape)} does not have two halves`);
    return gated(self.narrow(d, 0, n / 2), self.narrow(d, n / 2, n / 2));
  },
  derivative: "composite",
  opinfo: ["nn.functional.glu"],
  stage: "stable",
  summary: "Gated linear unit",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    softplus: Method<typeof softplus>;
    logSigmoid: Method<Unary>;
    mish: Method<Unary>;
    glu: Method<typeof glu>;
  }
}
