// Control flow that is decided at compile time: an `if` on a constant, a `for` of no or one turn, a `while`
// that never turns, and loop-carried values that never change.

import { type Block, type ConstValue, type Func, type Op, replaceAllUses, type Value } from "../ir/ir.js";
import { constantOf } from "../ir/ops/index.js";

/** Folds decided control flow in place. Returns whether anything changed. */
export function foldControl(func: Func): boolean {
  return foldBlock(func.body);
}

function foldBlock(block: Block): boolean {
  let changed = false;
  const old = block.ops.splice(0);
  for (const op of old) {
    for (const region of op.regions) if (foldBlock(region)) changed = true;
    if (foldIf(op, block) || foldFor(op, block) || foldWhile(op, block)) changed = true;
    else {
      if (dropInvariant(op)) changed = true;
      block.ops.push(op);
    }
  }
  return changed;
}

function foldIf(op: Op, into: Block): boolean {
  if (op.opcode !== "if") return false;
  const known = constantOf(op.operands[0]);
  if (known === undefined) return false;
  inline(op, op.regions[known ? 0 : 1]!, [], into);
  return true;
}

function foldFor(op: Op, into: Block): boolean {
  if (op.opcode !== "for") return false;
  const [lo, hi, step] = op.operands.slice(0, 3).map(constantOf) as [ConstValue?, ConstValue?, ConstValue?];
  const inits = op.operands.slice(3);
  if (lo === undefined || hi === undefined) {
    // The bounds may be one unknown value.
    if (op.operands[0] !== op.operands[1]) return false;
  } else if (lo < hi) {
    if (step === undefined || BigInt(step) <= 0n || BigInt(lo) + BigInt(step) < BigInt(hi)) return false;
    inline(op, op.regions[0]!, [op.operands[0]!, ...inits], into);
    return true;
  }
  finish(op, inits);
  return true;
}

function foldWhile(op: Op, into: Block): boolean {
  if (op.opcode !== "while") return false;
  const [before] = op.regions as [Block];
  const known = constantOf(before.terminator?.operands[0]);
  if (known === undefined || known) return false;
  // The condition's block runs once even so; it may store.
  const inits = [...op.operands];
  inline(op, before, inits, into, inits);
  return true;
}

/** A carried value that every turn hands on unchanged is its first value. */
function dropInvariant(op: Op): boolean {
  if (op.opcode !== "for" && op.opcode !== "while") return false;
  const body = op.regions.at(-1)!;
  const skip = op.opcode === "for" ? 1 : 0;
  const operandSkip = op.opcode === "for" ? 3 : 0;
  let changed = false;
  for (const [i, next] of body.terminator!.operands.entries()) {
    const init = op.operands[operandSkip + i]!;
    if (next !== body.args[skip + i] && next !== init) continue;
    for (const v of [...op.regions.map((r) => r.args[(op.opcode === "for" ? 1 : 0) + i]!), op.results[i]!]) {
      if (v.uses.size === 0 || (v.uses.size === 1 && v === next && v.uses.has(body.terminator!))) continue;
      replaceAllUses(v, init);
      changed = true;
    }
  }
  return changed;
}

/** Puts the region's ops at the end of `into`; the op's results become what the region yields (or `results`). */
function inline(
  op: Op,
  region: Block,
  args: readonly Value[],
  into: Block,
  results?: readonly Value[],
): void {
  region.args.forEach((v, i) => {
    replaceAllUses(v, args[i]!);
  });
  const end = region.ops.pop()!;
  for (const inner of region.ops.splice(0)) into.push(inner);
  finish(op, results ?? [...end.operands]);
  end.erase();
}

function finish(op: Op, results: readonly Value[]): void {
  op.results.forEach((v, i) => {
    replaceAllUses(v, results[i]!);
  });
  op.erase();
}
