// The layers of language models: each holds its parameters and says how they are used.

import { embedding, linear, rmsNorm } from "../ops/index.js";
import type { Tensor } from "../tensor/index.js";
import { Module } from "./module.js";

/** Makes a module's parameters: random ones for training from scratch, stored ones when a checkpoint is loaded. */
export type MakeParameter = (
  name: string,
  shape: readonly number[],
  init: "normal" | "ones" | "zeros",
) => Tensor;

/** `y = x @ weight.T`: `[..., in] -> [..., out]`; weight `[out, in]`, as PyTorch's `nn.Linear` without bias. */
export class Linear extends Module {
  readonly weight: Tensor;
  constructor(make: MakeParameter, name: string, inFeatures: number, outFeatures: number) {
    super();
    this.weight = make(`${name}.weight`, [outFeatures, inFeatures], "normal");
  }
  forward(x: Tensor): Tensor {
    return linear(x, this.weight);
  }
}

/** Rows of a table by index: `[...] i64 -> [..., features]`; weight `[rows, features]`. */
export class Embedding extends Module {
  readonly weight: Tensor;
  constructor(make: MakeParameter, name: string, rows: number, features: number) {
    super();
    this.weight = make(`${name}.weight`, [rows, features], "normal");
  }
  forward(ids: Tensor): Tensor {
    return embedding(this.weight, ids);
  }
}

/** `x / sqrt(mean(x^2) + eps) * weight` over the last dimension (Zhang and Sennrich, 2019). */
export class RMSNorm extends Module {
  readonly weight: Tensor;
  readonly #eps: number;
  constructor(make: MakeParameter, name: string, features: number, eps: number) {
    super();
    this.weight = make(`${name}.weight`, [features], "ones");
    this.#eps = eps;
  }
  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight.shape, this.weight, this.#eps);
  }
}
