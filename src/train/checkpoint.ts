// Checkpoints: everything a run needs to go on, as a folder that loads like any model. How folders appear and which ones
// stay is `checkpoint-folders.ts`.

import { join } from "node:path";
import { readJson, Weights, writeAtomic } from "../models/folder.js";
import { readTensors, saveModel } from "../models/load.js";
import { safetensorsChunks } from "../models/safetensors.js";
import type { TextTokenizer } from "../models/tokenizer.js";
import type { LanguageModel } from "../models/transformer.js";
import type { AdamW } from "../nn/index.js";
import { fromBytes, noGrad } from "../tensor/index.js";
import { makeCheckpoint } from "./checkpoint-folders.js";
import { ConfigError } from "./config.js";
import type { BestState } from "./best.js";
import type { SpikeState } from "./spikes.js";

/** What a checkpoint holds beside weights and the optimizer's tensors. */
export interface TrainerState {
  /** Steps taken, those without an update too. */
  readonly step: number;
  /** Updates of the weights. */
  readonly updates: number;
  /** What decides the data's order; a run goes on with the same. */
  readonly seed: number;
  readonly batch_size: number;
  /** What it computes in, and whether half weights have f32 copies (only said of these). */
  readonly dtype?: string;
  readonly master_weights?: string | undefined;
  /** Where the run stands in the data: sequences there are, and those that were taken, over all epochs. */
  readonly data: { readonly examples: number; readonly taken: number };
  /** The state of the random numbers that operators draw. */
  readonly random: { readonly seed: string; readonly offset: number };
  readonly spikes?: SpikeState | undefined;
  readonly best?: BestState | undefined;
  /** The step after which the held-out loss was measured last. */
  readonly evaluated?: number | undefined;
}

/** Writes a checkpoint. Returns its folder. */
export function saveCheckpoint(
  output: string,
  run: { model: LanguageModel; tokenizer: TextTokenizer; optimizer: AdamW; state: TrainerState },
): Promise<string> {
  return makeCheckpoint(output, run.state.step, async (folder) => {
    await saveModel(folder, run.model, run.tokenizer);
    writeAtomic(
      join(folder, "optimizer.safetensors"),
      safetensorsChunks(await readTensors(run.optimizer.stateTensors())),
    );
    writeAtomic(join(folder, "trainer_state.json"), [`${JSON.stringify(run.state, null, 2)}\n`]);
  });
}

/** Reads the optimizer's state into `optimizer`; the model itself loads like any folder. */
export function loadOptimizer(
  folder: string,
  optimizer: AdamW,
  expected: { seed: number; batch_size: number; dtype: string; master_weights: string },
): TrainerState {
  const state = readJson(join(folder, "trainer_state.json")) as TrainerState;
  // Checkpoints of before do not say their dtype.
  for (const key of ["seed", "batch_size", "dtype", "master_weights"] as const)
    if (state[key] !== undefined && state[key] !== expected[key])
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
  optimizer.steps = state.updates;
  return state;
}
