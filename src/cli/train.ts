// `vexil train CONFIG.yaml`: runs the trainer in its worker and shows how it goes; Ctrl-C saves and ends.

import * as z from "zod";
import {
  planText,
  ProgressView,
  readConfig,
  startTraining,
  TRAIN_DTYPES,
  type TrainEvent,
} from "../train/index.js";
import type { CommandSpec } from "./command.js";

const flags = z.object({
  resume: z.boolean().default(false).describe("go on from the latest good checkpoint in the output folder"),
  overwrite: z
    .boolean()
    .default(false)
    .describe("start anew although the output folder has checkpoints, which go"),
  dryRun: z
    .boolean()
    .default(false)
    .describe(
      "check everything and say what the run would take: shapes, parameters, memory, time; write nothing",
    ),
  chip: z.string().optional().describe("the chip to train on"),
  dtype: z.enum(TRAIN_DTYPES).optional().describe("the dtype to train in instead of the configuration's"),
  steps: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("train for this many steps instead of the configuration's"),
});

/** Shows a run's events; returns after the run. The first Ctrl-C stops it well, the second at once. */
export async function watchTraining(
  options: Parameters<typeof startTraining>[0],
  onEvent: (e: TrainEvent) => void = () => {},
): Promise<void> {
  const view = new ProgressView(process.stderr, options.config.log_every);
  const run = startTraining(options, (event) => {
    if (event.type === "progress") view.show(event.progress);
    else {
      view.end();
      const line = describe(event);
      if (line) console.error(line);
    }
    onEvent(event);
  });
  let asked = false;
  const interrupt = () => {
    if (asked) process.exit(130);
    asked = true;
    view.end();
    console.error("stopping after this step, with a checkpoint saved (press Ctrl-C again to end at once)");
    run.stop();
  };
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  try {
    await run.done;
  } finally {
    view.end();
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
  }
}

function describe(event: TrainEvent): string | undefined {
  switch (event.type) {
    case "start":
      return `training ${event.parameters.toLocaleString("en")} parameters on ${event.examples.toLocaleString("en")} examples, chip ${event.chip}${event.step > 0 ? `, from step ${event.step}` : ""}`;
    case "saved":
      return `saved ${event.folder}`;
    case "note":
      return event.text;
    case "evaluated":
      return `after step ${event.step}: held-out loss ${event.evaluation.loss.toFixed(4)}, perplexity ${event.evaluation.perplexity.toPrecision(4)}`;
    case "answered":
      return `exactly right: ${event.result.right} of ${event.result.total} (${((100 * event.result.right) / event.result.total).toFixed(1)} %)`;
    case "end": {
      const best = event.best
        ? `the held-out loss was lowest after step ${event.best.step} (${event.best.loss.toFixed(4)}): ${event.best.folder}`
        : undefined;
      if (event.reason === "finished") return best;
      const why =
        event.reason === "stopped"
          ? `stopped at step ${event.step}; go on with --resume`
          : `ended at step ${event.step}: the held-out loss gets no better`;
      return best ? `${best}\n${why}` : why;
    }
    case "progress":
    case "plan":
      return undefined;
    default:
      return event satisfies never;
  }
}

export const spec: CommandSpec<typeof flags.shape> = {
  name: "train",
  summary: "Train a model as a YAML file says (docs/training.md lists its keys).",
  positionals: [{ name: "config", description: "the YAML file" }],
  flags,
  async run([file], { resume, overwrite, dryRun, chip, dtype, steps }) {
    const config = readConfig(file!);
    const options = {
      config: {
        ...config,
        ...(chip ? { chip } : {}),
        ...(dtype ? { dtype } : {}),
        ...(steps ? { steps } : {}),
      },
      resume,
      overwrite,
      dryRun,
    };
    await watchTraining(options, (event) => {
      if (event.type === "plan") process.stdout.write(planText(event.plan));
    });
  },
};
