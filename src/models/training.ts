// What a forward pass for training does beside computing: dropout, and which activations are computed again in the
// backward pass instead of being kept. The layers of `transformer.ts`, `attention.ts` and `mlp.ts` ask here.

import { dropout } from "../ops/index.js";
import type { Generator } from "../runtime/index.js";
import { checkpoint, type Tensor } from "../tensor/index.js";

/** What is kept for the backward pass: everything; all but attention and MLPs; or the inputs of layers alone. */
export const RECOMPUTE = ["none", "selective", "full"] as const;
export type Recompute = (typeof RECOMPUTE)[number];

/** Probabilities with which elements are zeroed while training (Srivastava et al., 2014). */
export interface DropoutRates {
  /** Of attention weights. */
  readonly attention: number;
  /** Of what attention and MLPs add to the hidden states. */
  readonly residual: number;
  /** Of the embeddings. */
  readonly embedding: number;
}

/** A forward pass for training. */
export interface Training {
  readonly dropout?: DropoutRates | undefined;
  /** Where dropout draws from. */
  readonly generator?: Generator | undefined;
  readonly recompute?: Recompute | undefined;
}

/** Dropout of one part of the model; the input itself outside training. */
export function dropped(x: Tensor, part: keyof DropoutRates, training: Training | undefined): Tensor {
  const p = training?.dropout?.[part] ?? 0;
  return p === 0 ? x : dropout(x, p, true, { generator: training!.generator ?? null });
}

/** `fn(...args)`, computed again in the backward pass if the run recomputes at this level. */
export function recomputed<A extends readonly Tensor[]>(
  training: Training | undefined,
  level: Recompute,
  fn: (...args: A) => Tensor,
  args: A,
): Tensor {
  if (training?.recompute !== level) return fn(...args);
  // The same elements are dropped again.
  return checkpoint(fn, args, { generators: training.generator ? [training.generator] : [] });
}
