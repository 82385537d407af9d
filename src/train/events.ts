// What a run tells of itself: the events that the trainer sends, and the errors that end a run. Plain data, since they
// cross from the worker to the main thread.

import type { TrainConfig } from "./config.js";
import type { Plan } from "./dry-run.js";
import type { ExactResult } from "./evaluate.js";
import type { Evaluation } from "./held-out.js";
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
  /** What a dry run has found out; nothing follows. */
  | { readonly type: "plan"; readonly plan: Plan }
  /** Something that a person should know, in words. */
  | { readonly type: "note"; readonly text: string }
  /** The loss on held-out data after a step. */
  | { readonly type: "evaluated"; readonly step: number; readonly evaluation: Evaluation }
  /** Held-out prompts were answered at the end. */
  | { readonly type: "answered"; readonly result: ExactResult }
  | {
      readonly type: "end";
      /** All steps were taken; somebody stopped it; early stopping. */
      readonly reason: "finished" | "stopped" | "no better";
      readonly step: number;
      readonly folder: string;
      /** The checkpoint with the lowest held-out loss. */
      readonly best?: { readonly step: number; readonly loss: number; readonly folder: string };
    };

/** A run that cannot go on; the message says at which step and what may help. */
export class TrainingError extends Error {
  override name = "TrainingError";
}

export interface TrainOptions {
  readonly config: TrainConfig;
  /** Go on from the latest checkpoint in the output folder. */
  readonly resume?: boolean;
  /** Start anew although the output folder has checkpoints of an earlier run, which go. */
  readonly overwrite?: boolean;
  /** Only finds out what the run would take. */
  readonly dryRun?: boolean;
}
