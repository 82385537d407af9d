// Operators whose results may differ from PyTorch's by more than the tolerances of `compare.ts`: each with its bound
// and the reason. At most five.

export interface Exception {
  /** The name in the samples, with the variant after a dot. */
  readonly op: string;
  /** PyTorch's dtype names that it is for. */
  readonly dtypes: readonly string[];
  readonly atol: number;
  readonly rtol: number;
  /** For gradients instead of results. */
  readonly gradients?: boolean;
  readonly reason: string;
}

export const EXCEPTIONS: readonly Exception[] = [];
