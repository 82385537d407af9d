// One optimizer step in two halves: gradients, which are looked at on the host, and the update, which may then be left
// out. What happens around steps stands in `trainer.ts`.

import { takeNumber } from "../models/take.js";
import type { Training } from "../models/training.js";
import type { LanguageModel } from "../models/transformer.js";
import type { AdamW } from "../nn/index.js";
import { crossEntropyRows, mul, sum } from "../ops/index.js";
import { scope } from "../runtime/index.js";
import { type Tensor, tensor } from "../tensor/index.js";
import { type Batch, IGNORE, splitBatch } from "./data/index.js";

/** What a step computes with; the gradients stand in the parameters' `.grad`. */
export interface Learner {
  readonly model: LanguageModel;
  readonly optimizer: AdamW;
}

export interface Gradients {
  /** The mean loss of all learned targets. */
  readonly loss: number;
  /** The norm of all gradients together, before clipping. */
  readonly gradNorm: number;
  /** What all gradients are multiplied by to clip them; 0-dimensional, on the chip. The update frees it. */
  readonly scale: Tensor;
}

/** The loss of one batch, with its graph: the mean over its learned targets, in f32. */
export function batchLoss(model: LanguageModel, batch: Batch, training?: Training): Tensor {
  const { rows, columns } = batch;
  const device = model.device;
  const inputs = tensor(batch.inputs, { shape: [rows, columns], device });
  const targets = tensor(batch.targets, { shape: [rows * columns], device });
  const logits = model.forward(inputs, { training });
  const [losses] = crossEntropyRows(logits.view([rows * columns, -1]), targets, IGNORE);
  return mul(sum(losses), 1 / Math.max(1, batch.learned));
}

/**
 * Forward and backward over the batches of one step; the gradients are added to the parameters' `.grad`, each batch's
 * weighted by its share of the learned targets, as if all were one batch.
 * @returns each batch's part of the mean loss, 0-dimensional
 */
export function accumulate(model: LanguageModel, batches: readonly Batch[], training?: Training): Tensor[] {
  const learned = batches.reduce((n, b) => n + b.learned, 0);
  return batches.map((batch) =>
    scope(() => {
      const mean = batchLoss(model, batch, training);
      const part = batches.length === 1 ? mean : mul(mean, batch.learned / Math.max(1, learned));
      part.backward();
      return part.detach();
    }),
  );
}

/** The gradients of one step, and what the host wants to know of them before the update. */
export async function computeGradients(
  { model, optimizer }: Learner,
  batches: readonly Batch[],
  clipNorm = Number.POSITIVE_INFINITY,
  training?: Training,
): Promise<Gradients> {
  const parts = accumulate(model, batches, training);
  const { norm, scale } = scope(() => optimizer.clip(clipNorm));
  let loss = 0;
  for (const part of parts) loss += await takeNumber(part);
  return { loss, gradNorm: await takeNumber(norm), scale };
}

/** Changes the weights by the gradients and forgets these. */
export function applyGradients(
  { model, optimizer }: Learner,
  gradients: Gradients,
  learningRate: number,
): void {
  scope(() => {
    optimizer.step(learningRate, gradients.scale);
    model.zeroGrad();
  });
  gradients.scale.dispose();
}

/** Forgets gradients without an update. */
export function dropGradients({ model }: Learner, gradients: Gradients): void {
  scope(() => model.zeroGrad());
  gradients.scale.dispose();
}

/** One optimizer step on a batch: the mean loss of its learned targets and the norm of the gradients. */
export async function trainStep(
  model: LanguageModel,
  optimizer: AdamW,
  batch: Batch,
  options: {
    learningRate: number;
    clipNorm?: number | undefined;
    accumulate?: number;
    training?: Training | undefined;
  },
): Promise<{ loss: number; gradNorm: number }> {
  const learner = { model, optimizer };
  const gradients = await computeGradients(
    learner,
    splitBatch(batch, options.accumulate ?? 1),
    options.clipNorm,
    options.training,
  );
  applyGradients(learner, gradients, options.learningRate);
  return { loss: gradients.loss, gradNorm: gradients.gradNorm };
}
