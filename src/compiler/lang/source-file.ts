// Finds a function's text in the files that its declaration's stack names, and through source maps the author's
// own lines. In Node only; it never throws, and loads what it needs when an error is being written.

import type * as TraceMapping from "@jridgewell/trace-mapping";
import { lineAt, type Place, rawStack } from "./locate.js";
import type { SourceFunction } from "./parse.js";
import { align } from "./align.js";

type NodeModules = {
  readonly fs: typeof import("node:fs");
  readonly path: typeof import("node:path");
  readonly url: typeof import("node:url");
  readonly module: typeof import("node:module");
};

function nodeModules(): NodeModules | undefined {
  const get = typeof process === "undefined" ? undefined : process.getBuiltinModule;
  if (!get) return undefined;
  const [fs, path, url, module] = ["node:fs", "node:path", "node:url", "node:module"].map((m) => get(m));
  return fs && path && url && module ? ({ fs, path, url, module } as NodeModules) : undefined;
}

/** Where an offset of the function's text stands in the author's file, if that can be found. */
export function findInFiles(fn: SourceFunction, offset: number): Place | undefined {
  const node = nodeModules();
  const stack = rawStack(fn.origin);
  if (!node || !stack) return undefined;
  try {
    const files = frames(stack, node).flatMap((frame) => {
      const text = read(frame.file, node);
      return text === undefined ? [] : [{ frame, text }];
    });
    for (const { frame, text } of files) {
      const place = exactly(fn, offset, frame, text, node);
      if (place) return place;
    }
    const here = node.path.dirname(ownFile(node));
    for (const { frame, text } of files) {
      // The stack starts in this folder.
      if (node.path.dirname(frame.file) === here && !frame.file.includes(".test.")) continue;
      // A TypeScript file whose JavaScript exists in memory only: the same words, without types.
      const at = align(fn.text, offset, text, frame.original);
      if (at !== undefined) return { file: frame.file, script: undefined, ...lineAt(text, at) };
    }
  } catch {
    // A message without the file is better than none.
  }
  return undefined;
}

interface FrameLine {
  readonly file: string;
  readonly line: number;
  /** The same line by the source map of a loader that transforms files in memory. */
  readonly original: number;
}

function frames(stack: string, node: NodeModules): FrameLine[] {
  const out: FrameLine[] = [];
  for (const text of stack.split("\n").slice(1)) {
    const m = /\(?((?:file:\/\/|\/|[A-Za-z]:[\\/])[^\s()]*?)(\?[^:]*)?:(\d+):(\d+)\)?$/.exec(text.trim());
    if (!m) continue;
    const file = m[1]!.startsWith("file:") ? node.url.fileURLToPath(m[1]!) : m[1]!;
    const [line, column] = [Number(m[3]), Number(m[4])];
    // What a loader made in memory has its map in memory; only the line matters here.
    const loaded = node.module.findSourceMap(m[1]! + (m[2] ?? ""))?.findEntry(line - 1, column - 1);
    const original = loaded && "originalLine" in loaded ? loaded.originalLine + 1 : undefined;
    out.push({ file, line, original: original ?? line });
  }
  return out.slice(0, 8);
}

function read(file: string, node: NodeModules): string | undefined {
  try {
    return node.fs.readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

const ownFile = (node: NodeModules): string =>
  import.meta.url.startsWith("file:") ? node.url.fileURLToPath(import.meta.url) : "";

/** The place in a file that contains the function's text as it is, or its original's. */
function exactly(
  fn: SourceFunction,
  offset: number,
  frame: FrameLine,
  text: string,
  node: NodeModules,
): Place | undefined {
  const exact = nearest(text, fn.text, frame.line);
  if (exact < 0) return undefined;
  const here = { file: frame.file, script: undefined, ...lineAt(text, exact + offset) };
  return mapped(here, text, node) ?? here;
}

/** The occurrence of `part` that starts nearest to a line, or -1. */
function nearest(text: string, part: string, line: number): number {
  let best = -1;
  let distance = Number.POSITIVE_INFINITY;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) {
    const d = Math.abs(lineAt(text, at).line - line);
    if (d < distance) [best, distance] = [at, d];
  }
  return best;
}

/** The original of a place in a generated file that has a source map. */
function mapped(place: Place, text: string, node: NodeModules): Place | undefined {
  const file = place.file!;
  const map = mapOf(file, text, node);
  if (map === undefined) return undefined;
  const { TraceMap, originalPositionFor, sourceContentFor } = node.module.createRequire(import.meta.url)(
    "@jridgewell/trace-mapping",
  ) as typeof TraceMapping;
  const trace = new TraceMap(map);
  const o = originalPositionFor(trace, { line: place.line, column: place.column - 1 });
  if (o.source === null || o.line === null || o.column === null) return undefined;
  const original = o.source.startsWith("file:")
    ? node.url.fileURLToPath(o.source)
    : node.path.resolve(node.path.dirname(file), o.source);
  const content = sourceContentFor(trace, o.source) ?? read(original, node);
  const lineText = content?.split("\n")[o.line - 1];
  if (lineText === undefined) return undefined;
  return { file: original, script: undefined, line: o.line, column: o.column + 1, lineText };
}

/** The text of a file's source map: inline, or in the file that its last comment names. */
function mapOf(file: string, text: string, node: NodeModules): string | undefined {
  const url = [...text.matchAll(/^\/\/[#@]\s*sourceMappingURL=(\S+)\s*$/gm)].at(-1)?.[1];
  if (url === undefined) return undefined;
  const inline = /^data:application\/json[^,]*?(;base64)?,(.*)$/.exec(url);
  if (!inline) return read(node.path.resolve(node.path.dirname(file), url), node);
  return inline[1]
    ? new TextDecoder().decode(Uint8Array.from(atob(inline[2]!), (c) => c.charCodeAt(0)))
    : decodeURIComponent(inline[2]!);
}
