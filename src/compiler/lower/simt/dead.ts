// Which operands and registers a statement reads and writes, and the removal of statements whose results nobody reads.

import { branch } from "../simd/emit.js";
import type { Operand, Reg, Stmt } from "./form.js";

const isList = <T, O>(x: readonly T[] | O): x is readonly T[] => Array.isArray(x);

/** Calls `fn` for every operand the statement itself reads (not those of nested statements). */
export function eachOperand(s: Stmt, fn: (o: Operand) => void): void {
  const maybe = (o: Operand | undefined): void => {
    if (o !== undefined) fn(o);
  };
  switch (s.s) {
    case "op":
      s.args.forEach(fn);
      return;
    case "load":
      fn(s.at);
      maybe(s.mask);
      return;
    case "store":
      fn(s.at);
      s.values.forEach(fn);
      maybe(s.mask);
      return;
    case "atomic":
      fn(s.at);
      fn(s.value);
      maybe(s.expected);
      maybe(s.mask);
      return;
    case "shuffle":
      fn(s.value);
      fn(s.by);
      return;
    case "copyAsync":
      fn(s.to.at);
      fn(s.from.at);
      maybe(s.mask);
      return;
    case "matrix":
      for (const x of [s.a, s.b])
        if (isList(x)) x.forEach(fn);
        else fn(x.at);
      s.c.forEach(fn);
      maybe(s.first);
      return;
    case "loadMatrix":
      fn(s.place.at);
      return;
    case "for":
      fn(s.lo);
      fn(s.hi);
      fn(s.step);
      return;
    case "while":
    case "if":
      fn(s.test);
  }
}

/** The registers a statement writes. */
export function results(s: Stmt): readonly Reg[] {
  switch (s.s) {
    case "op":
    case "shuffle":
      return [s.dst];
    case "load":
    case "loadMatrix":
      return s.dst;
    case "atomic":
      return s.dst ? [s.dst] : [];
    case "matrix":
      return s.d;
    case "for":
      return [s.iv];
    default:
      return [];
  }
}

/** The lists nested in a statement. */
export function nestedLists(s: Stmt): readonly (readonly Stmt[])[] {
  if (s.s === "for") return [s.body];
  if (s.s === "while") return [s.cond, s.body];
  if (s.s === "if") return [s.then, s.else];
  return [];
}

/** Statements without effect but their results. */
const isPure = (s: Stmt): boolean =>
  s.s === "op" ||
  s.s === "load" ||
  s.s === "shuffle" ||
  s.s === "loadMatrix" ||
  (s.s === "matrix" && !s.isAsync);

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
      if (isPure(s))
        for (const r of results(s)) {
          const known = defs.get(r.id);
          if (known) known.push(s);
          else defs.set(r.id, [s]);
        }
      else eachOperand(s, need);
      for (const l of nestedLists(s)) scan(l);
    }
  };
  scan(body);
  for (let o = work.pop(); o !== undefined; o = work.pop())
    for (const s of defs.get((o as Reg).id) ?? []) eachOperand(s, need);
  const keep = (list: readonly Stmt[]): Stmt[] =>
    list.flatMap((s): Stmt[] => {
      if (isPure(s)) return results(s).some((r) => live.has(r.id)) ? [s] : [];
      switch (s.s) {
        case "for": {
          const inner = keep(s.body);
          return inner.length ? [{ ...s, body: inner }] : [];
        }
        case "while":
          return [{ ...s, cond: keep(s.cond), body: keep(s.body) }];
        case "if": {
          const [a, b] = [keep(s.then), keep(s.else)];
          return a.length || b.length ? [branch(s.test, a as never, b as never) as Stmt] : [];
        }
        default:
          return [s];
      }
    });
  return keep(body);
}
