// Which dtype a pointwise operator computes in and gives back, from its inputs.

import { isNarrowFloat } from "../../compiler/ir/dtype.js";
import {
  category,
  defaultDType,
  type DType,
  isFloatDType,
  promoteTypes,
  resultType,
  type Scalar,
} from "../../tensor/dtype.js";

/**
 * - `default`: PyTorch's promotion over the inputs.
 * - `intToFloat`: the same, but integers and bools become the default float dtype.
 * - `none`: every input keeps its dtype.
 */
export type Promotion = "default" | "intToFloat" | "none";

/** A tensor, what is known of one, or a plain number. */
export type Operand = { readonly dtype: DType; readonly shape: readonly number[] } | Scalar;

/** The common dtype of some inputs. Two equal tensors, or a tensor and a number, take a short way. */
export function promoted(kind: Promotion, inputs: readonly Operand[]): DType {
  const dtype = common(inputs);
  return kind === "intToFloat" && !isFloatDType(dtype) ? defaultDType() : dtype;
}

function common(inputs: readonly Operand[]): DType {
  const a = inputs[0];
  if (typeof a === "object") {
    if (inputs.length === 1) return a.dtype;
    if (inputs.length === 2) {
      const b = inputs[1]!;
      if (typeof b === "object") {
        if (a.dtype === b.dtype) return a.dtype;
        if (a.shape.length > 0 === b.shape.length > 0) return promoteTypes(a.dtype, b.dtype);
      } else if (typeof b === "number" && category(a.dtype) === 2) return a.dtype;
    }
  }
  return resultType(...inputs);
}

/** Narrow floats are computed in f32 and rounded once, at the end. */
export const computeDType = (dtype: DType): DType => (isNarrowFloat(dtype) ? "f32" : dtype);

/** The dtype of the kernel parameter for a plain number that is computed with in `compute`. */
export const scalarParam = (compute: DType): DType =>
  compute === "f32" || compute === "f64" || compute === "bool" ? compute : "i64";

/** A plain number as the argument for a parameter of {@link scalarParam}. */
export function scalarArgument(value: Scalar, param: DType, name: string): number | bigint | boolean {
  if (param === "bool") return Boolean(value);
  if (param !== "i64") return Number(value);
  if (typeof value === "number" && !Number.isInteger(value)) {
    if (!Number.isFinite(value)) throw new RangeError(`${name}: ${value} is no integer`);
    return BigInt(Math.trunc(value));
  }
  return BigInt.asIntN(64, BigInt(value));
}
