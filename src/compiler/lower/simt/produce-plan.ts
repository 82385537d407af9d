// Which loops have their operands brought by threads of their own, which do nothing else, through the chip's copy engine: those whose
// copies need no more than scalars that these threads can compute again. Emits nothing; produce.ts does.

import { type Func, type Op, opDef, type Value, walk } from "../../ir/index.js";
import { bulkScalars } from "./bulk.js";
import type { Panels } from "./panels.js";
import type { SimtShape } from "./shape.js";

/** A loop whose operands stream: what pipeline-plan.ts and stream-plan.ts have in common. */
export interface Streaming {
  readonly loop: Op;
  readonly tiles: readonly Panels[];
  /** Copied once, before the loop. */
  readonly kept: readonly Panels[];
  readonly stages: number;
  readonly stageBytes: number;
  readonly keptBytes: number;
  /** A turn waits for the stage of the next one, too. */
  readonly ahead: boolean;
}

export interface Production extends Streaming {
  /** The loops around it, the outermost first. */
  readonly around: readonly Op[];
  /** The ops of scalars that the copies need, wherever they stand. */
  readonly needed: ReadonlySet<Op>;
}

const sizeOf = (v: Value): number => (v.type.kind === "tile" ? v.type.shape.reduce((n, d) => n * d, 1) : 1);

/** How a loop's operands are produced; undefined where the threads that compute bring them themselves. */
export function productionOf(s: Streaming, func: Func, shape: SimtShape): Production | undefined {
  const all = [...s.tiles, ...s.kept];
  if (!shape.bulkCopy || all.some((x) => !x.bulk)) return undefined;
  const around: Op[] = [];
  for (let up = s.loop.parent; up !== func.body; ) {
    const op = up?.parent;
    if (!op || !("opcode" in op) || op.opcode !== "for") return undefined;
    around.unshift(op);
    up = op.parent;
  }
  const loops = new Set([...around, s.loop]);
  const needed = new Set<Op>();
  let known = true;
  const visit = (v: Value): void => {
    const { def } = v;
    if (!def) {
      known = false;
      return;
    }
    if (!("opcode" in def)) {
      // Of a block's arguments, the function's parameters and the loops' own variables.
      const op = def === func.body ? undefined : def.parent;
      known &&= def === func.body || (op !== null && op !== undefined && loops.has(op as Op) && def.args[0] === v); // biome-ignore format: one line
      return;
    }
    if (needed.has(def)) return;
    const { memory, terminator, elementwise } = opDef(def.opcode);
    const plain = elementwise || def.opcode === "load" || def.operands.length === 0;
    known &&= !terminator && plain && def.regions.length === 0 && sizeOf(v) === 1;
    known &&= memory === undefined || memory === "read";
    if (!known) return;
    needed.add(def);
    def.operands.forEach((x) => {
      if (x.type.kind !== "buffer") visit(x);
    });
  };
  for (const loop of loops) loop.operands.slice(0, 3).forEach(visit);
  for (const x of all) bulkScalars(x).forEach(visit);
  if (!known || writesWhatIsRead(func, all, needed)) return undefined;
  return { ...s, around, needed };
}

/** A kernel that writes what it brings, or what the copies depend on, must keep the order of the two. */
function writesWhatIsRead(func: Func, tiles: readonly Panels[], needed: ReadonlySet<Op>): boolean {
  const read = new Set(tiles.map((x) => x.load.operands[0]!));
  for (const op of needed) if (op.opcode === "load") read.add(op.operands[0]!);
  let found = false;
  walk(func.body, (op) => {
    const { memory } = opDef(op.opcode);
    found ||= memory !== undefined && memory !== "read" && read.has(op.operands[0]!);
  });
  return found;
}
