// Removes statements whose results nobody reads, and control flow that is left empty.

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
    case "for":
      fn(s.lo);
      fn(s.hi);
      fn(s.step);
      return;
    default:
      fn(s.test);
  }
}

/** The lists nested in a statement. */
export function nestedLists(s: Stmt): readonly (readonly Stmt[])[] {
  if (s.s === "for") return [s.body];
  if (s.s === "while") return [s.cond, s.body];
  if (s.s === "if") return [s.then, s.else];
  return [];
}

/** The statements without dead ones. A register is live if a live statement other than its own update reads it. */
export function removeDead(body: readonly Stmt[]): Stmt[] {
  const live = new Set<number>();
  const defs = new Map<number, Stmt[]>();
  const work: Operand[] = [];
  const need = (o: Operand): void => {
    if (typeof o === "object" && !live.has(o.id)) {
      live.add(o.id);
      work.push(o);
    }
  };
  const scan = (list: readonly Stmt[]): void => {
    for (const s of list) {
      if (s.s === "op" || s.s === "load") {
        const d = defs.get(s.dst.id);
        if (d) d.push(s);
        else defs.set(s.dst.id, [s]);
      } else eachOperand(s, need);
      for (const l of nestedLists(s)) scan(l);
    }
  };
  scan(body);
  for (let o = work.pop(); o !== undefined; o = work.pop())
    for (const s of defs.get((o as { id: number }).id) ?? []) eachOperand(s, need);
  const keep = (list: readonly Stmt[]): Stmt[] =>
    list.flatMap((s): Stmt[] => {
      switch (s.s) {
        case "op":
        case "load":
          return live.has(s.dst.id) ? [s] : [];
        case "for": {
          const inner = keep(s.body);
          return inner.length ? [{ ...s, body: inner }] : [];
        }
        case "while":
          return [{ ...s, cond: keep(s.cond), body: keep(s.body) }];
        case "if": {
          const [a, b] = [keep(s.then), keep(s.else)];
          return a.length || b.length ? [branch(s.test, a, b)] : [];
        }
        default:
          return [s];
      }
    });
  return keep(body);
}
