// What the server measures of itself, in Prometheus' text format.

import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Engine, GenerateEvent } from "./api.js";

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

export class Metrics {
  readonly #registry = new Registry();
  readonly #ttft: Histogram;
  readonly #between: Histogram;
  readonly #whole: Histogram;
  readonly #requests: Counter<"endpoint" | "outcome">;

  constructor(engine: Engine) {
    const registers = [this.#registry];
    const histogram = (name: string, help: string): Histogram =>
      new Histogram({ name: `vexil_${name}_seconds`, help, buckets: SECONDS, registers });
    this.#ttft = histogram("time_to_first_token", "From a request's arrival to its first text.");
    this.#between = histogram("inter_token_latency", "Between two texts of one answer.");
    this.#whole = histogram("request_duration", "From a request's arrival to its end.");
    this.#requests = new Counter({
      name: "vexil_requests_total",
      help: "Requests by endpoint and by how they ended: ok, cancelled, refused, failed.",
      labelNames: ["endpoint", "outcome"],
      registers,
    });
    const gauge = (name: string, help: string): Gauge =>
      new Gauge({ name: `vexil_${name}`, help, registers });
    const total = (name: string, help: string): Counter =>
      new Counter({ name: `vexil_${name}_total`, help, registers });
    const running = gauge("requests_running", "Requests in the batch of the current step.");
    const waiting = gauge("requests_waiting", "Requests that wait for a place in the batch.");
    const usage = gauge("cache_usage_ratio", "Share of the cache's pages that are in use.");
    const allocated = gauge(
      "memory_allocated_bytes",
      "Memory of the chip that is in use: weights, cache, states.",
    );
    const reserved = gauge(
      "memory_reserved_bytes",
      "Memory of the chip that the process holds, used or not.",
    );
    const prompt = total("prompt_tokens", "Tokens of prompts.");
    const made = total("completion_tokens", "Tokens of answers.");
    const looked = total("prefix_lookup_tokens", "Prompt tokens that were looked for in the cache.");
    const found = total("prefix_hit_tokens", "Prompt tokens that were found in the cache.");
    const again = total("preemptions", "Requests that gave their pages back and began again.");
    this.#refresh = async () => {
      const s = await engine.stats();
      running.set(s.running);
      waiting.set(s.waiting);
      usage.set(1 - s.pages.free / s.pages.total);
      allocated.set(s.memory.allocated);
      reserved.set(s.memory.reserved);
      for (const [counter, value] of [
        [prompt, s.promptTokens],
        [made, s.completionTokens],
        [looked, s.lookedTokens],
        [found, s.foundTokens],
        [again, s.preemptions],
      ] as const) {
        counter.reset();
        counter.inc(value);
      }
    };
  }
  readonly #refresh: () => Promise<void>;

  get contentType(): string {
    return this.#registry.contentType;
  }

  async text(): Promise<string> {
    await this.#refresh();
    return this.#registry.metrics();
  }

  /** A request that did not generate text, or did not come that far. */
  count(endpoint: string, outcome: "ok" | "refused" | "failed"): void {
    this.#requests.inc({ endpoint, outcome });
  }

  /** Passes an answer's events on and times them. */
  async *timed(endpoint: string, events: AsyncIterable<GenerateEvent>): AsyncGenerator<GenerateEvent> {
    const start = performance.now();
    let last: number | undefined;
    let outcome = "cancelled";
    try {
      for await (const event of events) {
        const now = performance.now();
        if (event.type === "text") {
          (last === undefined ? this.#ttft : this.#between).observe((now - (last ?? start)) / 1000);
          last = now;
        } else outcome = "ok";
        yield event;
      }
    } catch (e) {
      outcome = (e as Error).name === "RequestError" ? "refused" : outcome;
      if (outcome === "cancelled" && (e as Error).name !== "AbortError") outcome = "failed";
      throw e;
    } finally {
      this.#whole.observe((performance.now() - start) / 1000);
      this.#requests.inc({ endpoint, outcome });
    }
  }
}
