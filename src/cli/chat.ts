// `vexil chat MODEL`: a conversation in the terminal. Ctrl-C ends an answer, or the conversation.

import { createInterface } from "node:readline";
import * as z from "zod";
import type { ChatMessage } from "../models/tokenizer.js";
import { RequestError, startEngine } from "../serve/index.js";
import type { CommandSpec } from "./command.js";
import { UsageError } from "./errors.js";
import { engineOf, interruptible, requestOf, samplingFlags } from "./sampling.js";

const flags = z.object({
  ...samplingFlags,
  system: z.string().optional().describe("what the model is told first"),
});

export const spec: CommandSpec<typeof flags.shape> = {
  name: "chat",
  summary: "Talk with a model. An empty line or Ctrl-D ends the conversation, Ctrl-C an answer.",
  positionals: [{ name: "model", description: "a Hugging Face model folder, or a GGUF file" }],
  flags,
  async run([model], f) {
    const engine = await startEngine(engineOf(model!, f));
    try {
      if (!engine.info.hasChatTemplate)
        throw new UsageError(`${model}: the model has no chat template; use: vexil generate ${model} PROMPT`);
      const messages: ChatMessage[] = f.system === undefined ? [] : [{ role: "system", content: f.system }];
      const lines = createInterface({
        input: process.stdin,
        output: process.stdout,
        prompt: process.stdin.isTTY ? "> " : "",
      });
      // In a terminal readline takes Ctrl-C, in a pipe it comes as a signal.
      let answering = false;
      lines.on("SIGINT", () => (answering ? process.emit("SIGINT") : lines.close()));
      lines.prompt();
      for await (const line of lines) {
        if (line.trim() === "") break;
        messages.push({ role: "user", content: line });
        const { signal, release } = interruptible();
        let answer = "";
        answering = true;
        try {
          for await (const event of engine.generate(requestOf({ messages }, f), signal)) {
            if (event.type !== "text") continue;
            answer += event.text;
            process.stdout.write(event.text);
          }
        } catch (error) {
          if (error instanceof RequestError) {
            // The conversation stays usable: the message that cannot be served is taken back.
            messages.pop();
            process.stderr.write(error.message);
          } else if (!signal.aborted) throw error;
        } finally {
          answering = false;
          release();
        }
        process.stdout.write("\n");
        if (messages.at(-1)?.role === "user") messages.push({ role: "assistant", content: answer });
        lines.prompt();
      }
      lines.close();
    } finally {
      await engine.close();
    }
  },
};
