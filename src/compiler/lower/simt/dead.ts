// Which operands and registers a statement reads and writes, and the removal of statements whose results nobody reads.

import { removeDeadFrom } from "../dead.js";
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
    case "match":
      fn(s.value);
      return;
    case "copyAsync":
      fn(s.to.at);
      fn(s.from.at);
      maybe(s.mask);
      return;
    case "bulkBarrier":
    case "bulkArrive":
      fn(s.place.at);
      maybe(s.mask);
      return;
    case "bulkExpect":
      fn(s.place.at);
      fn(s.bytes);
      maybe(s.mask);
      return;
    case "bulkCopy":
      fn(s.to.at);
      s.from.forEach(fn);
      fn(s.barrier.at);
      maybe(s.mask);
      maybe(s.empty?.test);
      return;
    case "bulkWait":
      fn(s.place.at);
      fn(s.parity);
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
    case "match":
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

/** Statements without effect but their results. */
const isPure = (s: Stmt): boolean =>
  s.s === "op" ||
  s.s === "load" ||
  s.s === "shuffle" ||
  s.s === "match" ||
  s.s === "loadMatrix" ||
  (s.s === "matrix" && !s.isAsync);

/** The statements without dead ones. */
export const removeDead = (body: readonly Stmt[]): Stmt[] =>
  removeDeadFrom(body, {
    eachOperand,
    pureResults: (s) => (isPure(s) ? results(s) : undefined),
    branch: (test, yes, no) => branch(test as Reg, yes as never, no as never) as Stmt,
  });
