// `vexil serve MODEL`: the HTTP server in this thread, the engine in its worker; ends well on Ctrl-C and SIGTERM.

import { z } from "zod";
import { listen, startEngine } from "../serve/index.js";
import type { CommandSpec } from "./command.js";

const flags = z.object({
  port: z.number().int().min(0).max(65535).default(8080).describe("port to listen on; 0 takes a free one"),
  host: z.string().default("127.0.0.1").describe("address to listen on; 0.0.0.0 for all"),
  chip: z.string().optional().describe("the chip to run on"),
});

/** Serves until Ctrl-C or SIGTERM. `onReady` is called with the address once requests are answered. */
export async function serveUntilStopped(
  options: { model: string; port: number; host: string; chip?: string | undefined },
  onReady: (url: string, model: string) => void | Promise<void> = () => {},
): Promise<void> {
  // Until the engine is there, signals end the process as they always do.
  const engine = await startEngine({ model: options.model, ...(options.chip ? { chip: options.chip } : {}) });
  const stopped = new Promise<void>((resolve) => {
    process.once("SIGINT", () => resolve());
    process.once("SIGTERM", () => resolve());
  });
  try {
    const server = await listen(engine, {
      port: options.port,
      host: options.host,
      onError: (error) => console.error(error),
    });
    const { info } = engine;
    console.error(
      `${info.model}: ${info.parameters.toLocaleString("en")} parameters, chip ${info.chip}, context ${info.contextLength}`,
    );
    console.error(`listening on ${server.url} (OpenAI API under ${server.url}/v1); Ctrl-C stops`);
    await onReady(server.url, info.model);
    await stopped;
    console.error("stopping");
    await server.close();
  } finally {
    await engine.close();
  }
}

export const spec: CommandSpec<typeof flags.shape> = {
  name: "serve",
  summary: "Serve a model through an OpenAI-compatible HTTP API.",
  positionals: [{ name: "model", description: "a Hugging Face model folder" }],
  flags,
  run: ([model], f) => serveUntilStopped({ model: model!, ...f }),
};
