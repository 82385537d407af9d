// Shared memory and the barriers that order it and the buffers between the threads of a program.
//
// Scratch for conversions and reductions is one area, reused by each; a barrier stands between the reads of one use and the
// writes of the next. Buffers need one where elements that a thread accesses may have been accessed by another before.

import { DTYPES, type DType, isNarrowFloat, numel, type Op, type Value } from "../../ir/index.js";
import { walk, opDef, type Block } from "../../ir/index.js";
import type { SimtEmitter } from "./emit.js";
import type { MemKind, Operand, Reg, RegKind } from "./form.js";
import { type Layout, sameLayout, isReplicated } from "./layout.js";
import { fromNarrowBits, toNarrowBits } from "../simd/narrow.js";
import { dtypeOf, memKind, regKind } from "../simd/kinds.js";

interface Access {
  readonly buffer: Value;
  readonly offset: Value;
  readonly writes: boolean;
  /** An atomic operation that promises no order. */
  readonly relaxed: boolean;
  readonly layout: Layout;
}

interface Region {
  readonly mem: { shared: number };
  readonly bytes: number;
  readonly align: number;
  /** Scratch is used at the same time. */
  readonly alone: boolean;
}

export class Shared {
  /** Bytes used so far at most. */
  bytes = 0;
  /** Scratch may be read since the last barrier. */
  private dirty = false;
  private pending: Access[] = [];

  constructor(
    private readonly e: SimtEmitter,
    private readonly threads: number,
    private readonly layoutOf: (op: Op) => Layout,
  ) {}

  private readonly regions: Region[] = [];
  private readonly reserved: {
    readonly mem: { shared: number };
    readonly bytes: number;
    readonly align: number;
  }[] = [];
  private uses = 0;

  /**
   * Memory for as long as `run` emits code that uses it; that must leave no access under way. Where it begins is known only at
   * the end, see {@link place}: it lies over the scratch if `run` needs none of that.
   */
  region<T>(
    bytes: number,
    align: number,
    run: (mem: { readonly shared: number }) => T,
    mem = { shared: 0 },
  ): T {
    this.barrier();
    const before = this.uses;
    const result = run(mem);
    this.regions.push({ mem, bytes, align, alone: this.uses !== before });
    this.dirty = true;
    return result;
  }

  /** Memory that is used from the start to the end, for nothing else. */
  reserve(bytes: number, align = 16, mem = { shared: 0 }): { readonly shared: number } {
    this.reserved.push({ mem, bytes, align });
    return mem;
  }

  /** Gives the regions their places. */
  place(): void {
    const scratch = this.bytes;
    for (const { mem, bytes, align, alone } of this.regions) {
      mem.shared = alone ? Math.ceil(scratch / align) * align : 0;
      this.bytes = Math.max(this.bytes, mem.shared + bytes);
    }
    this.regions.length = 0;
    for (const { mem, bytes, align } of this.reserved) {
      mem.shared = Math.ceil(this.bytes / align) * align;
      this.bytes = mem.shared + bytes;
    }
  }

  /** All threads arrive; what they wrote is seen. */
  barrier(): void {
    const global = this.pending.some((a) => a.writes && !a.relaxed);
    if (this.threads > 1) this.e.push({ s: "barrier", scope: "group", ...(global ? { global } : {}) });
    this.dirty = false;
    this.pending = [];
  }

  /** Scratch of so many bytes, free to be written; the caller reads after a barrier. */
  scratch(bytes: number): void {
    this.uses++;
    if (this.dirty) this.barrier();
    this.bytes = Math.max(this.bytes, bytes);
  }

  /** Scratch is read from here on. */
  touch(): void {
    this.dirty = true;
  }

  /** Orders an access to a buffer after those before it. */
  access(op: Op): void {
    const now = this.accessOf(op);
    if (this.pending.some((before) => conflicts(before, now))) this.barrier();
    this.pending.push(now);
  }

  /** Runs the body of a loop: what it does last may come before what it does first, or not happen at all. */
  loop(blocks: readonly Block[], run: () => void): void {
    const before = this.pending;
    const inside: Access[] = [];
    for (const b of blocks)
      walk(b, (op) => {
        if (opDef(op.opcode).memory) inside.push(this.accessOf(op));
      });
    this.pending = [...before, ...inside];
    this.dirty = true;
    run();
    this.pending.push(...before);
    this.dirty = true;
  }

  /** Runs each branch from the same state; afterwards all of them may have run. */
  branches(runs: readonly (() => void)[]): void {
    const [dirty, pending] = [this.dirty, this.pending];
    const after: Access[] = [...pending];
    let used = dirty;
    for (const run of runs) {
      this.dirty = dirty;
      this.pending = [...pending];
      run();
      used ||= this.dirty;
      after.push(...this.pending);
    }
    this.dirty = used;
    this.pending = after;
  }

  private accessOf(op: Op): Access {
    const [buffer, offset] = op.operands as [Value, Value];
    const relaxed = op.attrs["order"] === "relaxed";
    return { buffer, offset, relaxed, writes: opDef(op.opcode).memory !== "read", layout: this.layoutOf(op) };
  }
}

/** Whether a thread may access what another one accessed. Different parameters meet only element by element. */
function conflicts(before: Access, now: Access): boolean {
  if ((!before.writes && !now.writes) || (before.relaxed && now.relaxed)) return false;
  const sameThread = sameLayout(before.layout, now.layout) && !isReplicated(now.layout);
  if (before.buffer !== now.buffer) return !before.writes && !sameThread && mayMeet(before, now);
  return !(sameThread && before.offset === now.offset);
}

/** Where two parameters are the same memory, tiles are the same elements of it in the same order, or have none in common. */
const mayMeet = (a: Access, b: Access): boolean =>
  numel(a.layout.shape) === numel(b.layout.shape) &&
  sharedBytes(dtypeOf(a.buffer)) === sharedBytes(dtypeOf(b.buffer));

/** How elements of a dtype stand in shared memory: no precision is lost. */
export const sharedKind = (d: DType): MemKind => memKind(d);
export const sharedBytes = (d: DType): number => DTYPES[d].bytes;

/** A value as it goes to memory. */
export function toMemory(e: SimtEmitter, d: DType, x: Operand): Operand {
  if (d === "bool") return e.op("fromMask", "i32", 1, [x]);
  return isNarrowFloat(d) ? toNarrowBits(e, d, x, 1) : x;
}
/** A value as it comes from memory. */
export function fromMemory(e: SimtEmitter, d: DType, x: Operand): Operand {
  if (d === "bool") return e.op("ne", "mask", 1, [x, 0]);
  return isNarrowFloat(d) ? fromNarrowBits(e, d, x, 1) : x;
}
export const memoryReg = (d: DType): RegKind => (d === "bool" || isNarrowFloat(d) ? "i32" : regKind(d));

/** Writes one element of a dtype to the byte `at + plus` of shared memory. */
export function storeShared(
  e: SimtEmitter,
  d: DType,
  at: Operand,
  plus: number,
  x: Operand,
  mask: Operand = 1,
): void {
  e.push({
    s: "store",
    values: [toMemory(e, d, x)],
    type: { kind: memoryReg(d), lanes: 1 },
    kind: sharedKind(d),
    mem: { shared: 0 },
    at,
    plus,
    ...(mask === 1 ? {} : { mask }),
  });
}

export function loadShared(e: SimtEmitter, d: DType, at: Operand, plus: number): Operand {
  const dst: Reg = e.value(memoryReg(d));
  e.push({ s: "load", dst: [dst], kind: sharedKind(d), mem: { shared: 0 }, at, plus });
  return fromMemory(e, d, dst);
}
