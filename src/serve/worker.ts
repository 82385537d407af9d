// The engine's worker: owns the chip and the model, so that the main thread stays free for HTTP and signals.

import { parentPort, workerData } from "node:worker_threads";
import { RequestError } from "./api.js";
import { loadEngine } from "./engine.js";
import type { Calls, EngineOptions, FromWorker, ToWorker, WireError } from "./worker-protocol.js";

const port = parentPort!;
const post = (message: FromWorker) => port.postMessage(message);

function wire(error: unknown): WireError {
  const e = error instanceof Error ? error : new Error(String(error));
  const base = { name: e.name, message: e.message, ...(e.stack ? { stack: e.stack } : {}) };
  if (e instanceof RequestError) return { ...base, param: e.param, code: e.code, status: e.status };
  const { code } = e as NodeJS.ErrnoException;
  return typeof code === "string" ? { ...base, code } : base;
}

async function run(): Promise<void> {
  const engine = await loadEngine(workerData as EngineOptions);
  const running = new Map<number, AbortController>();
  port.on("message", async (message: ToWorker) => {
    if (message.type === "cancel") running.get(message.id)?.abort();
    else if (message.type === "close") {
      for (const abort of running.values()) abort.abort();
      await engine.close();
      port.close();
    } else {
      const { id } = message;
      const abort = new AbortController();
      running.set(id, abort);
      try {
        if (message.type === "generate")
          for await (const event of engine.generate(message.request, abort.signal))
            post({ type: "event", id, event });
        else post({ type: "result", id, result: await call(message, abort.signal) });
      } catch (error) {
        post({ type: "error", id, error: wire(error) });
      } finally {
        running.delete(id);
      }
    }
  });
  const call = ({ name, argument }: ToWorker & { type: "call" }, signal: AbortSignal) => {
    if (name === "stats") return engine.stats();
    const prompt = argument as Calls["embed"]["argument"];
    return name === "embed" ? engine.embed(prompt, signal) : engine.tokenize(prompt);
  };
  post({ type: "ready", info: engine.info });
}

run().catch((error) => {
  post({ type: "failed", error: wire(error) });
  port.close();
});
