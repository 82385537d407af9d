// From a configuration to everything that a run needs, checked: tokenizer, data, chip, model, optimizer. It trains
// nothing and writes nothing.

import { createModel, loadModel } from "../models/load.js";
import { openModel } from "../models/open.js";
import { characterTokenizer, type TextTokenizer } from "../models/tokenizer.js";
import "../chips/index.js";
import type { Training } from "../models/training.js";
import { AdamW } from "../nn/index.js";
import { autoload, type Chip, loadChip } from "../runtime/index.js";
import { loadOptimizer, type TrainerState } from "./checkpoint.js";
import { ConfigError, type TrainConfig } from "./config.js";
import {
  type Batch,
  DataOrder,
  type Example,
  hasPrompts,
  makeBatch,
  type PromptLine,
  readExamples,
  readPrompts,
  splitBatch,
} from "./data/index.js";
import { StepRandom } from "./random.js";
import type { Learner } from "./step.js";

/** The batches of a run; which ones a step has depends on nothing but its number. */
export interface Batches {
  /** Sequences to learn from. */
  readonly examples: number;
  /** Tokens that one step computes with, padding too. */
  readonly tokensPerStep: number;
  /** The batches of a step (0-based). More than one: their gradients are added up. */
  at(step: number): readonly Batch[];
}

/** Data for evaluation. */
export interface HeldOut {
  readonly batches: readonly Batch[];
  /** Prompts whose answers are compared at the end, where the file is made of prompts and completions. */
  readonly prompts: readonly PromptLine[] | undefined;
}

/** A run that is ready to start. */
export interface Setup extends Learner {
  readonly config: TrainConfig;
  readonly chip: Chip;
  readonly tokenizer: TextTokenizer;
  readonly batches: Batches;
  /** How the forward pass of a step (0-based) is for training. */
  readonly training: (step: number) => Training;
  /** What is never trained on; absent where the configuration names no such data. */
  readonly held: HeldOut | undefined;
  /** Where the checkpoint that it goes on from stands; absent for a new run. */
  readonly state: TrainerState | undefined;
}

/**
 * Prepares a run.
 * @param checkpoint the folder to go on from
 * @throws ConfigError, DataError, errors of model folders and chips
 */
export async function setUp(config: TrainConfig, checkpoint: string | undefined): Promise<Setup> {
  const tokenizer = tokenizerFor(config);
  const examples = readExamples(config.data.train, tokenizer, config.sequence_length);
  const chip = config.chip === undefined ? await autoload() : await loadChip(config.chip);
  const device = chip.name;
  const from = checkpoint ?? config.model.folder;
  const model = from
    ? loadModel(from, { device, requiresGrad: true, dtype: config.dtype }).model
    : createModel(config.model.config!, { device, seed: config.seed, dtype: config.dtype ?? "f32" });
  checkTokens(tokenizer, model.config, examples);
  const held =
    config.data.evaluate === undefined
      ? undefined
      : heldOut(config.data.evaluate, tokenizer, model.config, config);
  const optimizer = new AdamW(model.namedParameters(), {
    betas: config.betas,
    eps: config.eps,
    weightDecay: config.weight_decay,
    masterWeights: config.master_weights === "f32",
  });
  const state = checkpoint === undefined ? undefined : loadOptimizer(checkpoint, optimizer, config);
  const batches = paddedBatches(examples, tokenizer, config);
  const random = new StepRandom(config.seed);
  const training = (step: number): Training => ({
    dropout: config.dropout,
    recompute: config.recompute,
    generator: random.at(step),
  });
  return { config, chip, tokenizer, model, optimizer, batches, training, held, state };
}

/** Batches of one shape in a seeded order, so that nothing is compiled twice. */
function paddedBatches(
  examples: readonly Example[],
  tokenizer: TextTokenizer,
  { batch_size, accumulate, seed }: TrainConfig,
): Batches {
  if (batch_size % accumulate !== 0)
    throw new ConfigError(`batch_size ${batch_size} is not a multiple of accumulate ${accumulate}`);
  const order = new DataOrder(examples.length, batch_size, seed);
  const columns = columnsOf(examples);
  const pad = padOf(tokenizer);
  return {
    examples: examples.length,
    tokensPerStep: batch_size * columns,
    at: (step) =>
      splitBatch(
        makeBatch(
          order.indices(step).map((i) => examples[i]!),
          columns,
          pad,
        ),
        accumulate,
      ),
  };
}

const padOf = (tokenizer: TextTokenizer): number => tokenizer.tokenId("<pad>") ?? tokenizer.eosIds[0] ?? 0;
const columnsOf = (examples: readonly Example[]): number =>
  examples.reduce((n, e) => Math.max(n, e.tokens.length), 0) - 1;

/** The held-out file in batches of one shape, in its own order; the last one is filled up with nothing to learn. */
function heldOut(
  path: string,
  tokenizer: TextTokenizer,
  limits: { vocabSize: number; maxPositions: number },
  { batch_size, accumulate, sequence_length }: TrainConfig,
): HeldOut {
  const prompts = hasPrompts(path) ? readPrompts(path, tokenizer, limits.maxPositions) : undefined;
  const examples = readExamples(path, tokenizer, sequence_length);
  checkTokens(tokenizer, limits, examples);
  const rows = Math.max(1, Math.min(batch_size / accumulate, examples.length));
  const batches: Batch[] = [];
  for (let at = 0; at < examples.length; at += rows) {
    const part = examples.slice(at, at + rows);
    while (part.length < rows) part.push({ tokens: [], learnFrom: 0 });
    batches.push(makeBatch(part, columnsOf(examples), padOf(tokenizer)));
  }
  return { batches, prompts };
}

function tokenizerFor(config: TrainConfig): TextTokenizer {
  const { characters, folder } = config.tokenizer;
  if (characters !== undefined) return characterTokenizer(characters);
  const from = folder ?? config.model.folder;
  if (from === undefined)
    throw new ConfigError("tokenizer: give a folder or characters, since the model starts from nothing");
  return openModel(from).tokenizer();
}

function checkTokens(
  tokenizer: TextTokenizer,
  { vocabSize, maxPositions }: { vocabSize: number; maxPositions: number },
  examples: readonly { tokens: readonly number[] }[],
): void {
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
