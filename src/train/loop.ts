// The loop: steps, evaluations, checkpoints and the end of a run. What a run is made from stands in `setup.ts`, a step in
// `step.ts`, what follows a run in hooks (`hooks.ts`).

import { setImmediate as nextTurn } from "node:timers/promises";
import { saveModel } from "../models/load.js";
import { defaultGenerator, memoryStats, resetPeakMemory } from "../runtime/index.js";
import { Best } from "./best.js";
import { saveCheckpoint, type TrainerState } from "./checkpoint.js";
import { checkpointFolder, removeOld } from "./checkpoint-folders.js";
import { firstNotFinite } from "./diagnose.js";
import { exactAnswers } from "./evaluate.js";
import { type TrainEvent, TrainingError } from "./events.js";
import { heldOutLoss } from "./held-out.js";
import type { RunHook, StepRecord } from "./hooks.js";
import { Pace } from "./pace.js";
import { learningRate } from "./schedule.js";
import type { Setup } from "./setup.js";
import { SpikeGuard } from "./spikes.js";
import { accumulate, applyGradients, computeGradients, dropGradients } from "./step.js";

/** Why a run ended. */
type Reason = Extract<TrainEvent, { type: "end" }>["reason"];

export class Loop {
  readonly #setup: Setup;
  readonly #hooks: readonly RunHook[];
  readonly #emit: (event: TrainEvent) => void;
  readonly #pace = new Pace();
  readonly #best: Best;
  readonly #spikes: SpikeGuard | undefined;
  /** Steps taken. */
  #step: number;
  /** The step whose checkpoint is on disk: it is not written again, so there is no moment without it. */
  #saved: number | undefined;
  /** The step after which the held-out loss was measured last. */
  #evaluated: number | undefined;

  constructor(setup: Setup, hooks: readonly RunHook[], emit: (event: TrainEvent) => void) {
    const { config, state } = setup;
    this.#setup = setup;
    this.#hooks = hooks;
    this.#emit = emit;
    this.#step = state?.step ?? 0;
    this.#saved = state?.step;
    this.#best = new Best(config.early_stopping, state?.best);
    this.#evaluated = state?.evaluated;
    if (config.skip_spikes) this.#spikes = new SpikeGuard(config.skip_spikes, state?.spikes);
  }

  /** Trains to the end of the run. When `signal` aborts, the step under way is finished and a checkpoint saved. */
  async run(signal: AbortSignal): Promise<void> {
    const { config, chip, model, tokenizer, batches, held, state } = this.#setup;
    this.#emit({
      type: "start",
      chip: chip.name,
      parameters: model.parameters().reduce((n, p) => n + (p.requiresGrad ? p.numel : 0), 0),
      examples: batches.examples,
      step: this.#step,
    });
    if (state) defaultGenerator.setState({ ...state.random, seed: BigInt(state.random.seed) });
    else defaultGenerator.manualSeed(config.seed);
    try {
      while (this.#step < config.steps && !this.#best.exhausted) {
        // Lets the message that asks to stop come in.
        await nextTurn();
        if (signal.aborted) return this.#end("stopped", await this.#save());
        const record = await this.#oneStep();
        for (const hook of this.#hooks) hook.step?.(record);
        this.#checkSpikes();
        const { evaluate_every: evaluate, save_every: save } = config;
        const better =
          evaluate !== undefined && this.#step % evaluate === 0 && (await this.#evaluate(signal));
        if (better || (save !== undefined && this.#step % save === 0)) await this.#save();
      }
      await this.#evaluate(signal);
      await this.#save();
      await saveModel(config.output, model, tokenizer);
      for (const hook of this.#hooks) hook.saved?.(config.output, this.#step);
      if (held?.prompts) {
        const result = await exactAnswers(model, tokenizer, held.prompts, { signal });
        if (result) this.#emit({ type: "answered", result });
      }
      this.#end(this.#step < config.steps ? "no better" : "finished", config.output);
    } finally {
      for (const hook of this.#hooks) hook.end?.();
    }
  }

  #end(reason: Reason, folder: string): void {
    const best = this.#best.state;
    this.#emit({
      type: "end",
      reason,
      step: this.#step,
      folder,
      ...(best && this.#setup.config.evaluate_every !== undefined
        ? {
            best: {
              step: best.step,
              loss: best.loss,
              folder: checkpointFolder(this.#setup.config.output, best.step),
            },
          }
        : {}),
    });
  }

  async #oneStep(): Promise<StepRecord> {
    const { config, chip, batches, training } = this.#setup;
    this.#pace.restart();
    resetPeakMemory(chip);
    const rate = learningRate(config, this.#step);
    const random = defaultGenerator.getState();
    const gradients = await computeGradients(
      this.#setup,
      batches.at(this.#step),
      config.clip_grad_norm ?? Number.POSITIVE_INFINITY,
      training(this.#step),
    );
    const { loss, gradNorm } = gradients;
    if (!(Number.isFinite(loss) && Number.isFinite(gradNorm))) {
      dropGradients(this.#setup, gradients);
      defaultGenerator.setState(random);
      throw await this.#notFinite(loss, gradNorm);
    }
    const skipped = this.#spikes?.judge(loss, gradNorm);
    if (skipped === undefined) applyGradients(this.#setup, gradients, rate);
    else dropGradients(this.#setup, gradients);
    this.#step++;
    const tokens = batches.tokensPerStep;
    const { seconds, perSecond, secondsPerStep } = this.#pace.tick(tokens);
    return {
      step: this.#step,
      loss,
      gradNorm,
      learningRate: rate,
      skipped,
      tokens,
      seconds,
      tokensPerSecond: perSecond,
      secondsLeft: secondsPerStep * (config.steps - this.#step),
      peakBytes: memoryStats(chip).peak,
    };
  }

  /** The weights are still those before the step: it is done once more, to see what goes wrong first. */
  async #notFinite(loss: number, gradNorm: number): Promise<TrainingError> {
    const { model, batches, training } = this.#setup;
    const step = this.#step;
    const first = await firstNotFinite(model, () => {
      accumulate(this.#setup, batches.at(step), training(step));
    });
    const [what, value] = Number.isFinite(loss) ? ["gradients' norm", gradNorm] : ["loss", loss];
    return new TrainingError(
      `the ${what} became ${value} at step ${step + 1}; ` +
        `${first ?? "done again, everything was finite: the chip or its memory may be at fault"}. ` +
        `Try a smaller learning_rate, or clip_grad_norm; ${this.#lastGood()}`,
    );
  }

  #lastGood(): string {
    return this.#saved === undefined
      ? "there is no checkpoint yet (save_every makes them)"
      : `the last good checkpoint is ${checkpointFolder(this.#setup.config.output, this.#saved)}`;
  }

  #checkSpikes(): void {
    const { skip_spikes: settings } = this.#setup.config;
    const inARow = this.#spikes?.inARow ?? 0;
    if (!settings || inARow < settings.most_in_a_row) return;
    throw new TrainingError(
      `${inARow} steps in a row were spikes, up to step ${this.#step}: the weights or the data have gone wrong, or ` +
        `skip_spikes.factor ${settings.factor} is too small; ${this.#lastGood()}`,
    );
  }

  /** Measures the held-out loss, unless that was done after this step. Says whether it is the best so far. */
  async #evaluate(signal: AbortSignal): Promise<boolean> {
    const { held, model } = this.#setup;
    if (!held || this.#evaluated === this.#step) return false;
    const evaluation = await heldOutLoss(model, held.batches, signal);
    if (!evaluation) return false;
    this.#evaluated = this.#step;
    const better = this.#best.see(this.#step, evaluation.loss);
    for (const hook of this.#hooks) hook.evaluated?.(evaluation, this.#step);
    return better;
  }

  async #save(): Promise<string> {
    const { config, model, tokenizer, optimizer } = this.#setup;
    if (this.#saved === this.#step) return checkpointFolder(config.output, this.#step);
    const folder = await saveCheckpoint(config.output, { model, tokenizer, optimizer, state: this.#state() });
    this.#saved = this.#step;
    removeOld(config.output, this.#step, config.keep, this.#best.state?.step);
    for (const hook of this.#hooks) hook.saved?.(folder, this.#step);
    return folder;
  }

  #state(): TrainerState {
    const { config, dtype, optimizer, batches } = this.#setup;
    const { seed, offset } = defaultGenerator.getState();
    return {
      step: this.#step,
      updates: optimizer.steps,
      seed: config.seed,
      batch_size: config.batch_size,
      dtype,
      master_weights: dtype === "f32" ? undefined : config.master_weights,
      data: { examples: batches.examples, taken: this.#step * config.batch_size },
      random: { seed: String(seed), offset },
      spikes: this.#spikes?.state,
      best: this.#best.state,
      evaluated: this.#evaluated,
    };
  }
}
