// Results of the tuner on disk: one JSON file for each key, under the hash of everything that decides the answer.
// Writers rename a file of their own, so any number of processes share the folder without a lock; what is damaged or
// of another form counts as not there.

import { cacheName } from "./disk-cache.js";
import { builtin, cacheFolder, makeFolder, processId } from "./platform.js";

/** What was found of one configuration. */
export interface Trial {
  /** The constexprs, as text: `BLOCK=64 STAGES=2`. */
  readonly config: string;
  /** Median milliseconds of one run. */
  readonly ms?: number;
  /** Slower than the best after two samples, so not measured to the end. */
  readonly stopped?: boolean;
  /** Why it cannot be used: it does not compile, or the chip refuses the launch. */
  readonly error?: string;
  /** The budget was used up before its turn. */
  readonly skipped?: boolean;
}

/** The answer to one key. */
export interface TuningResult {
  readonly kernel: string;
  readonly chip: string;
  readonly key: string;
  /** Position of the best of the configurations. */
  readonly best: number;
  readonly trials: readonly Trial[];
  /** Milliseconds that the search took. */
  readonly spent: number;
}

function fileOf(key: string): string | undefined {
  const folder = cacheFolder();
  const name = cacheName(key);
  const path = builtin("node:path");
  return folder && name && path
    ? path.join(folder, "tuning", name.slice(0, 2), `${name.slice(2)}.json`)
    : undefined;
}

/** The kept answer to a key; `undefined` if there is none for `count` configurations. */
export function readResult(key: string, count: number): TuningResult | undefined {
  const file = fileOf(key);
  if (!file) return undefined;
  try {
    const r = JSON.parse(builtin("node:fs")!.readFileSync(file, "utf8")) as TuningResult;
    const fits = Number.isInteger(r.best) && r.best >= 0 && r.best < count && r.trials.length === count;
    return fits && typeof r.trials[r.best]!.ms === "number" ? r : undefined;
  } catch {
    return undefined;
  }
}

let writes = 0;

/** Keeps an answer. Where nothing can be written it stays in this process. */
export function writeResult(key: string, result: TuningResult): void {
  const file = fileOf(key);
  const fs = builtin("node:fs");
  if (!file || !fs) return;
  const own = `${file}.${processId()}.${Date.now().toString(36)}.${++writes}.tmp`;
  try {
    makeFolder(builtin("node:path")!.dirname(file));
    fs.writeFileSync(own, `${JSON.stringify(result, null, 1)}\n`);
    fs.renameSync(own, file);
  } catch {
    try {
      fs.rmSync(own, { force: true });
    } catch {
      // It may not even exist.
    }
  }
}
