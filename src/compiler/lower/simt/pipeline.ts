// A loop around a `dot` whose operands stream through shared memory: copies of later turns are under way while matrix units
// work on this one. Which loops these are stands in pipeline-plan.ts.
//
// With S stages, turn i multiplies stage i % S; its products run on while turn i + 1 begins. Turn i therefore refills the stage
// that turn i - 2 has read, with what turn i + S - 2 will need.

import type { Op } from "../../ir/index.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import { assignYield, carry, enter, publish } from "./control.js";
import { emitAgain, type Feed, ThreadFeed } from "./feed.js";
import type { Mem, Operand, Reg, Stmt } from "./form.js";
import { ATOM, matrixAt, offsetOf, type Panels } from "./panels.js";
import type { Pipeline } from "./pipeline-plan.js";
import { registerSums, threadSum } from "./threads.js";
import type { Unit } from "./unit.js";

export function emitPipelined(unit: Unit, p: Pipeline): void {
  for (const x of p.tiles) unit.shared.access(x.load);
  const { producer } = unit;
  const run = (mem: Mem): void =>
    emitStages(unit, p, mem, producer ?? new ThreadFeed(unit, p, mem, p.stages - 2));
  unit.shared.region(p.stages * p.stageBytes, ATOM, run, producer?.mem);
}

function emitStages(unit: Unit, p: Pipeline, mem: Mem, feed: Feed): void {
  const { e, shared } = unit;
  const { loop } = p;
  const body = loop.regions[0]!;
  const [lo, hi, step] = loop.operands.slice(0, 3).map((v) => unit.scalar(v)) as [Operand, Operand, Operand];
  const regs = carry(unit, loop.results, loop.operands.slice(3));
  const iv = e.value(regKind(dtypeOf(loop.operands[0]!)));
  const list: Stmt[] = [];
  const turns = (): void => {
    feed.begin();
    shared.loop(loop.regions, () =>
      e.inside(list as never[], () => {
        enter(unit, body.args.slice(1), regs);
        feed.wait(feed.read, false);
        multiply(unit, p, mem, feed.read.at, regs);
        e.push({ s: "matrixCommit" });
        e.push({ s: "matrixWait", pending: 1 });
        feed.freeLast(iv);
        feed.refill(iv);
        enter(unit, [body.args[0]!], [[iv]]);
        const done = new Set<Op>([p.dot, p.a.load, p.b.load]);
        for (const op of body.ops) if (!done.has(op) && op !== body.terminator) emitAgain(unit, op);
        const carried = body.terminator!.operands;
        const sum = carried.indexOf(p.dot.result);
        unit.define(p.dot.result, unit.plan.anchor(p.dot.result), regs[sum]!);
        assignYield(unit, loop, carried, regs);
        feed.advance();
      }),
    );
    e.push({ s: "for", iv, lo, hi, step, body: list });
    e.push({ s: "matrixWait", pending: 0 });
    feed.end(true);
  };
  // The wait belongs to the turns: without any, the sums that nothing has touched need none.
  const some = e.op("ltS", "mask", 1, [lo, hi]);
  if (typeof some === "object") e.when(some, turns);
  else if (Number(some)) turns();
  publish(unit, loop, regs);
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
