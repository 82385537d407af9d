// The search for the best configuration of a kernel, with its budget and what it has cost. What a configuration is and
// how its launch is made stands in `choose.ts`.

import type { Chip } from "./driver.js";
import { debugs, env, warn } from "./platform.js";
import { type Measurement, measuring, now, type Timing } from "./timing.js";
import { readResult, type Trial, type TuningResult, writeResult } from "./tuning-store.js";

/** What tuning has cost in this process. */
export interface TuningSpend {
  /** Milliseconds spent on searches. */
  readonly milliseconds: number;
  /** Keys that were searched. */
  readonly searched: number;
  /** Keys whose answer was on disk. */
  readonly fromDisk: number;
  /** Configurations measured. */
  readonly measured: number;
  /** Configurations left out because a budget was used up. */
  readonly skipped: number;
}

const spend = { milliseconds: 0, searched: 0, fromDisk: 0, measured: 0, skipped: 0 };

/** What tuning has cost in this process so far. */
export const tuningSpend = (): TuningSpend => ({ ...spend });

/** Milliseconds that searches of this process may take together: `VEXIL_TUNE_BUDGET`, else a minute. */
function processBudget(): number {
  const given = env("VEXIL_TUNE_BUDGET");
  if (given === undefined) return 60_000;
  const n = Number(given);
  if (!(n >= 0)) throw new Error(`VEXIL_TUNE_BUDGET must be a number of milliseconds, not "${given}"`);
  return n;
}

/** The first line about cost, and then at every doubling. */
let sayAt = 5000;

/** One configuration to try. */
export interface Candidate {
  /** `BLOCK=64 STAGES=2` */
  readonly text: string;
  readonly run: () => void;
  /** Puts changed memory back. */
  readonly between?: () => void;
}

export interface Search {
  /** Everything that decides the answer. */
  readonly id: string;
  readonly kernel: string;
  /** The values of the key, for people. */
  readonly key: string;
  readonly chip: Chip;
  readonly candidates: readonly Candidate[];
  /** Milliseconds for this key. */
  readonly budget: number;
  /** A configuration this many times slower than the best is given up after two samples. */
  readonly giveUp: number;
}

/** Answers found or read by this process. */
const known = new Map<string, TuningResult>();

/** The answer to a search that was made before, here or by another process. */
export function knownResult(id: string, count: number): TuningResult | undefined {
  let r = known.get(id);
  if (r === undefined) {
    r = readResult(id, count);
    if (r !== undefined) {
      spend.fromDisk++;
      known.set(id, r);
    }
  }
  return r;
}

/** Whether searches are wanted: not with `VEXIL_AUTOTUNE=off`. */
export const searchesAllowed = (): boolean => env("VEXIL_AUTOTUNE") !== "off";

/** Measures the candidates. Throws what the first one threw when none of them runs. */
export function* search(s: Search): Measurement<TuningResult> {
  const start = now();
  const trials: Trial[] = [];
  const left = Math.min(s.budget, Math.max(0, processBudget() - spend.milliseconds));
  let best = -1;
  let bestMs = Infinity;
  let failure: unknown;
  for (const [i, c] of s.candidates.entries()) {
    const used = now() - start;
    // The first that runs is always measured: something has to be chosen.
    if (best >= 0 && used >= left) {
      trials.push({ config: c.text, skipped: true });
      spend.skipped++;
      continue;
    }
    // Another process may have answered meanwhile.
    const other = i > 0 ? readResult(s.id, s.candidates.length) : undefined;
    if (other) {
      account(s, now() - start);
      known.set(s.id, other);
      return other;
    }
    let timing: Timing;
    try {
      timing = yield* measuring(c.run, {
        giveUpAbove: bestMs * s.giveUp,
        budget: Math.max(1, (left - used) / (s.candidates.length - i)),
        ...(c.between ? { between: c.between } : {}),
      });
    } catch (e) {
      failure ??= e;
      trials.push({ config: c.text, error: firstLine(e) });
      continue;
    }
    spend.measured++;
    trials.push({ config: c.text, ms: timing.median, ...(timing.stopped ? { stopped: true } : {}) });
    if (timing.median < bestMs) {
      best = i;
      bestMs = timing.median;
    }
  }
  const spent = now() - start;
  account(s, spent);
  if (best < 0) throw failure;
  const result: TuningResult = { kernel: s.kernel, chip: s.chip.name, key: s.key, best, trials, spent };
  known.set(s.id, result);
  writeResult(s.id, result);
  if (debugs("tune")) warn(showResult(result));
  return result;
}

function account(s: Search, spent: number): void {
  spend.searched++;
  spend.milliseconds += spent;
  if (spend.milliseconds < sayAt) return;
  while (sayAt <= spend.milliseconds) sayAt *= 2;
  warn(
    `vexil: tuning has taken ${(spend.milliseconds / 1000).toFixed(1)} s in this process (${spend.searched} searches, ` +
      `the last for ${s.kernel}); results are kept for later runs. VEXIL_AUTOTUNE=off does without.`,
  );
}

const firstLine = (e: unknown): string => (e instanceof Error ? e.message : String(e)).split("\n")[0]!;

/** A result as lines for people. */
export function showResult(r: TuningResult): string {
  const width = Math.max(...r.trials.map((t) => t.config.length));
  const lines = r.trials.map((t, i) => {
    const what =
      t.error !== undefined
        ? `failed: ${t.error}`
        : t.skipped
          ? "not tried: the budget was used up"
          : `${showMs(t.ms!)}${t.stopped ? ", given up early" : ""}`;
    return `${i === r.best ? "*" : " "} ${t.config.padEnd(width)}  ${what}`;
  });
  return [
    `tuned ${r.kernel} on ${r.chip} for ${r.key || "all arguments"} in ${showMs(r.spent)}`,
    ...lines,
  ].join("\n");
}

/** Milliseconds with a fitting unit. */
export const showMs = (ms: number): string =>
  ms >= 1000
    ? `${(ms / 1000).toFixed(2)} s`
    : ms >= 1
      ? `${ms.toFixed(2)} ms`
      : `${(ms * 1000).toFixed(2)} us`;

/** Forgets the answers of this process (not those on disk): for tests. */
export const forgetResults = (): void => known.clear();
