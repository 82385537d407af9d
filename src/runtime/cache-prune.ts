// Keeps the cache folder below a limit: deletes what was used longest ago. Any number of processes may do so at once, and
// read and write meanwhile: a file is whole or not there, whoever misses one makes it again, and a library that is
// loaded stays loaded when its file is deleted.

import { builtin, cacheFolder, env } from "./platform.js";

/** Bytes that the folder may hold: `VEXIL_CACHE_LIMIT` (`500M`, `2G`, bytes). */
const DEFAULT_LIMIT = 2 ** 30;
/** Deleting goes on to this share of the limit, so that it is not needed again at once. */
const KEEP = 0.8;
/** A file's date is renewed by use, but not more often than this. */
const DAY_MS = 24 * 3600_000;
/** Looking through the folder is not repeated within this, by all processes together. */
const REST_MS = 3600_000;
/** A process looks again after so many files of its own. */
const WRITES = 256;
/** A writer that died left its file; nobody takes this long to write one. */
const STALE_MS = 3600_000;
const UNITS: Readonly<Record<string, number>> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** What is made again when it is missing; other files (tuning results) are small and stay. */
const DISPOSABLE = /\.(bin|so|dylib)$/;

/** The limit in bytes. Throws for a value that is none. */
export function cacheLimit(): number {
  const text = env("VEXIL_CACHE_LIMIT");
  if (!text) return DEFAULT_LIMIT;
  const m = /^(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?$/i.exec(text.trim());
  if (!m) throw new Error(`VEXIL_CACHE_LIMIT is "${text}"; give bytes, as 500M or 2G`);
  return Number(m[1]) * UNITS[m[2]!.toLowerCase()]!;
}

let writes = 0;

/** Called after a file was added: prunes now and then. Never throws. */
export function pruneNowAndThen(): void {
  const fs = builtin("node:fs");
  const path = builtin("node:path");
  const folder = cacheFolder();
  if (!fs || !path || !folder) return;
  try {
    const mark = path.join(folder, "pruned");
    const last = fs.statSync(mark, { throwIfNoEntry: false });
    if (++writes % WRITES !== 0 && last && Date.now() - last.mtimeMs < REST_MS) return;
    // Others see the mark and leave it to this process.
    fs.writeFileSync(mark, "");
    prune(cacheLimit());
  } catch {
    // A cache that cannot be looked through only grows.
  }
}

/** Renews a file's date, when it is old. */
export function noteUse(file: string, mtimeMs: number): void {
  if (Date.now() - mtimeMs < DAY_MS) return;
  try {
    const now = new Date();
    builtin("node:fs")!.utimesSync(file, now, now);
  } catch {
    // Read-only, or deleted meanwhile.
  }
}

/** Deletes the oldest files until the folder is well below `limit` bytes. Returns how many bytes it freed. */
export function prune(limit: number): number {
  const fs = builtin("node:fs");
  const path = builtin("node:path");
  const folder = cacheFolder();
  if (!fs || !path || !folder) return 0;
  const files: { file: string; bytes: number; mtimeMs: number }[] = [];
  let total = 0;
  let freed = 0;
  const remove = (file: string, bytes: number): void => {
    fs.rmSync(file, { force: true });
    freed += bytes;
  };
  for (const name of fs.readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    const file = path.join(folder, name);
    const s = fs.statSync(file, { throwIfNoEntry: false });
    if (!s?.isFile()) continue;
    if (name.endsWith(".tmp") && Date.now() - s.mtimeMs > STALE_MS) remove(file, s.size);
    else total += s.size;
    if (DISPOSABLE.test(name)) files.push({ file, bytes: s.size, mtimeMs: s.mtimeMs });
  }
  if (total <= limit) return freed;
  files.sort((a, b) => a.mtimeMs - b.mtimeMs);
  for (const { file, bytes } of files) {
    if (total <= limit * KEEP) break;
    remove(file, bytes);
    total -= bytes;
  }
  return freed;
}
