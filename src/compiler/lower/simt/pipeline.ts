// A loop around a `dot` whose operands stream through shared memory: copies of later turns are under way while matrix units
// work on this one. Which loops these are stands in pipeline-plan.ts.
//
// With S stages, turn i multiplies stage i % S; its products run on while turn i + 1 begins. Turn i therefore refills the stage
// that turn i - 2 has read, with what turn i + S - 2 will need.

import type { Op, Value } from "../../ir/index.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import { assignYield, carry, enter, publish } from "./control.js";
import type { Mem, Operand, Reg, Stmt } from "./form.js";
import { emitOp } from "./lower.js";
import { ATOM, copyPanels, matrixAt, offsetOf, type Panels } from "./panels.js";
import type { Pipeline } from "./pipeline-plan.js";
import { registerSums, threadSum } from "./threads.js";
import type { Unit } from "./unit.js";

export function emitPipelined(unit: Unit, p: Pipeline): void {
  for (const x of [p.a, p.b]) unit.shared.access(x.load);
  unit.shared.region(p.stages * p.stageBytes, ATOM, (mem) => emitStages(unit, p, mem));
}

function emitStages(unit: Unit, p: Pipeline, mem: Mem): void {
  const { e, shared } = unit;
  const { loop, stages, stageBytes } = p;
  const body = loop.regions[0]!;
  const [lo, hi, step] = loop.operands.slice(0, 3).map((v) => unit.scalar(v)) as [Operand, Operand, Operand];
  const kind = regKind(dtypeOf(loop.operands[0]!));
  const regs = carry(unit, loop.results, loop.operands.slice(3));
  const ahead = stages - 2;
  const slice = sliceOf(loop, [p.a.load, p.b.load]);
  const issue = (iv: Operand, at: Operand): void => {
    enter(unit, [body.args[0]!], [[iv as Reg]]);
    const live = e.op("ltS", "mask", 1, [iv, hi]);
    for (const op of slice) emitAgain(unit, op);
    for (const x of [p.a, p.b]) copyPanels(unit, x, mem, at, live);
    e.push({ s: "copyCommit" });
  };
  const later = (iv: Operand, turns: number): Operand =>
    stable(
      unit,
      kind,
      e.op("add", kind, 1, [iv, e.op("mul", kind, 1, [step, kind === "i64" ? BigInt(turns) : turns])]),
    );
  for (let s = 0; s < ahead; s++) issue(later(lo, s), s * stageBytes);
  const [read, write] = [e.value("i32"), e.value("i32")];
  e.assign(read, 0);
  e.assign(write, ahead * stageBytes);
  const iv = e.value(kind);
  const list: Stmt[] = [];
  shared.loop(loop.regions, () =>
    e.inside(list as never[], () => {
      enter(unit, body.args.slice(1), regs);
      e.push({ s: "copyWait", pending: ahead - 1 });
      e.push({ s: "matrixFence" });
      e.push({ s: "barrier", scope: "group" });
      multiply(unit, p, mem, read, regs);
      e.push({ s: "matrixCommit" });
      e.push({ s: "matrixWait", pending: 1 });
      issue(later(iv, ahead), write);
      enter(unit, [body.args[0]!], [[iv]]);
      const done = new Set<Op>([p.dot, p.a.load, p.b.load]);
      for (const op of body.ops) if (!done.has(op) && op !== body.terminator) emitAgain(unit, op);
      const carried = body.terminator!.operands;
      const sum = carried.indexOf(p.dot.result);
      unit.define(p.dot.result, unit.plan.anchor(p.dot.result), regs[sum]!);
      assignYield(unit, loop, carried, regs);
      for (const slot of [read, write]) advance(unit, slot, p);
    }),
  );
  const run = (): void => {
    e.push({ s: "for", iv, lo, hi, step, body: list });
    e.push({ s: "matrixWait", pending: 0 });
  };
  // The wait belongs to the turns: without any, the sums that nothing has touched need none.
  const some = e.op("ltS", "mask", 1, [lo, hi]);
  if (typeof some === "object") e.when(some, run);
  else if (Number(some)) run();
  e.push({ s: "copyWait", pending: 0 });
  publish(unit, loop, regs);
}

/** Emits an op that may have been emitted for another turn. */
export function emitAgain(unit: Unit, op: Op): void {
  for (const v of op.results) unit.forget(v);
  emitOp(unit, op);
}

/** A register that may be read as often as one likes. */
export function stable(unit: Unit, kind: "i32" | "i64" | "f32" | "f64" | "mask", x: Operand): Operand {
  if (typeof x === "object") return x;
  const r = unit.e.value(kind);
  unit.e.assign(r, x);
  return r;
}

/** The next stage; after the last comes the first. */
export function advance(
  unit: Unit,
  slot: Reg,
  p: { readonly stageBytes: number; readonly stages: number },
): void {
  const { e } = unit;
  const next = e.reg("i32");
  e.push({ s: "op", op: "add", dst: next, args: [slot, p.stageBytes] });
  const last = e.reg("mask");
  e.push({ s: "op", op: "eq", dst: last, args: [next, p.stages * p.stageBytes] });
  e.push({ s: "op", op: "select", dst: slot, args: [last, 0, next] });
}

/** The ops of the body that the loads' addresses and masks are made of, in order. */
export function sliceOf(loop: Op, loads: readonly Op[]): Op[] {
  const body = loop.regions[0]!;
  const wanted = new Set<Op>();
  const visit = (v: Value): void => {
    const op = v.def && "opcode" in v.def ? v.def : undefined;
    if (!op || op.parent !== body || wanted.has(op)) return;
    wanted.add(op);
    op.operands.forEach(visit);
  };
  for (const load of loads) load.operands.slice(1, 3).forEach(visit);
  return body.ops.filter((op) => wanted.has(op));
}

/** Starts the products of one stage. */
function multiply(unit: Unit, p: Pipeline, mem: Mem, stage: Operand, regs: readonly Reg[][]): void {
  const { e, plan } = unit;
  const { unit: u, index } = p;
  const acc = plan.anchor(p.dot.result);
  const cols = acc.shape[1]!;
  const carried = p.loop.regions[0]!.terminator!.operands.indexOf(p.dot.result);
  const sums = regs[carried]!;
  const size = 2 ** u.c.registers.length;
  const repeats = registerSums(
    { ...acc, registers: acc.registers.slice(u.c.registers.length) },
    (bit) => bit,
  );
  const groups = acc.threads.slice(u.c.threads.length);
  const rowOf = (n: number): number => Math.floor(n / cols);
  // Each group of subgroups has its own block of rows and columns.
  const groupAt = (x: Panels, acrossK: (n: number) => number, kDim: 0 | 1): Operand => {
    const lanes: number[] = Array(u.c.threads.length).fill(0);
    return threadSum(e, [...lanes, ...groups.map((bit) => offsetOf(x, kDim, 0, acrossK(bit)))]);
  };
  const [rowPart, colPart] = [(n: number) => rowOf(n), (n: number) => n % cols];
  const atA = e.op("add", "i32", 1, [groupAt(p.a, rowPart, 1), stage]);
  const atB = e.op("add", "i32", 1, [groupAt(p.b, colPart, 0), stage]);
  const k = p.a.load.result.type.kind === "tile" ? p.a.load.result.type.shape[1]! : 0;
  for (let at = 0; at < k; at += u.k)
    repeats.forEach((n, i) => {
      const d = sums.slice(i * size, i * size + size);
      e.push({
        s: "matrix",
        matrix: index,
        d,
        a: matrixAt(p.a, mem, atA, 1, at, rowPart(n)),
        b: matrixAt(p.b, mem, atB, 0, at, colPart(n)),
        c: d,
        isAsync: true,
      });
    });
}
