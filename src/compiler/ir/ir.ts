// The tile IR: values, operations, blocks and functions in SSA form with structured control flow.
// What the single operations mean stands in `ops/`, one file per family.

import type { Type } from "./type.js";

/** Where an operation comes from: character offsets into the kernel's (or helper's) own source text. */
export interface Loc {
  /** The function whose text is meant: an index into {@link Func.sources}. */
  readonly source: number;
  readonly start: number;
  readonly end: number;
  /** The call that inlined the helper this stands in. */
  readonly caller?: Loc;
}

/** Constants of i64 and u64 are bigint; all other constants are number (`bool`: 0 or 1). */
export type ConstValue = number | bigint;
export type Attr = string | number | bigint | boolean | readonly number[];

export class Value {
  readonly uses = new Set<Op>();
  /** The op that made this value, or the block whose argument it is. */
  def: Op | Block | undefined;
  /** A name for dumps: the author's variable where known. */
  name: string | undefined;
  constructor(public type: Type) {}
}

export class Op {
  parent: Block | undefined;
  readonly results: Value[];
  constructor(
    readonly opcode: string,
    readonly operands: Value[],
    resultTypes: readonly Type[],
    readonly attrs: Record<string, Attr> = {},
    readonly regions: Block[] = [],
    readonly loc?: Loc,
  ) {
    this.results = resultTypes.map((t) => {
      const v = new Value(t);
      v.def = this;
      return v;
    });
    for (const v of operands) v.uses.add(this);
    for (const b of regions) b.parent = this;
  }

  /** The only result; throws where there is not exactly one. */
  get result(): Value {
    if (this.results.length !== 1) throw new Error(`${this.opcode} has ${this.results.length} results`);
    return this.results[0]!;
  }

  setOperand(i: number, v: Value): void {
    const old = this.operands[i]!;
    this.operands[i] = v;
    if (!this.operands.includes(old)) old.uses.delete(this);
    v.uses.add(this);
  }

  /** Takes the op out of its block and out of the use lists of its operands. */
  erase(): void {
    const at = this.parent?.ops.indexOf(this) ?? -1;
    if (at >= 0) this.parent!.ops.splice(at, 1);
    this.parent = undefined;
    for (const v of this.operands) v.uses.delete(this);
    for (const block of this.regions) for (const op of [...block.ops]) op.erase();
  }
}

/** A straight list of ops with arguments. A region is one block; its last op is `yield` (or `condition`). */
export class Block {
  parent: Op | Func | undefined;
  readonly ops: Op[] = [];
  readonly args: Value[];
  constructor(argTypes: readonly Type[] = []) {
    this.args = argTypes.map((t) => {
      const v = new Value(t);
      v.def = this;
      return v;
    });
  }

  push(op: Op): Op {
    op.parent = this;
    this.ops.push(op);
    return op;
  }

  insertBefore(anchor: Op, op: Op): Op {
    op.parent = this;
    this.ops.splice(this.ops.indexOf(anchor), 0, op);
    return op;
  }

  get terminator(): Op | undefined {
    return this.ops.at(-1);
  }
}

/** One specialised kernel. Its parameters are the arguments of `body`: buffers and scalars, in ABI order. */
export class Func {
  readonly paramNames: string[];
  /** The texts that {@link Loc} points into: 0 is the kernel, the rest its helpers. */
  sources: { name: string; text: string }[] = [];
  /**
   * What is known of the parameters, in their order: a scalar's value, or a buffer's address in bytes, is a
   * multiple of `divisibility` (1: nothing known). Read by `passes/analyze-axes`.
   */
  paramFacts?: { divisibility: number }[];
  /** What the author claims of values, after the ops that said so are gone. Kept by `passes/drop-hints`, read by `passes/analyze-axes`. */
  claims?: {
    readonly hints: ReadonlyMap<Value, readonly Op[]>;
    readonly assumed: ReadonlyMap<Value, { readonly divisibility: number; readonly nonNegative: boolean }>;
  };
  constructor(
    readonly name: string,
    params: readonly { name: string; type: Type }[],
    readonly body: Block = new Block(params.map((p) => p.type)),
  ) {
    this.paramNames = params.map((p) => p.name);
    body.parent = this;
    body.args.forEach((a, i) => {
      a.name = params[i]!.name;
    });
  }
}

/** Makes every use of `from` use `to` instead. */
export function replaceAllUses(from: Value, to: Value): void {
  for (const op of [...from.uses])
    op.operands.forEach((v, i) => {
      if (v === from) op.setOperand(i, to);
    });
}

/** Calls `fn` for every op in the block and in nested regions, outer before inner. `fn` may erase the op it is given. */
export function walk(block: Block, fn: (op: Op) => void): void {
  for (const op of [...block.ops]) {
    fn(op);
    if (op.parent) for (const r of op.regions) walk(r, fn);
  }
}
