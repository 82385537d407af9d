// What all makers of tensors share: their options, an empty tensor of them, and filling it with one value.

import { type DType, defaultDType, empty, type Scalar, type Tensor } from "../tensor/index.js";
import { pointwiseKernel } from "./pointwise.js";

/** What every maker of tensors takes beside its own arguments. */
export interface CreationOptions {
  /** Default: f32, or for `…Like` and `new…` the given tensor's. */
  readonly dtype?: DType | null;
  /** The name of a loaded chip. Default: the default chip, or the given tensor's. */
  readonly device?: string | null;
  /** Whether the new tensor is a leaf that gathers gradients. */
  readonly requiresGrad?: boolean;
}

/** Those options in a schema. */
export const OPTIONS =
  "ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, bool requires_grad=False";

/** What `run` gets for {@link OPTIONS}, in order. */
export type Options = [
  dtype: DType | null,
  layout: string | null,
  device: string | null,
  pin: boolean | null,
  requiresGrad: boolean,
];

const constant = pointwiseKernel((_tl, x) => x, { name: "fill" }).kernel;

/** An uninitialised tensor of these options; `like` gives what they leave open. */
export function make(
  shape: readonly number[],
  options: Options,
  like?: { dtype: DType; device: string },
): Tensor {
  const [dtype, , device, , requiresGrad] = options;
  const t = empty(shape, {
    dtype: dtype ?? like?.dtype ?? defaultDType(),
    ...((device ?? like?.device) === undefined ? {} : { device: device ?? like?.device }),
  });
  if (requiresGrad) t.requiresGrad = true;
  return t;
}

/** Writes `value` everywhere. */
export function fillWith(t: Tensor, value: Scalar): Tensor {
  constant.into([value], [t], t.dtype);
  return t;
}
