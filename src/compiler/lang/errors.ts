// The error that a kernel's author sees: what is wrong, in which line, through which helpers, what to do.

import type { Loc } from "../ir/index.js";
import { CompileError } from "../target.js";
import { locate, type Place } from "./locate.js";
import type { SourceFunction } from "./parse.js";

/** A mistake in a kernel. `message` is complete; the parts are there for tools. */
export class KernelError extends CompileError {
  override name = "KernelError";
  /** The author's file, line and column, where they could be found. */
  readonly place: Place | undefined;

  constructor(
    readonly kernel: string,
    /** What is wrong, in one sentence. */
    readonly problem: string,
    /** What to do about it. */
    readonly hint: string | undefined,
    readonly loc: Loc | undefined,
    functions: readonly (SourceFunction | undefined)[],
  ) {
    const fn = loc && functions[loc.source];
    const place = fn && locate(fn, loc.start);
    super(render(kernel, problem, hint, loc, place, functions));
    this.place = place;
  }
}

function render(
  kernel: string,
  problem: string,
  hint: string | undefined,
  loc: Loc | undefined,
  place: Place | undefined,
  functions: readonly (SourceFunction | undefined)[],
): string {
  const lines = [`${kernel === "kernel" ? kernel : `kernel ${kernel}`}: ${problem}`];
  if (loc && place) {
    const inHelper = loc.caller ? `, in ${functions[loc.source]!.name}` : "";
    lines.push(`  at ${showPlace(place)}${inHelper}`);
    lines.push(...excerpt(place, loc.end - loc.start));
    for (let call = loc.caller; call; call = call.caller) {
      const fn = functions[call.source];
      const at = fn && locate(fn, call.start);
      if (at) lines.push(`  called from ${showPlace(at)}, in ${fn.name}: ${at.lineText.trim().slice(0, 90)}`);
    }
  }
  if (hint) lines.push(`  ${hint}`);
  return lines.join("\n");
}

/** A place for people. */
export const showPlace = (p: Place): string =>
  p.file
    ? `${p.file}:${p.line}:${p.column}`
    : `${p.line}:${p.column} of the function's text${p.script ? ` (${p.script})` : ""}`;

/** The line with a caret below; of a long (minified) line, the part around it. */
function excerpt(p: Place, length: number): string[] {
  let text = p.lineText.replaceAll("\t", " ");
  let column = p.column - 1;
  if (text.length > 120) {
    const from = Math.max(0, column - 40);
    text = (from > 0 ? "…" : "") + text.slice(from, from + 100) + (from + 100 < text.length ? "…" : "");
    column -= from - (from > 0 ? 1 : 0);
  }
  const gutter = `  ${p.line} | `;
  const caret = "^".repeat(Math.max(1, Math.min(length, text.length - column)));
  return [gutter + text, " ".repeat(gutter.length - 2) + "| " + " ".repeat(column) + caret];
}
