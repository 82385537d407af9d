// The switch that says whether operators are recorded for the backward pass.

let enabled = true;

/** Whether operators are recorded right now. */
export const isGradEnabled = (): boolean => enabled;

/** Sets the switch and returns what it was; callers restore it. Prefer {@link noGrad} and {@link enableGrad}. */
export function setGradEnabled(value: boolean): boolean {
  const before = enabled;
  enabled = value;
  return before;
}

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
