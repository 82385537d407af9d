// A run from its options to its end, in one thread: finds where to go on, sets up, attaches who follows, and starts the
// loop (`loop.ts`). It runs in the trainer's worker (`worker.ts`); what a person sees is made elsewhere from its events.

import { mkdirSync } from "node:fs";
import { setVendorPolicy, vendorPolicy } from "../runtime/index.js";
import { checkpointSteps, latestCheckpoint, removeAll, removeUnfinished } from "./checkpoint-folders.js";
import { ConfigError, type TrainConfig } from "./config.js";
import { dryRun } from "./dry-run.js";
import type { TrainEvent, TrainOptions } from "./events.js";
import type { RunHook } from "./hooks.js";
import { Loop } from "./loop.js";
import { metricsHook } from "./metrics.js";
import { reportHook } from "./report/index.js";
import { type Setup, setUp } from "./setup.js";
import { tensorboardHook } from "./tensorboard/index.js";

/**
 * Trains as the configuration says, and reports through `emit`. When `signal` aborts, the step under way is
 * finished, a checkpoint is saved and the run ends; in the evaluation after the last step, that is left out.
 * @throws ConfigError, DataError, errors of model folders and chips; TrainingError when a loss or gradient is no number,
 *   or too many steps in a row are spikes
 */
export async function train(
  options: TrainOptions,
  emit: (event: TrainEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  const { config } = options;
  const checkpoint = startingPoint(options, emit);
  const before = vendorPolicy();
  // Which of two ways was faster is a measurement, and may be another one next time.
  if (config.deterministic) setVendorPolicy("off");
  try {
    const note = (text: string): void => emit({ type: "note", text });
    if (options.dryRun) return emit({ type: "plan", plan: await dryRun(config, checkpoint, note) });
    const setup = await setUp(config, checkpoint, note);
    // Fails early, not after hours, when the folder cannot be written.
    mkdirSync(config.output, { recursive: true });
    removeUnfinished(config.output);
    if (!checkpoint) removeAll(config.output);
    await new Loop(setup, hooksOf(setup, emit), emit).run(signal);
  } finally {
    setVendorPolicy(before);
  }
}

/** The checkpoint to go on from, if any. @throws ConfigError when there is none, or one that nobody spoke of */
function startingPoint(
  { config, resume, overwrite, dryRun }: TrainOptions,
  emit: (event: TrainEvent) => void,
): string | undefined {
  const { output } = config;
  if (!resume) {
    const [last] = checkpointSteps(output);
    if (last !== undefined && !overwrite && !dryRun)
      throw new ConfigError(
        `${output}: an earlier run's checkpoint of step ${last} is there; --resume goes on from it, --overwrite starts anew and removes it`,
      );
    return undefined;
  }
  const checkpoint = latestCheckpoint(output, (text) => emit({ type: "note", text }));
  if (!checkpoint) throw new ConfigError(`${output}: there is no checkpoint to go on from`);
  return checkpoint;
}

/** Who follows the run. */
function hooksOf(setup: Setup, emit: (event: TrainEvent) => void): RunHook[] {
  const { config, chip, model, state } = setup;
  const step = state?.step ?? 0;
  const facts = {
    config,
    chip: { name: chip.name, description: chip.description },
    parameters: model.parameters().reduce((n, p) => n + (p.requiresGrad ? p.numel : 0), 0),
  };
  return [
    metricsHook(config.output, step),
    tensorboardHook(config.output, step),
    reportHook(config.output, facts),
    eventHook(config, emit),
  ];
}

/** Sends on what people are shown. */
const eventHook = ({ steps }: TrainConfig, emit: (event: TrainEvent) => void): RunHook => ({
  step({ step, loss, learningRate, gradNorm, tokensPerSecond, secondsLeft, skipped }) {
    const progress = { step, steps, loss, learningRate, gradNorm, tokensPerSecond, secondsLeft };
    emit({ type: "progress", progress });
    if (skipped !== undefined)
      emit({ type: "note", text: `step ${step} is skipped, its weights stay: ${skipped}` });
  },
  evaluated: (evaluation, step) => emit({ type: "evaluated", step, evaluation }),
  saved: (folder) => emit({ type: "saved", folder }),
});
