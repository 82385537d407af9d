// Finds memory that nobody frees: when switched on, remembers where each storage was allocated. Off by
// default; `VEXIL_DEBUG=leaks` switches it on from the start.

import { debugs } from "./platform.js";
import type { Storage } from "./storage.js";

export interface Leak {
  /** The author's line: `file:line:column`. */
  readonly line: string;
  /** Storages allocated there that are not freed. */
  readonly count: number;
  readonly bytes: number;
  /** Those of them that nothing refers to any more: they can never be freed. */
  readonly lost: number;
}

interface Record {
  readonly line: string;
  readonly bytes: number;
  lost: boolean;
}

let on = debugs("leaks");
const records = new Set<Record>();
const recordOf = new WeakMap<Storage, Record>();
/** Only reports: a finalizer may run late or never, so nothing is freed here. */
const collected = new FinalizationRegistry<Record>((r) => {
  r.lost = true;
});

/** Switches the recording on or off; what was recorded stays until it is freed. */
export function trackAllocations(enabled: boolean): void {
  on = enabled;
}
export const trackingAllocations = (): boolean => on || records.size > 0;

export function recordAllocation(storage: Storage): void {
  if (!on) return;
  const r: Record = { line: authorLine(), bytes: storage.bytes, lost: false };
  records.add(r);
  recordOf.set(storage, r);
  collected.register(storage, r, storage);
}

export function forgetAllocation(storage: Storage): void {
  const r = recordOf.get(storage);
  if (!r) return;
  records.delete(r);
  collected.unregister(storage);
}

/** What is recorded and not freed, by line, most bytes first. */
export function leakReport(): Leak[] {
  const byLine = new Map<string, { line: string; count: number; bytes: number; lost: number }>();
  for (const r of records) {
    let entry = byLine.get(r.line);
    if (!entry) {
      entry = { line: r.line, count: 0, bytes: 0, lost: 0 };
      byLine.set(r.line, entry);
    }
    entry.count++;
    entry.bytes += r.bytes;
    if (r.lost) entry.lost++;
  }
  return [...byLine.values()].sort((a, b) => b.bytes - a.bytes);
}

/** {@link leakReport} as text: a line for each place, at most `most` of them. */
export function leakTable(most = 20): string {
  const rows = leakReport();
  const shown = rows
    .slice(0, most)
    .map((r) => `${sizeText(r.bytes)} in ${r.count} (${r.lost} of them lost) at ${r.line}`);
  if (rows.length > most) shown.push(`and ${rows.length - most} places more`);
  return shown.length > 0 ? shown.join("\n") : "nothing is held that was allocated while tracking was on";
}

/** `1.50 GiB`, `0.25 MiB`. */
export const sizeText = (bytes: number): string =>
  bytes >= 2 ** 27 ? `${(bytes / 2 ** 30).toFixed(2)} GiB` : `${(bytes / 2 ** 20).toFixed(2)} MiB`;

/** This package's own files do not count as the author's; its tests do. */
const OWN = /[/\\](?:src|dist)[/\\](?:runtime|tensor|ops|chips|compiler|node)[/\\](?!.*\.test\.[jt]s)/;

/** The stack of now, as an error that has not been turned into text yet: that is what costs time. */
export function stackNow(): Error {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 40;
  const trace = new Error();
  Error.stackTraceLimit = limit;
  return trace;
}

/** The innermost line of the stack outside the layers that allocate on somebody's behalf. */
export const authorLine = (): string => authorLineOf(stackNow());

/** That line of a stack taken earlier. */
export function authorLineOf(trace: Error): string {
  const lines = (trace.stack ?? "").split("\n").slice(1);
  const outside =
    lines.find((l) => !OWN.test(l) && !/node:internal|<anonymous>$/.test(l)) ?? lines.at(-1) ?? "?";
  return outside
    .trim()
    .replace(/^at /, "")
    .replace(/^async /, "");
}
