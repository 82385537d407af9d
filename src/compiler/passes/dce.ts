// Removes what nobody needs: ops without effect whose results lead nowhere, control flow without effect, and
// loop-carried values that only feed themselves.

import { Block, type Func, Op, type Value } from "../ir/ir.js";
import { opDef } from "../ir/ops/index.js";

/** Dead-code elimination in place. Returns whether anything was removed. */
export function dce(func: Func): boolean {
  const live = new Liveness();
  live.roots(func.body);
  live.spread();
  return sweep(func.body, live);
}

/** Ops without results that tell the author or the compiler something. */
const REPORTS = new Set(["assert", "print", "assume"]);

/** Operands of `op` before the carried ones. */
const firstCarried = (op: Op): number => (op.opcode === "for" ? 3 : 0);
/** Region arguments before the carried ones. */
const firstArg = (op: Op): number => (op.opcode === "for" ? 1 : 0);

class Liveness {
  readonly ops = new Set<Op>();
  private readonly values = new Set<Value>();
  private readonly pending: Value[] = [];

  /** Ops with an effect. A `while` may run for ever, which is one; a `for` always ends. */
  roots(block: Block): void {
    for (const op of block.ops) {
      const def = opDef(op.opcode);
      if ((def.memory && def.memory !== "read") || op.opcode === "while" || REPORTS.has(op.opcode))
        this.op(op);
      for (const region of op.regions) this.roots(region);
    }
  }

  /** The carried (or yielded) value `i` of a live op is needed. */
  carried(op: Op, i: number): boolean {
    return (
      this.values.has(op.results[i]!) || op.regions.some((r) => this.values.has(r.args[firstArg(op) + i]!))
    );
  }

  spread(): void {
    for (let v = this.pending.pop(); v; v = this.pending.pop()) {
      const { def } = v;
      if (def instanceof Op) {
        this.op(def);
        if (def.regions.length > 0) this.followCarried(def, def.results.indexOf(v));
      } else if (def instanceof Block && def.parent instanceof Op) {
        this.op(def.parent);
        const i = def.args.indexOf(v) - firstArg(def.parent);
        if (i >= 0) this.followCarried(def.parent, i);
      }
    }
  }

  private value(v: Value): void {
    if (this.values.has(v)) return;
    this.values.add(v);
    this.pending.push(v);
  }

  private op(op: Op): void {
    if (this.ops.has(op)) return;
    this.ops.add(op);
    if (op.regions.length === 0) for (const v of op.operands) this.value(v);
    else {
      const always = op.opcode === "if" ? 1 : firstCarried(op);
      for (const v of op.operands.slice(0, always)) this.value(v);
      for (const { terminator } of op.regions) if (terminator?.opcode === "condition") this.op(terminator);
    }
    const around = op.parent?.parent;
    if (around instanceof Op) this.op(around);
  }

  private followCarried(op: Op, i: number): void {
    if (op.opcode !== "if") this.value(op.operands[firstCarried(op) + i]!);
    for (const { terminator } of op.regions)
      if (terminator?.opcode === "yield") this.value(terminator.operands[i]!);
  }
}

function sweep(block: Block, live: Liveness): boolean {
  let changed = false;
  // From the end, so that users go first.
  const old = block.ops.splice(0).reverse();
  const kept: Op[] = [];
  for (const op of old) {
    const isEnd = opDef(op.opcode).terminator;
    if (!live.ops.has(op) && !isEnd) {
      op.parent = undefined;
      op.erase();
      changed = true;
      continue;
    }
    if (op.regions.length > 0) {
      if (dropCarried(op, live)) changed = true;
      for (const region of op.regions) if (sweep(region, live)) changed = true;
    }
    kept.push(op);
  }
  block.ops.push(...kept.reverse());
  return changed;
}

/** Takes away the carried values that are not needed, everywhere they are passed on. */
function dropCarried(op: Op, live: Liveness): boolean {
  let changed = false;
  for (let i = op.results.length - 1; i >= 0; i--) {
    if (live.carried(op, i)) continue;
    op.results.splice(i, 1);
    if (op.opcode !== "if") removeOperand(op, firstCarried(op) + i);
    for (const region of op.regions) {
      if (op.opcode !== "if") region.args.splice(firstArg(op) + i, 1);
      if (region.terminator?.opcode === "yield") removeOperand(region.terminator, i);
    }
    changed = true;
  }
  return changed;
}

function removeOperand(op: Op, i: number): void {
  const [v] = op.operands.splice(i, 1);
  if (v && !op.operands.includes(v)) v.uses.delete(op);
}
