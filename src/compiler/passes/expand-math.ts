// Replaces transcendental functions by arithmetic that every chip computes the same (up to how `fma` rounds).
// The expansions stand in `math/`, each with its bound.

import { type DType, isFloat } from "../ir/dtype.js";
import { Builder } from "../ir/builder.js";
import { type Block, type Func, type Op, replaceAllUses, type Value } from "../ir/ir.js";
import { EXPANSIONS } from "./math/index.js";

/**
 * Expands the ops of EXPANDED_UNARY and EXPANDED_BINARY (ir/ops/math.ts) in place, but on f32 those of `keep`. Returns whether
 * there were any.
 */
export function expandMath(func: Func, keep: readonly string[] = []): boolean {
  return expandBlock(func.body, keep);
}

function expandBlock(block: Block, keep: readonly string[]): boolean {
  let changed = false;
  const old = block.ops.splice(0);
  const b = new Builder(block);
  for (const op of old) {
    for (const region of op.regions) if (expandBlock(region, keep)) changed = true;
    const expand = EXPANSIONS[op.opcode];
    if (!expand || (keep.includes(op.opcode) && op.result.type.dtype === "f32")) {
      block.ops.push(op);
      continue;
    }
    b.loc = op.loc;
    const result = expandOp(b, op, expand);
    result.name ??= op.result.name;
    replaceAllUses(op.result, result);
    op.erase();
    changed = true;
  }
  return changed;
}

/** Narrower floats are computed in f32 and rounded. */
function expandOp(b: Builder, op: Op, expand: (b: Builder, ...x: Value[]) => Value): Value {
  const dtype: DType = op.result.type.dtype;
  if (!isFloat(dtype)) throw new Error(`${op.opcode} takes floats, not ${dtype}`);
  if (dtype === "f32" || dtype === "f64") return expand(b, ...op.operands);
  return b.cast(expand(b, ...op.operands.map((v) => b.cast(v, "f32"))), dtype);
}
