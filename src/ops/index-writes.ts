// What writing at indices shares: copies to write into, the order of dtypes, in-place forms.

import { isNarrowFloat } from "../compiler/ir/dtype.js";
import { operator, type Scalar, scalarTensor, type Tensor } from "../tensor/index.js";
import { clone, copy_, toCopy } from "./cast.js";
import type { PutMode } from "./index-kernels.js";
import { computeDtype } from "./rows.js";

/** A new tensor: `self`, changed by `write`, which gets a row-major tensor. Sums of narrow floats are kept in f32. */
export function changed(self: Tensor, mode: PutMode, write: (y: Tensor) => void): Tensor {
  if (mode === "set" || !isNarrowFloat(self.dtype)) {
    const out = clone(self);
    write(out);
    return out;
  }
  const wide = toCopy(self, { dtype: computeDtype(self.dtype) });
  write(wide);
  return toCopy(wide, { dtype: self.dtype });
}

export function sameDtype(self: Tensor, source: Tensor, what: string): void {
  if (self.dtype !== source.dtype)
    throw new TypeError(
      `${what}: the source has dtype ${source.dtype}, the tensor ${self.dtype}; convert one`,
    );
}

export const oneOf = (value: Scalar, like: Tensor): Tensor => scalarTensor(value, like.dtype, like.device);

/** Declares `NAME_`, which writes what `NAME` gives into its first argument. */
export function inPlace(
  schema: string,
  op: { readonly info: { run(...args: unknown[]): unknown; derivative: unknown } },
): void {
  operator({
    schema,
    run: (...args: unknown[]) => copy_(args[0] as Tensor, op.info.run(...args) as Tensor),
    derivative: (op.info.derivative ?? undefined) as never,
    stage: "stable",
  });
}

/** The type of an overloaded function as a method. */
export type Self<F> = F extends (self: Tensor, ...rest: infer R) => infer Out ? (...rest: R) => Out : never;
