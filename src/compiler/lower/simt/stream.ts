// A loop of several products whose operands stream through shared memory (see stream-plan.ts). Products are started as soon as
// their operands are there and waited for where their results are used, so that a softmax runs beside a product.
//
// With S stages, turn i uses stage i % S. A turn that is complete at its end leaves its stage to the next one, which refills it.
// Where early products run ahead, turn i starts those of turn i + 1 before it does anything else, and the products that end in
// variables of the loop go on in the next turn, until that reads the variable; only then, after one more barrier, is the stage
// refilled. So matrix units work while the threads compute weights.

import type { Op, Value } from "../../ir/index.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import { assignYield, carry, enter, publish } from "./control.js";
import type { Mem, Operand, Reg, Stmt } from "./form.js";
import { ATOM, copyPanels, matrixAt, offsetOf } from "./panels.js";
import { advance, emitAgain, sliceOf, stable } from "./pipeline.js";
import { leftOf } from "./stream-operands.js";
import { beginsAtZero, type PanelOperand, rowsLayout, type Stream, type StreamDot } from "./stream-plan.js"; // biome-ignore format: one line
import { registerSums, threadSum } from "./threads.js";
import type { Unit } from "./unit.js";

export function emitStream(unit: Unit, s: Stream): void {
  for (const x of [...s.streamed, ...s.kept]) unit.shared.access(x.load);
  const bytes = s.stages * s.stageBytes + s.keptBytes;
  unit.shared.region(bytes, ATOM, (mem) => new Streamed(unit, s, mem).emit());
}

/** A product under way. */
interface Pending {
  readonly d: StreamDot;
  readonly regs: readonly Reg[];
}

class Streamed {
  private pending: Pending[] = [];
  /** Products of the turn before that may be under way. */
  private late: StreamDot[] = [];
  /** What is done once they have ended. */
  private refill: (() => void) | undefined;
  private readonly kind: "i32" | "i64";
  private readonly keptAt: number;

  constructor(
    private readonly unit: Unit,
    private readonly s: Stream,
    private readonly mem: Mem,
  ) {
    this.kind = regKind(dtypeOf(s.loop.operands[0]!)) as "i32" | "i64";
    this.keptAt = s.stages * s.stageBytes;
    this.lagging = this.laggingOf();
  }

  emit(): void {
    const { unit, s } = this;
    const { e } = unit;
    const { loop } = s;
    const [lo, hi] = loop.operands.slice(0, 2).map((v) => unit.scalar(v)) as [Operand, Operand];
    const regs = carry(unit, loop.results, loop.operands.slice(3));
    const some = e.op("ltS", "mask", 1, [lo, hi]);
    const run = (): void => this.turns(regs);
    if (typeof some === "object") e.when(some, run);
    else if (Number(some)) run();
    publish(unit, loop, regs);
  }

  private turns(regs: readonly Reg[][]): void {
    const { unit, s, mem } = this;
    const { e, shared } = unit;
    const { loop, stages, stageBytes } = s;
    const body = loop.regions[0]!;
    const [lo, hi, step] = loop.operands.slice(0, 3).map((v) => unit.scalar(v)) as [Operand, Operand, Operand]; // biome-ignore format: one line
    const slice = sliceOf(
      loop,
      s.streamed.map((p) => p.load),
    );
    const later = (iv: Operand, turns: number): Operand => {
      const by = e.op("mul", this.kind, 1, [step, this.kind === "i64" ? BigInt(turns) : turns]);
      return stable(unit, this.kind, e.op("add", this.kind, 1, [iv, by]));
    };
    const issue = (iv: Operand, at: Operand): void => {
      enter(unit, [body.args[0]!], [[iv as Reg]]);
      const live = e.op("ltS", "mask", 1, [iv, hi]);
      for (const op of slice) emitAgain(unit, op);
      for (const x of s.streamed) copyPanels(unit, x, mem, at, live);
      e.push({ s: "copyCommit" });
    };
    const early = s.dots.filter((d) => d.early);
    for (const x of s.kept) copyPanels(unit, x, mem, this.keptAt, 1);
    const filled = stages - 1;
    for (let n = 0; n < filled; n++) issue(later(lo, n), n * stageBytes);
    const [read, write] = [e.value("i32"), e.value("i32")];
    e.assign(read, 0);
    e.assign(write, filled * stageBytes);
    // Results of early products of this turn, made in the turn before.
    const made = s.ahead ? early.map((d) => this.room(d)) : [];
    if (s.ahead) {
      this.arrived(filled - 1);
      early.forEach((d, i) => void this.start(d, 0, made[i]!));
      this.waitAll();
    }
    const iv = e.value(this.kind);
    const list: Stmt[] = [];
    shared.loop(loop.regions, () =>
      e.inside(list as never[], () => {
        enter(unit, body.args.slice(1), regs);
        this.arrived(s.ahead ? filled - 2 : filled - 1);
        let next: Reg[][] = [];
        if (s.ahead) {
          const after = e.reg("i32");
          e.assign(after, read);
          advance(unit, after, s);
          e.settle(after);
          next = early.map((d) => this.room(d));
          early.forEach((d, i) => void this.start(d, after, next[i]!));
        }
        const fill = (): void => {
          issue(later(iv, filled), write);
          enter(unit, [body.args[0]!], [[iv]]);
        };
        const hand = (): void => {
          next.forEach((from, i) => {
            from.forEach((r, n) => void e.assign(made[i]![n]!, r));
          });
        };
        if (this.lagging.length > 0) {
          enter(unit, [body.args[0]!], [[iv]]);
          this.late = this.lagging;
          this.refill = () => {
            hand();
            fill();
          };
        } else fill();
        if (s.ahead)
          early.forEach((d, i) => {
            for (const r of made[i]!) e.settle(r);
            this.unit.define(d.dot.result, unit.plan.anchor(d.dot.result), made[i]!);
          });
        else
          for (const d of early) {
            const room = this.room(d);
            this.pending.push({ d, regs: room });
            this.start(d, read, room);
          }
        this.body(read, regs);
        this.finishTurn();
        assignYield(unit, loop, body.terminator!.operands, regs);
        if (this.lagging.length === 0) hand();
        for (const slot of [read, write]) advance(unit, slot, s);
      }),
    );
    e.push({ s: "for", iv, lo, hi, step, body: list });
    e.push({ s: "matrixWait", pending: 0 });
    e.push({ s: "copyWait", pending: 0 });
  }

  /** Products that go on in the next turn. */
  private readonly lagging: StreamDot[];

  /** Those whose variable is read only where nothing needs the results of early products any more: they make room there. */
  private laggingOf(): StreamDot[] {
    const { s } = this;
    const { ops, args } = s.loop.regions[0]!;
    const some = s.ahead ? s.dots.filter((d) => d.carried !== undefined) : [];
    const variables = new Set(some.map((d) => args[d.carried! + 1]!));
    const early = new Set(s.dots.filter((d) => d.early).map((d) => d.dot.result));
    const from = ops.findIndex((op) => readsOf(op).some((v) => variables.has(v)));
    return ops.slice(Math.max(from, 0)).some((op) => readsOf(op).some((v) => early.has(v))) ? [] : some;
  }

  /** Waits for all products of a turn but those that go on. */
  private finishTurn(): void {
    const { plan } = this.unit;
    if (this.lagging.length === 0) {
      this.waitAll();
      return;
    }
    for (const { d, regs } of this.pending) this.unit.define(d.dot.result, plan.anchor(d.dot.result), regs);
    this.pending = [];
  }

  /** All but the last `pending` turns' copies are there, for all threads and for the matrix units. */
  private arrived(pending: number): void {
    const { e } = this.unit;
    e.push({ s: "copyWait", pending });
    e.push({ s: "matrixFence" });
    e.push({ s: "barrier", scope: "group" });
  }

  private body(stage: Operand, regs: readonly Reg[][]): void {
    const { unit, s } = this;
    const block = s.loop.regions[0]!;
    const copied = new Set([...s.streamed, ...s.kept].map((p) => p.load));
    for (const op of block.ops) {
      if (op === block.terminator || copied.has(op)) continue;
      const d = s.dots.find((x) => x.dot === op);
      if (d?.early) continue;
      this.need(op);
      if (!d) {
        emitAgain(unit, op);
        continue;
      }
      const going = this.lagging.includes(d);
      const sums = going ? this.into(d, regs[d.carried!]!) : this.room(d);
      this.pending.push({ d, regs: sums });
      this.start(d, stage, sums);
    }
    if (this.refill) this.ended();
    const { operands } = block.terminator!;
    this.need(block.terminator!, new Set(this.lagging.map((d) => operands[d.carried!]!)));
  }

  /** The variable's own registers, with what is added to. */
  private into(d: StreamDot, own: readonly Reg[]): readonly Reg[] {
    const { e, plan } = this.unit;
    const from = this.unit.get(d.dot.operands[2]!, plan.anchor(d.dot.result));
    own.forEach((r, i) => {
      if (from[i] !== r) e.assign(r, from[i]!);
    });
    return own;
  }

  /** The products of the turn before have ended, for all threads: their stage is free. */
  private ended(): void {
    const { e } = this.unit;
    e.push({ s: "matrixWait", pending: 0 });
    e.push({ s: "barrier", scope: "group" });
    const fill = this.refill;
    this.refill = undefined;
    this.late = [];
    fill?.();
  }

  /** Registers for the sums of a product; they begin with what is added to, if that is not zero. */
  private room(d: StreamDot): Reg[] {
    const { e, plan } = this.unit;
    const l = plan.anchor(d.dot.result);
    const first = beginsAtZero(d.dot) ? undefined : this.unit.get(d.dot.operands[2]!, l);
    return Array.from({ length: 1 << l.registers.length }, (_, r): Reg => {
      const reg = e.reg("f32");
      if (first) e.assign(reg, first[r]!);
      return reg;
    });
  }

  /** Waits for the products that an op reads, of this turn and of the one before. */
  private need(op: Op, but: ReadonlySet<Value> = new Set()): void {
    const reads = new Set(readsOf(op));
    for (const v of but) reads.delete(v);
    const args = this.s.loop.regions[0]!.args;
    if (this.refill && this.late.some((d) => reads.has(args[d.carried! + 1]!))) this.ended();
    let last = -1;
    this.pending.forEach((p, i) => {
      if (reads.has(p.d.dot.result)) last = i;
    });
    if (last >= 0) this.wait(last);
  }

  private wait(last: number): void {
    const { e, plan } = this.unit;
    const done = this.pending.splice(0, last + 1);
    e.push({ s: "matrixWait", pending: this.pending.length });
    for (const { d, regs } of done) {
      for (const r of regs) e.settle(r);
      this.unit.define(d.dot.result, plan.anchor(d.dot.result), regs);
    }
  }

  private waitAll(): void {
    if (this.pending.length > 0) this.wait(this.pending.length - 1);
    else this.unit.e.push({ s: "matrixWait", pending: 0 });
  }

  /** Starts the products of one dot in the stage that begins at `stage`. */
  private start(d: StreamDot, stage: Operand, sums: readonly Reg[]): void {
    const { unit, s } = this;
    const { e, plan } = unit;
    const acc = plan.anchor(d.dot.result);
    const cols = acc.shape[1]!;
    const size = 2 ** d.unit.c.registers.length;
    const repeats = registerSums(
      { ...acc, registers: acc.registers.slice(d.unit.c.registers.length) },
      (bit) => bit,
    );
    const from = (x: PanelOperand): Operand => (s.kept.includes(x.panels) ? this.keptAt : stage);
    // Each group of four subgroups has rows of its own.
    const groups = acc.threads.slice(d.unit.c.threads.length);
    const lanes: number[] = Array(d.unit.c.threads.length).fill(0);
    const left = d.a;
    const atA = left && e.op("add", "i32", 1, [
      threadSum(e, [...lanes, ...groups.map((bit) => offsetOf(left.panels, left.kDim, 0, bit / cols))]),
      from(left),
    ]); // biome-ignore format: one sum
    const atB = from(d.b);
    const [, k] = rowsOf(d.dot.operands[0]!);
    const packed = left ? undefined : this.packed(d);
    const zero = beginsAtZero(d.dot);
    e.push({ s: "matrixFence", registers: true });
    for (let at = 0; at < k; at += d.unit.k)
      repeats.forEach((n, i) => {
        const regs = sums.slice(i * size, i * size + size);
        const [row, col] = [Math.floor(n / cols), n % cols];
        e.push({
          s: "matrix",
          matrix: d.index,
          d: regs,
          a: left ? matrixAt(left.panels, this.mem, atA!, left.kDim, at, row) : packed!(at, row),
          b: matrixAt(d.b.panels, this.mem, atB, d.b.kDim, at, col),
          c: regs,
          isAsync: true,
          ...(zero && at === 0 ? { first: 1 } : {}),
        });
      });
    e.push({ s: "matrixCommit" });
  }

  /** The registers of a computed left operand, in pairs: by the place along K and the row. */
  private packed(d: StreamDot): (k: number, row: number) => Operand[] {
    const { e } = this.unit;
    const { value, dtype } = leftOf(d.dot);
    const l = rowsLayout(rowsOf(value), this.s.threads);
    const values = this.unit.get(value, l);
    const words: Operand[] = [];
    for (let r = 0; r < values.length; r += 2) {
      const both = e.unpacked(values[r]!, values[r + 1]!);
      const op = dtype === "f16" ? "packF16" : "packBf16";
      words.push(both ?? e.simt(op, "i32", [values[r]!, values[r + 1]!]));
    }
    const places = registerSums(l, (bit) => bit);
    const cols = l.shape[1]!;
    return (k, row) => {
      const first = places.indexOf(row * cols + k);
      return words.slice(first / 2, first / 2 + 4);
    };
  }
}

const rowsOf = (v: Value): readonly [number, number] =>
  (v.type as { shape: readonly number[] }).shape as readonly [number, number];

/** What an op and those within it read. */
function readsOf(op: Op): Value[] {
  return [...op.operands, ...op.regions.flatMap((r) => r.ops.flatMap(readsOf))];
}
