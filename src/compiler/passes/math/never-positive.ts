// A range that expansions make use of: what softmax takes exponentials of is at most 0.

import type { Value } from "../../ir/ir.js";
import { constantOf, madeBy } from "../../ir/ops/define.js";

/** The ops that give a maximum back the shape of what it is the maximum of. */
const SPREADS = ["splat", "broadcast", "expandDims", "reshape"] as const;

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
  const maximum = madeBy(unspread(what), "reduce");
  return maximum?.attrs["kind"] === "max" && maximum.operands[0] === from;
}

function unspread(v: Value): Value {
  for (const opcode of SPREADS) {
    const op = madeBy(v, opcode);
    if (op) return unspread(op.operands[0]!);
  }
  return v;
}
