// Takes the ops that only tell the compiler something out of a function, for lowerings, which have no code for them.

import { type Func, type Op, replaceAllUses, type Value, walk } from "../ir/ir.js";
import { assumptions } from "./assumptions.js";

/** Removes `hint` and `assume` in place. What they said stays in {@link Func.claims}, where `analyzeAxes` finds it. */
export function dropHints(func: Func): void {
  const assumed = assumptions(func);
  const hints = new Map<Value, Op[]>();
  walk(func.body, (op) => {
    if (op.opcode === "assume") op.erase();
    if (op.opcode !== "hint") return;
    const x = op.operands[0]!;
    // What was said of the hint's result is now said of its operand.
    hints.set(x, [...(hints.get(x) ?? []), op]);
    replaceAllUses(op.result, x);
    op.erase();
  });
  if (hints.size > 0 || assumed.size > 0) func.claims = { hints, assumed };
}
