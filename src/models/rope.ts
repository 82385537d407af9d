// Tables of rotary position embeddings (Su et al., 2021), in the half-split layout of Hugging Face's models.

import { arange, cos, mul, pow, sin } from "../ops/index.js";
import { scope } from "../runtime/index.js";
import { noGrad, type Tensor } from "../tensor/index.js";

export interface RopeTables {
  /** `[positions, headDim / 2]` f32 */
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** The cosines and sines of `position * theta^(-2i / headDim)`. */
export function ropeTables(positions: number, headDim: number, theta: number, device: string): RopeTables {
  return noGrad(() =>
    scope(() => {
      const half = arange(0, headDim, 2, { dtype: "f32", device });
      const frequency = pow(theta, mul(half, -1 / headDim));
      const position = arange(positions, { dtype: "f32", device }).unsqueeze(1);
      const angle = mul(position, frequency);
      return { cos: cos(angle), sin: sin(angle) };
    }),
  );
}
