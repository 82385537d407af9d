// A place in a kernel's own text, shown for people: the line with a caret under it, and the helpers around it.

import type { Func, Loc } from "./ir/index.js";

/** Starts with a line break; empty where the text is not known. */
export function excerpt(sources: Func["sources"], loc: Loc | undefined): string {
  const source = loc && sources[loc.source];
  if (!source) return "";
  const before = source.text.slice(0, loc.start);
  const lineStart = before.lastIndexOf("\n") + 1;
  const lineEnd = source.text.indexOf("\n", loc.start);
  const full = source.text.slice(lineStart, lineEnd < 0 ? undefined : lineEnd);
  const number = String(before.split("\n").length);
  // Minified kernels have one endless line: show what is around the place.
  const from = full.length > 120 ? Math.max(0, loc.start - lineStart - 40) : 0;
  const line = full.slice(from, from + 120);
  const column = loc.start - lineStart - from;
  const width = Math.max(1, Math.min(loc.end, lineStart + full.length) - loc.start);
  const caret = " ".repeat(column) + "^".repeat(Math.min(width, Math.max(1, line.length - column)));
  const gutter = " ".repeat(number.length);
  const here = `\n  in ${source.name}, line ${number} of its text:\n  ${number} | ${line}\n  ${gutter} | ${caret}`;
  return loc.caller ? here + excerpt(sources, loc.caller) : here;
}
