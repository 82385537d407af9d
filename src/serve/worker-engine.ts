// The main thread's side of the engine: starts the worker and speaks the Engine contract over messages.

import { Worker } from "node:worker_threads";
import {
  type Engine,
  type EngineInfo,
  type GenerateEvent,
  type GenerateRequest,
  RequestError,
} from "./api.js";
import type { EngineOptions, FromWorker, ToWorker, WireError } from "./worker-protocol.js";

function revive(e: WireError): Error {
  if (e.name === "RequestError")
    return new RequestError(e.message, e.param ?? null, e.code ?? null, e.status ?? 400);
  const error = new Error(e.message);
  error.name = e.name;
  if (e.stack) error.stack = e.stack;
  return e.code ? Object.assign(error, { code: e.code }) : error;
}

/** Events of one request, waiting to be taken. */
class Mailbox {
  readonly #items: (GenerateEvent | Error)[] = [];
  #wake: (() => void) | undefined;

  put(item: GenerateEvent | Error): void {
    this.#items.push(item);
    this.#wake?.();
  }

  async take(): Promise<GenerateEvent> {
    while (this.#items.length === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    const item = this.#items.shift()!;
    if (item instanceof Error) throw item;
    return item;
  }
}

class WorkerEngine implements Engine {
  readonly #worker: Worker;
  readonly #boxes = new Map<number, Mailbox>();
  #next = 1;
  #dead: Error | undefined;

  constructor(
    worker: Worker,
    readonly info: EngineInfo,
  ) {
    this.#worker = worker;
    worker.on("message", (m: FromWorker) => {
      if (m.type === "event") this.#boxes.get(m.id)?.put(m.event);
      else if (m.type === "error") this.#boxes.get(m.id)?.put(revive(m.error));
    });
    const die = (error: Error) => {
      this.#dead ??= error;
      for (const box of this.#boxes.values()) box.put(error);
    };
    worker.on("error", die);
    worker.on("exit", () => die(new Error("the engine has stopped")));
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  async *generate(request: GenerateRequest, signal?: AbortSignal): AsyncGenerator<GenerateEvent> {
    if (this.#dead) throw this.#dead;
    const id = this.#next++;
    const box = new Mailbox();
    this.#boxes.set(id, box);
    let finished = false;
    const onAbort = () => box.put(signal!.reason instanceof Error ? signal!.reason : new Error("cancelled"));
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      signal?.throwIfAborted();
      this.#post({ type: "generate", id, request });
      while (!finished) {
        const event = await box.take();
        finished = event.type === "end";
        yield event;
      }
    } catch (error) {
      if (error instanceof RequestError) finished = true;
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#boxes.delete(id);
      if (!finished) this.#post({ type: "cancel", id });
    }
  }

  async close(): Promise<void> {
    const exited = new Promise<void>((resolve) => {
      this.#worker.once("exit", () => resolve());
    });
    if (this.#dead) return;
    this.#post({ type: "close" });
    // A worker that does not end by itself is in a kernel or an endless loop.
    const timer = setTimeout(() => void this.#worker.terminate(), 5000);
    await exited;
    clearTimeout(timer);
  }
}

/**
 * Loads a model in a worker.
 * @throws what loading threw: a missing folder, a damaged file, an unknown chip
 */
export function startEngine(options: EngineOptions): Promise<Engine> {
  const worker = new Worker(new URL("./worker.js", import.meta.url), {
    workerData: options,
    name: "vexil engine",
  });
  return new Promise((resolve, reject) => {
    worker.once("message", (m: FromWorker) => {
      if (m.type === "ready") resolve(new WorkerEngine(worker, m.info));
      else if (m.type === "failed") reject(revive(m.error));
    });
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`the engine ended with code ${code} while it started`)));
  });
}
