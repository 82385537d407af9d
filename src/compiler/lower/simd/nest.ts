// One group as code: a nest of loops over its space, vectorised along one axis. Values are computed where their
// dependences allow: what does not depend on the inner axis is scalar code in an outer loop.

import { DTYPES, type Op, type Value } from "../../ir/index.js";
import { Affine, type Growth } from "./affine.js";
import {
  comingLoads,
  copiedRows,
  earlyLoads,
  fetchAhead,
  fetchBehind,
  fetchLater,
  fetchRow,
  perLine,
  type Streamed,
  startsLine,
  streamedLoads,
} from "./ahead.js";
import { chooseAxis } from "./axis.js";
import { addsInFrame, copiesOf } from "./copies.js";
import { emitCopied } from "./copy-packed.js";
import { type Emitter, isReg, TooWide } from "./emit.js";
import { elementwise } from "./elementwise.js";
import type { Operand, RegKind, Stmt } from "./form.js";
import { type Cell, panelOf } from "./frame.js";
import { dtypeOf, isScalarValue, literal, memKind, regKind, shapeOf } from "./kinds.js";
import type { BlockCode } from "./lower.js";
import { type AxisMap, isView, mapKey, operandMap, rowMajor } from "./maps.js";
import { cellLoad, cellStore, loadMasked, loadPrefix, pack, type Place } from "./memory.js";
import { Jam } from "./jam.js";
import { lookUp } from "./tabulate.js";
import { leastOf, prefixTerms, splitOf } from "./split.js";
import type { Step } from "./plan.js";
import { emitTurned } from "./turn.js";
import { emitRoots, type Sink, sinksOf } from "./sinks.js";
import { defOf } from "./values.js";

/** A place for code: a loop body that is being written, and what has been computed in it. */
export interface Context {
  readonly list: Stmt[];
  /** The index along the loop's axis; in the inner loop, of lane 0. */
  readonly iv: Operand;
  readonly memo: Map<string, Operand>;
  /** Conditions that hold here. */
  readonly known: ReadonlySet<string>;
  /** Behind the split: the first index at which each condition does not hold. */
  readonly limits: ReadonlyMap<string, Operand> | undefined;
  /** The first copy of the same turn, and how far along the axis this one is from it: addresses differ by a constant. */
  readonly first?: { readonly ctx: Context; readonly plus: number };
}

/** Lanes of vectors of up to these bytes are stored without detours. */
const NARROW = 16;
/** Elements moved in one turn where scalars are moved. */
const MOVES = 8;
const CACHE_LINE = 64;
/** Turns of an inner loop, and of all jammed turns together, up to which it is written out inside of another loop of the same sum. */
const [SHORT_TURNS, SHORT_VECTORS] = [8, 64];
/** Lines of one run up to which fetching them needs no loop. */
const FEW_LINES = 4;
const NONE: ReadonlySet<string> = new Set();

export class Nest {
  readonly e: Emitter;
  readonly affine: Affine;
  readonly space: readonly number[];
  /** The vectorised axis; -1 in a space without axes. */
  readonly axis: number;
  /** The other axes, outer first. */
  readonly outer: readonly number[];
  readonly sinks: Sink[];
  /** Neighbouring indices of the outer axes that one turn handles together. */
  readonly jam: Jam;
  /** What the next program will read and this nest fetches. */
  private readonly coming: readonly Streamed[];
  /** Contexts of the code outside of the inner loop: before the nest, then one for each outer loop. */
  levels: Context[] = [];
  lanes = 1;
  private masks: ReadonlyMap<string, readonly string[]> = new Map();
  private readonly spares = new Map<RegKind, Cell>();
  /** The inner loop is written out, so that what stands around it is addressed like its own loads. */
  private writtenOut = false;

  constructor(
    readonly code: BlockCode,
    readonly step: Step,
  ) {
    this.e = code.unit.e;
    this.space = step.space!;
    this.affine = new Affine(code.unit.ids, (v) => this.cellOf(v) !== undefined);
    this.sinks = sinksOf(this);
    this.axis = chooseAxis(this);
    for (const s of this.sinks) if (s.writes?.cell.freeLayout) s.writes.cell.columns = this.axis === 0;
    this.outer = this.space.map((_, i) => i).filter((i) => i !== this.axis);
    this.jam = new Jam(this);
    this.coming = comingLoads(this);
  }

  /** The cell that the value is read from in this step, if it stands in the frame by now. */
  cellOf(v: Value): Cell | undefined {
    // What needs no memory is computed again: that keeps offsets affine.
    const { costs, unwritten, cells } = this.code.unit;
    return costs.isCheap(v) || unwritten.has(v) ? undefined : cells.get(v);
  }

  emit(): void {
    if (this.sinks.length === 0 || emitTurned(this)) return;
    if (!emitCopied(this, () => this.ordinary())) this.ordinary();
  }

  private ordinary(): void {
    const { e } = this;
    const size = this.axis < 0 ? 1 : this.space[this.axis]!;
    const widest = this.movesScalars() ? 0 : e.vectorBytes;
    const lanesFor = (bytes: number): number => {
      let lanes = Math.max(1, Math.floor(widest / bytes));
      while (lanes > size && lanes * bytes > 16) lanes /= 2;
      return lanes > size ? 1 : lanes;
    };
    const mark = e.out.length;
    try {
      this.write(lanesFor(4));
    } catch (error) {
      if (!(error instanceof TooWide)) throw error;
      e.out.length = mark;
      this.write(lanesFor(8));
    }
  }

  /** Only moves elements to places that are not contiguous, one by one: taking wide vectors apart costs more. */
  private movesScalars(): boolean {
    const { costs, cells, e } = this.code.unit;
    return (
      this.axis >= 0 &&
      e.vectorBytes > NARROW &&
      this.sinks.every(({ writes, reads: [read] }) => {
        if (!writes || !read || this.cellStrides(writes.cell, writes.shape, read.map)[this.axis] === 1)
          return false;
        return costs.work(read.value, (v) => cells.has(v)) <= 1;
      })
    );
  }

  private write(lanes: number): void {
    this.lanes = lanes;
    this.jam.restart();
    this.levels = [this.context(0)];
    const sinks = this.sinks;
    for (const s of sinks) s.before?.();
    this.loops(0);
    for (const s of sinks) s.after?.();
    const { streamed } = this.code;
    if (this.coming.length > 0) streamed.length = 0;
    else if (streamed.length === 0) streamed.push(...streamedLoads(this));
  }

  private fetchNext(iv: Operand, unrolled: number): void {
    for (const load of this.coming) if (startsLine(load, this.lanes, unrolled)) fetchAhead(this, load, iv);
  }

  /** Whether the mask is nothing but conditions that the part of the inner loop without masks ends with. */
  splitsAt(mask: Value, map: AxisMap): boolean {
    return this.masks.has(mapKey(this.code.unit.ids.of(mask), map));
  }

  /** Where an element at `offset` stands, with these contexts outside of the inner loop. */
  addressOf(offset: Value, map: AxisMap, levels: Context[], inner: Context): Operand {
    const own = this.levels;
    this.levels = levels;
    const at = this.offset(offset, map, inner);
    this.levels = own;
    return at;
  }

  context(iv: Operand, known: ReadonlySet<string> = NONE, limits?: ReadonlyMap<string, Operand>): Context {
    return { list: this.e.out, iv, memo: new Map(), known, limits };
  }

  /** The depth of the outermost loop over what sums in registers combine. */
  private get sums(): number {
    const reduced = this.sinks[0]!.reduces;
    if (!this.step.alone || !reduced?.includes(this.axis)) return this.outer.length;
    return this.outer.findIndex((a) => reduced.includes(a));
  }

  private loops(depth: number): void {
    const combines = depth === this.sums && this.axis >= 0;
    if (combines) for (const s of this.sinks) s.start?.(this.unroll());
    this.loop(depth);
    if (combines) for (const s of this.sinks) s.finish?.();
  }

  private loop(depth: number): void {
    if (depth === this.outer.length) {
      this.inner();
      return;
    }
    const axis = this.outer[depth]!;
    this.e.loop(0, this.space[axis]!, this.jam.factors[axis]!, (iv) => {
      this.levels.push(this.context(iv));
      if (this.e.prefetches && depth > 0) {
        if (!this.step.alone && depth === 1) this.prefetch(this.outer[0]!, axis, iv);
        else if (this.step.alone && depth === this.outer.length - 1) this.prefetchRun(this.outer[0]!);
      }
      this.loops(depth + 1);
      this.levels.pop();
    });
  }

  /** Fetches a part of what the next turn of the outermost loop reads in each turn of the loop inside of it. */
  private prefetch(outermost: number, axis: number, iv: Operand): void {
    const { e, jam } = this;
    const turns = this.space[axis]! / jam.factors[axis]!;
    const part = Math.ceil(this.space[this.axis]! / turns);
    const turn = e.op("divS", "i32", 1, [iv, jam.factors[axis]!]);
    this.fetch(outermost, e.op("mul", "i32", 1, [turn, part]), part);
  }

  /** Fetches what the next turn of the outermost loop, or the next program, reads in place of the coming inner loop. */
  private prefetchRun(outermost: number): void {
    this.fetch(outermost, 0, this.space[this.axis]!);
  }

  private fetch(outermost: number, from: Operand, part: number): void {
    const { e, jam } = this;
    for (const { op, map } of jam.repeated) {
      const [buffer, offset] = op.operands as [Value, Value];
      const kind = memKind(dtypeOf(buffer));
      const mem = this.code.unit.bufferOf(buffer);
      const line = CACHE_LINE / (DTYPES[dtypeOf(buffer)].bits / 8);
      const one = (i: Operand): void => {
        const ctx = this.context(e.op("add", "i32", 1, [from, i]));
        jam.eachAhead(outermost, () => {
          e.out.push({ s: "prefetch", mem, kind, at: this.offset(offset, map, ctx) });
        });
      };
      if (part <= FEW_LINES * line) for (let i = 0; i < part; i += line) one(i);
      else e.loop(0, part, line, one);
    }
  }

  private inner(): void {
    const { e, lanes } = this;
    if (this.axis < 0) {
      emitRoots(this.sinks, this.jam, [this.context(0)]);
      return;
    }
    const size = this.space[this.axis]!;
    const unroll = this.unroll();
    const terms = prefixTerms(this);
    // What is fetched line by line is summed so, too; a mask may cut a line.
    const early = terms.all.length === 0 ? earlyLoads(this) : [];
    const rows = copiedRows(this);
    this.writtenOut = terms.all.length === 0 && this.isShortRun(size);
    const vectors = this.writtenOut ? size / lanes : Math.min(unroll * perLine(early, lanes), size / lanes);
    const block = lanes * vectors;
    const turn = (known: ReadonlySet<string>, limits?: ReadonlyMap<string, Operand>) => (iv: Operand) => {
      const contexts: Context[] = [];
      for (let u = 0; u < (limits ? restUnroll : vectors); u++) {
        const ctx = this.context(e.op("add", "i32", 1, [iv, u * lanes]), known, limits);
        contexts.push(u === 0 ? ctx : { ...ctx, first: { ctx: contexts[0]!, plus: u * lanes } });
        if (!limits) this.fetchNext(contexts[u]!.iv, u);
        for (const load of early) fetchBehind(this, load, contexts[u]!, u);
        if (rows && !limits) fetchRow(this, rows, contexts[u]!.iv, u);
      }
      emitRoots(this.sinks, this.jam, contexts, Math.min(unroll, contexts.length));
    };
    // What does not add up may go vector by vector where a mask cuts it: that is less code.
    const inRegisters = this.sinks.some((s) => s.unroll) && !addsInFrame(this);
    const restUnroll = inRegisters || this.movesScalars() ? unroll : 1;
    this.masks = terms.masks;
    if (terms.all.length === 0) e.loop(0, size, block, turn(NONE));
    else {
      const split = splitOf(this, terms, size, block);
      const main = turn(new Set(terms.all.map((t) => t.key)));
      const rest = turn(NONE, split.limits);
      if (block === size) {
        const some = split.end === size ? 1 : e.op("gtS", "mask", 1, [split.end, 0]);
        const partly = (): void =>
          e.when(some, () => {
            if (restUnroll === unroll) rest(0);
            else e.loop(0, split.end, restUnroll * lanes, rest);
          });
        e.when(e.op("eq", "mask", 1, [split.main, size]), () => main(0), partly);
      } else {
        e.loop(0, split.main, block, main);
        e.loop(split.main, split.end, restUnroll * lanes, rest);
      }
    }
  }

  /**
   * Whether the inner loop is a short run of a longer sum. Written out, the loop around it is the innermost one, and addresses are added
   * up once for all of its turns.
   */
  private isShortRun(size: number): boolean {
    if (!this.step.alone || this.sums >= this.outer.length) return false;
    const turns = size / this.lanes;
    return turns <= SHORT_TURNS && turns * this.jam.count <= SHORT_VECTORS;
  }

  /** Copies of the inner loop's body. */
  private unroll(): number {
    const wanted = this.movesScalars()
      ? MOVES
      : Math.max(copiesOf(this), ...this.sinks.map((s) => s.unroll ?? 1));
    // A sum whose loads are early is in one order, alone or jammed with others.
    if (earlyLoads(this).length > 0) return 1;
    if (addsInFrame(this)) return Math.min(wanted, this.space[this.axis]! / this.lanes);
    // Turns that are jammed are independent of each other already.
    const copies = Math.max(1, wanted / this.jam.count);
    return Math.min(copies, this.space[this.axis]! / this.lanes);
  }

  /** How many lanes from the context's index on a mask lets through, where it is a prefix of the axis. */
  prefix(mask: Value, map: AxisMap, ctx: Context | undefined): Operand | undefined {
    const keys = ctx?.limits && this.masks.get(mapKey(this.code.unit.ids.of(mask), map));
    if (!keys || !ctx.limits) return undefined;
    const end = leastOf(this, ctx.limits, keys, this.space[this.axis]!);
    return this.memoized(ctx, `count ${keys.join(" ")}`, () => this.e.op("sub", "i32", 1, [end, ctx.iv]));
  }

  /** The mask of the first `count` lanes. */
  firstLanes(count: Operand, ctx: Context): Operand {
    const key = `first ${isReg(count) ? count.id : `= ${count}`}`;
    return this.memoized(ctx, key, () =>
      this.e.op("ltS", "mask", this.lanes, [this.iota(), this.e.splat(count, this.lanes)]),
    );
  }

  /** Room in the frame for a vector that is put together element by element. */
  spare(kind: RegKind): Cell {
    let cell = this.spares.get(kind);
    if (!cell) {
      cell = this.code.unit.frame.cell(kind, this.lanes);
      this.spares.set(kind, cell);
    }
    return cell;
  }

  /** The value as a vector of the nest's lanes (or a literal). */
  vector(v: Value, map: AxisMap, ctx: Context): Operand {
    return this.value(v, map, ctx, true);
  }

  /** The value as a scalar: of lane 0, or of all lanes where it does not depend on the inner axis. */
  first(v: Value, map: AxisMap, ctx: Context | undefined): Operand {
    return this.value(v, map, ctx, false);
  }

  dependsOnInner(v: Value, map: AxisMap): boolean {
    return this.axis >= 0 && (this.affine.axes(v, map) & (1 << this.axis)) !== 0;
  }

  /** The place for code that depends on these axes. */
  levelOf(axes: number): Context {
    let level = 0;
    this.outer.forEach((a, i) => {
      if (axes & (1 << a)) level = i + 1;
    });
    return this.levels[level]!;
  }

  private value(v: Value, map: AxisMap, ctx: Context | undefined, wide: boolean): Operand {
    const key = mapKey(this.code.unit.ids.of(v), map);
    if (ctx?.known.has(key)) return 1;
    const inner = this.dependsOnInner(v, map);
    const axes = this.affine.axes(v, map);
    const place = inner ? ctx! : this.levelOf(axes);
    const lanes = inner && wide ? this.lanes : 1;
    const own = key + this.jam.key(axes);
    const x = this.memoized(place, `${lanes > 1 ? "v" : "s"}${own}`, () => {
      if (isScalarValue(v)) return this.code.scalar(v);
      const known = lanes > 1 ? lookUp(this, v, map, ctx!) : undefined;
      return known ?? this.compute(v, map, inner ? ctx : undefined, lanes);
    });
    if (!wide || this.lanes === 1 || lanes > 1 || !isReg(x)) return x;
    return this.memoized(place, `b${own}`, () => this.e.splat(x, this.lanes));
  }

  memoized(place: Context, key: string, make: () => Operand): Operand {
    let x = place.memo.get(key);
    if (x === undefined) {
      x = this.e.inside(place.list, make);
      place.memo.set(key, x);
    }
    return x;
  }

  /** The index along an axis: of lane 0 on the inner one. */
  index(axis: number, ctx: Context | undefined): Operand {
    if (axis < 0) return 0;
    if (axis === this.axis) return ctx!.iv;
    const place = this.levels[this.outer.indexOf(axis) + 1]!;
    const shift = this.jam.shift(axis);
    if (shift === 0) return place.iv;
    return this.memoized(place, `i${shift}`, () => this.e.op("add", "i32", 1, [place.iv, shift]));
  }

  private compute(v: Value, map: AxisMap, ctx: Context | undefined, lanes: number): Operand {
    const { e } = this;
    const cell = this.cellOf(v);
    if (cell) return this.readCell(cell, shapeOf(v), map, ctx, lanes);
    const op = defOf(v);
    if (!op) throw new Error("lower/simd: a tile argument has no cell");
    if (op.opcode === "const") return literal(op.attrs["value"] as number | bigint, dtypeOf(v));
    if (op.opcode === "arange") {
      const at = e.op("add", "i32", 1, [this.index(map[0]!, ctx), op.attrs["start"] as number]);
      if (lanes === 1) return at;
      return e.op("add", "i32", lanes, [this.iota(), e.splat(at, lanes)]);
    }
    const wide = lanes > 1;
    if (isView(op)) return this.value(op.operands[0]!, operandMap(op, map), ctx, wide);
    if (op.opcode === "load") return this.load(op, map, ctx, lanes);
    if (op.opcode === "gather") return this.gather(op, map, ctx, lanes);
    const args = op.operands.map((x) => this.value(x, map, ctx, wide));
    const dtype = dtypeOf(op.operands[op.opcode === "select" ? 1 : 0]!);
    return elementwise(e, { opcode: op.opcode, attrs: op.attrs, dtype, to: dtypeOf(v) }, args, lanes);
  }

  /** The vector 0, 1, 2, … */
  iota(): Operand {
    return this.memoized(this.levels[0]!, "iota", () => this.e.op("iota", "i32", this.lanes, []));
  }

  private load(op: Op, map: AxisMap, ctx: Context | undefined, lanes: number): Operand {
    const [buffer, offset, mask, other] = op.operands as [Value, Value, Value?, Value?];
    const wide = lanes > 1;
    const place = this.placeOf(offset, map, ctx, lanes);
    const d = dtypeOf(buffer);
    const o = other ? this.value(other, map, ctx, wide) : regKind(d) === "i64" ? 0n : 0;
    const mem = this.code.unit.bufferOf(buffer);
    const count = mask && wide && place.kind === "run" ? this.prefix(mask, map, ctx) : undefined;
    if (count !== undefined && place.kind === "run") {
      if (this.e.canMask(memKind(d)))
        return loadMasked(this.e, d, mem, place, this.firstLanes(count, ctx!), o, lanes);
      const spare = this.code.unit.frame.mem(this.spare(regKind(d)));
      return loadPrefix(this.e, d, mem, place.at, count, o, lanes, spare);
    }
    const m = mask ? this.value(mask, map, ctx, wide) : 1;
    if (this.writtenOut && !wide && op.attrs["early"] === true && place.kind === "run")
      fetchLater(this.e, { mem, kind: memKind(d) }, place.at, DTYPES[d].bits / 8);
    return loadMasked(this.e, d, mem, place, m, o, lanes);
  }

  /** Elements of a tile in the frame, from where the index says. */
  private gather(op: Op, map: AxisMap, ctx: Context | undefined, lanes: number): Operand {
    const { e } = this;
    const [source, index] = op.operands as [Value, Value];
    const cell = this.code.unit.cells.get(source)!;
    const place = this.placeOf(index, map, ctx, lanes);
    if (place.kind === "run") return this.readFrame(cell, place.at, lanes);
    return pack(e, cell.kind, lanes, (k) => this.readFrame(cell, place.at(k), 1));
  }

  /** Where the elements at `offset` stand for the lanes from the context's index on. */
  placeOf(offset: Value, map: AxisMap, ctx: Context | undefined, lanes: number): Place {
    const { e } = this;
    if (lanes === 1) return { kind: "run", at: this.offset(offset, map, ctx) };
    const stride = this.affine.stride(offset, map, this.axis);
    if (stride === 1) return { kind: "run", at: this.offset(offset, map, ctx) };
    if (stride !== undefined) {
      const first = this.offset(offset, map, ctx);
      const kind = isReg(first) ? first.type.kind : typeof first === "bigint" ? "i64" : "i32";
      const step = (k: number): Operand => (kind === "i64" ? BigInt(k * stride) : k * stride);
      return { kind: "lanes", at: (k) => e.op("add", kind, 1, [first, step(k)]) };
    }
    const growth = dtypeOf(offset) === "i32" ? this.affine.growth(offset, map, this.axis) : undefined;
    if (growth) {
      const first = this.offset(offset, map, ctx);
      return { kind: "lanes", at: (k) => e.op("add", "i32", 1, [first, this.multiple(growth, k)]) };
    }
    if (dtypeOf(offset) === "i32") {
      const all = this.vector(offset, map, ctx!);
      return { kind: "lanes", at: (k) => e.extract(all, "i32", k) };
    }
    // Wide offsets lane by lane, so that they do not halve the lanes of everything else.
    const lanesAt = Array.from({ length: lanes }, (_, k) => {
      const iv = e.inside(ctx!.list, () => e.op("add", "i32", 1, [ctx!.iv, k]));
      return this.offset(offset, map, { ...ctx!, iv, memo: new Map() });
    });
    return { kind: "lanes", at: (k) => lanesAt[k]! };
  }

  /** `k` steps of a growth, computed as far out as it can be. */
  private multiple(growth: readonly Growth[], k: number): Operand {
    const { e } = this;
    return growth.reduce<Operand>((sum, { times, by, map }) => {
      if (!by || !map) return e.op("add", "i32", 1, [sum, times * k]);
      const value = this.first(by, map, undefined);
      const axes = this.affine.axes(by, map);
      const place = this.levelOf(axes);
      const key = `${k * times}*${mapKey(this.code.unit.ids.of(by), map)}${this.jam.key(axes)}`;
      const term = this.memoized(place, key, () => e.op("mul", "i32", 1, [value, k * times]));
      return e.op("add", "i32", 1, [sum, term]);
    }, 0);
  }

  private offset(offset: Value, map: AxisMap, ctx: Context | undefined): Operand {
    const stride = ctx?.first && dtypeOf(offset) === "i32" && this.affine.stride(offset, map, this.axis);
    if (stride) {
      const { first, plus } = {
        first: this.first(offset, map, ctx.first!.ctx),
        plus: stride * ctx.first!.plus,
      };
      return this.e.op("add", "i32", 1, [first, plus]);
    }
    const at = this.first(offset, map, ctx);
    if (dtypeOf(offset) !== "u32" || this.code.unit.shape.address32 || !isReg(at)) return at;
    return this.e.op("convertU", "i64", 1, [at]);
  }

  /** The element index in a cell: packed row-major over `shape`, seen through the map. */
  cellIndex(cell: Cell, shape: readonly number[], map: AxisMap, ctx: Context | undefined): Operand {
    const strides = this.cellStrides(cell, shape, map);
    const { e } = this;
    // From one panel to the next it is further than the stride within a panel says.
    const panel = panelOf(cell);
    const across = panel ? map[cell.columns ? 0 : 1]! : -1;
    if (across >= 0 && across === this.axis && panel < this.lanes)
      throw new Error(`lower/simd: ${this.lanes} lanes do not fit a panel of ${panel}`);
    const jump = panel ? (shape[cell.columns ? 1 : 0]! - 1) * panel : 0;
    let at: Operand = 0;
    let key = "c";
    let place = this.levels[0]!;
    const add = (into: Context, axis: number, iv: Operand): void => {
      const stride = strides[axis];
      if (!stride) return;
      place = into;
      key += `,${axis}*${stride}+${this.jam.shift(axis)}`;
      const before = at;
      if (axis === across) key += `/${panel}`;
      at = this.memoized(place, key, () => {
        const within = e.op("add", "i32", 1, [before, e.op("mul", "i32", 1, [iv, stride])]);
        if (axis !== across) return within;
        const index = e.op("shrU", "i32", 1, [iv, Math.log2(panel)]);
        return e.op("add", "i32", 1, [within, e.op("mul", "i32", 1, [index, jump])]);
      });
    };
    this.outer.forEach((a, i) => {
      if (strides[a]) add(this.levels[i + 1]!, a, this.index(a, ctx));
    });
    if (this.axis < 0 || !strides[this.axis]) return at;
    const first = this.axis === across ? undefined : ctx!.first;
    add(first?.ctx ?? ctx!, this.axis, first?.ctx.iv ?? ctx!.iv);
    return first ? e.op("add", "i32", 1, [at, first.plus * strides[this.axis]!]) : at;
  }

  /** The strides of a packed tile along the axes of the space; of one in panels, within a panel. */
  cellStrides(cell: Cell, shape: readonly number[], map: AxisMap): number[] {
    const strides: number[] = [];
    const panel = panelOf(cell);
    const packed = cell.columns ? [1, panel || shape[0]!] : panel ? [panel, 1] : rowMajor(shape);
    map.forEach((a, i) => {
      if (a >= 0) strides[a] = (strides[a] ?? 0) + packed[i]!;
    });
    return strides;
  }

  readCell(
    cell: Cell,
    shape: readonly number[],
    map: AxisMap,
    ctx: Context | undefined,
    lanes: number,
  ): Operand {
    const { e } = this;
    const at = this.cellIndex(cell, shape, map, ctx);
    const stride = lanes > 1 ? this.cellStrides(cell, shape, map)[this.axis]! : 1;
    const one = (index: Operand, n: number): Operand => this.readFrame(cell, index, n);
    if (stride === 1) return one(at, lanes);
    return pack(e, cell.kind, lanes, (k) => one(e.op("add", "i32", 1, [at, k * stride]), 1));
  }

  private readFrame(cell: Cell, at: Operand, lanes: number): Operand {
    return cellLoad(this.e, cell, this.code.unit.frame.mem(cell), at, lanes);
  }

  /** Writes elements of a tile into its cell. */
  writeCell(
    cell: Cell,
    shape: readonly number[],
    map: AxisMap,
    ctx: Context,
    x: Operand,
    lanes: number,
  ): void {
    const { e } = this;
    const at = this.cellIndex(cell, shape, map, ctx);
    const stride = lanes > 1 ? (this.cellStrides(cell, shape, map)[this.axis] ?? 0) : 1;
    const mem = this.code.unit.frame.mem(cell);
    if (stride === 1) {
      cellStore(e, cell, mem, at, x, lanes);
      return;
    }
    for (let k = 0; k < lanes; k++)
      cellStore(e, cell, mem, e.op("add", "i32", 1, [at, k * stride]), e.extract(x, cell.kind, k), 1);
  }
}
