// A range that expansions make use of: what softmax takes exponentials of is at most 0.

import type { Op, Value } from "../../ir/ir.js";
import { constantOf, madeBy, spreadsBack } from "../../ir/ops/define.js";

/** The ops that give a maximum back the shape of what it is the maximum of. */
const SPREADS: readonly string[] = ["splat", "broadcast", "expandDims"];

/**
 * Whether no element is above 0, seen from how the value was made: a tile less its own maximum along an axis, times a constant
 * that is not negative. Elements may be NaN.
 */
export function neverPositive(x: Value): boolean {
  const product = madeBy(x, "mul");
  if (product) return Number(constantOf(product.operands[1])) >= 0 && neverPositive(product.operands[0]!);
  const difference = madeBy(x, "sub");
  if (!difference) return false;
  const [from, what] = difference.operands as [Value, Value];
  const spreads: Op[] = [];
  let at = what;
  while (at.def && "opcode" in at.def && SPREADS.includes(at.def.opcode)) {
    spreads.push(at.def);
    at = at.def.operands[0]!;
  }
  const maximum = madeBy(at, "reduce");
  return (
    maximum?.attrs["kind"] === "max" &&
    maximum.operands[0] === from &&
    spreads.every((op) => spreadsBack(maximum, op))
  );
}
