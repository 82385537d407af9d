// The training loop in one thread: batches, gradients, update, checkpoints. It runs in the trainer's worker (`worker.ts`);
// what a run is made from stands in `setup.ts`, a step in `step.ts`, what follows a run in hooks (`hooks.ts`); what a
// person sees is made elsewhere from its events.

import { mkdirSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { saveModel } from "../models/load.js";
import { memoryStats, resetPeakMemory } from "../runtime/index.js";
import { checkpointFolder, latestCheckpoint, saveCheckpoint } from "./checkpoint.js";
import { ConfigError } from "./config.js";
import { exactAnswers } from "./evaluate.js";
import { type TrainEvent, TrainingError, type TrainOptions } from "./events.js";
import type { RunHook, StepRecord } from "./hooks.js";
import { Pace } from "./pace.js";
import { learningRate } from "./schedule.js";
import { type Setup, setUp } from "./setup.js";
import { applyGradients, computeGradients, dropGradients } from "./step.js";

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
  const setup = await setUp(config, checkpoint);
  // Fails early, not after hours, when the folder cannot be written.
  mkdirSync(config.output, { recursive: true });
  await new Loop(setup, hooksOf(setup, emit), emit).run(signal);
}

/** Who follows the run. */
function hooksOf({ config }: Setup, emit: (event: TrainEvent) => void): RunHook[] {
  return [
    {
      step: ({ step, loss, learningRate, gradNorm, tokensPerSecond, secondsLeft }) =>
        emit({
          type: "progress",
          progress: { step, steps: config.steps, loss, learningRate, gradNorm, tokensPerSecond, secondsLeft },
        }),
      saved: (folder) => emit({ type: "saved", folder }),
    },
  ];
}

class Loop {
  readonly #setup: Setup;
  readonly #hooks: readonly RunHook[];
  readonly #emit: (event: TrainEvent) => void;
  readonly #pace = new Pace();
  /** Steps taken. */
  #step: number;
  /** The step whose checkpoint is on disk: it is not written again, so there is no moment without it. */
  #saved: number | undefined;

  constructor(setup: Setup, hooks: readonly RunHook[], emit: (event: TrainEvent) => void) {
    this.#setup = setup;
    this.#hooks = hooks;
    this.#emit = emit;
    this.#step = setup.state?.step ?? 0;
    this.#saved = setup.state?.step;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { config, chip, model, tokenizer, batches, prompts } = this.#setup;
    this.#emit({
      type: "start",
      chip: chip.name,
      parameters: model.parameters().reduce((n, p) => n + p.numel, 0),
      examples: batches.examples,
      step: this.#step,
    });
    try {
      while (this.#step < config.steps) {
        // Lets the message that asks to stop come in.
        await nextTurn();
        if (signal.aborted) {
          const folder = await this.#save();
          this.#emit({ type: "end", reason: "stopped", step: this.#step, folder });
          return;
        }
        const record = await this.#oneStep();
        for (const hook of this.#hooks) hook.step?.(record);
        if (config.save_every !== undefined && this.#step % config.save_every === 0) await this.#save();
      }
      await this.#save();
      await saveModel(config.output, model, tokenizer);
      for (const hook of this.#hooks) hook.saved?.(config.output, this.#step);
      if (prompts) {
        const result = await exactAnswers(model, tokenizer, prompts, { signal });
        if (result) this.#emit({ type: "evaluated", result });
      }
      this.#emit({ type: "end", reason: "finished", step: this.#step, folder: config.output });
    } finally {
      for (const hook of this.#hooks) hook.end?.();
    }
  }

  async #oneStep(): Promise<StepRecord> {
    const { config, chip, batches, training } = this.#setup;
    this.#pace.restart();
    resetPeakMemory(chip);
    const rate = learningRate(config, this.#step);
    const gradients = await computeGradients(
      this.#setup,
      batches.at(this.#step),
      config.clip_grad_norm ?? Number.POSITIVE_INFINITY,
      training(this.#step),
    );
    const { loss, gradNorm } = gradients;
    this.#checkFinite("loss", loss, () => dropGradients(this.#setup, gradients));
    this.#checkFinite("gradients' norm", gradNorm, () => dropGradients(this.#setup, gradients));
    applyGradients(this.#setup, gradients, rate);
    this.#step++;
    const tokens = batches.tokensPerStep;
    const { seconds, perSecond, secondsPerStep } = this.#pace.tick(tokens);
    return {
      step: this.#step,
      loss,
      gradNorm,
      learningRate: rate,
      tokens,
      seconds,
      tokensPerSecond: perSecond,
      secondsLeft: secondsPerStep * (config.steps - this.#step),
      peakBytes: memoryStats(chip).peak,
    };
  }

  #checkFinite(what: string, value: number, clear: () => void): void {
    if (Number.isFinite(value)) return;
    clear();
    throw new TrainingError(
      `the ${what} became ${value} at step ${this.#step + 1}: try a smaller learning_rate, or clip_grad_norm; earlier checkpoints are untouched`,
    );
  }

  async #save(): Promise<string> {
    const { config, model, tokenizer, optimizer } = this.#setup;
    if (this.#saved === this.#step) return checkpointFolder(config.output, this.#step);
    const state = { step: this.#step, seed: config.seed, batch_size: config.batch_size };
    const folder = await saveCheckpoint(config.output, { model, tokenizer, optimizer, state });
    this.#saved = this.#step;
    for (const hook of this.#hooks) hook.saved?.(folder, this.#step);
    return folder;
  }
}
