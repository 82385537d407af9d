// The stages of shared memory through which a loop's operands stream, as the loop sees them; here those that its own threads fill by
// asynchronous copies. Threads that only copy are produce.ts. What is done with the operands stands in pipeline.ts and stream.ts.

import type { Op, Value } from "../../ir/index.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import { enter } from "./control.js";
import type { Mem, Operand, Reg } from "./form.js";
import { emitOp } from "./lower.js";
import { copyPanels } from "./panels.js";
import type { Streaming } from "./produce-plan.js";
import type { Unit } from "./unit.js";

/** A stage: its first byte; where others fill it, its barriers' byte and the parity of the turn in which they do. */
export interface Slot {
  readonly at: Operand;
  readonly barrier: Operand;
  readonly parity: Operand;
}

/** What a loop asks of its stages. Turn i works on stage i modulo their number. */
export interface Feed {
  /** The stage of this turn. */
  readonly read: Slot;
  /** Starts the first copies. */
  begin(): void;
  /** Before the first turn: its operands, and what stays, are there. Only where a turn waits for the next one's. */
  first(): void;
  /** The operands of a stage are there, for all threads and for matrix units: of this turn, or of the one `after`. */
  wait(stage: Slot, ahead: boolean): void;
  after(): Slot;
  /** The stage that turn i - 1, or with `pipelined` turn i - 2, has read is free for all threads: brings what comes into it. */
  refill(iv: Operand): void;
  /** The products of the turn before have ended in this thread, or those of this turn. */
  freeLast(iv: Operand): void;
  freeThis(): void;
  /** The next turn. */
  advance(): void;
  /** After the last turn and all products; `late`: its stage has not been freed. */
  end(late: boolean): void;
  /** Group barriers between turns are needed. */
  readonly ordered: boolean;
}

/** Emits an op that may have been emitted for another turn. */
export function emitAgain(unit: Unit, op: Op): void {
  for (const v of op.results) unit.forget(v);
  emitOp(unit, op);
}

/** A register that may be read as often as one likes. */
export function stable(unit: Unit, kind: "i32" | "i64" | "f32" | "f64" | "mask", x: Operand): Operand {
  if (typeof x === "object") return x;
  const r = unit.e.value(kind);
  unit.e.assign(r, x);
  return r;
}

/** Changes the first byte of a stage to that of the next one; after the last comes the first. */
export function advance(unit: Unit, at: Reg, s: Pick<Streaming, "stages" | "stageBytes">): void {
  step(unit, s, { at, barrier: 0, parity: 0 }, { at });
}

/** Puts the stage after `from` into `to`; after the last comes the first. */
export function step(
  unit: Unit,
  { stages, stageBytes }: Pick<Streaming, "stages" | "stageBytes">,
  from: Slot,
  to: { readonly at: Reg; readonly barrier?: Reg; readonly parity?: Reg },
  barrierBytes = 0,
): void {
  const { e } = unit;
  const last = e.reg("mask");
  e.push({ s: "op", op: "eq", dst: last, args: [from.at, (stages - 1) * stageBytes] });
  const wrapped = (x: Operand, by: number, dst: Reg): void => {
    const next = e.reg("i32");
    e.push({ s: "op", op: "add", dst: next, args: [x, by] });
    e.push({ s: "op", op: "select", dst, args: [last, 0, next] });
  };
  wrapped(from.at, stageBytes, to.at);
  if (to.barrier) wrapped(from.barrier, barrierBytes, to.barrier);
  if (!to.parity) return;
  const turned = e.reg("i32");
  e.push({ s: "op", op: "xor", dst: turned, args: [from.parity, 1] });
  e.push({ s: "op", op: "select", dst: to.parity, args: [last, turned, from.parity] });
}

/** Stages that the loop's threads fill themselves: `filled` turns are under way before the first. */
export class ThreadFeed implements Feed {
  readonly ordered = true;
  private readonly at: Reg;
  private readonly to: Reg;
  private readonly slice: readonly Op[];
  private readonly kind: "i32" | "i64";

  constructor(
    private readonly unit: Unit,
    private readonly s: Streaming,
    private readonly mem: Mem,
    private readonly filled: number,
  ) {
    this.kind = regKind(dtypeOf(s.loop.operands[0]!)) as "i32" | "i64";
    const loads = s.tiles.map((x) => x.load);
    this.slice = sliceOf(s.loop, loads);
    [this.at, this.to] = [unit.e.value("i32"), unit.e.value("i32")];
  }

  get read(): Slot {
    return { at: this.at, barrier: 0, parity: 0 };
  }

  begin(): void {
    const { unit, s, filled } = this;
    const keptAt = s.stages * s.stageBytes;
    for (const x of s.kept) copyPanels(unit, x, this.mem, keptAt, 1);
    const lo = unit.scalar(s.loop.operands[0]!);
    for (let n = 0; n < filled; n++) this.issue(this.later(lo, n), n * s.stageBytes);
    unit.e.assign(this.at, 0);
    unit.e.assign(this.to, filled * s.stageBytes);
  }

  /** The loop's variable so many turns later. */
  private later(iv: Operand, turns: number): Operand {
    const { e } = this.unit;
    const by = e.op("mul", this.kind, 1, [this.unit.scalar(this.s.loop.operands[2]!), this.kind === "i64" ? BigInt(turns) : turns]); // biome-ignore format: one line
    const x = e.op("add", this.kind, 1, [iv, by]);
    return stable(this.unit, this.kind, x);
  }

  private issue(iv: Operand, at: Operand): void {
    const { unit, s } = this;
    const { e } = unit;
    enter(unit, [s.loop.regions[0]!.args[0]!], [[iv as Reg]]);
    const live = e.op("ltS", "mask", 1, [iv, unit.scalar(s.loop.operands[1]!)]);
    for (const op of this.slice) emitAgain(unit, op);
    for (const x of s.tiles) copyPanels(unit, x, this.mem, at, live);
    e.push({ s: "copyCommit" });
  }

  first(): void {
    this.arrived(this.filled - 1);
  }

  wait(_stage: Slot, ahead: boolean): void {
    this.arrived(this.filled - (ahead ? 2 : 1));
  }

  /** All but the last `pending` turns' copies are there, for all threads and for the matrix units. */
  private arrived(pending: number): void {
    const { e } = this.unit;
    e.push({ s: "copyWait", pending });
    e.push({ s: "matrixFence" });
    e.push({ s: "barrier", scope: "group" });
  }

  after(): Slot {
    const at = this.unit.e.reg("i32");
    step(this.unit, this.s, this.read, { at });
    this.unit.e.settle(at);
    return { at, barrier: 0, parity: 0 };
  }

  refill(iv: Operand): void {
    this.issue(this.later(iv, this.filled), this.to);
    enter(this.unit, [this.s.loop.regions[0]!.args[0]!], [[iv as Reg]]);
  }

  freeLast(): void {}
  freeThis(): void {}

  advance(): void {
    for (const at of [this.at, this.to]) step(this.unit, this.s, { at, barrier: 0, parity: 0 }, { at });
  }

  end(): void {
    this.unit.e.push({ s: "copyWait", pending: 0 });
  }
}

/** The ops of the body that the loads' addresses and masks are made of, in order. */
export function sliceOf(loop: Op, loads: readonly Op[]): Op[] {
  const body = loop.regions[0]!;
  const wanted = new Set<Op>();
  const visit = (v: Value): void => {
    const op = v.def && "opcode" in v.def ? v.def : undefined;
    if (!op || op.parent !== body || wanted.has(op)) return;
    wanted.add(op);
    op.operands.forEach(visit);
  };
  for (const load of loads) load.operands.slice(1, 3).forEach(visit);
  return body.ops.filter((op) => wanted.has(op));
}
