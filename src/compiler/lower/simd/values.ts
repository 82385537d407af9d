// What kind of value each tile is: computed where it is needed, or kept in the frame.

import { type Op, type Value, opDef } from "../../ir/index.js";
import { isView } from "./maps.js";

/** The op that made the value, or undefined for arguments of blocks. */
export function defOf(v: Value): Op | undefined {
  return v.def && "opcode" in v.def ? v.def : undefined;
}

/** Ops whose tile is computed element by element inside the loops that need it. */
export function isLazy(op: Op): boolean {
  return (
    op.opcode === "const" ||
    op.opcode === "arange" ||
    op.opcode === "load" ||
    op.opcode === "gather" ||
    isView(op) ||
    opDef(op.opcode).elementwise === true
  );
}

/** The operands that are needed element by element, under the op's own map: all but the source of a gather, which is a whole tile in the frame. */
export const elementOperands = (op: Op): readonly Value[] =>
  op.opcode === "gather" ? op.operands.slice(1) : op.operands;

const COSTS: Record<string, number> = { div: 6, rem: 6, sqrt: 8, mulhi: 10, const: 0, arange: 1, splat: 0 };
/** More than this is computed once and kept rather than computed in every group. */
const CHEAP = 20;

/** Costs of computing an element again, in register operations. */
export class Costs {
  private readonly known = new Map<Value, number>();

  /** The cost of an element from literals, ranges and scalars alone; infinite if it needs memory. */
  of(v: Value): number {
    let cost = this.known.get(v);
    if (cost === undefined) {
      cost = this.compute(v);
      this.known.set(v, cost);
    }
    return cost;
  }

  /** Whether it is better to compute the value wherever it is needed than to keep it. */
  isCheap(v: Value): boolean {
    return this.of(v) <= CHEAP;
  }

  private compute(v: Value): number {
    const op = defOf(v);
    if (v.type.kind === "tile" && v.type.shape.length === 0) return 0;
    if (!op || op.opcode === "load" || op.opcode === "gather" || !isLazy(op)) return Number.POSITIVE_INFINITY;
    let cost = COSTS[op.opcode] ?? (isView(op) ? 0 : 1);
    for (const x of op.operands) cost += this.of(x);
    return cost;
  }

  /** The cost of computing an element where tiles in the frame and loads are free. */
  work(v: Value, isKept: (v: Value) => boolean, seen = new Set<Value>()): number {
    if (seen.has(v)) return 0;
    seen.add(v);
    const op = defOf(v);
    if (!op || isKept(v) || !isLazy(op) || (v.type.kind === "tile" && v.type.shape.length === 0)) return 0;
    if (op.opcode === "load") return 1;
    if (op.opcode === "gather") return 2;
    let cost = COSTS[op.opcode] ?? (isView(op) ? 0 : 1);
    for (const x of op.operands) cost += this.work(x, isKept, seen);
    return cost;
  }
}
