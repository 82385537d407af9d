// Threads that do nothing but start copies of the copy engine (produce-plan.ts says for which loops), and the loop as it then is. Each
// stage has two barriers in shared memory: `full`, where the engine counts the bytes that come, and `empty`, where every subgroup says
// that its products have read them. So no thread of the loop waits for another one, and none computes an address.
//
// Two more pairs belong to what is copied once: its `full` barrier, and `go`, where the subgroups say that the loop begins. The
// barriers are there from the kernel's start on, the parities go on where the loop is entered again.

import type { Block, Op } from "../../ir/index.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import { emitBulk } from "./bulk.js";
import { enter } from "./control.js";
import { emitAgain, type Feed, type Slot, step } from "./feed.js";
import type { Mem, Operand, Place, Reg, Stmt } from "./form.js";
import type { Production } from "./produce-plan.js";
import type { Unit } from "./unit.js";

/** Bytes of a barrier, and of a stage's pair. */
const BARRIER = 8;
const PAIR = 2 * BARRIER;
const [FULL, EMPTY] = [0, BARRIER];

/** A slot of registers. */
interface SlotRegs {
  readonly at: Reg;
  readonly barrier: Reg;
  readonly parity: Reg;
}

export class Producer implements Feed {
  readonly ordered = false;
  /** The stages' memory; {@link Shared.region} places it. */
  readonly mem = { shared: 0 };
  private readonly barriers: Mem;
  readonly read: SlotRegs;
  private readonly write: SlotRegs;
  /** The barriers of the stage of the turn before. */
  private readonly last: Reg;
  /** Parities of what is copied once: for the loop, and for the threads that copy. */
  private readonly once: Reg;
  private readonly go: Reg;
  private readonly subgroups: number;

  constructor(
    private readonly unit: Unit,
    private readonly p: Production,
    private readonly threads: number,
    private readonly subgroup: number,
    /** Nothing else uses the stages' memory: copies for the loop's next run begin while this one's result is used. */
    readonly free = false,
  ) {
    const { e } = unit;
    this.subgroups = threads / subgroup;
    this.barriers = unit.shared.reserve((p.stages + 1) * PAIR);
    const slot = (): SlotRegs => ({ at: e.value("i32"), barrier: e.value("i32"), parity: e.value("i32") });
    [this.read, this.write] = [slot(), slot()];
    [this.last, this.once, this.go] = [e.value("i32"), e.value("i32"), e.value("i32")];
  }

  private place(at: Operand, which: number): Place {
    return { mem: this.barriers, at, plus: which };
  }
  private get oncePair(): number {
    return this.p.stages * PAIR;
  }

  /** What all threads do first. */
  prologue(): void {
    const { e } = this.unit;
    const first = e.op("eq", "mask", 1, [e.simt("threadId", "i32", []), 0]);
    for (let n = 0; n <= this.p.stages; n++)
      for (const [which, count] of [[FULL, 1], [EMPTY, this.subgroups]] as const) // biome-ignore format: one line
        e.push({ s: "bulkBarrier", place: this.place(n * PAIR, which), count, mask: first });
    e.push({ s: "bulkFence" });
    e.push({ s: "barrier", scope: "all" });
    for (const r of [this.read, this.write].flatMap((s) => [s.at, s.barrier, s.parity])) e.assign(r, 0);
    for (const r of [this.last, this.once, this.go]) e.assign(r, 0);
  }

  // The threads that copy.

  /** All that they do. */
  produce(): void {
    this.walk(this.unit.func.body, [...this.p.around, this.p.loop]);
  }

  private walk(block: Block, path: readonly Op[]): void {
    const { unit, p } = this;
    const [next, ...rest] = path as [Op, ...Op[]];
    for (const op of block.ops) {
      if (op === next) break;
      if (p.needed.has(op)) emitAgain(unit, op);
    }
    if (next === p.loop) this.copies();
    else this.loop(next, () => this.walk(next.regions[0]!, rest));
  }

  private loop(op: Op, run: () => void): void {
    const { unit } = this;
    const [lo, hi, by] = op.operands.slice(0, 3).map((v) => unit.scalar(v)) as [Operand, Operand, Operand];
    const iv = unit.e.value(regKind(dtypeOf(op.operands[0]!)));
    const body: Stmt[] = [];
    unit.e.inside(body as never[], () => {
      enter(unit, [op.regions[0]!.args[0]!], [[iv]]);
      run();
    });
    unit.e.push({ s: "for", iv, lo, hi, step: by, body });
  }

  /** True in the thread that copies. */
  private leads(): Operand {
    const { e } = this.unit;
    return e.op("eq", "mask", 1, [e.simt("threadId", "i32", []), this.threads]);
  }

  private copies(): void {
    const { unit, p } = this;
    const { e } = unit;
    const [lo, hi] = p.loop.operands.slice(0, 2).map((v) => unit.scalar(v)) as [Operand, Operand];
    const first = this.leads();
    const expect = (barrier: Operand, bytes: number): void =>
      e.push({ s: "bulkExpect", place: this.place(barrier, FULL), bytes, mask: first });
    const room = (): void => {
      const before = e.reg("i32");
      e.push({ s: "op", op: "xor", dst: before, args: [this.write.parity, 1] });
      e.push({ s: "bulkWait", place: this.place(this.write.barrier, EMPTY), parity: before });
    };
    const run = (): void => {
      if (!this.free) {
        e.push({ s: "bulkWait", place: this.place(this.oncePair, EMPTY), parity: this.go });
        e.push({ s: "op", op: "xor", dst: this.go, args: [this.go, 1] });
      }
      if (p.kept.length > 0) {
        expect(this.oncePair, p.keptBytes);
        const to = { mem: this.mem, at: p.stages * p.stageBytes };
        for (const x of p.kept) emitBulk(unit, x, to, this.place(this.oncePair, FULL), first);
      }
      this.loop(p.loop, () => {
        for (const op of p.loop.regions[0]!.ops) if (p.needed.has(op)) emitAgain(unit, op);
        room();
        expect(this.write.barrier, p.stageBytes);
        const to = { mem: this.mem, at: this.write.at };
        const barrier = this.place(this.write.barrier, FULL);
        for (const x of p.tiles) emitBulk(unit, x, to, barrier, first);
        step(unit, p, this.write, this.write, PAIR);
      });
      if (!p.ahead) return;
      // The last turn waits for one more.
      room();
      expect(this.write.barrier, 0);
      step(unit, p, this.write, this.write, PAIR);
    };
    const some = e.op("ltS", "mask", 1, [lo, hi]);
    if (typeof some === "object") e.when(some, run);
    else if (Number(some)) run();
  }

  // The threads that compute.

  private arrive(barrier: Operand, mask?: Operand): void {
    const { e } = this.unit;
    const lane = e.op("and", "i32", 1, [e.simt("threadId", "i32", []), this.subgroup - 1]);
    const leads = e.op("eq", "mask", 1, [lane, 0]);
    const all = mask === undefined ? leads : e.op("and", "mask", 1, [mask, leads]);
    e.push({ s: "bulkArrive", place: this.place(barrier, EMPTY), mask: all });
  }

  begin(): void {
    if (this.free) return;
    const { e } = this.unit;
    e.push({ s: "bulkFence" });
    e.push({ s: "barrier", scope: "group" });
    this.arrive(this.oncePair);
    if (this.p.kept.length === 0) return;
    e.push({ s: "bulkWait", place: this.place(this.oncePair, FULL), parity: this.once });
    e.push({ s: "op", op: "xor", dst: this.once, args: [this.once, 1] });
  }

  first(): void {
    this.wait(this.read);
  }

  wait(stage: Slot): void {
    const { e } = this.unit;
    e.push({ s: "bulkWait", place: this.place(stage.barrier, FULL), parity: stage.parity });
    e.push({ s: "matrixFence", registers: true });
  }

  after(): Slot {
    const { e } = this.unit;
    const next = { at: e.reg("i32"), barrier: e.reg("i32"), parity: e.reg("i32") };
    step(this.unit, this.p, this.read, next, PAIR);
    for (const r of Object.values(next)) e.settle(r);
    return next;
  }

  refill(): void {}

  freeLast(iv: Operand): void {
    const lo = this.unit.scalar(this.p.loop.operands[0]!);
    this.arrive(this.last, this.unit.e.op("gtS", "mask", 1, [iv, lo]));
  }

  freeThis(): void {
    this.arrive(this.read.barrier);
  }

  advance(): void {
    this.unit.e.push({ s: "op", op: "copy", dst: this.last, args: [this.read.barrier] });
    step(this.unit, this.p, this.read, this.read, PAIR);
  }

  end(late: boolean): void {
    if (late) this.arrive(this.last);
    if (!this.p.ahead) return;
    this.arrive(this.read.barrier);
    step(this.unit, this.p, this.read, this.read, PAIR);
  }
}
