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
import { ATOM } from "./panels.js";
import { leftFragments } from "./pipeline-fragments.js";
import type { Pipeline } from "./pipeline-plan.js";
import { productsOf } from "./pipeline-products.js";
import type { Unit } from "./unit.js";

export function emitPipelined(unit: Unit, p: Pipeline): void {
  for (const x of p.tiles) unit.shared.access(x.load);
  const { producer } = unit;
  const run = (mem: Mem): Reg[][] =>
    emitStages(unit, p, mem, producer ?? new ThreadFeed(unit, p, mem, p.stages - 2));
  const bytes = p.stages * p.stageBytes;
  const regs = producer?.free
    ? run(unit.shared.reserve(bytes, ATOM, producer.mem))
    : unit.shared.region(bytes, ATOM, run, producer?.mem);
  // Sums that are needed in another layout go there over the stages.
  publish(unit, p.loop, regs);
}

function emitStages(unit: Unit, p: Pipeline, mem: Mem, feed: Feed): Reg[][] {
  const { e, shared } = unit;
  const { loop } = p;
  const body = loop.regions[0]!;
  const [lo, hi, step] = loop.operands.slice(0, 3).map((v) => unit.scalar(v)) as [Operand, Operand, Operand];
  const regs = carry(unit, loop.results, loop.operands.slice(3));
  const iv = e.value(regKind(dtypeOf(loop.operands[0]!)));
  const list: Stmt[] = [];
  const carried = body.terminator!.operands;
  const sum = carried.indexOf(p.dot.result);
  const turns = (): void => {
    feed.begin();
    const products = productsOf(unit, p, mem, regs[sum]!);
    const fragments = p.fragments ? leftFragments(unit, p, mem) : undefined;
    if (fragments) {
      feed.first();
      fragments.first(feed.read.at);
    }
    shared.loop(loop.regions, () =>
      e.inside(list as never[], () => {
        enter(unit, body.args.slice(1), regs);
        if (fragments) fragments.turn(feed, products, () => feed.freeLast(iv));
        else {
          feed.wait(feed.read, false);
          products(feed.read.at);
          e.push({ s: "matrixCommit" });
          e.push({ s: "matrixWait", pending: 1 });
          feed.freeLast(iv);
        }
        feed.refill(iv);
        enter(unit, [body.args[0]!], [[iv]]);
        const done = new Set<Op>([p.dot, ...p.tiles.map((x) => x.load)]);
        for (const op of body.ops) if (!done.has(op) && op !== body.terminator) emitAgain(unit, op);
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
  return regs;
}
