// Moves pure ops that do not depend on a loop's turn to before the loop. All pure ops are total, so a loop
// that never turns does no harm. Loads stay: their mask may be what makes them safe.

import type { Block, Func, Op, Value } from "../ir/ir.js";
import { opDef } from "../ir/ops/index.js";

/** Loop-invariant code motion in place. Returns whether anything moved. */
export function licm(func: Func): boolean {
  return hoistFrom(func.body, new Set(func.body.args));
}

/** `outside` holds what is defined before the ops of `block`, in it and around it. */
function hoistFrom(block: Block, outside: Set<Value>): boolean {
  let changed = false;
  const old = block.ops.splice(0);
  const added: Value[] = [];
  const define = (op: Op) => {
    for (const v of op.results) {
      outside.add(v);
      added.push(v);
    }
  };
  for (const op of old) {
    for (const region of op.regions) {
      // Inner loops first: what leaves them may then leave this one.
      for (const v of region.args) outside.add(v);
      if (hoistFrom(region, outside)) changed = true;
      for (const v of region.args) outside.delete(v);
    }
    if ((op.opcode === "for" || op.opcode === "while") && op.attrs["disableLicm"] !== true)
      for (const region of op.regions)
        for (const inner of [...region.ops])
          if (opDef(inner.opcode).pure && inner.operands.every((v) => outside.has(v))) {
            region.ops.splice(region.ops.indexOf(inner), 1);
            block.push(inner);
            define(inner);
            changed = true;
          }
    block.ops.push(op);
    define(op);
  }
  for (const v of added) outside.delete(v);
  return changed;
}
