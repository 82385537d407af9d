// Runs levels of load against a server: so many requests at once, or arriving at random times at a given rate (a Poisson
// process, in which nobody waits for anybody's answer).

import { request, type Result, type Target } from "./client.js";
import { numbers } from "./prompts.js";
import { type Figures, type Level, type Slo, summarize } from "./summary.js";

export interface LevelOptions {
  readonly requests: number;
  readonly seed: number;
  readonly slo?: Slo | undefined;
  readonly signal: AbortSignal;
  /** Called whenever a request was sent or ended. */
  readonly onProgress?: (sent: number, ended: number, failed: number) => void;
}

/** Seconds between two arrivals at a rate: exponentially distributed. */
export const gap = (rate: number, uniform: number): number => -Math.log(1 - uniform) / rate;

/** Resolves after a time, or at once when the signal says so. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}

/** Runs one level. When the signal aborts, what was measured until then is its result. */
export async function runLevel(
  target: Target,
  level: Level,
  texts: readonly string[],
  options: LevelOptions,
): Promise<Figures> {
  const { requests, signal, onProgress } = options;
  const results: Result[] = [];
  let sent = 0;
  let failed = 0;
  const start = performance.now();
  let end = start;
  const one = async (): Promise<void> => {
    const text = texts[sent % texts.length]!;
    sent++;
    onProgress?.(sent, results.length, failed);
    const result = await request(target, text, signal);
    results.push(result);
    if (result.outcome === "failed") failed++;
    end = performance.now();
    onProgress?.(sent, results.length, failed);
  };
  if (level.by === "concurrency") {
    const client = async (): Promise<void> => {
      while (sent < requests && !signal.aborted) await one();
    };
    await Promise.all(Array.from({ length: Math.min(level.value, requests) }, client));
  } else {
    const next = numbers(options.seed);
    const open: Promise<void>[] = [];
    let due = 0;
    while (sent < requests && !signal.aborted) {
      open.push(one());
      // Times are laid out from the start, so that late timers do not lower the rate.
      due += 1000 * gap(level.value, next());
      if (sent < requests) await sleep(start + due - performance.now(), signal);
    }
    await Promise.all(open);
  }
  return summarize(level, results, (end - start) / 1000, options.slo, !signal.aborted);
}
