// What a run tells of itself: the events that the trainer sends, and the errors that end a run. Plain data, since they
// cross from the worker to the main thread.

import type { TrainConfig } from "./config.js";
import type { ExactResult } from "./evaluate.js";
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
  | { readonly type: "evaluated"; readonly result: ExactResult }
  | {
      readonly type: "end";
      readonly reason: "finished" | "stopped";
      readonly step: number;
      readonly folder: string;
    };

/** A run that cannot go on; the message says at which step and what may help. */
export class TrainingError extends Error {
  override name = "TrainingError";
}

export interface TrainOptions {
  readonly config: TrainConfig;
  /** Go on from the latest checkpoint in the output folder. */
  readonly resume?: boolean;
}
