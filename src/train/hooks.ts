// What happens around the steps of a run: metrics, reports. Each is a hook; the loop in `trainer.ts` calls them in turn.

import type { Evaluation } from "./held-out.js";

/** What is known of a finished step. */
export interface StepRecord {
  /** Steps taken, this one too. */
  readonly step: number;
  readonly loss: number;
  readonly gradNorm: number;
  readonly learningRate: number;
  /** Why the weights were left as they are; undefined after an update. */
  readonly skipped: string | undefined;
  /** Tokens that the step computed with, padding too. */
  readonly tokens: number;
  /** Seconds that the step took. */
  readonly seconds: number;
  /** The recent average. */
  readonly tokensPerSecond: number;
  /** Seconds until the last step, at the present pace. */
  readonly secondsLeft: number;
  /** Most bytes of the chip's memory in use during the step. */
  readonly peakBytes: number;
}

/** Something that follows a run. Every method may be left out. */
export interface RunHook {
  /** A step has ended. */
  step?(record: StepRecord): void;
  /** The loss on held-out data was measured after a step. */
  evaluated?(evaluation: Evaluation, step: number): void;
  /** A checkpoint, or the trained model, is on disk. */
  saved?(folder: string, step: number): void;
  /** The run ends, well or not; nothing follows. */
  end?(): void;
}
