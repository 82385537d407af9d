// One optimizer step in two halves: gradients, which are looked at on the host, and the update, which may then be left
// out. What happens around steps stands in `trainer.ts`.

import { takeNumber } from "../models/take.js";
import type { Training } from "../models/training.js";
import type { LanguageModel } from "../models/transformer.js";
import type { AdamW } from "../nn/index.js";
import { add, crossEntropyRows, mul, sum } from "../ops/index.js";
import { scope } from "../runtime/index.js";
import { type Tensor, tensor } from "../tensor/index.js";
import { type Batch, IGNORE, splitBatch, targetsAhead } from "./data/index.js";

/** What a step computes with; the gradients stand in the parameters' `.grad`. */
export interface Learner {
  readonly model: LanguageModel;
  readonly optimizer: AdamW;
  /** What the losses of the layers that predict further tokens count; absent: only the next token is learned. */
  readonly mtp?: { readonly weight: number } | undefined;
}

export interface Gradients {
  /** The mean loss of all learned targets, and with `mtp` the weighted losses of further tokens. */
  readonly loss: number;
  /** The norm of all gradients together, before clipping. */
  readonly gradNorm: number;
  /** What all gradients are multiplied by to clip them; 0-dimensional, on the chip. The update frees it. */
  readonly scale: Tensor;
}

const inputsOf = ({ device }: LanguageModel, { rows, columns, inputs }: Batch): Tensor =>
  tensor(inputs, { shape: [rows, columns], device });

/** The sum of the losses of learned targets, in f32. @param logits `[rows, tokens, vocab]` */
function lossSum(logits: Tensor, targets: BigInt64Array): Tensor {
  const flat = tensor(targets, { shape: [targets.length], device: logits.device });
  const [losses] = crossEntropyRows(logits.view([targets.length, -1]), flat, IGNORE);
  return sum(losses);
}

const share = (losses: Tensor, count: number, weight = 1): Tensor => mul(losses, weight / Math.max(1, count));

/** The loss of the next token on one batch, with its graph: the mean over its learned targets, in f32. */
export function batchLoss(model: LanguageModel, batch: Batch): Tensor {
  return share(lossSum(model.forward(inputsOf(model, batch)), batch.targets), batch.learned);
}

/**
 * Forward and backward over the batches of one step; the gradients are added to the parameters' `.grad`. Each mean is
 * over the learned targets of all batches, as if all were one. With `mtp` the mean over the layers that predict further
 * tokens of their mean losses is added, times its weight (DeepSeek-V3, 2024, section 2.2).
 * @returns each batch's part of the loss, 0-dimensional
 */
export function accumulate(
  { model, mtp }: Pick<Learner, "model" | "mtp">,
  batches: readonly Batch[],
  training?: Training,
): Tensor[] {
  const total = (count: (b: Batch) => number) => batches.reduce((n, b) => n + count(b), 0);
  const learned = total((b) => b.learned);
  const layers = mtp ? model.predict.length : 0;
  const further = Array.from({ length: layers }, (_, i) => total((b) => targetsAhead(b, i + 1).learned));
  return batches.map((batch) =>
    scope(() => {
      const ids = inputsOf(model, batch);
      const [logits, ...ahead] = mtp
        ? model.forwardAhead(ids, { training })
        : [model.forward(ids, { training })];
      let part = share(lossSum(logits!, batch.targets), learned);
      for (const [i, l] of ahead.entries())
        part = add(
          part,
          share(lossSum(l, targetsAhead(batch, i + 1).targets), further[i]!, mtp!.weight / layers),
        );
      part.backward();
      return part.detach();
    }),
  );
}

/** The gradients of one step, and what the host wants to know of them before the update. */
export async function computeGradients(
  learner: Learner,
  batches: readonly Batch[],
  clipNorm = Number.POSITIVE_INFINITY,
  training?: Training,
): Promise<Gradients> {
  const parts = accumulate(learner, batches, training);
  const { norm, scale } = scope(() => learner.optimizer.clip(clipNorm));
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
    mtp?: Learner["mtp"];
  },
): Promise<{ loss: number; gradNorm: number }> {
  const learner = { model, optimizer, mtp: options.mtp };
  const gradients = await computeGradients(
    learner,
    splitBatch(batch, options.accumulate ?? 1),
    options.clipNorm,
    options.training,
  );
  applyGradients(learner, gradients, options.learningRate);
  return { loss: gradients.loss, gradNorm: gradients.gradNorm };
}
