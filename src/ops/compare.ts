// Comparisons, logic and bits of two tensors, or of a tensor and a number. Comparisons and logic give bool.

import type { Method } from "../tensor/index.js";
import { type Binary, binary, reflected } from "./binary.js";

const bool = { promote: "bool" } as const;

/** self == other. NaN equals nothing. */
export const eq: Binary = binary("eq.Tensor", (_tl, x, y) => x === y, bool);
/** self != other. NaN differs from everything. */
export const ne: Binary = binary("ne.Tensor", (_tl, x, y) => x !== y, bool);
/** self < other. */
export const lt: Binary = binary("lt.Tensor", (_tl, x, y) => x < y, bool);
/** self <= other. */
export const le: Binary = binary("le.Tensor", (_tl, x, y) => x <= y, bool);
/** self > other. */
export const gt: Binary = binary("gt.Tensor", (_tl, x, y) => x > y, bool);
/** self >= other. */
export const ge: Binary = binary("ge.Tensor", (_tl, x, y) => x >= y, bool);

/** Both are not 0. */
export const logicalAnd: Binary = binary("logical_and", (_tl, x, y) => x !== 0 && y !== 0, bool);
/** One or both are not 0. */
export const logicalOr: Binary = binary("logical_or", (_tl, x, y) => x !== 0 || y !== 0, bool);
/** Exactly one is not 0. */
export const logicalXor: Binary = binary("logical_xor", (_tl, x, y) => (x !== 0) !== (y !== 0), bool);

/** The bits that are set in both; logical and on bools. */
export const bitwiseAnd: Binary = binary("bitwise_and.Tensor", (_tl, x, y) => x & y, {
  opinfo: ["bitwise_and", reflected("__rand__")],
});
/** The bits that are set in one or both; logical or on bools. */
export const bitwiseOr: Binary = binary("bitwise_or.Tensor", (_tl, x, y) => x | y, {
  opinfo: ["bitwise_or", reflected("__ror__")],
});
/** The bits that are set in exactly one; logical exclusive or on bools. */
export const bitwiseXor: Binary = binary("bitwise_xor.Tensor", (_tl, x, y) => x ^ y, {
  opinfo: ["bitwise_xor", reflected("__rxor__")],
});
/** The bits of self moved up by other places; 0 for a negative count or one beyond the width. */
export const bitwiseLeftShift: Binary = binary("bitwise_left_shift.Tensor", (tl, x, y) =>
  tl.where(y < 0 || y >= tl.bitsOf(tl.dtypeOf(x)), 0, x << y),
);
/** The bits of self moved down by other places, the sign kept; a count beyond the width leaves the sign alone. */
export const bitwiseRightShift: Binary = binary("bitwise_right_shift.Tensor", (tl, x, y) => {
  const bits = tl.bitsOf(tl.dtypeOf(x));
  return tl.where(y < 0 || y >= bits, tl.dtypeOf(x) === tl.u8 ? 0 : x >> (bits - 1), x >> y);
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    eq: Method<Binary>;
    ne: Method<Binary>;
    lt: Method<Binary>;
    le: Method<Binary>;
    gt: Method<Binary>;
    ge: Method<Binary>;
    logicalAnd: Method<Binary>;
    logicalOr: Method<Binary>;
    logicalXor: Method<Binary>;
    bitwiseAnd: Method<Binary>;
    bitwiseOr: Method<Binary>;
    bitwiseXor: Method<Binary>;
    bitwiseLeftShift: Method<Binary>;
    bitwiseRightShift: Method<Binary>;
  }
}
