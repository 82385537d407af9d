// The plan of a block: which ops run together in which loop nest, and which tiles are kept in the frame.
// Steps run one after another. A group step is one loop nest; an op step (dot, scan, control flow) stands alone.
// Tiles are computed lazily by the steps that need them: see `demand.ts` for what is kept.

import type { Block, Op, Value } from "../../ir/index.js";
import { opDef, walk } from "../../ir/index.js";
import { Affine } from "./affine.js";
import { isJoined, reducedOf } from "./joined.js";
import { isScalarValue, shapeOf, squeeze } from "./kinds.js";
import { type AxisMap, identityMap, type Ids, isView, mapKey, operandMap } from "./maps.js";
import { type Costs, defOf, elementOperands, isLazy } from "./values.js";

/** Axes of fewer elements are not worth a detour through the frame. */
const TURNED = 16;

export type Root =
  /** `store`, `atomic`, `atomicCas`. */
  | { readonly kind: "effect"; readonly op: Op }
  | { readonly kind: "reduce"; readonly op: Op }
  /** The only element of a tile becomes a scalar. */
  | { readonly kind: "pick"; readonly op: Op }
  /** Writes the tile to its own cell, for later steps. */
  | { readonly kind: "keep"; readonly value: Value }
  /** Writes the tile to the cell of `target`: accumulators and loop-carried tiles. */
  | { readonly kind: "copy"; readonly value: Value; target: Value | undefined };

export interface Step {
  /** Steps run in the order of `at`. Planned steps have whole numbers; inserted ones lie between. */
  readonly at: number;
  /** The iteration space of a group; undefined for an op step. */
  readonly space: readonly number[] | undefined;
  readonly roots: Root[];
  readonly op: Op | undefined;
  /** No other root may join. */
  readonly alone?: boolean;
  readonly accesses: Access[];
  /** The tiles that the group reads or computes, cheap ones aside. */
  readonly tiles: Set<Value>;
}

interface Access {
  readonly buffer: Value;
  readonly place: string;
  readonly write: boolean;
}

/** Somebody needs the value: in which step, and under which map. */
export interface Demand {
  readonly at: number;
  /** Undefined: the step needs the tile in the frame. */
  readonly map: AxisMap | undefined;
}

export interface Scalar {
  readonly op: Op;
  readonly ready: number;
}

/** The first pass over a block, in program order: places everything that must happen somewhere. */
export class BlockPlan {
  readonly steps: Step[] = [];
  readonly scalars: Scalar[] = [];
  readonly demands = new Map<Value, Demand[]>();
  /** Tiles that must be in the frame whoever else needs them. */
  readonly forced = new Set<Value>();
  /** Loads that bring a tile into the frame in the order of memory, because its reader walks along another axis. */
  readonly staged = new Set<Value>();
  /** The step after which a load must have happened: the first effect behind it. */
  readonly deadlines = new Map<Value, number>();
  /** Copies of the values that the block yields, by position. */
  readonly yields = new Map<number, { step: Step; root: Extract<Root, { kind: "copy" }> }>();
  /** Copies into the results of ops that work in place (dot, for, while), by result. */
  readonly inits = new Map<Value, { step: Step; value: Value }>();
  private readonly ready = new Map<Value, number>();
  private pendingLoads: Value[] = [];
  private lastEffect: Step | undefined;
  private memoryFloor = 0;
  private loadReady = 0;
  private barrier = -1;

  constructor(
    readonly block: Block,
    readonly ids: Ids,
    readonly costs: Costs,
  ) {
    for (const op of block.ops) this.visit(op);
  }

  readyOf(v: Value): number {
    return this.ready.get(v) ?? 0;
  }

  /** Whether the value is defined in this block (not around it). */
  owns(v: Value): boolean {
    const d = v.def;
    return d !== undefined && ("opcode" in d ? d.parent === this.block : d === this.block);
  }

  demand(v: Value, at: number, map: AxisMap | undefined): void {
    const list = this.demands.get(v);
    if (!list) this.demands.set(v, [{ at, map }]);
    else if (!list.some((d) => d.at === at && String(d.map) === String(map))) list.push({ at, map });
  }

  /** Adds a step at the end. */
  append(space: readonly number[] | undefined, op?: Op, alone = false): Step {
    const step: Step = {
      at: this.steps.length,
      space,
      roots: [],
      op,
      alone,
      accesses: [],
      tiles: new Set(),
    };
    this.steps.push(step);
    return step;
  }

  private maxReady(values: readonly Value[]): number {
    let n = 0;
    for (const v of values) n = Math.max(n, this.readyOf(v));
    return n;
  }

  private visit(op: Op): void {
    const def = opDef(op.opcode);
    if (def.terminator) this.terminator(op);
    else if (op.opcode === "load") this.load(op);
    else if (def.memory) this.effect(op);
    else if (op.opcode === "reduce") this.reduce(op);
    else if (op.regions.length) this.control(op);
    else if (op.opcode === "dot") this.dot(op);
    else if (op.opcode === "scan" || op.opcode === "sort") this.wholeTiles(op);
    else if (op.results.every(isScalarValue)) this.scalar(op);
    else if (op.opcode === "gather") {
      const home = this.force(op.operands[0]!);
      this.ready.set(op.result, Math.max(home + 1, this.readyOf(op.operands[1]!)));
    } else if (isLazy(op)) this.ready.set(op.result, this.maxReady(op.operands));
    else if (op.opcode === "reshape" && isJoined(op)) this.ready.set(op.result, this.maxReady(op.operands));
    else if (op.opcode === "reshape") {
      const home = this.force(op.operands[0]!);
      this.ready.set(op.result, home + 1);
    } else throw new Error(`lower/simd has no code for ${op.opcode}`);
  }

  private scalar(op: Op): void {
    if (op.operands.every((v) => isScalarValue(v) || v.type.kind === "buffer")) {
      const ready = this.maxReady(op.operands);
      this.scalars.push({ op, ready });
      for (const r of op.results) this.ready.set(r, ready);
      return;
    }
    // A reshape of a tile of one element.
    const value = op.operands[0]!;
    const step = this.place([], this.readyOf(value), [[value, shapeOf(value).map(() => -1)]]);
    step.roots.push({ kind: "pick", op });
    this.ready.set(op.result, step.at + 1);
  }

  private load(op: Op): void {
    const ready = Math.max(this.maxReady(op.operands), this.memoryFloor);
    this.ready.set(op.result, ready);
    this.loadReady = Math.max(this.loadReady, ready);
    if (isScalarValue(op.result)) this.scalars.push({ op, ready });
    else this.pendingLoads.push(op.result);
  }

  /** Finds or makes the group for a root that needs `tiles`, not before `from`. */
  private place(
    space: readonly number[],
    from: number,
    tiles: readonly (readonly [Value, AxisMap])[],
    accesses: Access[] = [],
    only?: (s: Step) => boolean,
    together = false,
    alone = false,
  ): Step {
    const used = new Set<Value>();
    for (const [v, map] of tiles) this.collect(v, map, accesses, used);
    let found: Step | undefined;
    for (let i = this.steps.length - 1; i >= 0 && i > this.barrier && !alone; i--) {
      const s = this.steps[i]!;
      if (s.at < from) break;
      if (s.alone) continue;
      if (!s.space || s.space.length !== space.length || s.space.some((d, k) => d !== space[k])) continue;
      if ((only && !only(s)) || conflicts(s.accesses, accesses)) continue;
      // Loops that have nothing in common are better off with an axis each.
      if (!together && used.size > 0 && ![...used].some((v) => s.tiles.has(v))) continue;
      found = s;
      break;
    }
    found ??= this.append(space, undefined, alone);
    found.accesses.push(...accesses);
    for (const v of used) found.tiles.add(v);
    for (const [v, map] of tiles) this.demand(v, found.at, map);
    return found;
  }

  /** The buffer accesses that computing the value in place takes. */
  private collect(v: Value, map: AxisMap, into: Access[], tiles: Set<Value>, seen = new Set<string>()): void {
    const op = defOf(v);
    if (isScalarValue(v)) return;
    const key = mapKey(this.ids.of(v), map);
    if (seen.has(key)) return;
    seen.add(key);
    if (!this.costs.isCheap(v)) tiles.add(v);
    if (!op || !this.owns(v) || !isLazy(op) || this.forced.has(v)) return;
    if (op.opcode === "load") {
      into.push({ buffer: op.operands[0]!, place: mapKey(this.ids.of(op.operands[1]!), map), write: false });
    }
    const inner = isView(op) ? operandMap(op, map) : map;
    for (const x of elementOperands(op))
      if (x.type.kind === "tile") this.collect(x, inner, into, tiles, seen);
  }

  /** Sees to it that the tile is in the frame before any step that is appended from now on; returns its step. */
  private force(v: Value): number {
    const op = defOf(v);
    if (!this.owns(v) || !op || !isLazy(op)) return this.readyOf(v) - 1;
    if (this.forced.has(v)) {
      const demands = this.demands.get(v)!;
      return Math.max(...demands.filter((d) => d.map).map((d) => d.at));
    }
    const step = this.place(squeeze(shapeOf(v)), this.readyOf(v), [[v, identityMap(shapeOf(v))]]);
    this.forced.add(v);
    return step.at;
  }

  private reduce(op: Op): void {
    const { value, dims } = reducedOf(op);
    const shape = shapeOf(value);
    const tiles = [[value, identityMap(shape)]] as const;
    const alone = dims.length > 1;
    const step = this.place(squeeze(shape), this.readyOf(value), tiles, [], undefined, false, alone);
    step.roots.push({ kind: "reduce", op });
    for (const r of op.results) this.ready.set(r, step.at + 1);
  }

  private effect(op: Op): void {
    const [buffer, ...tiles] = op.operands as [Value, ...Value[]];
    const shape = shapeOf(tiles[0]!);
    const map = identityMap(shape);
    const places = tiles.filter((v) => !isScalarValue(v));
    const own: Access = { buffer, place: mapKey(this.ids.of(tiles[0]!), map), write: true };
    this.forceOverlapping(places, map, own);
    if (op.opcode === "store") this.stageTurned(places, map);
    const from = Math.max(this.maxReady(tiles), this.loadReady, this.lastEffect?.at ?? 0);
    const atomic = op.opcode !== "store";
    const step = this.place(
      squeeze(shape),
      from,
      places.map((v) => [v, map]),
      [own],
      // An atomic may publish what was stored before it: it shares no loops with other effects.
      (s) => !s.roots.some((r) => r.kind === "effect" && (atomic || r.op.opcode !== "store")),
    );
    step.roots.push({ kind: "effect", op });
    this.effectAt(step);
    for (const r of op.results) this.ready.set(r, step.at + 1);
  }

  /** Loads from the stored-to buffer at other places than the store's must be complete before it. */
  private forceOverlapping(tiles: readonly Value[], map: AxisMap, own: Access): void {
    const seen = new Set<string>();
    const visit = (v: Value, m: AxisMap): void => {
      const op = defOf(v);
      const key = mapKey(this.ids.of(v), m);
      if (!op || !this.owns(v) || isScalarValue(v) || !isLazy(op) || seen.has(key) || this.forced.has(v))
        return;
      seen.add(key);
      const inner = isView(op) ? operandMap(op, m) : m;
      for (const x of elementOperands(op)) if (x.type.kind === "tile") visit(x, inner);
      if (op.opcode !== "load" || op.operands[0] !== own.buffer) return;
      if (mapKey(this.ids.of(op.operands[1]!), m) === own.place) return;
      const home = this.force(v);
      this.ready.set(v, home + 1);
      this.loadReady = Math.max(this.loadReady, home + 1);
    };
    for (const v of tiles) visit(v, map);
  }

  /**
   * Loads that are contiguous along another axis than the store: element by element in the order of the store, each would
   * come from another line of memory, and be there again for its neighbour only if the caches kept it so long.
   */
  private stageTurned(tiles: readonly Value[], map: AxisMap): void {
    const affine = new Affine(this.ids, (v) => this.forced.has(v));
    const offset = tiles[0];
    if (!offset) return;
    const sizes: number[] = [];
    map.forEach((a, i) => {
      if (a >= 0) sizes[a] = shapeOf(offset)[i]!;
    });
    const along = sizes.findIndex((n, a) => n >= TURNED && affine.stride(offset, map, a) === 1);
    if (along < 0) return;
    const seen = new Set<string>();
    const visit = (v: Value, m: AxisMap): void => {
      const op = defOf(v);
      const key = mapKey(this.ids.of(v), m);
      if (!op || !this.owns(v) || isScalarValue(v) || !isLazy(op) || seen.has(key) || this.forced.has(v))
        return;
      seen.add(key);
      const inner = isView(op) ? operandMap(op, m) : m;
      for (const x of elementOperands(op)) if (x.type.kind === "tile") visit(x, inner);
      if (op.opcode !== "load" || this.forced.has(v)) return;
      const from = op.operands[1]!;
      const stride = (a: number): number | undefined => affine.stride(from, m, a);
      const here = stride(along);
      if (here !== undefined && Math.abs(here) <= 1) return;
      if (!sizes.some((n, a) => a !== along && n >= TURNED && stride(a) === 1)) return;
      this.staged.add(v);
      const home = this.force(v);
      this.ready.set(v, home + 1);
      this.loadReady = Math.max(this.loadReady, home + 1);
    };
    for (const v of tiles) visit(v, map);
  }

  private effectAt(step: Step): void {
    for (const v of this.pendingLoads) this.deadlines.set(v, step.at);
    this.pendingLoads = [];
    this.lastEffect = step;
    this.memoryFloor = step.at + 1;
  }

  /** Copies a value into the cell of a result before the op that works on it in place. */
  private init(value: Value, target: Value): void {
    const map = identityMap(shapeOf(value));
    const step = this.place(squeeze(shapeOf(value)), this.readyOf(value), [[value, map]]);
    step.roots.push({ kind: "copy", value, target });
    this.inits.set(target, { step, value });
  }

  private dot(op: Op): void {
    const [a, b, acc] = op.operands as [Value, Value, Value];
    this.force(a);
    this.force(b);
    this.init(acc, op.result);
    const step = this.append(undefined, op);
    this.demand(a, step.at, undefined);
    this.demand(b, step.at, undefined);
    this.ready.set(op.result, step.at + 1);
  }

  /** An op from tiles in the frame to tiles in the frame. */
  private wholeTiles(op: Op): void {
    for (const v of op.operands) this.force(v);
    const step = this.append(undefined, op);
    for (const v of op.operands) this.demand(v, step.at, undefined);
    for (const r of op.results) this.ready.set(r, step.at + 1);
  }

  private control(op: Op): void {
    let reads = false;
    let writes = false;
    const outside = new Set<Value>();
    for (const region of op.regions)
      walk(region, (inner) => {
        const memory = opDef(inner.opcode).memory;
        reads ||= memory === "read" || memory === "readwrite";
        writes ||= memory === "write" || memory === "readwrite";
        inner.operands.forEach((v, i) => {
          this.external(v, op, outside, needsFrame(inner, i));
        });
      });
    if (op.opcode !== "if")
      op.results.forEach((r, i) => {
        const value = op.operands[op.opcode === "for" ? i + 3 : i]!;
        if (!isScalarValue(r)) this.init(value, r);
      });
    for (const v of outside) this.force(v);
    const step = this.append(undefined, op);
    for (const v of outside) this.demand(v, step.at, undefined);
    this.barrier = this.steps.length - 1;
    if (writes) this.effectAt(step);
    if (reads) this.loadReady = Math.max(this.loadReady, step.at + 1);
    for (const r of op.results) this.ready.set(r, step.at + 1);
  }

  /** Finds the tiles of this block or around it that a nested region reads from the frame. */
  private external(v: Value, control: Op, into: Set<Value>, whole = false): void {
    if (v.type.kind !== "tile" || isScalarValue(v) || into.has(v) || isInside(v, control)) return;
    const op = defOf(v);
    if (!whole && op && isLazy(op) && (this.costs.isCheap(v) || isView(op))) {
      for (const x of op.operands) this.external(x, control, into);
    } else into.add(v);
  }

  private terminator(op: Op): void {
    if (op.opcode === "condition") return;
    const parent = this.block.parent;
    if (!parent || !("opcode" in parent)) return;
    op.operands.forEach((value, i) => {
      if (isScalarValue(value)) return;
      const map = identityMap(shapeOf(value));
      const last = this.steps.at(-1);
      const step = this.place(
        squeeze(shapeOf(value)),
        this.readyOf(value),
        [[value, map]],
        [],
        (s) => s === last || [...this.yields.values()].some((y) => y.step === s),
        true,
      );
      const root = { kind: "copy" as const, value, target: parent.results[i] };
      step.roots.push(root);
      this.yields.set(i, { step, root });
    });
  }
}

const conflicts = (a: readonly Access[], b: readonly Access[]): boolean =>
  a.some((x) => b.some((y) => x.buffer === y.buffer && (x.write || y.write) && x.place !== y.place));

/** Whether the op reads its operand as a whole tile from the frame. */
const needsFrame = (op: Op, operand: number): boolean =>
  (op.opcode === "dot" && operand < 2) ||
  (op.opcode === "gather" && operand === 0) ||
  op.opcode === "scan" ||
  op.opcode === "sort" ||
  (op.opcode === "reshape" && !isView(op));

/** Whether the value is defined inside a region of `control`. */
function isInside(v: Value, control: Op): boolean {
  let d: unknown = v.def;
  while (d !== undefined && d !== null) {
    if (d === control) return v.def !== control;
    d = (d as Op | Block).parent;
  }
  return false;
}
