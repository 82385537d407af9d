// Evaluation by the loss on data that is never trained on.

import { setImmediate as nextTurn } from "node:timers/promises";
import { takeNumber } from "../models/take.js";
import type { LanguageModel } from "../models/transformer.js";
import { scope } from "../runtime/index.js";
import { noGrad } from "../tensor/index.js";
import type { Batch } from "./data/index.js";
import { batchLoss } from "./step.js";

export interface Evaluation {
  /** The mean loss of all learned targets. */
  readonly loss: number;
  /** exp(loss). */
  readonly perplexity: number;
  /** Learned targets. */
  readonly targets: number;
}

/**
 * The loss of a model on batches, each weighted by its learned targets; nothing is recorded for gradients.
 * @returns undefined when `signal` aborts it
 */
export async function heldOutLoss(
  model: LanguageModel,
  batches: Iterable<Batch>,
  signal?: AbortSignal,
): Promise<Evaluation | undefined> {
  let [total, targets] = [0, 0];
  for (const batch of batches) {
    // Lets the message that asks to stop come in.
    await nextTurn();
    if (signal?.aborted) return undefined;
    const loss = noGrad(() => scope(() => batchLoss(model, batch)));
    total += (await takeNumber(loss)) * batch.learned;
    targets += batch.learned;
  }
  const loss = total / targets;
  return { loss, perplexity: Math.exp(loss), targets };
}
