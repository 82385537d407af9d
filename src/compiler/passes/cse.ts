// Common subexpressions: an op equal to an earlier one that dominates it is replaced by it. Loads count as
// equal only while nothing was written in between.

import { type Block, type Func, type Op, replaceAllUses, type Value } from "../ir/ir.js";
import { opDef } from "../ir/ops/index.js";
import { showAttr } from "../ir/print.js";

/** Common-subexpression elimination in place. Returns whether anything was merged. */
export function cse(func: Func): boolean {
  return new Cse().block(func.body, new Map());
}

class Cse {
  private readonly ids = new Map<Value, number>();
  /** Counts writes: a load is part of its epoch. */
  private epoch = 0;

  block(block: Block, outer: ReadonlyMap<string, Op>): boolean {
    let changed = false;
    const seen = new Scope(outer);
    for (const op of [...block.ops]) {
      const def = opDef(op.opcode);
      if (op.regions.length > 0) {
        // A loop's body runs again after the writes in it; what was loaded before is not what it would load.
        const writes = op.regions.some(hasWrite);
        if (writes) this.epoch++;
        for (const region of op.regions) {
          if (this.block(region, seen)) changed = true;
          if (writes) this.epoch++;
        }
        continue;
      }
      if (def.memory && def.memory !== "read") this.epoch++;
      if (!def.pure && def.memory !== "read") continue;
      const key = this.key(op, def.memory === "read");
      const earlier = seen.get(key);
      if (!earlier) {
        seen.set(key, op);
        continue;
      }
      op.results.forEach((v, i) => {
        earlier.results[i]!.name ??= v.name;
        replaceAllUses(v, earlier.results[i]!);
      });
      op.erase();
      changed = true;
    }
    return changed;
  }

  private key(op: Op, isRead: boolean): string {
    let operands = op.operands.map((v) => this.id(v));
    if (opDef(op.opcode).commutative) operands = operands.sort((a, b) => a - b);
    const attrs = Object.keys(op.attrs)
      .sort()
      .map((k) => `${k}=${showAttr(op.attrs[k]!)}`);
    return `${op.opcode}(${operands})${attrs}${isRead ? `@${this.epoch}` : ""}`;
  }

  private id(v: Value): number {
    let id = this.ids.get(v);
    if (id === undefined) {
      id = this.ids.size;
      this.ids.set(v, id);
    }
    return id;
  }
}

/** A map that sees the enclosing block's entries and keeps its own to itself. */
class Scope extends Map<string, Op> {
  constructor(private readonly outer: ReadonlyMap<string, Op>) {
    super();
  }
  override get(key: string): Op | undefined {
    return super.get(key) ?? this.outer.get(key);
  }
}

/** Some op in the block, or in a region of one, writes memory. */
export function hasWrite(block: Block): boolean {
  return block.ops.some((op) => {
    const { memory } = opDef(op.opcode);
    return (memory !== undefined && memory !== "read") || op.regions.some(hasWrite);
  });
}
