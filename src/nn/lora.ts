// Low-rank adapters of linear layers (Hu et al., 2021, "LoRA"): `y + scale * (x A^T) B^T` beside a frozen `y = x W^T`.

import { dropout, linear, mul, rand, sub, zeros } from "../ops/index.js";
import type { Generator } from "../runtime/index.js";
import { callOperator, keep, noGrad, type Tensor } from "../tensor/index.js";
import { Module } from "./module.js";

export interface LoraShape {
  readonly rank: number;
  /** What is added is multiplied by this: `alpha / rank`. */
  readonly scale: number;
  /** Share of the input's elements dropped while training. */
  readonly dropout: number;
}

/** The adapter of one linear layer. With `loraB` at zero, as it begins, it adds nothing. */
export class LoraAdapter extends Module {
  /** `[rank, in]` */
  readonly loraA: Tensor;
  /** `[out, rank]` */
  readonly loraB: Tensor;
  readonly shape: LoraShape;
  /** Where dropout draws from; undefined outside training. */
  generator: Generator | null | undefined;

  /** @param weight the layer's own, `[out, in]`: the adapter has its dtype and chip */
  constructor(weight: Tensor, shape: LoraShape, generator: Generator) {
    super();
    const [outFeatures, inFeatures] = weight.shape as [number, number];
    const { dtype, device } = weight;
    this.shape = shape;
    [this.loraA, this.loraB] = noGrad(() => {
      // Evenly distributed up to 1 / sqrt(in), as `nn.Linear` and PEFT begin.
      const bound = 1 / Math.sqrt(inFeatures);
      const even = rand([shape.rank, inFeatures], { generator, dtype: "f32", device });
      const drawn = sub(mul(even, 2 * bound), bound);
      const a = dtype === "f32" ? drawn : (callOperator("_to_copy", drawn, { dtype }) as Tensor);
      return [keep(a), keep(zeros([outFeatures, shape.rank], { dtype, device }))];
    });
    this.loraA.requiresGrad_();
    this.loraB.requiresGrad_();
  }

  /** What the adapter adds: `[..., in] -> [..., out]`. */
  forward(x: Tensor): Tensor {
    const { dropout: p, scale } = this.shape;
    const input =
      p > 0 && this.generator !== undefined ? dropout(x, p, true, { generator: this.generator }) : x;
    return mul(linear(linear(input, this.loraA), this.loraB), scale);
  }
}

/** A tensor in f32. */
export const f32 = (t: Tensor): Tensor =>
  t.dtype === "f32" ? t : (callOperator("_to_copy", t, { dtype: "f32" }) as Tensor);
