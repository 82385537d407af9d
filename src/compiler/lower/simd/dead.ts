// Which operands the statements of this form read, and the removal of those whose results nobody reads.

import { removeDeadFrom } from "../dead.js";
import { branch } from "./emit.js";
import type { Operand, Stmt } from "./form.js";

/** Calls `fn` for every operand the statement itself reads (not those of nested statements). */
export function eachOperand(s: Stmt, fn: (o: Operand) => void): void {
  switch (s.s) {
    case "op":
      s.args.forEach(fn);
      return;
    case "load":
      fn(s.at);
      if (s.mask !== undefined) fn(s.mask);
      if (s.other !== undefined) fn(s.other);
      return;
    case "store":
      fn(s.at);
      fn(s.value);
      if (s.mask !== undefined) fn(s.mask);
      return;
    case "prefetch":
      fn(s.at);
      return;
    case "atomic":
      fn(s.at);
      fn(s.value);
      if (s.expected !== undefined) fn(s.expected);
      return;
    case "tiles":
      for (const rows of [s.sums, s.left, s.right]) fn(rows.at);
      return;
    case "for":
      fn(s.lo);
      fn(s.hi);
      fn(s.step);
      return;
    default:
      fn(s.test);
  }
}

/** The statements without dead ones. */
export const removeDead = (body: readonly Stmt[]): Stmt[] =>
  removeDeadFrom(body, {
    eachOperand,
    pureResults: (s) => (s.s === "op" || s.s === "load" ? [s.dst] : undefined),
    branch,
  });
