// What the losses share: how the losses of the elements become the result, and the dtype they are computed in.

import { callOperator, isFloatDType, type Tensor } from "../tensor/index.js";
import { mean, sum } from "./reduce.js";

/** How the losses of the elements become the result. */
export type Reduction = "none" | "mean" | "sum";

export function checkReduction(op: string, reduction: string): asserts reduction is Reduction {
  if (reduction !== "none" && reduction !== "mean" && reduction !== "sum")
    throw new RangeError(`${op}: the reduction is "none", "mean" or "sum", not "${reduction}"`);
}

export const reduced = (t: Tensor, reduction: Reduction): Tensor =>
  reduction === "mean" ? mean(t) : reduction === "sum" ? sum(t) : t;

/** Narrow floats as f32; everything else as it is. */
export const widened = (t: Tensor): Tensor =>
  isFloatDType(t.dtype) && t.itemSize < 4 ? (callOperator("_to_copy", t, { dtype: "f32" }) as Tensor) : t;

/** Back to the dtype of the input. */
export const narrowed = (t: Tensor, like: Tensor): Tensor =>
  t.dtype === like.dtype || !isFloatDType(like.dtype)
    ? t
    : (callOperator("_to_copy", t, { dtype: like.dtype }) as Tensor);
