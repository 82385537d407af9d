// The engine's worker: owns the chip and the model, so that the main thread stays free for HTTP and signals.

import { parentPort, workerData } from "node:worker_threads";
import { RequestError } from "./api.js";
import { loadEngine } from "./engine.js";
import type { EngineOptions, FromWorker, ToWorker, WireError } from "./worker-protocol.js";

const port = parentPort!;
const post = (message: FromWorker) => port.postMessage(message);

function wire(error: unknown): WireError {
  const e = error instanceof Error ? error : new Error(String(error));
  const base = { name: e.name, message: e.message, ...(e.stack ? { stack: e.stack } : {}) };
  if (e instanceof RequestError) return { ...base, param: e.param, code: e.code, status: e.status };
  const { code } = e as NodeJS.ErrnoException;
  return typeof code === "string" ? { ...base, code } : base;
}

try {
  const engine = await loadEngine(workerData as EngineOptions);
  const running = new Map<number, AbortController>();
  port.on("message", async (message: ToWorker) => {
    if (message.type === "cancel") running.get(message.id)?.abort();
    else if (message.type === "close") {
      for (const abort of running.values()) abort.abort();
      await engine.close();
      port.close();
    } else {
      const { id, request } = message;
      const abort = new AbortController();
      running.set(id, abort);
      try {
        for await (const event of engine.generate(request, abort.signal)) post({ type: "event", id, event });
      } catch (error) {
        post({ type: "error", id, error: wire(error) });
      } finally {
        running.delete(id);
      }
    }
  });
  post({ type: "ready", info: engine.info });
} catch (error) {
  post({ type: "failed", error: wire(error) });
  port.close();
}
