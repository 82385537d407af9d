// What all of a function's code shares while it is lowered: the emitter, the plan, shared memory, and the registers of
// every tile in each of its layouts.

import type { Func, Value } from "../../ir/index.js";
import { convert } from "./convert.js";
import { SimtEmitter } from "./emit.js";
import type { BlockMap, Operand } from "./form.js";
import { type Layout, sameLayout, single } from "./layout.js";
import type { Producer } from "./produce.js";
import { type Plan, shapeOf, sizeOf } from "./plan.js";
import { Shared } from "./shared.js";
import type { SimtShape } from "./shape.js";

interface Tile {
  readonly layout: Layout;
  readonly regs: readonly Operand[];
}

export class Unit {
  readonly e = new SimtEmitter();
  readonly shared: Shared;
  /** A loop whose turns were shared out has a barrier inside. */
  splitFailed = false;
  /** What launches prepare for the copy engine. */
  readonly maps: BlockMap[] = [];
  /** Who brings the operands of the loop that has a producer. */
  producer: Producer | undefined;
  private tiles = new Map<Value, Tile[]>();

  constructor(
    readonly func: Func,
    readonly plan: Plan,
    readonly shape: SimtShape,
  ) {
    this.shared = new Shared(this.e, plan.threads, (op) => plan.memoryLayout(op));
  }

  paramOf(buffer: Value): number {
    const param = this.func.body.args.indexOf(buffer);
    if (param < 0) throw new Error("lower/simt: a buffer that is no parameter");
    return param;
  }

  /** The place of a map in {@link maps}. */
  mapOf(map: BlockMap): number {
    const same = this.maps.findIndex(
      (m) => m.param === map.param && m.rows === map.rows && m.step.times === map.step.times && m.step.param === map.step.param && m.empty === map.empty, // biome-ignore format: one line
    );
    return same >= 0 ? same : this.maps.push(map) - 1;
  }

  /** Emits code for other threads: what it makes of values is forgotten afterwards. */
  apart(run: () => void): void {
    const before = new Map([...this.tiles].map(([v, list]) => [v, [...list]] as [Value, Tile[]]));
    run();
    this.tiles = before;
  }

  /** The registers of a value in one of the layouts that the plan foresaw. */
  get(v: Value, l: Layout): readonly Operand[] {
    const tiles = this.tiles.get(v);
    const tile = tiles?.find((t) => sameLayout(t.layout, l) || sizeOf(v) === 1);
    if (!tile)
      throw new Error(`lower/simt: a value of shape [${shapeOf(v)}] is not there in the layout asked for`);
    return tile.regs;
  }

  /** The register of a scalar. */
  scalar(v: Value): Operand {
    return this.get(v, single([], this.plan.threads))[0]!;
  }

  /** Forgets a value: its op is emitted once more, for another turn of a loop. */
  forget(v: Value): void {
    this.tiles.delete(v);
  }

  /** Adds a value in one layout. */
  add(v: Value, layout: Layout, regs: readonly Operand[]): void {
    const tiles = this.tiles.get(v);
    if (tiles) tiles.push({ layout, regs });
    else this.tiles.set(v, [{ layout, regs }]);
  }

  /** Adds a value in its home, and in every other layout it is needed in. */
  define(v: Value, home: Layout, regs: readonly Operand[]): void {
    this.tiles.delete(v);
    this.add(v, home, regs);
    if (sizeOf(v) === 1) return;
    for (const l of this.plan.layoutsOf(v))
      if (!sameLayout(l, home)) this.add(v, l, convert(this, v.type.dtype, regs, home, l));
  }
}
