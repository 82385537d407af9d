// The main thread's side of the engine: starts the worker and speaks the Engine contract over messages.

import { Worker } from "node:worker_threads";
import {
  type Embedding,
  type Engine,
  type EngineInfo,
  type EngineStats,
  type GenerateEvent,
  type GenerateRequest,
  type Prompt,
  RequestError,
} from "./api.js";
import { Mailbox } from "./mailbox.js";
import type { Calls, EngineOptions, FromWorker, ToWorker, WireError } from "./worker-protocol.js";

function revive(e: WireError): Error {
  if (e.name === "RequestError")
    return new RequestError(e.message, e.param ?? null, e.code ?? null, e.status ?? 400);
  const error = new Error(e.message);
  error.name = e.name;
  if (e.stack) error.stack = e.stack;
  return e.code ? Object.assign(error, { code: e.code }) : error;
}

class WorkerEngine implements Engine {
  readonly #worker: Worker;
  readonly #boxes = new Map<number, Mailbox<GenerateEvent>>();
  readonly #calls = new Map<number, (result: unknown, error?: Error) => void>();
  #next = 1;
  #dead: Error | undefined;

  constructor(
    worker: Worker,
    readonly info: EngineInfo,
  ) {
    this.#worker = worker;
    worker.on("message", (m: FromWorker) => {
      if (m.type === "event") this.#boxes.get(m.id)?.put(m.event);
      else if (m.type === "result") this.#calls.get(m.id)?.(m.result);
      else if (m.type === "error") {
        this.#boxes.get(m.id)?.put(revive(m.error));
        this.#calls.get(m.id)?.(undefined, revive(m.error));
      }
    });
    const die = (error: Error) => {
      this.#dead ??= error;
      for (const box of this.#boxes.values()) box.put(error);
      for (const settle of [...this.#calls.values()]) settle(undefined, error);
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
    const box = new Mailbox<GenerateEvent>();
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

  #call<K extends keyof Calls>(
    name: K,
    argument: Calls[K]["argument"],
    signal?: AbortSignal,
  ): Promise<Calls[K]["result"]> {
    if (this.#dead) return Promise.reject(this.#dead);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#post({ type: "cancel", id });
        settle(undefined, signal!.reason as Error);
      };
      const settle = (result: unknown, error?: Error): void => {
        this.#calls.delete(id);
        signal?.removeEventListener("abort", onAbort);
        if (error) reject(error);
        else resolve(result as Calls[K]["result"]);
      };
      this.#calls.set(id, settle);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#post({ type: "call", id, name, argument });
    });
  }

  embed(input: Prompt, signal?: AbortSignal): Promise<Embedding> {
    return this.#call("embed", input, signal);
  }

  tokenize(prompt: Prompt): Promise<readonly number[]> {
    return this.#call("tokenize", prompt);
  }

  stats(): Promise<EngineStats> {
    return this.#call("stats", undefined);
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
