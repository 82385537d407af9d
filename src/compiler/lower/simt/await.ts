// Where a form waits for what the launches before it wrote (`await`): as late as it can, behind the computation of addresses and behind
// loads that their author calls early. For chips whose launches overlap.

import { nestedLists } from "../dead.js";
import { branch } from "../simd/emit.js";
import { eachOperand, results } from "./dead.js";
import type { Operand, Reg, Stmt } from "./form.js";

const inBuffer = (mem: object): boolean => "param" in mem;

/** Whether a statement touches a buffer, early loads apart. */
function touches(s: Stmt): boolean {
  switch (s.s) {
    case "load":
      return inBuffer(s.mem) && !s.early;
    case "store":
    case "atomic":
      return inBuffer(s.mem);
    case "copyAsync":
    case "bulkCopy":
      return true;
  }
  return nestedLists(s).some((l) => l.some(touches));
}

/** The body with an `await` on every way to a statement that needs it. */
export function placeAwait(body: readonly Stmt[]): Stmt[] {
  const counts = new Map<Reg, number>();
  const count = (list: readonly Stmt[]): void => {
    for (const s of list) {
      for (const r of results(s)) counts.set(r, (counts.get(r) ?? 0) + 1);
      for (const l of nestedLists(s)) count(l);
    }
  };
  count(body);
  const isOnce = (r: Reg): boolean => counts.get(r) === 1;
  const { list, found } = place(body, isOnce);
  return together(found ? list : [{ s: "await" }, ...list], isOnce);
}

/**
 * In loops early loads come first, and are issued there: assemblers would rather issue each where its value is used, which saves
 * registers and leaves memory idle.
 */
function together(list: readonly Stmt[], isOnce: (r: Reg) => boolean): Stmt[] {
  return list.map((s): Stmt => {
    if (s.s === "if") return branch(s.test as Reg, together(s.then, isOnce) as never, together(s.else, isOnce) as never) as Stmt; // biome-ignore format: one statement
    if (s.s !== "for") return s;
    const { first, rest } = earlyOf(s.body, isOnce);
    return first.length ? { ...s, body: [...first, { s: "issue" }, ...rest] } : s;
  });
}

function place(list: readonly Stmt[], isOnce: (r: Reg) => boolean): { list: Stmt[]; found: boolean } {
  const at = list.findIndex(touches);
  if (at < 0) return { list: [...list], found: false };
  const s = list[at]!;
  if (s.s === "if") {
    const sides = [s.then, s.else].map((l) => place(l, isOnce));
    const [yes, no] = sides.map((side) => (side.found ? side.list : [...side.list, { s: "await" } as const]));
    const both = branch(s.test as Reg, yes as never, no as never) as Stmt;
    return { list: [...list.slice(0, at), both, ...list.slice(at + 1)], found: true };
  }
  const { first, rest } = earlyOf(list.slice(at), isOnce);
  return { list: [...list.slice(0, at), ...first, { s: "await" }, ...rest], found: true };
}

/** The early loads of the straight code at a list's start, with what their addresses are made of; and everything else. */
function earlyOf(list: readonly Stmt[], isOnce: (r: Reg) => boolean): { first: Stmt[]; rest: Stmt[] } {
  const first = new Set<Stmt>();
  const makers = new Map<Reg, Stmt>();
  /** What must come first, too; undefined where a register may not have its value yet. */
  const needs = (s: Stmt): Stmt[] | undefined => {
    if (!results(s).every(isOnce)) return undefined;
    const all: Stmt[] = [s];
    let known = true;
    eachOperand(s, (o: Operand) => {
      if (typeof o !== "object") return;
      const maker = makers.get(o);
      if (!maker || first.has(maker)) return;
      const more = maker.s === "op" ? needs(maker) : undefined;
      if (more) all.push(...more);
      else known = false;
    });
    return known ? all : undefined;
  };
  for (const s of list) {
    if (s.s === "load" && s.early) for (const one of needs(s) ?? []) first.add(one);
    else if (s.s !== "op" && s.s !== "load" && s.s !== "matrix") break;
    for (const r of results(s)) makers.set(r, s);
  }
  return { first: list.filter((s) => first.has(s)), rest: list.filter((s) => !first.has(s)) };
}

/** The buffers that are read before the `await`, and those that are written. */
export function orderOf(body: readonly Stmt[]): { readonly early: number[]; readonly written: number[] } {
  const [early, written] = [new Set<number>(), new Set<number>()];
  let awaits = false;
  const scan = (list: readonly Stmt[]): void => {
    for (const s of list) {
      awaits ||= s.s === "await";
      if (s.s === "load" && s.early && "param" in s.mem) early.add(s.mem.param);
      if ((s.s === "store" || s.s === "atomic") && "param" in s.mem) written.add(s.mem.param);
      for (const l of nestedLists(s)) scan(l);
    }
  };
  scan(body);
  return { early: awaits ? [...early] : [], written: [...written] };
}
