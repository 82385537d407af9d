// A reduction inside a loop nest. Along the vectorised axis it accumulates in several vector registers; along
// another axis in the frame, where the result lies. The order of combination depends on shapes alone.

import { type Op, isFloat, isNarrowFloat, numel, type Value } from "../../ir/index.js";
import type { Operand, Reg } from "./form.js";
import type { Cell } from "./frame.js";
import { reducedOf } from "./joined.js";
import { is64Kind, isScalarValue, regKind, shapeOf } from "./kinds.js";
import { type AxisMap, identityMap } from "./maps.js";
import type { Context, Nest } from "./nest.js";
import {
  type Best,
  better,
  type Combiner,
  combine,
  combinerOf,
  extremeOf,
  finish,
  isArg,
  isPlainExtreme,
  neutral,
  noExtreme,
  seen,
} from "./reduce.js";
import type { Commit, Sink } from "./sinks.js";
import { defOf } from "./values.js";

/** Copies of the inner body, each with its own accumulator, and the work per element up to which there are four. */
const UNROLL = 4;
const SMALL_WORK = 12;
/** Lanes that are combined one by one; wider vectors are halved. */
const NARROW = 4;

export function reduceSink(nest: Nest, op: Op): Sink {
  const c = combinerOf(op);
  const { value, dims } = reducedOf(op);
  const shape = shapeOf(value);
  const map = identityMap(shape);
  const axes = dims.map((d) => map[d]!).filter((a) => a >= 0);
  const axis = axes.at(-1) ?? -1;
  const resultShape = shape.filter((_, i) => !dims.includes(i));
  const resultMap = map.filter((_, i) => !dims.includes(i));
  // What this step itself computes for the frame is work too.
  const isKept = (v: Op["results"][number]): boolean => nest.cellOf(v) !== undefined;
  const work = nest.code.plan.costs.work(value, isKept);
  const parts = new Accumulate(nest, op, c, resultShape, resultMap, axis);
  const inRegisters = (): boolean => axes.includes(nest.axis);
  const inFrame = (): boolean => axis >= 0 && !inRegisters();
  return {
    reads: [{ value, map }],
    reduces: axes,
    jams: axis >= 0 && !isArg(c),
    get unroll(): number {
      return inRegisters() ? (work <= SMALL_WORK ? UNROLL : 2) : 1;
    },
    before: () => {
      parts.restart();
      if (inFrame()) parts.fill();
    },
    start: (n) => {
      if (inRegisters()) parts.registers(n);
    },
    turn: (ctx, u) => {
      const products = axis < 0 ? undefined : parts.products(value);
      if (products) {
        const factors = products.map((p) => p.map((v) => nest.vector(v, map, ctx)) as [Operand, Operand]);
        if (inRegisters()) {
          for (const [x, y] of factors) parts.addProduct(u, x, y);
          return undefined;
        }
        return parts.addInFrame(ctx, (sum) => factors.reduce((s, [x, y]) => parts.fused(s, x, y), sum));
      }
      const x = nest.vector(value, map, ctx);
      if (axis < 0) return () => parts.write(ctx, { value: x, index: 0 }, nest.lanes);
      if (inRegisters()) {
        parts.add(u, x, ctx);
        return undefined;
      }
      if (isArg(c)) return () => parts.betterInFrame(ctx, x, nest.index(axis, ctx));
      return parts.addInFrame(ctx, (sum) => combine(nest.e, c, sum, x, nest.lanes));
    },
    finish: () => {
      if (inRegisters()) nest.jam.each(() => parts.total());
    },
    after: () => {
      if (inFrame()) parts.round();
    },
  };
}

/** An accumulator in registers. */
interface Sum {
  readonly value: Reg;
  readonly index?: Reg;
  /** See {@link seen}. */
  readonly bits?: Reg;
}

class Accumulate {
  private sums: Sum[] = [];
  private unrolled = 1;
  /** What jammed turns add to elements in the frame, by the first turn of each element. */
  private readonly pending = new Map<number, ((sum: Operand) => Operand)[]>();

  constructor(
    private readonly nest: Nest,
    private readonly op: Op,
    private readonly c: Combiner,
    private readonly shape: readonly number[],
    private readonly map: AxisMap,
    private readonly axis: number,
  ) {}

  private cell(i: number): Cell {
    return this.nest.code.unit.cells.get(this.op.results[i]!)!;
  }

  /** Forgets what an attempt with wider vectors has left behind. */
  restart(): void {
    this.pending.clear();
  }

  /** Starts the accumulators in registers. */
  registers(n: number): void {
    const { e, lanes } = this.nest;
    const kind = regKind(this.c.dtype);
    this.unrolled = n;
    this.sums = Array.from({ length: n * this.nest.jam.count }, () => {
      const value = e.reg(kind, lanes);
      if (lanes > 1 && isPlainExtreme(this.c)) {
        e.assign(value, noExtreme(this.c));
        if (this.c.ignoreNaN && this.c.takenOff) return { value };
        const bits = e.reg("i32", lanes);
        e.assign(bits, seen.start(this.c));
        return { value, bits };
      }
      e.assign(value, neutral(this.c));
      if (!isArg(this.c)) return { value };
      const index = e.reg("i32", lanes);
      e.assign(index, -1);
      return { value, index };
    });
  }

  /** The accumulator of a copy of the body, in the current jammed turn. */
  private sumOf(u: number): Sum {
    return this.sums[this.nest.jam.turn * this.unrolled + u]!;
  }

  /** The factors of a float product, or of each of a few that are added, which are only computed to be summed. */
  products(value: Value): (readonly [Value, Value])[] | undefined {
    const op = defOf(value);
    const { kind, dtype } = this.c;
    if (kind !== "sum" || (dtype !== "f32" && dtype !== "f64") || this.nest.cellOf(value)) return undefined;
    if (op?.opcode === "mul") return [op.operands as unknown as [Value, Value]];
    if (op?.opcode !== "add") return undefined;
    const [x, y] = op.operands.map((v) => this.products(v));
    return x && y && [...x, ...y];
  }

  addProduct(u: number, x: Operand, y: Operand): void {
    const { value } = this.sumOf(u);
    this.nest.e.out.push({ s: "op", op: "fma", dst: value, args: [x, y, value] });
  }

  fused(sum: Operand, x: Operand, y: Operand): Operand {
    return this.nest.e.op("fma", regKind(this.c.dtype), this.nest.lanes, [x, y, sum]);
  }

  add(u: number, x: Operand, ctx: Context): void {
    const { e, lanes } = this.nest;
    const sum = this.sumOf(u);
    if (lanes > 1 && isPlainExtreme(this.c)) {
      const one = this.vectorOf(x, lanes);
      e.assign(sum.value, extremeOf(e, this.c, sum.value, one, lanes));
      if (sum.bits) e.assign(sum.bits, seen.both(e, this.c, sum.bits, seen.of(e, one, lanes), lanes));
      return;
    }
    if (!sum.index) {
      e.assign(sum.value, combine(e, this.c, sum.value, x, lanes));
      return;
    }
    let index: Operand = ctx.iv;
    if (lanes > 1) index = e.op("add", "i32", lanes, [this.nest.iota(), e.splat(index, lanes)]);
    const best = better(e, this.c, sum as Best, { value: this.vectorOf(x, lanes), index }, lanes, false);
    e.assign(sum.value, best.value);
    e.assign(sum.index, best.index);
  }

  /** A literal as a register: comparisons want one. */
  private vectorOf(x: Operand, lanes: number): Operand {
    if (typeof x === "object") return x;
    const r = this.nest.e.reg(regKind(this.c.dtype), lanes);
    this.nest.e.assign(r, x);
    return r;
  }

  /** Combines the accumulators, then the lanes, and writes the result. */
  total(): void {
    const { e, lanes } = this.nest;
    const { c } = this;
    const kind = regKind(c.dtype);
    const first = this.nest.jam.turn * this.unrolled;
    const own = this.sums.slice(first, first + this.unrolled);
    // The bits that an extreme keeps take the place of an index.
    const plain = lanes > 1 && isPlainExtreme(c);
    const bits = own[0]!.bits !== undefined;
    let list: Best[] = own.map((s) => ({ value: s.value, index: s.index ?? s.bits ?? 0 }));
    const join = (a: Best, b: Best, n: number): Best => {
      if (isArg(c)) return better(e, c, a, b, n, true);
      if (!plain) return { value: combine(e, c, a.value, b.value, n), index: 0 };
      const value = extremeOf(e, c, a.value, b.value, n);
      return { value, index: bits ? seen.both(e, c, a.index, b.index, n) : 0 };
    };
    const halve = (n: number): void => {
      while (list.length > 1) {
        const half = list.length / 2;
        list = list.slice(0, half).map((a, i) => join(a, list[i + half]!, n));
      }
    };
    halve(lanes);
    let width = lanes;
    if (!isArg(c) && kind !== "mask")
      for (; width > NARROW; width /= 2) {
        const half = (lane: number): Best => ({
          value: e.op("half", kind, width / 2, [list[0]!.value], { lane }),
          index: bits ? e.op("half", "i32", width / 2, [list[0]!.index], { lane }) : 0,
        });
        list = [join(half(0), half(1), width / 2)];
      }
    if (width > 1) {
      const { value, index } = list[0]!;
      list = Array.from({ length: width }, (_, k) => ({
        value: e.extract(value, kind, k),
        index: isArg(c) || bits ? e.extract(index, "i32", k) : 0,
      }));
      halve(1);
    }
    const [{ value, index }] = list as [Best];
    this.write(undefined, bits ? { value: seen.result(e, index, value), index: 0 } : { value, index }, 1);
  }

  /** Puts a finished element (or vector of them) where the result belongs. */
  write(ctx: Context | undefined, best: Best, lanes: number): void {
    const { e } = this.nest;
    const { unit } = this.nest.code;
    const value = finish(e, this.c, best.value, lanes);
    const out = [value, best.index];
    this.op.results.forEach((r, i) => {
      if (isScalarValue(r)) unit.scalars.set(r, out[i]!);
      else if (unit.cells.has(r))
        this.nest.writeCell(unit.cells.get(r)!, this.shape, this.map, ctx as Context, out[i]!, lanes);
    });
  }

  /** Fills the result's cells with the neutral element. */
  fill(): void {
    this.each((cell, at, lanes, i) => {
      const { e } = this.nest;
      const isMask = cell.kind === "mask";
      const x = i === 1 ? -1 : neutral(this.c);
      e.store(
        isMask ? "i32" : cell.kind,
        lanes,
        this.nest.code.unit.frame.mem(cell),
        isMask ? "u8" : (cell.kind as "i32"),
        at,
        x,
      );
    });
  }

  /** Brings accumulated halves and small integers into their dtype. */
  round(): void {
    const d = this.c.dtype;
    if (!isNarrowFloat(d) && (isFloat(d) || !/^[iu](8|16)$/.test(d))) return;
    this.each((cell, at, lanes, i) => {
      if (i === 1) return;
      const { e } = this.nest;
      const mem = this.nest.code.unit.frame.mem(cell);
      const x = e.load(cell.kind, lanes, mem, cell.kind as "i32", at);
      e.store(cell.kind, lanes, mem, cell.kind as "i32", at, finish(e, this.c, x, lanes));
    });
  }

  private each(body: (cell: Cell, at: Operand, lanes: number, result: number) => void): void {
    const { e } = this.nest;
    this.op.results.forEach((_, i) => {
      const cell = this.cell(i);
      const n = numel(this.shape);
      const full = e.vectorBytes / (is64Kind(cell.kind) ? 8 : 4);
      const lanes = n % full === 0 ? full : 1;
      e.loop(0, n, lanes, (at) => body(cell, at, lanes, i));
    });
  }

  /**
   * Combines into the frame. Jammed turns for one element load and store it once: the last of all turns does it for all,
   * each element in the order of its turns.
   */
  addInFrame(ctx: Context, next: (sum: Operand) => Operand): Commit | undefined {
    const { nest, pending } = this;
    const { lanes, jam } = nest;
    const own = jam.firstAlong(this.axis);
    pending.set(own, [...(pending.get(own) ?? []), next]);
    if (jam.turn < jam.count - 1) return undefined;
    return () => {
      for (const [first, list] of pending) {
        jam.turn = first;
        const old = nest.readCell(this.cell(0), this.shape, this.map, ctx, lanes);
        const sum = list.reduce((x, add) => add(x), old);
        nest.writeCell(this.cell(0), this.shape, this.map, ctx, sum, lanes);
      }
      jam.turn = 0;
      pending.clear();
    };
  }

  /** Keeps the better of an element in the frame and another one. */
  betterInFrame(ctx: Context, x: Operand, index: Operand): void {
    const { nest, c } = this;
    const { e, lanes } = nest;
    const old = nest.readCell(this.cell(0), this.shape, this.map, ctx, lanes);
    const oldIndex = nest.readCell(this.cell(1), this.shape, this.map, ctx, lanes);
    const here = { value: this.vectorOf(x, lanes), index: e.splat(index, lanes) };
    const best = better(e, c, { value: old, index: oldIndex }, here, lanes, false);
    nest.writeCell(this.cell(0), this.shape, this.map, ctx, best.value, lanes);
    nest.writeCell(this.cell(1), this.shape, this.map, ctx, best.index, lanes);
  }
}
