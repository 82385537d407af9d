// The training loop in one thread: batches, forward, backward, update, checkpoints. It runs in the trainer's
// worker (`worker.ts`); what a person sees is made elsewhere from its events.

import { mkdirSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createModel, loadModel, saveModel } from "../models/load.js";
import { openModel } from "../models/open.js";
import { takeNumber } from "../models/take.js";
import { characterTokenizer, type TextTokenizer } from "../models/tokenizer.js";
import type { LanguageModel } from "../models/transformer.js";
import "../chips/index.js";
import { AdamW } from "../nn/index.js";
import { crossEntropy } from "../ops/index.js";
import { autoload, loadChip, scope } from "../runtime/index.js";
import { tensor } from "../tensor/index.js";
import { checkpointFolder, latestCheckpoint, loadOptimizer, saveCheckpoint } from "./checkpoint.js";
import { ConfigError, learningRate, type TrainConfig } from "./config.js";
import { type Batch, DataOrder, IGNORE, makeBatch, readExamples, readPrompts } from "./data.js";
import { type ExactResult, exactAnswers } from "./evaluate.js";
import type { Progress } from "./progress.js";

export type TrainEvent =
  | {
      readonly type: "start";
      readonly chip: string;
      readonly parameters: number;
      readonly examples: number;
      readonly step: number;
    }
  | { readonly type: "progress"; readonly progress: Progress }
  | { readonly type: "saved"; readonly folder: string }
  | { readonly type: "evaluated"; readonly result: ExactResult }
  | {
      readonly type: "end";
      readonly reason: "finished" | "stopped";
      readonly step: number;
      readonly folder: string;
    };

/** A run that cannot go on; the message says at which step and what may help. */
export class TrainingError extends Error {
  override name = "TrainingError";
}

export interface TrainOptions {
  readonly config: TrainConfig;
  /** Go on from the latest checkpoint in the output folder. */
  readonly resume?: boolean;
}

/** One optimizer step on a batch: the mean loss of its learned targets and the norm of the gradients. */
export async function trainStep(
  model: LanguageModel,
  optimizer: AdamW,
  batch: Batch,
  options: { learningRate: number; clipNorm?: number | undefined },
): Promise<{ loss: number; gradNorm: number }> {
  const { rows, columns } = batch;
  const device = model.device;
  const { loss, norm } = scope(() => {
    const inputs = tensor(batch.inputs, { shape: [rows, columns], device });
    const targets = tensor(batch.targets, { shape: [rows * columns], device });
    const logits = model.forward(inputs);
    const loss = crossEntropy(logits.view([rows * columns, -1]), targets, { ignoreIndex: IGNORE });
    loss.backward();
    const norm = optimizer.step(options.learningRate, options.clipNorm ?? Number.POSITIVE_INFINITY);
    model.zeroGrad();
    return { loss: loss.detach(), norm: norm! };
  });
  return { loss: await takeNumber(loss), gradNorm: await takeNumber(norm) };
}

function tokenizerFor(config: TrainConfig): TextTokenizer {
  const { characters, folder } = config.tokenizer;
  if (characters !== undefined) return characterTokenizer(characters);
  const from = folder ?? config.model.folder;
  if (from === undefined)
    throw new ConfigError("tokenizer: give a folder or characters, since the model starts from nothing");
  return openModel(from).tokenizer();
}

/**
 * Trains as the configuration says, and reports through `emit`. When `signal` aborts, the step under way is
 * finished, a checkpoint is saved and the run ends; in the evaluation after the last step, that is left out.
 * @throws ConfigError, DataError, errors of model folders and chips; TrainingError when the loss is no number
 */
export async function train(
  options: TrainOptions,
  emit: (event: TrainEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  const { config } = options;
  const checkpoint = options.resume ? latestCheckpoint(config.output) : undefined;
  if (options.resume && !checkpoint)
    throw new ConfigError(`${config.output}: there is no checkpoint to go on from`);
  const tokenizer = tokenizerFor(config);
  const examples = readExamples(config.data.train, tokenizer, config.sequence_length);
  // Fails early, not after hours, when the folder cannot be written.
  mkdirSync(config.output, { recursive: true });

  const chip = config.chip === undefined ? await autoload() : await loadChip(config.chip);
  const device = chip.name;
  const from = checkpoint ?? config.model.folder;
  const model = from
    ? loadModel(from, { device, requiresGrad: true }).model
    : createModel(config.model.config!, { device, seed: config.seed });
  checkTokens(tokenizer, model, examples);
  const { maxPositions } = model.config;
  const held =
    config.data.evaluate === undefined
      ? undefined
      : readPrompts(config.data.evaluate, tokenizer, maxPositions);
  const optimizer = new AdamW(model.namedParameters(), {
    betas: config.betas,
    eps: config.eps,
    weightDecay: config.weight_decay,
  });
  let step = checkpoint ? loadOptimizer(checkpoint, optimizer, config).step : 0;
  emit({
    type: "start",
    chip: device,
    parameters: model.parameters().reduce((n, p) => n + p.numel, 0),
    examples: examples.length,
    step,
  });

  const order = new DataOrder(examples.length, config.batch_size, config.seed);
  const columns = Math.max(...examples.map((e) => e.tokens.length)) - 1;
  const pad = tokenizer.tokenId("<pad>") ?? tokenizer.eosIds[0] ?? 0;
  // The step whose checkpoint is on disk: it is not written again, so there is no moment without it.
  let saved = checkpoint ? step : undefined;
  const save = async () => {
    if (saved === step) return checkpointFolder(config.output, step);
    const state = { step, seed: config.seed, batch_size: config.batch_size };
    const folder = await saveCheckpoint(config.output, { model, tokenizer, optimizer, state });
    saved = step;
    emit({ type: "saved", folder });
    return folder;
  };
  const pace = new Pace();
  while (step < config.steps) {
    // Lets the message that asks to stop come in.
    await nextTurn();
    if (signal.aborted) {
      emit({ type: "end", reason: "stopped", step, folder: await save() });
      return;
    }
    const batch = makeBatch(
      order.indices(step).map((i) => examples[i]!),
      columns,
      pad,
    );
    const rate = learningRate(config, step);
    const { loss, gradNorm } = await trainStep(model, optimizer, batch, {
      learningRate: rate,
      clipNorm: config.clip_grad_norm,
    });
    step++;
    // The weights hold what these gradients did to them, so nothing is saved.
    for (const [what, value] of [
      ["loss", loss],
      ["gradients' norm", gradNorm],
    ] as const)
      if (!Number.isFinite(value))
        throw new TrainingError(
          `the ${what} became ${value} at step ${step}: try a smaller learning_rate, or clip_grad_norm; earlier checkpoints are untouched`,
        );
    const { perSecond, secondsPerStep } = pace.tick(batch.rows * batch.columns);
    const secondsLeft = secondsPerStep * (config.steps - step);
    emit({
      type: "progress",
      progress: {
        step,
        steps: config.steps,
        loss,
        learningRate: rate,
        gradNorm,
        tokensPerSecond: perSecond,
        secondsLeft,
      },
    });
    if (config.save_every !== undefined && step % config.save_every === 0 && step < config.steps)
      await save();
  }
  await save();
  await saveModel(config.output, model, tokenizer);
  emit({ type: "saved", folder: config.output });
  if (held) {
    const result = await exactAnswers(model, tokenizer, held, { signal });
    if (result) emit({ type: "evaluated", result });
  }
  emit({ type: "end", reason: "finished", step, folder: config.output });
}

function checkTokens(
  tokenizer: TextTokenizer,
  model: LanguageModel,
  examples: readonly { tokens: readonly number[] }[],
): void {
  const { vocabSize, maxPositions } = model.config;
  let most = 0;
  let longest = 0;
  for (const { tokens } of examples) {
    longest = Math.max(longest, tokens.length - 1);
    for (const t of tokens) if (t > most) most = t;
  }
  most = Math.max(most, ...tokenizer.eosIds);
  if (most >= vocabSize)
    throw new ConfigError(`the data have token ${most}, but the model's vocab_size is ${vocabSize}`);
  if (longest > maxPositions)
    throw new ConfigError(
      `sequences of ${longest} tokens do not fit the model's max_position_embeddings ${maxPositions}`,
    );
}

/** The recent pace: an average that forgets, so that the first steps' compiling does not count for long. */
class Pace {
  #last = performance.now();
  #seconds: number | undefined;
  #tokens = 0;

  tick(tokens: number): { perSecond: number; secondsPerStep: number } {
    const now = performance.now();
    const seconds = (now - this.#last) / 1000;
    this.#last = now;
    const old = this.#seconds;
    this.#seconds = old === undefined || seconds < old / 2 ? seconds : old * 0.95 + seconds * 0.05;
    this.#tokens = old === undefined ? tokens : this.#tokens * 0.95 + tokens * 0.05;
    return { perSecond: this.#tokens / this.#seconds, secondsPerStep: this.#seconds };
  }
}
