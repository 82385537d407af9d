// How exact products of f32 must be, for operators: PyTorch's setting of the same name. A kernel's own `tl.dot` says it by
// `inputPrecision`.

import { settingsChanged } from "./recording.js";

/**
 * `highest`: operands are not rounded. `high`: they may be rounded to 10 bits of mantissa (TF32) where that is faster; sums stay
 * in f32. `medium` allows 7 bits; today it does what `high` does.
 */
export type Float32MatmulPrecision = "highest" | "high" | "medium";

const WORDS: readonly string[] = ["highest", "high", "medium"];
let precision: Float32MatmulPrecision = "highest";

/** What {@link setFloat32MatmulPrecision} set, at first `highest`. PyTorch: `torch.get_float32_matmul_precision`. */
export const getFloat32MatmulPrecision = (): Float32MatmulPrecision => precision;

/**
 * Says how f32 operands of matrix products may be rounded, for this process. Chips without such units compute as before.
 * PyTorch: `torch.set_float32_matmul_precision`, with the same default: `highest`.
 *
 * @throws RangeError for another word
 * @example setFloat32MatmulPrecision("high");
 */
export function setFloat32MatmulPrecision(to: Float32MatmulPrecision): void {
  if (!WORDS.includes(to))
    throw new RangeError(`the precision of f32 products must be ${WORDS.join(", ")}; not "${to}"`);
  precision = to;
  settingsChanged();
}

/** Whether f32 operands may be rounded to TF32. */
export const allowsTf32 = (): boolean => precision !== "highest";
