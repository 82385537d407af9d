// The batches of a run, each a function of the step's number.

import { type Batch, makeBatch, splitBatch } from "./batch.js";
import { DataOrder } from "./order.js";
import type { TrainingData } from "./sources.js";

/** The batches of a run; which ones a step has depends on nothing but its number. */
export interface Batches {
  /** Sequences to learn from. */
  readonly examples: number;
  /** Tokens that one step computes with, padding too. */
  readonly tokensPerStep: number;
  /** The batches of a step (0-based). More than one: their gradients are added up. */
  at(step: number): readonly Batch[];
}

/**
 * Batches of one shape in a seeded order, so that nothing is compiled twice.
 * @param pad the token that fills shorter sequences up
 */
export function seededBatches(
  { sequences, shares }: TrainingData,
  options: { batch_size: number; accumulate: number; seed: number; pad: number },
): Batches {
  const { batch_size, accumulate, seed, pad } = options;
  const order = new DataOrder(shares, batch_size, seed);
  const columns = sequences.longest - 1;
  return {
    examples: sequences.length,
    tokensPerStep: batch_size * columns,
    at(step) {
      const examples = order.indices(step).map((i) => sequences.at(i));
      return splitBatch(makeBatch(examples, columns, pad), accumulate);
    },
  };
}
