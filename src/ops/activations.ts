// Activations fused with what stands beside them in models.

import type { Operator, Tensor } from "../tensor/index.js";
import { elementwise } from "./pointwise/elementwise.js";
import { pointwiseKernel } from "./pointwise.js";

/** `silu(gate) * up`, the middle of a SwiGLU layer (Shazeer, 2020); shapes broadcast. */
export const siluMul: Operator<(gate: Tensor, up: Tensor) => Tensor> = elementwise({
  schema: "vexil::silu_mul(Tensor gate, Tensor up) -> Tensor",
  fn: pointwiseKernel((tl, gate, up) => gate * tl.sigmoid(gate) * up, { name: "silu_mul" }),
});
