// The interpreter's run-time error: which kernel, program and op, and the author's line where it is known.

import type { Func, Loc, Op } from "../../compiler/ir/index.js";
import type { State } from "./emit.js";

/** A kernel did something wrong while it ran in the interpreter. */
export class KernelFault extends Error {
  override name = "KernelFault";
}

/** The line of a location with a caret under its start, and the helpers around it. */
function excerpt(func: Func, loc: Loc): string {
  const source = func.sources[loc.source];
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
  return loc.caller ? here + excerpt(func, loc.caller) : here;
}

export function fault(func: Func, state: State, op: Op, what: string): KernelFault {
  const id = state.programId.map((a) => a[0]).join(", ");
  const grid = state.numPrograms.map((a) => a[0]).join(", ");
  const where = op.loc ? excerpt(func, op.loc) : "";
  return new KernelFault(`kernel ${func.name}, program (${id}) of (${grid}): ${op.opcode} ${what}${where}`);
}
