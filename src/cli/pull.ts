// `vexil pull OWNER/NAME`: a model's files from the Hugging Face hub. Ctrl-C ends it; the next run goes on.

import * as z from "zod";
import { pull } from "../models/pull.js";
import type { CommandSpec } from "./command.js";
import { interruptible } from "./sampling.js";

const flags = z.object({
  revision: z.string().default("main").describe("branch, tag or commit"),
  to: z.string().optional().describe("the folder to write (default: the model's name)"),
});

export const spec: CommandSpec<typeof flags.shape> = {
  name: "pull",
  summary: "Fetch a model from the Hugging Face hub (HF_ENDPOINT, HF_TOKEN); goes on where it broke off.",
  positionals: [{ name: "model", description: "OWNER/NAME" }],
  flags,
  async run([name], { revision, to }) {
    const folder = to ?? name!.split("/").at(-1)!;
    const { signal, release } = interruptible();
    const live = process.stderr.isTTY;
    try {
      const commit = await pull(name!, folder, {
        revision,
        signal,
        onProgress(file, done, total) {
          if (live)
            process.stderr.write(
              `\r${file}: ${((100 * done) / total).toFixed(1)} %   ${done === total ? "\n" : ""}`,
            );
          else if (done === total) process.stderr.write(`${file}: ${total.toLocaleString("en")} bytes\n`);
        },
      });
      console.error(`${folder}: ${name} at ${commit}`);
    } catch (error) {
      if (!signal.aborted) throw error;
      process.exitCode = 130;
    } finally {
      release();
    }
  },
};
