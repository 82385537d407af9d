// The main thread's side of training: starts the worker, hands its events on, stops it when asked.

import { Worker } from "node:worker_threads";
import type { TrainEvent, TrainOptions } from "./events.js";

export interface TrainingRun {
  /** Resolves when the run has ended; rejects with what went wrong. */
  readonly done: Promise<void>;
  /** Finishes the step under way, saves a checkpoint and ends. */
  stop(): void;
}

/** Starts a training run in a worker. */
export function startTraining(options: TrainOptions, onEvent: (event: TrainEvent) => void): TrainingRun {
  const worker = new Worker(new URL("./worker.js", import.meta.url), {
    workerData: options,
    name: "vexil trainer",
  });
  const done = new Promise<void>((resolve, reject) => {
    worker.on(
      "message",
      (
        m:
          | TrainEvent
          | { type: "failed"; error: { name: string; message: string; stack?: string; code?: string } },
      ) => {
        if (m.type !== "failed") return onEvent(m);
        reject(Object.assign(new Error(m.error.message), m.error));
      },
    );
    worker.once("error", reject);
    worker.once("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`the trainer ended with code ${code}`)),
    );
  });
  return { done, stop: () => worker.postMessage({ type: "stop" }) };
}
