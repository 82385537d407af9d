// A loop of several products whose operands stream through shared memory (see stream-plan.ts). Products are started as soon as
// their operands are there and waited for where their results are used, so that a softmax runs beside a product.
//
// With S stages, turn i uses stage i % S. A turn that is complete at its end leaves its stage to the next one, which refills it.
// Where early products run ahead, turn i starts those of turn i + 1 before it does anything else, and the products that end in
// variables of the loop go on in the next turn, until that reads the variable; only then, after one more barrier, is the stage
// refilled. So matrix units work while the threads compute weights.
//
// Where other threads fill the stages (produce.ts), groups of threads need not keep step, and one's products run beside another's
// weights. Then a chain takes fewer registers: the early products of turn i + 1 are started in the registers of this turn's, as soon as
// their weights are made and just before the products that take those; these go on while the next weights are computed.

import type { Op, Value } from "../../ir/index.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import { assignYield, carry, enter, publish } from "./control.js";
import type { Mem, Operand, Reg, Stmt } from "./form.js";
import { emitAgain, type Feed, ThreadFeed } from "./feed.js";
import { ATOM, matrixAt, offsetOf } from "./panels.js";
import { leftOf } from "./stream-operands.js";
import { beginsAtZero, type PanelOperand, rowsLayout, type Stream, type StreamDot } from "./stream-plan.js"; // biome-ignore format: one line
import { registerSums, threadSum } from "./threads.js";
import type { Unit } from "./unit.js";

export function emitStream(unit: Unit, s: Stream): void {
  for (const x of [...s.tiles, ...s.kept]) unit.shared.access(x.load);
  const { producer } = unit;
  const run = (mem: Mem): void =>
    new Streamed(unit, s, mem, producer ?? new ThreadFeed(unit, s, mem, s.stages - 1)).emit();
  unit.shared.region(s.stages * s.stageBytes + s.keptBytes, ATOM, run, producer?.mem);
}

/** Registers that sums and left operands may take where products go on in the next turn, of 240. */
const MOST_LATE = 208;

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
    private readonly feed: Feed,
  ) {
    this.kind = regKind(dtypeOf(s.loop.operands[0]!)) as "i32" | "i64";
    this.keptAt = s.stages * s.stageBytes;
    this.chained = unit.producer !== undefined && s.chain;
    this.ahead = this.chained || s.ahead;
    this.lagging = this.laggingOf();
  }

  private readonly chained: boolean;
  /** Early products are started in the turn before. */
  private readonly ahead: boolean;

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
    const { unit, s, feed } = this;
    const { e, shared } = unit;
    const { loop } = s;
    const body = loop.regions[0]!;
    const [lo, hi, step] = loop.operands.slice(0, 3).map((v) => unit.scalar(v)) as [Operand, Operand, Operand]; // biome-ignore format: one line
    const early = s.dots.filter((d) => d.early);
    feed.begin();
    // Results of early products of this turn, made in the turn before.
    const made = this.ahead ? early.map((d) => this.room(d)) : [];
    if (this.ahead) {
      feed.first();
      early.forEach((d, i) => void this.start(d, feed.read.at, made[i]!));
      this.waitAll();
    }
    const iv = e.value(this.kind);
    const list: Stmt[] = [];
    shared.loop(loop.regions, () =>
      e.inside(list as never[], () => {
        enter(unit, body.args.slice(1), regs);
        let next: Reg[][] = [];
        if (this.chained)
          this.chain = () => {
            const at = this.next ?? this.waitAfter();
            early.forEach((d, i) => void this.start(d, at, made[i]!));
          };
        else if (s.ahead) {
          const after = feed.after();
          feed.wait(after, true);
          next = early.map((d) => this.room(d));
          early.forEach((d, i) => void this.start(d, after.at, next[i]!));
        } else feed.wait(feed.read, false);
        const fill = (): void => {
          feed.refill(iv);
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
            feed.freeLast(iv);
            hand();
            fill();
          };
        } else fill();
        if (this.ahead)
          early.forEach((d, i) => {
            for (const r of made[i]!) e.settle(r);
            this.unit.define(d.dot.result, unit.plan.anchor(d.dot.result), made[i]!);
          });
        else
          for (const d of early) {
            const room = this.room(d);
            this.pending.push({ d, regs: room });
            this.start(d, feed.read.at, room);
          }
        this.body(feed.read.at, regs);
        this.finishTurn();
        assignYield(unit, loop, body.terminator!.operands, regs);
        if (this.lagging.length === 0) {
          hand();
          feed.freeThis();
        }
        feed.advance();
      }),
    );
    e.push({ s: "for", iv, lo, hi, step, body: list });
    e.push({ s: "matrixWait", pending: 0 });
    feed.end(this.lagging.length > 0);
  }

  /** Products that go on in the next turn. */
  private readonly lagging: StreamDot[];

  /** Those whose variable is read only where nothing needs the results of early products any more: they make room there. */
  private laggingOf(): StreamDot[] {
    const { s } = this;
    const { ops, args } = s.loop.regions[0]!;
    if (this.chained) return s.dots.filter((d) => d.carried !== undefined);
    // Threads that share their registers with those that copy have none for both.
    if (this.unit.producer && s.lateRegisters > MOST_LATE) return [];
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
    // The assembler follows results that are read in the same turn only.
    if (this.chained) this.unit.e.push({ s: "matrixWait", pending: this.lagging.length });
  }

  /** Starts the early products of the next turn. */
  private chain: (() => void) | undefined;
  /** The next turn's stage, once its operands are there. */
  private next: Operand | undefined;

  /** The next turn's stage, when its operands are there. */
  private waitAfter(): Operand {
    const after = this.feed.after();
    this.feed.wait(after, true);
    return after.at;
  }

  private body(stage: Operand, regs: readonly Reg[][]): void {
    const { unit, s } = this;
    const block = s.loop.regions[0]!;
    const copied = new Set([...s.tiles, ...s.kept].map((p) => p.load));
    for (const op of block.ops) {
      if (op === block.terminator || copied.has(op)) continue;
      const d = s.dots.find((x) => x.dot === op);
      if (d?.early) continue;
      this.need(op);
      if (!d) {
        emitAgain(unit, op);
        continue;
      }
      if (this.chain) {
        this.packed(d);
        this.chain();
        this.chain = undefined;
        this.next = undefined;
      }
      const sums =
        this.lagging.includes(d) || this.inPlace(d) ? this.into(d, regs[d.carried!]!) : this.room(d);
      this.pending.push({ d, regs: sums });
      this.start(d, stage, sums);
    }
    if (this.refill) this.ended();
    const { operands } = block.terminator!;
    this.need(block.terminator!, new Set(this.lagging.map((d) => operands[d.carried!]!)));
  }

  /** Nothing reads the variable of this product once it has begun. */
  private inPlace(d: StreamDot): boolean {
    if (!this.unit.producer || d.carried === undefined) return false;
    const { ops, args } = this.s.loop.regions[0]!;
    const begun = ops.indexOf(d.dot);
    return [...args[d.carried + 1]!.uses].every((use) => {
      const at = ops.indexOf(use);
      return at >= 0 && at <= begun;
    });
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
    // The wait for the next turn's operands comes first: assemblers move a wait for products up to the branch before it, and then
    // nothing runs beside the weights. These are put into pairs only afterwards: products under way still read the last turn's pairs.
    if (this.chain) this.next = this.waitAfter();
    e.push({ s: "matrixWait", pending: 0 });
    if (this.feed.ordered) e.push({ s: "barrier", scope: "group" });
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
