// `vexil train --dry-run`: does everything that a run does before its first step, takes a few steps that are thrown away,
// and says what the run will take. It writes nothing.

import * as fs from "node:fs";
import { dirname } from "node:path";
import { DTYPES } from "../compiler/ir/dtype.js";
import { newConfig, openParameters, parameterShapes } from "../models/load.js";
import { openModel } from "../models/open.js";
import "../chips/index.js";
import { autoload, type Chip, loadChip, memoryStats, resetPeakMemory } from "../runtime/index.js";
import type { Batch } from "./data/index.js";
import { checkpointSteps } from "./checkpoint-folders.js";
import { ConfigError, type TrainConfig } from "./config.js";
import { estimateMemory, type MemoryEstimate, totalOf } from "./memory-model.js";
import { learningRate } from "./schedule.js";
import { modelFiles, runDType, type Setup, setUp } from "./setup.js";
import { applyGradients, computeGradients } from "./step.js";

/** What a run will take. */
export interface Plan {
  readonly chip: string;
  readonly parameters: number;
  readonly trained: number;
  /** Parameters by part of the model, the largest first. */
  readonly parts: readonly (readonly [part: string, parameters: number])[];
  readonly examples: number;
  readonly epochs: number;
  readonly tokensPerStep: number;
  /** The first step's batches: rows, columns, targets that count. */
  readonly batches: readonly { readonly rows: number; readonly columns: number; readonly learned: number }[];
  readonly heldOut: { readonly batches: number; readonly targets: number } | undefined;
  readonly memory: MemoryEstimate;
  readonly memoryThere: number;
  /** Most bytes in use in the measured steps. */
  readonly measuredPeak: number;
  /** Seconds of the first step, which compiles, and of the fastest one after it. */
  readonly firstStep: number;
  readonly laterStep: number;
  readonly loss: number;
  readonly steps: number;
  readonly disk: { readonly needed: number; readonly there: number };
  readonly warnings: readonly string[];
}

const MEASURED = 3;
/** Later steps are not measured once this has passed. */
const PATIENCE_SECONDS = 20;

/**
 * Finds out what a run would take.
 * @param checkpoint the folder to go on from
 * @param note is told what takes long
 * @throws what the run itself would throw before its first step; ConfigError when it cannot fit the chip's memory
 */
export async function dryRun(
  config: TrainConfig,
  checkpoint?: string,
  note?: (text: string) => void,
): Promise<Plan> {
  const folder = checkFolder(config.output);
  const chip = config.chip === undefined ? await autoload() : await loadChip(config.chip);
  const there = memoryThere(chip);
  refuseTooLarge(config, checkpoint, chip, there);
  const setup = await setUp(config, checkpoint, note);
  const warnings: string[] = [];
  const { model, optimizer, batches, held } = setup;
  const first = batches.at(0);
  const memory = estimateOf(setup, first);
  if (totalOf(memory) > there)
    throw new ConfigError(
      `the run needs at least ${bytes(totalOf(memory))}, and the chip ${chip.name} has ${bytes(there)}: try a smaller batch_size, accumulate, recompute: full, or dtype: bf16`,
    );
  const [last] = checkpointSteps(config.output);
  if (last !== undefined && !checkpoint)
    warnings.push(
      `${config.output} has a checkpoint of step ${last}: a run goes on from it with --resume, or removes it with --overwrite`,
    );
  const saved = memory.weights + memory.optimizer;
  const disk = { needed: (config.keep + 2) * saved + memory.weights, there: freeBytes(folder) };
  if (disk.needed > disk.there)
    warnings.push(`${folder} has ${bytes(disk.there)} free; checkpoints take up to ${bytes(disk.needed)}`);
  const measured = await measure(setup, chip);
  const parameters = model.parameters();
  optimizer.dispose();
  model.dispose();
  return {
    chip: `${chip.name} (${chip.description})`,
    parameters: parameters.reduce((n, p) => n + p.numel, 0),
    trained: parameters.reduce((n, p) => n + (p.requiresGrad ? p.numel : 0), 0),
    parts: partsOf(setup),
    examples: batches.examples,
    epochs: (config.steps * config.batch_size) / batches.examples,
    tokensPerStep: batches.tokensPerStep,
    batches: first.map(({ rows, columns, learned }) => ({ rows, columns, learned })),
    heldOut: held && {
      batches: held.batches.length,
      targets: held.batches.reduce((n, b) => n + b.learned, 0),
    },
    memory,
    memoryThere: there,
    ...measured,
    steps: config.steps - (setup.state?.step ?? 0),
    disk,
    warnings,
  };
}

/** Steps as the run's own; the model is thrown away afterwards. */
async function measure(
  setup: Setup,
  chip: Chip,
): Promise<Pick<Plan, "measuredPeak" | "firstStep" | "laterStep" | "loss">> {
  const { config, batches, training } = setup;
  resetPeakMemory(chip);
  const start = performance.now();
  const times: number[] = [];
  let loss = Number.NaN;
  for (let step = 0; step < MEASURED; step++) {
    const before = performance.now();
    if (step >= 2 && before - start > 1000 * PATIENCE_SECONDS) break;
    const gradients = await computeGradients(
      setup,
      batches.at(step),
      config.clip_grad_norm ?? Number.POSITIVE_INFINITY,
      training(step),
    );
    applyGradients(setup, gradients, learningRate(config, step));
    // The update is waited for too.
    await setup.model.parameters()[0]!.bytes();
    times.push((performance.now() - before) / 1000);
    if (step === 0) loss = gradients.loss;
  }
  return {
    measuredPeak: memoryStats(chip).peak,
    firstStep: times[0]!,
    laterStep: times.slice(1).reduce((a, b) => Math.min(a, b)),
    loss,
  };
}

/** Weights, gradients and optimizer alone, before any memory is taken. */
function refuseTooLarge(
  config: TrainConfig,
  checkpoint: string | undefined,
  chip: Chip,
  there: number,
): void {
  const path = modelFiles(config, checkpoint);
  let count = 0;
  if (path === undefined) {
    if (config.model.config === undefined) return;
    const raw = { vocab_size: config.tokenizer.train?.vocab_size, ...config.model.config };
    // The tokenizer's, which is not open yet.
    if (raw.vocab_size === undefined) return;
    const declared = newConfig(raw, config.mtp !== undefined);
    for (const shape of parameterShapes(declared, chip.name).values())
      count += shape.reduce((a, b) => a * b, 1);
  } else {
    const open = openParameters(openModel(path));
    using _files = open.files;
    for (const shape of parameterShapes(open.config, chip.name).values())
      count += shape.reduce((a, b) => a * b, 1);
  }
  const least = count * DTYPES[runDType(config, checkpoint)].bytes;
  if (least > there)
    throw new ConfigError(
      `the weights alone are ${bytes(least)} (${count.toLocaleString("en")} parameters), and the chip ${chip.name} has ${bytes(there)}`,
    );
}

function estimateOf({ model, config }: Setup, [batch]: readonly Batch[]): MemoryEstimate {
  const { raw, hiddenSize, vocabSize } = model.config;
  const experts = raw["num_experts_per_tok"];
  return estimateMemory({
    parameters: [...model.namedParameters()].map(([name, p]) => ({
      name,
      shape: p.shape,
      bytes: DTYPES[p.dtype].bytes,
      trained: p.requiresGrad,
    })),
    master: config.master_weights === "f32",
    tokens: batch!.rows * batch!.columns,
    activationBytes: DTYPES[model.model.embedTokens.dtype].bytes,
    hiddenSize,
    vocabSize,
    recompute: config.recompute,
    expertsPerToken: typeof experts === "number" ? experts : 1,
    predictLayers: config.mtp ? model.predict.length : 0,
  });
}

/** Bytes that the chip can give, or that the system could give to this process. */
const memoryThere = (chip: Chip): number =>
  Math.min(
    chip.capabilities.memoryBytes ?? Number.POSITIVE_INFINITY,
    chip.capabilities.memoryBytes === undefined || chip.capabilities.syncRead
      ? process.availableMemory()
      : Number.POSITIVE_INFINITY,
  );

const PARTS: readonly (readonly [RegExp, string])[] = [
  [/lora/i, "LoRA"],
  [/norm/, "norms"],
  [/embed/, "embeddings"],
  [/self_attn/, "attention"],
  [/mlp/, "MLP"],
  [/lm_head/, "output"],
];

function partsOf({ model }: Setup): [string, number][] {
  const sums = new Map<string, number>();
  for (const [name, p] of model.namedParameters()) {
    const part = PARTS.find(([pattern]) => pattern.test(name))?.[1] ?? "other";
    sums.set(part, (sums.get(part) ?? 0) + p.numel);
  }
  return [...sums].sort((a, b) => b[1] - a[1]);
}

/** The nearest folder that exists above the output, which a run could write to. @throws ConfigError */
function checkFolder(output: string): string {
  let at = output;
  while (!fs.existsSync(at)) at = dirname(at);
  if (!fs.statSync(at).isDirectory()) throw new ConfigError(`${output}: ${at} is not a folder`);
  try {
    fs.accessSync(at, fs.constants.W_OK);
  } catch {
    throw new ConfigError(`${output}: ${at} cannot be written`);
  }
  return at;
}

const freeBytes = (folder: string): number => {
  const { bavail, bsize } = fs.statfsSync(folder);
  return bavail * bsize;
};

/** `12.3 MiB`. */
export function bytes(n: number): string {
  const power = Math.min(4, Math.max(1, Math.floor(Math.log2(Math.max(1, n)) / 10)));
  return `${(n / 2 ** (10 * power)).toFixed(1)} ${["", "K", "M", "G", "T"][power]}iB`;
}
