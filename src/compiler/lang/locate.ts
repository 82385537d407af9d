// From a position in a function's text to a line that the author knows: in a file where `source-file.ts` finds it,
// else in the function's own text.

import type { SourceFunction } from "./parse.js";
import { findInFiles } from "./source-file.js";

export interface Place {
  /** The author's file; undefined where only the function's own text is known. */
  readonly file: string | undefined;
  /** The script that the stack named, when `file` is not known. */
  readonly script: string | undefined;
  /** Both count from 1. */
  readonly line: number;
  readonly column: number;
  readonly lineText: string;
}

/** Where `offset` of the function's text stands. */
export function locate(fn: SourceFunction, offset: number): Place {
  const found = findInFiles(fn, offset);
  if (found) return found;
  const at = lineAt(fn.text, offset);
  return { file: undefined, script: scriptOf(rawStack(fn.origin)), ...at };
}

/**
 * The stack of a declaration as the engine sees it: of the code that runs, before anybody's source maps. It is
 * only written when it is first asked for.
 */
export function rawStack(origin: { readonly stack?: string } | undefined): string | undefined {
  const engine = Error as { prepareStackTrace?: unknown };
  const before = engine.prepareStackTrace;
  engine.prepareStackTrace = (e: Error, sites: readonly unknown[]) =>
    [String(e), ...sites.map((s) => `    at ${s}`)].join("\n");
  try {
    return origin?.stack;
  } finally {
    engine.prepareStackTrace = before;
  }
}

export function lineAt(text: string, offset: number): { line: number; column: number; lineText: string } {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  const start = before.lastIndexOf("\n") + 1;
  const end = text.indexOf("\n", offset);
  return { line, column: offset - start + 1, lineText: text.slice(start, end < 0 ? text.length : end) };
}

/**
 * The script in which the declaration ran: the first of the stack that is not of the front end or the runtime. In
 * a bundle these may be one script with the author's code; then it is that.
 */
function scriptOf(stack: string | undefined): string | undefined {
  const scripts = [...(stack ?? "").matchAll(/((?:https?|file|blob):\/\/[^\s()]+?):\d+:\d+\)?$/gm)].map(
    (m) => m[1]!,
  );
  const own = import.meta.url;
  if (!/\/locate\.[jt]s$/.test(own)) return scripts.slice(0, 3).find((s) => s !== own) ?? scripts[0];
  const inner = ["./", "../../runtime/"].map((path) => new URL(path, own).href);
  return scripts.find((s) => !inner.some((folder) => s.startsWith(folder))) ?? scripts[0];
}
