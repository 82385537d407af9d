// Batches: sequences padded to one length, as the arrays that tensors are made of.

import type { Example } from "./sequences.js";

/** Token id of targets that do not count, as PyTorch's `ignore_index`. */
export const IGNORE = -100;

export interface Batch {
  readonly rows: number;
  readonly columns: number;
  /** Row-major `[rows, columns]`: inputs, and the next token at each place or {@link IGNORE}. */
  readonly inputs: BigInt64Array;
  readonly targets: BigInt64Array;
  /** Targets that count. */
  readonly learned: number;
}

/** Pads examples to one length. All batches of a run have one shape, so that nothing is compiled twice. */
export function makeBatch(examples: readonly Example[], columns: number, pad: number): Batch {
  const inputs = new BigInt64Array(examples.length * columns).fill(BigInt(pad));
  const targets = new BigInt64Array(examples.length * columns).fill(BigInt(IGNORE));
  let learned = 0;
  examples.forEach((example, row) => {
    const { tokens } = example;
    for (let i = 0; i + 1 < tokens.length; i++) {
      inputs[row * columns + i] = BigInt(tokens[i]!);
      if (example.learned && !example.learned[i + 1]) continue;
      targets[row * columns + i] = BigInt(tokens[i + 1]!);
      learned++;
    }
  });
  return { rows: examples.length, columns, inputs, targets, learned };
}

/**
 * What a layer that predicts `ahead` tokens further learns from a batch, row-major `[rows, columns - ahead]`: at each
 * place the target that stands so many further.
 */
export function targetsAhead(batch: Batch, ahead: number): { targets: BigInt64Array; learned: number } {
  const { rows, columns } = batch;
  const width = columns - ahead;
  const targets = new BigInt64Array(rows * width);
  for (let row = 0; row < rows; row++)
    targets.set(batch.targets.subarray(row * columns + ahead, (row + 1) * columns), row * width);
  return { targets, learned: countLearned(targets) };
}

const countLearned = (targets: BigInt64Array): number =>
  targets.reduce((n, t) => n + (t === BigInt(IGNORE) ? 0 : 1), 0);

/** A batch in parts of equally many rows. @throws RangeError where they do not fall into so many */
export function splitBatch(batch: Batch, parts: number): Batch[] {
  const rows = batch.rows / parts;
  if (!Number.isInteger(rows))
    throw new RangeError(`a batch of ${batch.rows} sequences does not fall into ${parts} equal parts`);
  return Array.from({ length: parts }, (_, i) => {
    const [from, to] = [i * rows * batch.columns, (i + 1) * rows * batch.columns];
    const targets = batch.targets.subarray(from, to);
    const inputs = batch.inputs.subarray(from, to);
    return { rows, columns: batch.columns, inputs, targets, learned: countLearned(targets) };
  });
}
