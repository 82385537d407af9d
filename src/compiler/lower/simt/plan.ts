// Decides before any code is emitted: how many threads a program has, the home layout of every value that is not cheap to
// compute anew, and in which layouts each value is needed.

import {
  type Block,
  DTYPES,
  type Func,
  numel,
  type Op,
  opDef,
  type TileType,
  type Value,
  walk,
} from "../../ir/index.js";
import { type AxisInfo, analyzeAxes } from "../../passes/index.js";
import { RANKED, rankLayout } from "./counting-layout.js";
import { matrixFor, matrixLayout, turnedLayout } from "./dot-matrix.js";
import { type Direct, findDirect } from "./dot-direct.js";
import { dotLayout } from "./dot-layout.js";
import { blocked, type Layout, mapLayout, sameLayout, single, withoutOf } from "./layout.js";
import { isRearranging, operandLayout, resultLayout } from "./rearrange.js";
import { findPipelines, type Pipeline } from "./pipeline-plan.js";
import { type Production, productionOf } from "./produce-plan.js";
import type { SimtShape } from "./shape.js";
import { copiesWhole, findStaged, groupLayout, hasWork, type Staged, stagedLayout } from "./staged-plan.js";
import { findStreams, rowsLayout, type Stream } from "./stream-plan.js";
import { leftOf } from "./stream-operands.js";

export const shapeOf = (v: Value): readonly number[] => (v.type as TileType).shape;
export const sizeOf = (v: Value): number => numel(shapeOf(v));
export const definingOp = (v: Value): Op | undefined => (v.def && "opcode" in v.def ? v.def : undefined);
const isMemory = (op: Op): boolean => opDef(op.opcode).memory !== undefined;

/** Sums of a product without matrix units from which on a thread holds as many as make its operands cheap. */
const LARGE_BLOCK = 2 ** 13;

/** From here on a thread may have twice as many, where its operands come beside registers: more products for each that it reads. */
const HUGE_BLOCK = 2 ** 14;

/** Registers that a thread with a block of 8 x 8 sums and its operands does not do without. */
const LEAST_REGISTERS = 128;

/** Workgroups that sort by counting hide each other's waits; a thread does not do with fewer registers. */
const [RANK_SHARING, RANK_REGISTERS] = [3, 64];

/** A layout whose threads hold `count` neighbours in a row: bits that lanes hold change places with others of the row. */
function neighboursIn(l: Layout, count: number): Layout {
  const cols = l.shape[1]!;
  const [registers, threads] = [[...l.registers], [...l.threads]];
  for (let bit = 1; bit < count; bit *= 2) {
    const lane = threads.indexOf(bit);
    const far = registers.find((b) => b >= count && b < cols);
    if (registers.includes(bit) || lane < 0 || far === undefined) continue;
    registers[registers.indexOf(far)] = bit;
    threads[lane] = far;
  }
  return { shape: l.shape, registers: registers.sort((a, b) => a - b), threads };
}

/** A value in a layout. */
export type Need = readonly [Value, Layout];

export class Plan {
  readonly facts: Map<Value, AxisInfo>;
  /** The elements of the largest tile. */
  readonly largest: number;
  readonly threads: number;
  readonly pipelines: ReadonlyMap<Op, Pipeline>;
  /** All products of the function, if their operands come into registers as they are used; then nothing streams. */
  readonly direct: Direct | undefined;
  /** Loops that are fed by copies beside registers; there are none beside the others. */
  private readonly staged: ReadonlyMap<Op, Staged>;
  /** The loop whose operands other threads bring, if there is one. */
  readonly production: Production | undefined;
  /** By the loop. There is at most one, and then no pipeline. */
  private readonly streams: ReadonlyMap<Op, Stream>;
  /** Small loads in layouts of their own: those that their uses want. */
  private readonly wanted = new Map<Op, Layout>();
  /** Shapes of tiles that are sorted by counting: neighbours stand in neighbouring threads. */
  private readonly counted = new Set<string>();
  private readonly homes = new Map<Value, Layout>();
  private readonly needs = new Map<Value, Layout[]>();
  /** Per shape and fastest dimension: neighbours per thread, and how many memory ops want that. */
  private readonly wishes = new Map<
    string,
    { vector: number; count: number; dim: number; shape: readonly number[] }
  >();

  constructor(
    readonly func: Func,
    readonly shape: SimtShape,
    threads?: number,
    /** Loops of several products may stream their operands. */
    readonly streaming = true,
    /** Turns of a loop may be shared out where its author asks for it. */
    splitting = true,
    /** Programs run one after another in a workgroup (persistent.ts). */
    persistent = false,
  ) {
    this.facts = analyzeAxes(func);
    this.largest = this.largestTile();
    this.direct = threads === undefined ? findDirect(func, shape, this.facts, splitting) : undefined;
    this.streams = streaming && !this.direct ? findStreams(func, shape, this.facts) : new Map();
    this.pipelines = this.streams.size || this.direct ? new Map() : this.findFedPipelines();
    const others = this.direct !== undefined || this.streams.size + this.pipelines.size > 0;
    const find = (grouping: boolean): Map<Op, Staged> =>
      others ? new Map() : findStaged(func, shape, this.facts, grouping);
    let staged = find(true);
    this.threads =
      this.stream?.threads ?? this.direct?.threads ?? threads ?? this.chooseThreads([...staged.values()]);
    if ([...staged.values()].some((s) => !hasWork(s, this.threads))) staged = find(false);
    this.staged = [...staged.values()].every((s) => copiesWhole(s, this.threads)) ? staged : new Map();
    const stream = shape.bulkStreams ? this.stream : undefined;
    const fed = stream?.chain ? { ...stream, ahead: true } : (stream ?? this.pipelines.values().next().value);
    this.production = fed && productionOf(fed, func, shape);
    walk(func.body, (op) => {
      if (op.opcode === "countingSort") this.wantInOrder(op);
    });
    walk(func.body, (op) => {
      if (isMemory(op)) this.wish(op);
    });
    // Elements that are copied one by one: threads side by side take neighbours.
    for (const x of [...this.staged.values()].flatMap((s) => [s.a, s.b]))
      if (x.single)
        this.wanted.set(x.load, this.blockedBy(shapeOf(x.load.result), this.fastestOf(x.load), 1));
    for (const [op, l] of this.direct?.loads ?? []) this.wanted.set(op, l);
    this.settle(func.body);
    if (this.stream) {
      this.wantOf(this.stream);
      this.placeStores();
    } else if (persistent) this.placeStores();
    this.demand(func.body);
  }

  /** The loops of one product that stream; those of 32 bits only where other threads bring the operands (staged-plan.ts has the rest). */
  private findFedPipelines(): ReadonlyMap<Op, Pipeline> {
    const found = findPipelines(this.func, this.shape, this.facts);
    const [p] = found.values();
    const wide = p?.left.panels.size === 4;
    const fed = this.shape.persistent && p && productionOf(p, this.func, this.shape);
    return wide && !fed ? new Map() : found;
  }

  /** The loop of several products that streams its operands, if there is one. */
  get stream(): Stream | undefined {
    return this.streams.values().next().value;
  }

  streamOf(loop: Op): Stream | undefined {
    return this.streams.get(loop);
  }

  /** A load that is no load of its own: it goes to shared memory where its loop begins. */
  isStreamed(load: Op): boolean {
    const s = this.stream;
    return s !== undefined && [...s.tiles, ...s.kept].some((p) => p.load === load);
  }

  /** Small tiles that the loop loads are loaded as they are used, by several threads each. */
  private wantOf(s: Stream): void {
    const loads = s.loop.regions[0]!.ops.filter(
      (op) => op.opcode === "load" && !this.isStreamed(op) && shapeOf(op.result).length === 1,
    );
    for (const op of loads) {
      const l = this.wantedLayout(op.result);
      if (l) this.wanted.set(op, l);
    }
    if (this.wanted.size === 0) return;
    this.homes.clear();
    this.settle(this.func.body);
  }

  /** What is sorted by counting is loaded in the layout in which it is ranked. */
  private wantInOrder(op: Op): void {
    const l = rankLayout(shapeOf(op.operands[0]!), this.threads, this.shape.subgroup!);
    const seen = new Set<Value>();
    const visit = (v: Value): void => {
      const from = definingOp(v);
      if (!from || seen.has(v) || String(shapeOf(v)) !== String(l.shape)) return;
      seen.add(v);
      if (from.opcode === "load") this.wanted.set(from, l);
      else if (opDef(from.opcode).elementwise) from.operands.forEach(visit);
    };
    op.operands.forEach(visit);
    for (const v of [...op.operands, ...op.results]) this.counted.add(String(shapeOf(v)));
  }

  /** What comes of the loop is stored where it is, up to what neighbouring lanes exchange: nothing goes through shared memory. */
  private placeStores(): void {
    walk(this.func.body, (op) => {
      if (op.opcode !== "store") return;
      const [buffer, offset, value] = op.operands as [Value, Value, Value];
      const home = this.homes.get(value);
      if (!home || sizeOf(value) !== sizeOf(offset)) return;
      const dim = this.fastestOf(op);
      if (shapeOf(offset).length === 1) this.wanted.set(op, home);
      else if (dim === 1) this.wanted.set(op, neighboursIn(home, this.vectorOf(buffer, offset, dim)));
    });
  }

  /** The layout in which a list is used beside a matrix that has one. */
  private wantedLayout(v: Value): Layout | undefined {
    for (const use of v.uses) {
      const to = use.results[0];
      if (!to) continue;
      const matrix = shapeOf(to).length === 2 ? this.homes.get(to) : undefined;
      if (isRearranging(use)) {
        const l = matrix ?? this.wantedLayout(to);
        if (l) return operandLayout(use, l).layout;
      } else if (opDef(use.opcode).elementwise) {
        const l = matrix ?? this.wantedLayout(to);
        if (l) return l;
      }
    }
    return undefined;
  }

  /** How a loop streams its operands, if it does. */
  pipelineOf(loop: Op): Pipeline | undefined {
    for (const p of this.pipelines.values()) if (p.loop === loop) return p;
    return undefined;
  }

  /** Workgroups that are to share a multiprocessor. */
  get sharing(): number {
    if (this.counted.size > 0) {
      const most = (this.shape.groupRegisters ?? 0) / (this.threads * RANK_REGISTERS);
      return Math.max(1, Math.min(RANK_SHARING, Math.floor(most)));
    }
    const s = this.staged.values().next().value as Staged | undefined;
    const each = (this.shape.groupRegisters ?? 0) / (this.threads * LEAST_REGISTERS);
    return s ? Math.min(s.sharing, Math.max(1, Math.floor(each))) : 1;
  }

  /** How copies feed a loop whose product reads registers, if they do. */
  stagedOf(loop: Op): Staged | undefined {
    for (const s of this.staged.values()) if (s.loop === loop) return s;
    return undefined;
  }

  /** The layouts in which a value is needed; its home first, if it has one. */
  layoutsOf(v: Value): readonly Layout[] {
    return this.needs.get(v) ?? [];
  }

  homeOf(v: Value): Layout | undefined {
    return this.homes.get(v);
  }

  /** The home of a value, or a good layout for its shape. */
  anchor(v: Value): Layout {
    if (sizeOf(v) === 1) return single(shapeOf(v), this.threads);
    return this.homes.get(v) ?? this.fallback(shapeOf(v));
  }

  /** The layout that memory ops on tiles of a shape agree on, or neighbours in the last dimension. */
  fallback(shape: readonly number[]): Layout {
    let best: { vector: number; count: number; dim: number } | undefined;
    for (const w of this.wishes.values())
      if (w.shape.join() === shape.join() && (!best || w.count > best.count)) best = w;
    return this.blockedBy(shape, best?.dim ?? shape.length - 1, best?.vector ?? 1);
  }

  /** The layout in which a memory op works. */
  memoryLayout(op: Op): Layout {
    const shape = shapeOf(op.operands[1]!);
    if (numel(shape) === 1) return single(shape, this.threads);
    const wanted = this.wanted.get(op);
    if (wanted) return wanted;
    const dim = this.fastestOf(op);
    return this.blockedBy(shape, dim, this.wishes.get(`${shape}:${dim}`)!.vector);
  }

  private blockedBy(shape: readonly number[], dim: number, vector: number): Layout {
    const rest = shape
      .map((_, d) => d)
      .filter((d) => d !== dim)
      .reverse();
    return blocked(shape, [dim, ...rest], vector, this.threads);
  }

  /** The elements of the largest tile that threads share. */
  private largestTile(): number {
    let most = 1;
    walk(this.func.body, (op) => {
      if (!isMemory(op) && !["dot", "reduce", "scan", "sort", "countingSort", "gather"].includes(op.opcode))
        return;
      for (const v of [...op.operands, ...op.results])
        if (v.type.kind === "tile") most = Math.max(most, sizeOf(v));
    });
    return most;
  }

  /** How many threads suit the largest tile. */
  private chooseThreads(staged: readonly Staged[]): number {
    const { maxThreads, preferredThreads, subgroup } = this.shape;
    const most = this.largest;
    let products = 0;
    let sums = 0;
    walk(this.func.body, (op) => {
      if (op.opcode !== "dot") return;
      if (this.pipelines.has(op) || matrixFor(op, this.shape))
        products = Math.max(products, sizeOf(op.result));
      else sums = Math.max(sums, sizeOf(op.result));
    });
    if (most === 1) return 1;
    const counted = this.mostCounted();
    if (counted > 0) return Math.min(maxThreads, Math.max(counted / RANKED, subgroup!));
    // Subgroups own blocks of a product: 64 sums in a thread, 128 where the block is large.
    if (products > 0) {
      const each = products > 2 ** 14 ? 128 : 64;
      return Math.min(maxThreads, Math.max(4 * subgroup!, products / each));
    }
    // Large blocks of sums: 64 in each thread, 8 rows of 8.
    if (sums >= LARGE_BLOCK)
      return Math.min(maxThreads, sums / (sums >= HUGE_BLOCK && staged.length > 0 ? 128 : 64));
    // Four elements in each thread, or up to 32 before the workgroup grows beyond what the chip prefers.
    const few = Math.min(subgroup && this.sorts() ? maxThreads : preferredThreads, most / 4);
    const wanted = Math.max(few, most / 32, Math.min(most, subgroup ?? 1), 1);
    return Math.min(maxThreads, 2 ** Math.ceil(Math.log2(wanted)));
  }

  /** A network compares in many steps, all of which the threads wait for. */
  private sorts(): boolean {
    let found = false;
    walk(this.func.body, (op) => {
      found ||= op.opcode === "sort";
    });
    return found;
  }

  /** The elements of the longest tile that is sorted by counting, or so many that every bin has a thread. */
  private mostCounted(): number {
    let n = 0;
    walk(this.func.body, (op) => {
      if (op.opcode === "countingSort")
        n = Math.max(n, sizeOf(op.operands[0]!), RANKED * (op.attrs["bins"] as number));
    });
    return n;
  }

  /** The dimension along which the op's elements follow one another in memory. */
  fastestOf(op: Op): number {
    const info = this.facts.get(op.operands[1]!);
    const { length } = shapeOf(op.operands[1]!);
    let best = length - 1;
    if (info)
      for (let d = length - 2; d >= 0; d--) if (info.contiguity[d]! > info.contiguity[best]!) best = d;
    return best;
  }

  private wish(op: Op): void {
    const [buffer, offset] = op.operands as [Value, Value];
    const shape = shapeOf(offset);
    if (numel(shape) === 1) return;
    const dim = this.fastestOf(op);
    const single = op.opcode.startsWith("atomic") || this.counted.has(String(shape));
    const vector = single ? 1 : this.vectorOf(buffer, offset, dim);
    const key = `${shape}:${dim}`;
    const w = this.wishes.get(key);
    if (w) {
      w.vector = Math.max(w.vector, vector);
      w.count++;
    } else this.wishes.set(key, { vector, count: 1, dim, shape });
  }

  /** How many neighbours along `dim` one access can take. */
  vectorOf(buffer: Value, offset: Value, dim: number): number {
    const { bytes } = DTYPES[buffer.type.dtype];
    const info = this.facts.get(offset);
    if (!info) return 1;
    const aligned = Math.max(1, (this.facts.get(buffer)?.scalarDivisibility ?? 1) / bytes);
    return Math.max(
      1,
      Math.min(this.shape.accessBytes / bytes, info.contiguity[dim]!, info.divisibility[dim]!, aligned),
    );
  }

  /** The layouts of the kernel's tiles as text. */
  describe(show: (l: Layout) => string): string[] {
    const lines = new Set<string>();
    for (const [v, list] of this.needs)
      if (sizeOf(v) > 1) for (const l of list) lines.add(`${definingOp(v)?.opcode ?? "argument"} ${show(l)}`);
    return [...lines];
  }

  // Homes.

  private settle(block: Block): void {
    for (const op of block.ops) this.settleOp(op);
  }

  private home(v: Value, l: Layout | undefined): void {
    if (l && sizeOf(v) > 1) this.homes.set(v, l);
  }

  private productLayout(op: Op): Layout {
    if (this.stream?.dots.some((d) => d.dot === op)) return rowsLayout(shapeOf(op.result), this.threads);
    const direct = this.direct?.dots.get(op);
    if (direct) return direct.sum;
    const s = this.staged.get(op);
    if (s?.group) return groupLayout(s, this.threads, this.shape.subgroup!);
    if (s && !s.matrix) return stagedLayout(s, this.threads);
    const p = this.pipelines.get(op);
    return p
      ? (p.turned ? turnedLayout : matrixLayout)(op, p, this.threads, this.shape.subgroup! * p.unit.subgroups)
      : dotLayout(op, this.threads, this.shape);
  }

  private settleOp(op: Op): void {
    switch (op.opcode) {
      case "load":
      case "atomic":
      case "atomicCas":
        this.home(op.result, this.memoryLayout(op));
        return;
      case "reduce": {
        const l = this.anchor(op.operands[0]!);
        const dim = op.attrs["axis"] as number;
        for (const v of op.results) this.home(v, mapLayout(l, shapeOf(v), withoutOf(l.shape, dim)).layout);
        return;
      }
      case "scan":
        this.home(op.result, this.anchor(op.operands[0]!));
        return;
      case "sort":
        for (const v of op.results) this.home(v, this.fallback(shapeOf(v)));
        return;
      case "countingSort":
        for (const v of op.results) this.home(v, blocked(shapeOf(v), [0], 1, this.threads));
        return;
      case "gather":
        this.home(op.result, this.anchor(op.operands[1]!));
        return;
      case "dot":
        this.home(op.result, this.productLayout(op));
        return;
      case "for":
      case "while":
        this.settleLoop(op);
        return;
      case "if": {
        for (const region of op.regions) this.settle(region);
        const yields = op.regions.map((r) => r.terminator!.operands);
        op.results.forEach((v, i) => {
          this.home(v, this.homes.get(yields[0]![i]!) ?? this.anchor(yields[1]![i]!));
        });
        return;
      }
    }
    if (isRearranging(op)) {
      const l = this.homes.get(op.operands[0]!);
      if (l) this.home(op.result, resultLayout(op, l));
    } else if (opDef(op.opcode).elementwise) {
      const anchored = op.operands.find((v) => this.homes.has(v));
      if (anchored) this.home(op.result, this.homes.get(anchored));
    }
  }

  /** Carried tiles keep one layout: what the body makes of them, found with nothing known of them at first. */
  private settleLoop(op: Op): void {
    const isFor = op.opcode === "for";
    const inits = op.operands.slice(isFor ? 3 : 0);
    const body = op.regions.at(-1)!;
    const args = op.regions.map((r) => r.args.slice(isFor ? 1 : 0));
    for (const region of op.regions) this.settle(region);
    const yields = body.terminator!.operands;
    inits.forEach((init, i) => {
      const l = this.homes.get(yields[i]!) ?? this.anchor(init);
      for (const list of args) this.home(list[i]!, l);
      this.home(op.results[i]!, l);
    });
    for (const region of op.regions) this.settle(region);
  }

  // Needs.

  /** What an op that is not cheap needs, wherever its results go. */
  needsOf(op: Op): Need[] {
    const all = (values: readonly Value[], l: Layout): Need[] => values.map((v) => [v, l]);
    switch (op.opcode) {
      case "load":
      case "store":
      case "atomic":
      case "atomicCas":
        return all(op.operands.slice(1), this.memoryLayout(op));
      case "reduce":
      case "scan":
        return [[op.operands[0]!, this.anchor(op.operands[0]!)]];
      case "sort":
        return all(op.operands, this.anchor(op.operands[0]!));
      case "countingSort":
        return all(op.operands, rankLayout(shapeOf(op.operands[0]!), this.threads, this.shape.subgroup!));
      case "gather":
        return [
          [op.operands[0]!, this.anchor(op.operands[0]!)],
          [op.operands[1]!, this.anchor(op.result)],
        ];
      case "dot":
        if (this.stream?.dots.some((d) => d.dot === op)) {
          const d = this.stream.dots.find((x) => x.dot === op)!;
          const sum: Need = [op.operands[2]!, this.anchor(op.result)];
          if (d.a) return [sum];
          const { value } = leftOf(op);
          return [[value, rowsLayout(shapeOf(value), this.threads)], sum];
        }
        if (this.direct?.dots.has(op)) {
          const d = this.direct.dots.get(op)!;
          return [d.a, d.b, d.sum].map((l, i): Need => [op.operands[i]!, l]);
        }
        return [
          [op.operands[0]!, this.anchor(op.operands[0]!)],
          [op.operands[1]!, this.anchor(op.operands[1]!)],
          [op.operands[2]!, this.anchor(op.result)],
        ];
      case "for":
        return [
          ...all(op.operands.slice(0, 3), single([], this.threads)),
          ...op.operands.slice(3).map((v, i): Need => [v, this.anchor(op.results[i]!)]),
        ];
      case "while":
        return op.operands.map((v, i): Need => [v, this.anchor(op.results[i]!)]);
      case "if":
        return [[op.operands[0]!, single([], this.threads)]];
      case "yield": {
        const outer = op.parent!.parent as Op;
        return op.operands.map((v, i): Need => [v, this.anchor(outer.results[i]!)]);
      }
      case "condition":
        return [[op.operands[0]!, single([], this.threads)]];
      default:
        return [];
    }
  }

  /** What an op that is computed where it is needed takes for a result in `l`. */
  operandsFor(op: Op, l: Layout): Need[] {
    if (isRearranging(op)) return [[op.operands[0]!, operandLayout(op, l).layout]];
    if (opDef(op.opcode).elementwise) return op.operands.map((v): Need => [v, l]);
    return [];
  }

  isCheap(op: Op): boolean {
    return isRearranging(op) || opDef(op.opcode).elementwise === true || op.operands.length === 0;
  }

  private demand(block: Block): void {
    for (const op of block.ops) {
      if (!this.isCheap(op) || op.opcode === "yield") for (const n of this.needsOf(op)) this.need(...n);
      for (const region of op.regions) this.demand(region);
    }
  }

  private need(v: Value, l: Layout): void {
    const known = this.needs.get(v) ?? [];
    if (known.some((k) => sameLayout(k, l))) return;
    const home = this.homes.get(v);
    if (home && !sameLayout(home, l) && !known.some((k) => sameLayout(k, home))) {
      this.needs.set(v, [...known]);
      this.need(v, home);
      this.needs.get(v)!.push(l);
      return;
    }
    if (known.length) known.push(l);
    else this.needs.set(v, [l]);
    const op = definingOp(v);
    if (op && this.isCheap(op) && (!home || sameLayout(home, l)))
      for (const n of this.operandsFor(op, l)) this.need(...n);
  }
}
