// Anomaly mode: while it is on, every recorded operator remembers the author's line, and a backward pass that fails or
// makes NaN says which operator of which line it was. Off, it costs nothing but a look at a flag.

import { authorLine } from "../runtime/leaks.js";

let active: { readonly checkNan: boolean } | null = null;

/** What is looked for now; null if nothing. */
export const anomalyMode = (): { readonly checkNan: boolean } | null => active;

/** The author's line, while anomaly mode is on. */
export const forwardLine = (): string | null => (active === null ? null : authorLine());

/**
 * Switches anomaly mode on or off for everything that follows.
 *
 * @param options `checkNan` (default true): a gradient with a NaN ends the pass. It reads every gradient, so the chip
 *   must have the capability `syncRead`.
 */
export function setDetectAnomaly(enabled: boolean, options: { readonly checkNan?: boolean } = {}): void {
  active = enabled ? { checkNan: options.checkNan ?? true } : null;
}

/** Errors of a backward pass that already name where they came from. */
export class AnomalyError extends Error {
  override name = "AnomalyError";
}

/**
 * Runs `fn`, forward and backward, in anomaly mode; a promise keeps it on until it settles. Slow: for finding errors.
 *
 * @throws AnomalyError that names the operator and the line of its forward call, where a backward pass makes NaN or fails
 * @example detectAnomaly(() => loss(model.forward(x)).backward());
 */
export function detectAnomaly<T>(fn: () => T, options: { readonly checkNan?: boolean } = {}): T {
  const before = active;
  setDetectAnomaly(true, options);
  const end = (): void => {
    active = before;
  };
  let result: T;
  try {
    result = fn();
  } catch (e) {
    end();
    throw e;
  }
  if (result instanceof Promise) return result.finally(end) as T;
  end();
  return result;
}
