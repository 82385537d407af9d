// Clusters: two workgroups whose programs often need the same block of an operand. Each then brings half of it to both, so that the
// chip's caches are read once for two. Whether two programs share a block is known when they run: the threads that copy compute
// what the copies depend on for their own program and for the other one.

import { type Func, type Op, opDef, type Value, walk } from "../../ir/index.js";
import { bulkScalars, isEven } from "./bulk.js";
import { enter } from "./control.js";
import type { Operand, Reg } from "./form.js";
import type { Panels } from "./panels.js";
import type { Production } from "./produce-plan.js";
import type { Unit } from "./unit.js";

const defOf = (v: Value): Op | undefined => (v.def && "opcode" in v.def ? v.def : undefined);

/** Whether a loop within one over programs (persistent.ts) may run in pairs: in as many turns in both, and twice where there is no second program. */
export function canPair(func: Func, p: Production): boolean {
  const known = p.loop.operands
    .slice(0, 3)
    .every((v) => func.body.args.includes(v) || defOf(v)?.opcode === "const");
  const streamed = new Set(p.tiles.map((x) => x.load));
  let plain = p.around.length === 1 && p.kept.length === 0;
  walk(func.body, (op) => {
    const { memory } = opDef(op.opcode);
    plain &&= memory === undefined || op.opcode === "store" || streamed.has(op);
  });
  return known && plain && p.tiles.some(isEven);
}

/** The scalars of the outer loop's body that a tile's copies depend on. */
function dependsOn(x: Panels, p: Production): Value[] {
  const inner = p.loop.regions[0]!;
  const outer = p.around[0]!.regions[0]!;
  const found = new Set<Value>();
  const visit = (v: Value): void => {
    const op = defOf(v);
    if (v === outer.args[0] || op?.parent === outer) found.add(v);
    else if (op?.parent === inner) op.operands.forEach(visit);
  };
  bulkScalars(x).forEach(visit);
  return [...found];
}

/**
 * For each tile, whether both workgroups need the same one; absent where it is brought by each for itself. Emits what the copies need,
 * last for the own program.
 *
 * @param needed emits the ops of the outer loop's body that copies need
 */
export function sharingOf(unit: Unit, p: Production, needed: () => void): ReadonlyMap<Panels, Operand> {
  const { e } = unit;
  const iv = p.around[0]!.regions[0]!.args[0]!;
  const own = unit.scalar(iv);
  const of = (id: Operand): Operand[][] => {
    enter(unit, [iv], [[id as Reg]]);
    needed();
    return p.tiles.map((x) => dependsOn(x, p).map((v) => unit.scalar(v)));
  };
  const theirs = of(e.op("xor", "i32", 1, [own, 1]));
  const mine = of(own);
  const out = new Map<Panels, Operand>();
  p.tiles.forEach((x, i) => {
    const same = mine[i]!.map((a, n) => e.op("eq", "mask", 1, [a, theirs[i]![n]!]));
    if (isEven(x))
      out.set(
        x,
        same.reduce((a, b) => e.op("and", "mask", 1, [a, b]), 1),
      );
  });
  return out;
}
