// The trainer's worker: owns the chip and the model, so that the main thread stays free for signals and progress.

import { parentPort, workerData } from "node:worker_threads";
import type { TrainOptions } from "./events.js";
import { train } from "./trainer.js";

const port = parentPort!;
const stop = new AbortController();
port.on("message", (message: { type: "stop" }) => {
  if (message.type === "stop") stop.abort();
});
train(workerData as TrainOptions, (event) => port.postMessage(event), stop.signal)
  .catch((error) => {
    const e = error instanceof Error ? error : new Error(String(error));
    const { name, message, stack, code } = e as NodeJS.ErrnoException;
    port.postMessage({
      type: "failed",
      error: { name, message, stack, ...(code === undefined ? {} : { code }) },
    });
  })
  .finally(() => port.close());
