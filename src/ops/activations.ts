// Activations fused with what stands beside them in models.

import type { Operator, Tensor } from "../tensor/index.js";
import { elementwise } from "./pointwise/elementwise.js";
import { pointwiseKernel } from "./pointwise.js";

/** `silu(gate) * up`, the middle of a SwiGLU layer (Shazeer, 2020); shapes broadcast. */
export const siluMul: Operator<(gate: Tensor, up: Tensor) => Tensor> = elementwise({
  schema: "vexil::silu_mul(Tensor gate, Tensor up) -> Tensor",
  fn: pointwiseKernel((tl, gate, up) => gate * tl.sigmoid(gate) * up, { name: "silu_mul" }),
});

/** `gelu(gate) * up`, the middle of a GEGLU layer (Shazeer, 2020), with the exact Gaussian; shapes broadcast. */
export const geluMul: Operator<(gate: Tensor, up: Tensor) => Tensor> = elementwise({
  schema: "vexil::gelu_mul(Tensor gate, Tensor up) -> Tensor",
  // biome-ignore lint/suspicious/noApproximativeNumericConstant: kernels have no Math
  fn: pointwiseKernel((tl, gate, up) => 0.5 * gate * (1 + tl.erf(gate * 0.7071067811865476)) * up, {
    name: "gelu_mul",
  }),
  summary: "GELU of a gate times what it lets through",
});

/** As {@link geluMul} with the approximation by tanh (Gemma's). */
export const geluTanhMul: Operator<(gate: Tensor, up: Tensor) => Tensor> = elementwise({
  schema: "vexil::gelu_tanh_mul(Tensor gate, Tensor up) -> Tensor",
  fn: pointwiseKernel(
    (tl, gate, up) =>
      0.5 * gate * (1 + tl.tanh(0.7978845608028654 * (gate + 0.044715 * gate * gate * gate))) * up,
    { name: "gelu_tanh_mul" },
  ),
  summary: "Approximated GELU of a gate times what it lets through",
});

type Gate = "silu" | "gelu" | "geluTanh";
const GATES = { silu: siluMul, gelu: geluMul, geluTanh: geluTanhMul } as const;

/**
 * A gated layer's middle from one product: `[..., 2n]` gives `act(x[..., :n]) * x[..., n:]` of `[..., n]`.
 * PyTorch's `F.glu` has the sigmoid of the second half instead.
 *
 * @throws RangeError for an odd last dimension
 * @example gatedHalves(linear(x, gateAndUp), "silu");
 */
export function gatedHalves(x: Tensor, gate: Gate = "silu"): Tensor {
  const n = x.shape.at(-1) ?? 0;
  if (n % 2 !== 0) throw new RangeError(`gatedHalves: the last dimension must be even, not ${n}`);
  return GATES[gate](x.narrow(-1, 0, n / 2), x.narrow(-1, n / 2, n / 2));
}
