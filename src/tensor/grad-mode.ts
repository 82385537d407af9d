// The switch that says whether operators are recorded for the backward pass.

let enabled = true;
let inference = false;

/** Whether operators are recorded right now. */
export const isGradEnabled = (): boolean => enabled;

/** Sets the switch and returns what it was; callers restore it. Prefer {@link noGrad} and {@link enableGrad}. */
export function setGradEnabled(value: boolean): boolean {
  const before = enabled;
  enabled = value && !inference;
  return before;
}

/** Whether {@link inferenceMode} is on: tensors made now never take part in gradients. */
export const isInferenceMode = (): boolean => inference;

/** Runs `fn` with the switch set; a promise keeps it set until it settles. */
export function withGradMode<T>(value: boolean, fn: () => T): T {
  const before = setGradEnabled(value);
  let pending = false;
  try {
    const result = fn();
    if (result instanceof Promise) {
      pending = true;
      return result.finally(() => setGradEnabled(before)) as T;
    }
    return result;
  } finally {
    if (!pending) enabled = before;
  }
}

/**
 * Runs `fn` without recording: results do not require gradients. An async `fn` keeps the mode until it settles, also
 * for other code that runs meanwhile.
 *
 * @example const next = noGrad(() => model.forward(tokens));
 */
export const noGrad = <T>(fn: () => T): T => withGradMode(false, fn);

/** Runs `fn` with recording on, inside {@link noGrad} too. */
export const enableGrad = <T>(fn: () => T): T => withGradMode(true, fn);

/**
 * As {@link noGrad}, and the tensors made inside are inference tensors for good: views of them are not followed, they
 * cannot require gradients, nor be saved for a backward pass, nor be written in place outside. {@link enableGrad}
 * inside has no effect.
 *
 * @example const logits = inferenceMode(() => model.forward(tokens));
 */
export function inferenceMode<T>(fn: () => T): T {
  const before = inference;
  return withGradMode(false, () => {
    inference = true;
    let pending = false;
    try {
      const result = fn();
      if (result instanceof Promise) {
        pending = true;
        return result.finally(() => {
          inference = before;
        }) as T;
      }
      return result;
    } finally {
      if (!pending) inference = before;
    }
  });
}
