// Checkpoints: everything a run needs to go on, in one folder that appears whole or not at all.

import * as fs from "node:fs";
import { join } from "node:path";
import { readTensors, saveModel } from "../models/load.js";
import { readJson, Weights, writeAtomic } from "../models/folder.js";
import { safetensorsChunks } from "../models/safetensors.js";
import type { TextTokenizer } from "../models/tokenizer.js";
import type { LanguageModel } from "../models/transformer.js";
import type { AdamW } from "../nn/index.js";
import { fromBytes, noGrad } from "../tensor/index.js";
import { ConfigError } from "./config.js";

/** What a checkpoint holds beside weights and the optimizer's tensors. */
export interface TrainerState {
  /** Steps taken. */
  readonly step: number;
  /** What decides the data's order; a run goes on with the same. */
  readonly seed: number;
  readonly batch_size: number;
}

const NAME = /^checkpoint-(\d+)$/;

/** Where the checkpoint of a step stands in a run's output folder. */
export const checkpointFolder = (output: string, step: number): string => join(output, `checkpoint-${step}`);

/** The checkpoint with the most steps in a run's output folder, or undefined. */
export function latestCheckpoint(output: string): string | undefined {
  if (!fs.existsSync(output)) return undefined;
  const steps = fs
    .readdirSync(output)
    .map((f) => NAME.exec(f)?.[1])
    .filter((s) => s !== undefined)
    .map(Number);
  return steps.length === 0 ? undefined : checkpointFolder(output, Math.max(...steps));
}

/** Writes a checkpoint and then removes the older ones. Returns its folder. */
export async function saveCheckpoint(
  output: string,
  run: { model: LanguageModel; tokenizer: TextTokenizer; optimizer: AdamW; state: TrainerState },
): Promise<string> {
  const folder = checkpointFolder(output, run.state.step);
  const temporary = `${folder}.tmp`;
  fs.rmSync(temporary, { recursive: true, force: true });
  await saveModel(temporary, run.model, run.tokenizer);
  writeAtomic(
    join(temporary, "optimizer.safetensors"),
    safetensorsChunks(await readTensors(run.optimizer.stateTensors())),
  );
  writeAtomic(join(temporary, "trainer_state.json"), [JSON.stringify(run.state, null, 2) + "\n"]);
  fs.rmSync(folder, { recursive: true, force: true });
  fs.renameSync(temporary, folder);
  for (const f of fs.readdirSync(output)) {
    const step = NAME.exec(f)?.[1];
    if (step !== undefined && Number(step) < run.state.step)
      fs.rmSync(join(output, f), { recursive: true, force: true });
  }
  return folder;
}

/** Reads the optimizer's state into `optimizer`; the model itself loads like any folder. */
export function loadOptimizer(
  folder: string,
  optimizer: AdamW,
  expected: { seed: number; batch_size: number },
): TrainerState {
  const state = readJson(join(folder, "trainer_state.json")) as TrainerState;
  if (!Number.isSafeInteger(state?.step))
    throw new ConfigError(`${folder}/trainer_state.json: there is no "step"`);
  for (const key of ["seed", "batch_size"] as const)
    if (state[key] !== expected[key])
      throw new ConfigError(
        `${folder}: the checkpoint was made with ${key} ${state[key]}, the configuration says ${expected[key]}`,
      );
  using weights = new Weights([join(folder, "optimizer.safetensors")]);
  noGrad(() => {
    for (const [name, t] of optimizer.stateTensors()) {
      const { data, dtype, shape } = weights.read(name, t.shape);
      using fresh = fromBytes(data, shape, dtype, t.device);
      t.copy_(fresh);
    }
  });
  optimizer.steps = state.step;
  return state;
}
