// metrics.jsonl: one line for every step and every evaluation, appended as they happen. On resume the lines of steps that
// are taken again go. The report is made from this file.

import * as fs from "node:fs";
import { join } from "node:path";
import type { RunHook } from "./hooks.js";

/** A line of a step. */
export interface StepLine {
  readonly step: number;
  readonly loss: number;
  readonly learning_rate: number;
  readonly grad_norm: number;
  readonly tokens: number;
  readonly seconds: number;
  /** Most bytes of the chip's memory in use during the step. */
  readonly memory_bytes: number;
  /** Why the step changed nothing; absent for steps with an update. */
  readonly skipped?: string;
  /** When the step ended: ISO 8601, UTC. */
  readonly time: string;
}

/** A line of an evaluation after `step`. */
export interface EvaluationLine {
  readonly step: number;
  readonly evaluation: { readonly loss: number; readonly perplexity: number };
  readonly time: string;
}

export type MetricsLine = StepLine | EvaluationLine;

export const metricsFile = (output: string): string => join(output, "metrics.jsonl");

/** The lines of a file; a last one that a dying process left half written is no line. */
export function readMetrics(path: string): MetricsLine[] {
  return fs.existsSync(path) ? [...linesOf(fs.readFileSync(path))].map((l) => l.line) : [];
}

/** Whole lines and where each ends, in bytes. */
function* linesOf(bytes: Buffer): Generator<{ line: MetricsLine; end: number }> {
  let start = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, start)) {
    let line: MetricsLine;
    try {
      line = JSON.parse(bytes.toString("utf8", start, at)) as MetricsLine;
    } catch {
      return;
    }
    start = at + 1;
    yield { line, end: start };
  }
}

/** Cuts a file behind its last line of a step up to `step`. */
export function truncateMetrics(path: string, step: number): void {
  if (!fs.existsSync(path)) return;
  let keep = 0;
  for (const { line, end } of linesOf(fs.readFileSync(path))) {
    if (line.step > step) break;
    keep = end;
  }
  fs.truncateSync(path, keep);
}

/**
 * Follows a run in `metrics.jsonl`.
 * @param step steps that the run has already taken: what the file says of later ones goes
 */
export function metricsHook(output: string, step: number): RunHook {
  const path = metricsFile(output);
  truncateMetrics(path, step);
  const fd = fs.openSync(path, "a");
  const write = (line: MetricsLine) => fs.writeSync(fd, `${JSON.stringify(line)}\n`);
  return {
    step: (r) =>
      write({
        step: r.step,
        loss: r.loss,
        learning_rate: r.learningRate,
        grad_norm: r.gradNorm,
        tokens: r.tokens,
        seconds: Number(r.seconds.toFixed(6)),
        memory_bytes: r.peakBytes,
        ...(r.skipped === undefined ? {} : { skipped: r.skipped }),
        time: new Date().toISOString(),
      }),
    evaluated: ({ loss, perplexity }, at) =>
      write({ step: at, evaluation: { loss, perplexity }, time: new Date().toISOString() }),
    end: () => fs.closeSync(fd),
  };
}
