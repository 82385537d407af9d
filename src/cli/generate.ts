// `vexil generate MODEL PROMPT`: continues a prompt and streams the text to stdout.

import * as z from "zod";
import { loadEngine } from "../serve/engine.js";
import type { CommandSpec } from "./command.js";
import { engineOf, interruptible, requestOf, samplingFlags } from "./sampling.js";

const flags = z.object(samplingFlags);

export const spec: CommandSpec<typeof flags.shape> = {
  name: "generate",
  summary: "Continue a prompt.",
  positionals: [
    { name: "model", description: "a Hugging Face model folder, or a GGUF file" },
    { name: "prompt", description: "the text to continue" },
  ],
  flags,
  async run([model, prompt], f) {
    // In this thread: a worker would load the program a second time, and nothing else is to be done meanwhile.
    const engine = await loadEngine(engineOf(model!, f));
    const { signal, release } = interruptible();
    try {
      const started = performance.now();
      for await (const event of engine.generate(requestOf({ text: prompt! }, f), signal)) {
        if (event.type === "text") process.stdout.write(event.text);
        else if (process.stdout.isTTY) {
          const { completionTokens } = event.usage;
          const rate = completionTokens / ((performance.now() - started) / 1000);
          process.stderr.write(
            `\n${completionTokens} tokens, ${rate.toFixed(1)} tokens/s, ended by ${event.reason}`,
          );
        }
      }
      process.stdout.write("\n");
    } catch (error) {
      if (!signal.aborted) throw error;
      process.stdout.write("\n");
      process.exitCode = 130;
    } finally {
      release();
      await engine.close();
    }
  },
};
