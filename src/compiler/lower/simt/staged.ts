// A loop around a `dot` whose operands are read out of shared memory into registers, while asynchronous copies bring those of
// later turns. Which loops these are stands in staged-plan.ts.
//
// With S stages, turn i multiplies stage i % S and refills the one that turn i - 1 has read with what turn i + S - 1 will need.

import type { Op } from "../../ir/index.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import { assignYield, carry, enter, publish } from "./control.js";
import type { Mem, Operand, Reg, Stmt } from "./form.js";
import { ATOM } from "./panels.js";
import { advance, emitAgain } from "./feed.js";
import { copying } from "./staged-copies.js";
import { emitGroupStages } from "./staged-groups.js";
import type { Staged } from "./staged-plan.js";
import { stagedProducts } from "./staged-products.js";
import type { Unit } from "./unit.js";

export function emitStaged(unit: Unit, s: Staged): void {
  for (const x of [s.a, s.b]) unit.shared.access(x.load);
  const emit = s.group ? emitGroupStages : emitStages;
  const regs = unit.shared.region(s.stages * s.stageBytes, s.group ? ATOM : 128, (mem) => emit(unit, s, mem));
  // Sums that are needed in another layout go there over the stages.
  publish(unit, s.loop, regs);
}

function emitStages(unit: Unit, s: Staged, mem: Mem): Reg[][] {
  const { e, shared, plan } = unit;
  const { loop, stages, stageBytes } = s;
  const body = loop.regions[0]!;
  const [lo, hi, step] = loop.operands.slice(0, 3).map((v) => unit.scalar(v)) as [Operand, Operand, Operand];
  const kind = regKind(dtypeOf(loop.operands[0]!));
  const regs = carry(unit, loop.results, loop.operands.slice(3));
  const ahead = stages - 1;
  const { issue, later } = copying(unit, s, mem, kind as "i32" | "i64", hi, step);
  for (let i = 0; i < ahead; i++) issue(later(lo, i), i * stageBytes);
  const [read, write] = [e.value("i32"), e.value("i32")];
  e.assign(read, 0);
  e.assign(write, ahead * stageBytes);
  const products = stagedProducts(unit, s, mem);
  const iv = e.value(kind);
  const list: Stmt[] = [];
  shared.loop(loop.regions, () =>
    e.inside(list as never[], () => {
      enter(unit, body.args.slice(1), regs);
      e.push({ s: "copyWait", pending: ahead - 1 });
      e.push({ s: "barrier", scope: "group" });
      issue(later(iv, ahead), write);
      const carried = body.terminator!.operands;
      const sum = carried.indexOf(s.dot.result);
      products(read, regs[sum]!);
      enter(unit, [body.args[0]!], [[iv]]);
      const done = new Set<Op>([s.dot, s.a.load, s.b.load]);
      for (const op of body.ops) if (!done.has(op) && op !== body.terminator) emitAgain(unit, op);
      unit.define(s.dot.result, plan.anchor(s.dot.result), regs[sum]!);
      assignYield(unit, loop, carried, regs);
      for (const slot of [read, write]) advance(unit, slot, s);
    }),
  );
  e.push({ s: "for", iv, lo, hi, step, body: list });
  e.push({ s: "copyWait", pending: 0 });
  return regs;
}
