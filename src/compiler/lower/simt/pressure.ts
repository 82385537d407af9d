// An estimate of the registers that a thread needs at once: the most 32-bit registers alive at one place.

import type { Operand, Reg, Stmt } from "./form.js";
import { nestedLists } from "../dead.js";
import { eachOperand, results } from "./dead.js";

const wordsOf = (r: Reg): number =>
  r.type.kind === "mask" ? 0 : (r.type.kind === "i64" || r.type.kind === "f64" ? 2 : 1) * r.type.lanes;

/** Registers live from their first write to their last read, through whole loops where they cross one's edge. */
export function pressureOf(body: readonly Stmt[]): number {
  const first = new Map<Reg, number>();
  const last = new Map<Reg, number>();
  const loops: { start: number; end: number }[] = [];
  let now = 0;
  const touch = (r: Reg): void => {
    if (!first.has(r)) first.set(r, now);
    last.set(r, now);
  };
  const scan = (list: readonly Stmt[]): void => {
    for (const s of list) {
      now++;
      eachOperand(s, (o: Operand) => {
        if (typeof o === "object") touch(o);
      });
      for (const r of results(s)) touch(r);
      const start = now;
      for (const l of nestedLists(s)) scan(l);
      if (s.s === "for" || s.s === "while") loops.push({ start, end: now });
    }
  };
  scan(body);
  // What was made before a loop and is read in it stays alive to its end.
  for (const { start, end } of loops.reverse())
    for (const [r, f] of first)
      if (f < start && last.get(r)! >= start && last.get(r)! < end) last.set(r, end);
  const change = new Int32Array(now + 2);
  for (const [r, f] of first) {
    change[f]! += wordsOf(r);
    change[last.get(r)! + 1]! -= wordsOf(r);
  }
  let [alive, most] = [0, 0];
  for (const c of change) {
    alive += c;
    most = Math.max(most, alive);
  }
  return most;
}
