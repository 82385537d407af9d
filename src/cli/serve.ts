// `vexil serve MODEL`: the HTTP server in this thread, the engine in its worker; ends well on Ctrl-C and SIGTERM.

import * as z from "zod";
import { listen, startEngine } from "../serve/index.js";
import type { CommandSpec } from "./command.js";
import { dtypeFlag, promptActivationsFlag } from "./sampling.js";

const flags = z.object({
  port: z.number().int().min(0).max(65535).default(8080).describe("port to listen on; 0 takes a free one"),
  host: z.string().default("127.0.0.1").describe("address to listen on; 0.0.0.0 for all"),
  chip: z.string().optional().describe("the chip to run on"),
  adapter: z.string().optional().describe("a folder of low-rank adapters (PEFT) to add to the weights"),
  dtype: dtypeFlag,
  promptActivations: promptActivationsFlag,
  apiKey: z
    .string()
    .min(1)
    .optional()
    .describe("keys that clients must send, with commas (default: VEXIL_API_KEYS, else none)"),
  corsOrigin: z.string().optional().describe("origins of pages that may use the API, with commas; * for all"),
  maxRequests: z
    .number()
    .int()
    .positive()
    .default(256)
    .describe("requests that may run or wait; more get 429"),
  maxSequences: z.number().int().positive().default(32).describe("requests that run at once"),
  cacheTokens: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("tokens that the cache has room for (default: a quarter of the memory, at most 2 GiB)"),
  chunk: z.number().int().positive().default(256).describe("prompt tokens that run in one step"),
  grace: z.number().min(0).default(30).describe("seconds that running requests get when the server ends"),
});
type ServeFlags = z.infer<typeof flags>;

/** Without the fields that are undefined. */
const defined = <T extends object>(o: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as never;

const list = (text: string | undefined): string[] =>
  (text ?? "")
    .split(",")
    .map((s) => s.trim())
    .filter(Boolean);

/** Serves until Ctrl-C or SIGTERM. `onReady` is called with the address once requests are answered. */
export async function serveUntilStopped(
  options: { model: string; port: number; host: string } & Partial<ServeFlags>,
  onReady: (url: string, model: string) => void | Promise<void> = () => {},
): Promise<void> {
  // Until the engine is there, signals end the process as they always do.
  const { model, adapter, chip, dtype, promptActivations, maxSequences, cacheTokens, chunk } = options;
  const engine = await startEngine(
    defined({
      model,
      adapter,
      chip,
      dtype: dtype === "keep" ? undefined : dtype,
      promptActivations,
      maxSequences,
      cacheTokens,
      chunk,
    }),
  );
  const stopped = new Promise<void>((resolve) => {
    process.once("SIGINT", () => resolve());
    process.once("SIGTERM", () => resolve());
  });
  try {
    const server = await listen(engine, {
      port: options.port,
      host: options.host,
      apiKeys: list(options.apiKey ?? process.env["VEXIL_API_KEYS"]),
      corsOrigins: list(options.corsOrigin),
      ...(options.maxRequests === undefined ? {} : { maxRequests: options.maxRequests }),
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
    await server.close((options.grace ?? 5) * 1000);
  } finally {
    await engine.close();
  }
}

export const spec: CommandSpec<typeof flags.shape> = {
  name: "serve",
  summary: "Serve a model through an OpenAI-compatible HTTP API.",
  positionals: [{ name: "model", description: "a Hugging Face model folder, or a GGUF file" }],
  flags,
  run: ([model], f) => serveUntilStopped({ model: model!, ...f }),
};
