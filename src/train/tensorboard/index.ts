// Writes a run's numbers for TensorBoard: `tensorboard --logdir OUTPUT/tensorboard`.

import * as fs from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { RunHook } from "../hooks.js";
import { record, scalarsEvent, startEvent, versionEvent } from "./events.js";

/**
 * Follows a run in an event file of its own; one that goes on adds another file to the folder.
 * @param step steps that the run has already taken
 */
export function tensorboardHook(output: string, step: number): RunHook {
  const folder = join(output, "tensorboard");
  // A new run's curves would mix with those of the run before it.
  if (step === 0) fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  const now = () => Date.now() / 1000;
  const name = `events.out.tfevents.${Math.floor(now())}.${hostname()}.${process.pid}.${step}`;
  const fd = fs.openSync(join(folder, name), "a");
  const write = (event: Uint8Array) => fs.writeSync(fd, record(event));
  write(versionEvent(now()));
  // What has this step's number is what came after it: the step itself was written before the run was left.
  write(startEvent(now(), step + 1));
  return {
    step: (r) =>
      write(
        scalarsEvent(now(), r.step, {
          "train/loss": r.loss,
          "train/learning_rate": r.learningRate,
          "train/grad_norm": r.gradNorm,
          "speed/tokens_per_second": r.tokens / r.seconds,
          "memory/peak_bytes": r.peakBytes,
        }),
      ),
    evaluated: ({ loss, perplexity }, at) =>
      write(scalarsEvent(now(), at, { "evaluation/loss": loss, "evaluation/perplexity": perplexity })),
    end: () => fs.closeSync(fd),
  };
}
