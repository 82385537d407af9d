// The layers of language models: each holds its parameters and says how they are used.

import type { DType } from "../compiler/ir/dtype.js";
import {
  add,
  addRmsNorm,
  dequantize,
  embedding,
  gatedLinear,
  indexSelect,
  joinsProducts,
  layerNorm,
  linear,
  linearEach,
  quantizedLinear,
  rmsNorm,
  siluMul,
} from "../ops/index.js";
import { isGradEnabled, type Tensor } from "../tensor/index.js";
import { activationDType } from "./activation-dtype.js";
import type { LoraAdapter } from "./lora.js";
import { Module } from "./module.js";

/** A matrix `[out, in]` of 8- or 4-bit integers with scales, in the layout of `ops/quantized.ts`. */
export interface IntegerMatrix {
  /** `[out, in]` i8, or `[out, bytes]` u8 with two elements a byte. */
  readonly packed: Tensor;
  /** `[out, groups]` */
  readonly scales: Tensor;
  readonly zeros: Tensor | undefined;
  /** Input channels that share a scale; 0: the whole row. */
  readonly groupSize: number;
}

/** Makes a module's parameters: random ones for training from scratch, stored ones when a checkpoint is loaded. */
export interface MakeParameter {
  (name: string, shape: readonly number[], init: "normal" | "ones" | "zeros"): Tensor;
  /** The integers of a matrix, if that is how a checkpoint holds it. */
  readonly integers?: (name: string, shape: readonly [number, number]) => IntegerMatrix | undefined;
}

/**
 * `y = x @ weight.T + bias`: `[..., in] -> [..., out]`; weight `[out, in]`, bias `[out]`, as PyTorch's `nn.Linear`.
 * The weight may be integers; then `weightPacked` and `weightScale` stand for it.
 */
export class Linear extends Module {
  readonly weight: Tensor | undefined;
  readonly bias: Tensor | undefined;
  readonly weightPacked: Tensor | undefined;
  readonly weightScale: Tensor | undefined;
  readonly weightZero: Tensor | undefined;
  /** Adds to what the layer gives. */
  adapter: LoraAdapter | undefined;
  readonly #groupSize: number = 0;

  constructor(
    make: MakeParameter,
    name: string,
    inFeatures: number,
    outFeatures: number,
    options: { readonly bias?: boolean } = {},
  ) {
    super();
    const integers = make.integers?.(`${name}.weight`, [outFeatures, inFeatures]);
    if (integers) {
      this.weightPacked = integers.packed;
      this.weightScale = integers.scales;
      this.weightZero = integers.zeros;
      this.#groupSize = integers.groupSize;
    } else this.weight = make(`${name}.weight`, [outFeatures, inFeatures], "normal");
    if (options.bias) this.bias = make(`${name}.bias`, [outFeatures], "zeros");
  }

  forward(x: Tensor): Tensor {
    const y = this.#own(x);
    return this.adapter ? add(y, this.adapter.forward(x)) : y;
  }

  /** What it is made of, if that is a matrix alone. */
  get matrix(): { w: Tensor; scales: Tensor | undefined; groupSize: number } | undefined {
    const w = this.weight ?? this.weightPacked!;
    if (this.bias || this.adapter || this.weightZero) return undefined;
    return { w, scales: this.weightScale, groupSize: this.#groupSize };
  }

  #own(x: Tensor): Tensor {
    if (this.weight) return linear(x, this.weight, this.bias ?? null);
    return quantizedLinear(
      x,
      this.weightPacked!,
      this.weightScale!,
      this.weightZero ?? null,
      this.bias ?? null,
      { groupSize: this.#groupSize, activationDtype: activationDType() },
    );
  }
}

/** The matrices of several layers where one launch multiplies them: of one kind, with nothing to record. */
function together(layers: readonly Linear[], x: Tensor) {
  // A joined product takes activations as they are.
  if (isGradEnabled() || activationDType() !== "keep" || !joinsProducts(x)) return undefined;
  const all = layers.map((l) => l.matrix);
  const [first] = all;
  const same = all.every((m) => m && !m.scales === !first?.scales && m.groupSize === first?.groupSize && m.w.dtype === first.w.dtype); // biome-ignore format: one condition
  return same ? (all as NonNullable<(typeof all)[number]>[]) : undefined;
}

/** What each of several layers gives for one input. */
export function forwardEach(layers: readonly Linear[], x: Tensor): Tensor[] {
  const all = together(layers, x);
  if (!all) return layers.map((l) => l.forward(x));
  const scales = all.flatMap((m) => m.scales ?? []);
  return linearEach(
    x,
    all.map((m) => m.w),
    scales,
    all[0]!.groupSize,
  );
}

/** `silu(gate(x)) * up(x)`. */
export function forwardGated(gate: Linear, up: Linear, x: Tensor): Tensor {
  const [g, u] = together([gate, up], x) ?? [];
  if (!g || !u) return siluMul(gate.forward(x), up.forward(x));
  return gatedLinear(x, g.w, u.w, g.scales ?? null, u.scales ?? null, g.groupSize);
}

/**
 * Rows of a table by index: `[...] i64 -> [..., features]`; weight `[rows, features]`. The table may be integers; then rows become f32 as
 * they are looked up, and `weightPacked` and `weightScale` stand for it.
 */
export class Embedding extends Module {
  readonly weight: Tensor | undefined;
  readonly weightPacked: Tensor | undefined;
  readonly weightScale: Tensor | undefined;
  readonly weightZero: Tensor | undefined;
  readonly #integers: IntegerMatrix | undefined;
  readonly #features: number;
  constructor(make: MakeParameter, name: string, rows: number, features: number) {
    super();
    this.#features = features;
    const integers = make.integers?.(`${name}.weight`, [rows, features]);
    this.#integers = integers;
    if (integers) {
      this.weightPacked = integers.packed;
      this.weightScale = integers.scales;
      this.weightZero = integers.zeros;
    } else this.weight = make(`${name}.weight`, [rows, features], "normal");
  }
  forward(ids: Tensor): Tensor {
    if (this.weight) return embedding(this.weight, ids);
    const { packed, scales, zeros, groupSize } = this.#integers!;
    const flat = ids.reshape([ids.numel]);
    const rows = (t: Tensor): Tensor => indexSelect(t, 0, flat);
    const own = dequantize(rows(packed), rows(scales), zeros ? rows(zeros) : null, this.#features, {
      groupSize,
    });
    return own.view([...ids.shape, this.#features]);
  }
  /** The table as integers, where it is some. */
  get integers(): IntegerMatrix | undefined {
    return this.#integers;
  }
  /** Of what it gives. */
  get dtype(): DType {
    return this.weight?.dtype ?? "f32";
  }
  get device(): string {
    return (this.weight ?? this.weightPacked!).device;
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
  get eps(): number {
    return this.#eps;
  }
  /** The norm of `x + residual`, and that sum, in one pass. */
  forwardSum(x: Tensor, residual: Tensor): [normed: Tensor, sum: Tensor] {
    return addRmsNorm(x, residual, this.weight, this.#eps);
  }
}

/** `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimension (Ba et al., 2016). */
export class LayerNorm extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly #eps: number;
  constructor(make: MakeParameter, name: string, features: number, eps: number) {
    super();
    this.weight = make(`${name}.weight`, [features], "ones");
    this.bias = make(`${name}.bias`, [features], "zeros");
    this.#eps = eps;
  }
  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight.shape, this.weight, this.bias, this.#eps);
  }
}
