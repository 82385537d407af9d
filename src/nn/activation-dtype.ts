// The dtype that layers with integer weights round activations to, for as long as a function runs: as PyTorch's `autocast`, a matter of
// the call and not of the model, so that prompts may be computed otherwise than what is made from them.

/** `keep`: floats as they are; `int8`: as `quantizedLinear` rounds them. */
export const ACTIVATION_DTYPES = ["keep", "int8"] as const;
export type ActivationDType = (typeof ACTIVATION_DTYPES)[number];

let current: ActivationDType = "keep";

/** What layers round activations to now. */
export const activationDType = (): ActivationDType => current;

/**
 * Runs `fn` with activations rounded to `dtype` wherever weights are integers. Not for async functions: what they do later is not in it.
 *
 * @example const logits = withActivationDType("int8", () => model.forward(ids));
 */
export function withActivationDType<T>(dtype: ActivationDType, fn: () => T): T {
  const before = current;
  current = dtype;
  try {
    return fn();
  } finally {
    current = before;
  }
}
