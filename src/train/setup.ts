// From a configuration to everything that a run needs, checked: tokenizer, data, chip, model, optimizer. It trains
// nothing and writes nothing.

import { createModel, loadModel, storedDType } from "../models/load.js";
import { openModel } from "../models/open.js";
import type { TextTokenizer } from "../models/tokenizer.js";
import "../chips/index.js";
import { attachLora, loadAdapter } from "../models/lora.js";
import type { Training } from "../models/training.js";
import type { LanguageModel } from "../models/transformer.js";
import type { Tensor } from "../tensor/index.js";
import { AdamW } from "../nn/index.js";
import { autoload, type Chip, loadChip } from "../runtime/index.js";
import { loadOptimizer, type TrainerState } from "./checkpoint.js";
import { ConfigError, type TrainConfig } from "./config.js";
import {
  type Batch,
  type Batches,
  expandPath,
  hasPrompts,
  makeBatch,
  type PromptLine,
  readPrompts,
  readSequences,
  readSources,
  type Sequences,
  seededBatches,
} from "./data/index.js";
import { StepRandom } from "./random.js";
import type { Learner } from "./step.js";
import { tokenizerFor } from "./tokenizer/choose.js";

/** Data for evaluation. */
export interface HeldOut {
  readonly batches: readonly Batch[];
  /** Prompts whose answers are compared at the end, where the file is made of prompts and completions. */
  readonly prompts: readonly PromptLine[] | undefined;
}

/** A run that is ready to start. */
export interface Setup extends Learner {
  readonly config: TrainConfig;
  readonly dtype: "f32" | "bf16";
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
 * @param note is told what takes long
 * @throws ConfigError, DataError, errors of model folders and chips
 */
export async function setUp(
  config: TrainConfig,
  checkpoint: string | undefined,
  note: (text: string) => void = () => {},
): Promise<Setup> {
  const { batch_size, accumulate, seed } = config;
  if (batch_size % accumulate !== 0)
    throw new ConfigError(`batch_size ${batch_size} is not a multiple of accumulate ${accumulate}`);
  const tokenizer = tokenizerFor(config, checkpoint, note);
  const reading = { length: config.sequence_length, packed: config.data.packed };
  const data = readSources(config.data.train, tokenizer, reading);
  const chip = config.chip === undefined ? await autoload() : await loadChip(config.chip);
  const device = chip.name;
  const dtype = runDType(config, checkpoint);
  const model = modelFor({ ...config, dtype }, checkpoint, tokenizer, device);
  checkTokens(tokenizer, model.config, data.sequences);
  if (config.mtp) checkAhead(model.predict.length, data.sequences.longest - 1);
  const held =
    config.data.evaluate === undefined
      ? undefined
      : heldOut(config.data.evaluate, tokenizer, model.config, config);
  const optimizer = new AdamW(trainable(model), {
    betas: config.betas,
    eps: config.eps,
    weightDecay: config.weight_decay,
    masterWeights: config.master_weights === "f32",
  });
  const state =
    checkpoint === undefined ? undefined : loadOptimizer(checkpoint, optimizer, { ...config, dtype });
  const batches = seededBatches(data, { batch_size, accumulate, seed, pad: padOf(tokenizer) });
  const random = new StepRandom(seed);
  const training = (step: number): Training => ({
    dropout: config.dropout,
    recompute: config.recompute,
    generator: random.at(step),
  });
  return {
    config,
    dtype,
    chip,
    tokenizer,
    model,
    optimizer,
    mtp: config.mtp,
    batches,
    training,
    held,
    state,
  };
}

const padOf = (tokenizer: TextTokenizer): number => tokenizer.tokenId("<pad>") ?? tokenizer.eosIds[0] ?? 0;

/** The files that a run's model comes from; a checkpoint of adapters holds no model. */
export const modelFiles = (
  { lora, model }: TrainConfig,
  checkpoint: string | undefined,
): string | undefined => (lora ? model.folder : (checkpoint ?? model.folder));

/** What a run computes in. Halves other than bf16 are made wider: gradients would leave their range. */
export function runDType(config: TrainConfig, checkpoint: string | undefined): "f32" | "bf16" {
  const files = modelFiles(config, checkpoint);
  if (config.dtype) return config.dtype;
  return files !== undefined && storedDType(openModel(files)) === "bf16" ? "bf16" : "f32";
}

/** The model that a run starts from: the checkpoint's, a folder's or a new one, with adapters where these are trained. */
function modelFor(
  config: TrainConfig,
  checkpoint: string | undefined,
  tokenizer: TextTokenizer,
  device: string,
): LanguageModel {
  const { lora, dtype, seed, mtp } = config;
  const { config: raw } = config.model;
  const from = modelFiles(config, checkpoint);
  if (from === undefined) {
    if (lora) throw new ConfigError("lora: adapters belong to a model: give model.folder");
    const ahead = mtp !== undefined;
    return createModel(withVocabulary(raw!, tokenizer), { device, seed, dtype: dtype ?? "f32", ahead });
  }
  const { model } = loadModel(from, { device, requiresGrad: true, dtype });
  if (!lora) return model;
  try {
    attachLora(model, lora, { base: from, seed });
  } catch (e) {
    throw e instanceof RangeError ? new ConfigError(e.message) : e;
  }
  if (checkpoint !== undefined) loadAdapter(model, checkpoint);
  return model;
}

/** The parameters that a run changes. */
const trainable = (model: LanguageModel): Map<string, Tensor> =>
  new Map([...model.namedParameters()].filter(([, p]) => p.requiresGrad));

/** The fields of a config.json; without a vocab_size that of the tokenizer. */
function withVocabulary(raw: Record<string, unknown>, tokenizer: TextTokenizer): Record<string, unknown> {
  return "vocab_size" in raw ? raw : { ...raw, vocab_size: tokenizer.size };
}

/** The held-out file in batches of one shape, in its own order; the last one is filled up with nothing to learn. */
function heldOut(
  path: string,
  tokenizer: TextTokenizer,
  limits: { vocabSize: number; maxPositions: number },
  { batch_size, accumulate, sequence_length, data }: TrainConfig,
): HeldOut {
  const files = expandPath(path);
  const prompts = files.every(hasPrompts)
    ? files.flatMap((file) => readPrompts(file, tokenizer, limits.maxPositions))
    : undefined;
  const sequences = readSequences(files, tokenizer, { length: sequence_length, packed: data.packed });
  checkTokens(tokenizer, limits, sequences);
  const rows = Math.max(1, Math.min(batch_size / accumulate, sequences.length));
  const batches: Batch[] = [];
  for (let at = 0; at < sequences.length; at += rows) {
    const part = Array.from({ length: rows }, (_, i) =>
      at + i < sequences.length ? sequences.at(at + i) : { tokens: [] },
    );
    batches.push(makeBatch(part, sequences.longest - 1, padOf(tokenizer)));
  }
  return { batches, prompts };
}

/** @param layers how many the model has that predict further tokens; @param tokens of the longest sequence's inputs */
function checkAhead(layers: number, tokens: number): void {
  if (layers === 0)
    throw new ConfigError(
      "mtp: the model has no layers that predict further tokens; configs of deepseek_v3 ask for them by num_nextn_predict_layers, and a folder must hold their weights",
    );
  if (tokens <= layers)
    throw new ConfigError(
      `mtp: the longest sequence has ${tokens} inputs, too few to predict ${layers} further`,
    );
}

function checkTokens(
  tokenizer: TextTokenizer,
  { vocabSize, maxPositions }: { vocabSize: number; maxPositions: number },
  sequences: Sequences,
): void {
  const most = Math.max(sequences.largest, ...tokenizer.eosIds);
  const longest = sequences.longest - 1;
  if (most >= vocabSize)
    throw new ConfigError(`the data have token ${most}, but the model's vocab_size is ${vocabSize}`);
  if (longest > maxPositions)
    throw new ConfigError(
      `sequences of ${longest} tokens do not fit the model's max_position_embeddings ${maxPositions}`,
    );
}
