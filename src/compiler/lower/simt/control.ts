// Structured control flow: every register of a carried tile is a register of the loop.

import type { Op, Value } from "../../ir/index.js";
import { branch, isReg } from "../simd/emit.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import type { Operand, Reg, Stmt } from "./form.js";
import { emitBlock } from "./lower.js";
import { emitPipelined } from "./pipeline.js";
import { emitStaged } from "./staged.js";
import { emitStream } from "./stream.js";
import { emitSplit } from "./split.js";
import type { Unit } from "./unit.js";

export function emitControl(unit: Unit, op: Op): void {
  if (op.opcode === "for") emitFor(unit, op);
  else if (op.opcode === "while") emitWhile(unit, op);
  else emitIf(unit, op);
}

/** Variables for the values that an op hands on, with their first values if it has any. */
export function carry(unit: Unit, results: readonly Value[], inits: readonly Value[] | undefined): Reg[][] {
  const { e, plan } = unit;
  return results.map((v, i) => {
    const home = plan.anchor(v);
    const first = inits && unit.get(inits[i]!, home);
    return Array.from({ length: 1 << home.registers.length }, (_, r) => {
      const reg = e.reg(regKind(dtypeOf(v)));
      if (first) e.assign(reg, first[r]!);
      return reg;
    });
  });
}

/** The arguments of a region: the variables, which it does not change before its end. */
export function enter(unit: Unit, args: readonly Value[], regs: readonly Reg[][]): void {
  args.forEach((v, i) => {
    for (const r of regs[i]!) unit.e.settle(r);
    unit.define(v, unit.plan.anchor(v), regs[i]!);
  });
}

/** Assigns what a block yields, all at once. */
export function assignYield(unit: Unit, op: Op, yielded: readonly Value[], regs: readonly Reg[][]): void {
  const { e, plan } = unit;
  const targets = new Set<Operand>(regs.flat());
  const moves = yielded.flatMap((v, i) => {
    const values = unit.get(v, plan.anchor(op.results[i]!));
    return regs[i]!.map((to, r) => ({ to, value: values[r]! }));
  });
  const safe = moves.map(({ to, value }): Operand => {
    if (!isReg(value) || value === to || !targets.has(value)) return value;
    const copy = e.reg(value.type.kind);
    e.assign(copy, value);
    return copy;
  });
  moves.forEach(({ to }, i) => {
    if (safe[i] !== to) e.assign(to, safe[i]!);
  });
}

export function publish(unit: Unit, op: Op, regs: readonly Reg[][]): void {
  enter(unit, op.results, regs);
}

function region(unit: Unit, list: Stmt[], fn: () => void): void {
  unit.e.inside(list as never[], fn);
}

function emitFor(unit: Unit, op: Op): void {
  const pipeline = unit.plan.pipelineOf(op);
  if (pipeline) {
    emitPipelined(unit, pipeline);
    return;
  }
  const staged = unit.plan.stagedOf(op);
  if (staged) {
    emitStaged(unit, staged);
    return;
  }
  const stream = unit.plan.streamOf(op);
  if (stream) {
    emitStream(unit, stream);
    return;
  }
  const shares = unit.plan.direct?.shares ?? 1;
  if (shares > 1 && unit.plan.direct!.loops.has(op)) {
    if (!emitSplit(unit, op, shares)) unit.splitFailed = true;
    return;
  }
  const { e, shared } = unit;
  const [lo, hi, step] = op.operands.slice(0, 3).map((v) => unit.scalar(v)) as [Operand, Operand, Operand];
  const body = op.regions[0]!;
  const regs = carry(unit, op.results, op.operands.slice(3));
  const iv = e.value(regKind(dtypeOf(op.operands[0]!)));
  const list: Stmt[] = [];
  shared.loop(op.regions, () =>
    region(unit, list, () => {
      enter(unit, [body.args[0]!], [[iv]]);
      enter(unit, body.args.slice(1), regs);
      emitBlock(unit, body);
      assignYield(unit, op, body.terminator!.operands, regs);
    }),
  );
  e.push({ s: "for", iv, lo, hi, step, body: list });
  publish(unit, op, regs);
}

function emitWhile(unit: Unit, op: Op): void {
  const { e, shared } = unit;
  const [before, body] = op.regions as [Op["regions"][number], Op["regions"][number]];
  const regs = carry(unit, op.results, op.operands);
  const [cond, list]: [Stmt[], Stmt[]] = [[], []];
  let test: Operand = 1;
  shared.loop(op.regions, () => {
    region(unit, cond, () => {
      enter(unit, before.args, regs);
      emitBlock(unit, before);
      test = unit.scalar(before.terminator!.operands[0]!);
    });
    region(unit, list, () => {
      enter(unit, body.args, regs);
      emitBlock(unit, body);
      assignYield(unit, op, body.terminator!.operands, regs);
    });
  });
  e.push({ s: "while", cond, test, body: list });
  publish(unit, op, regs);
}

function emitIf(unit: Unit, op: Op): void {
  const { e, shared } = unit;
  const test = unit.scalar(op.operands[0]!);
  const regs = carry(unit, op.results, undefined);
  const lists = op.regions.map((): Stmt[] => []);
  shared.branches(
    op.regions.map(
      (block, i) => () =>
        region(unit, lists[i]!, () => {
          emitBlock(unit, block);
          assignYield(unit, op, block.terminator!.operands, regs);
        }),
    ),
  );
  if (isReg(test)) e.push(branch(test, lists[0] as never, (lists[1] ?? []) as never) as Stmt);
  else for (const s of lists[Number(test) ? 0 : 1] ?? []) e.push(s);
  publish(unit, op, regs);
}
