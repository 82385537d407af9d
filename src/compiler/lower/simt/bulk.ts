// Copies of whole blocks by the chip's copy engine: which loads it can do, and the statements of one. The engine computes addresses and
// fills what a mask leaves out with zeros; who starts copies, and when, stands in produce.ts.

import { DTYPES, type Func, type Value } from "../../ir/index.js";
import { dtypeOf } from "../simd/kinds.js";
import { firstOf, type Limit, limitsOf, scalarsOf, type Step, stepsOf } from "./affine.js";
import type { Operand, Place } from "./form.js";
import type { Panels } from "./panels.js";
import type { Unit } from "./unit.js";

/** The engine counts in 16 bits: those of a row of a panel, and of a piece of 16 bytes. */
const ROW = 64;
const PIECE = 8;
/** Most rows of a block. */
const MOST_ROWS = 256;

/** How the engine finds a block: what lies between its rows, in 16 bits, and what cuts it. */
export interface Bulk {
  readonly step: Step;
  /** Along a row (`true`) or across rows. */
  readonly limits: readonly (Limit & { readonly along: boolean })[];
  readonly conditions: readonly Value[];
}

/** The way of the copy engine to a loaded tile; undefined where it has none. */
export function bulkOf(x: Omit<Panels, "bulk">, func: Func): Bulk | undefined {
  const [buffer, offset, mask] = x.load.operands as [Value, Value, Value?];
  const halves = DTYPES[buffer.type.dtype].bytes / 2;
  if (dtypeOf(offset) !== "i32" || (halves !== 1 && halves !== 2) || x.rows > MOST_ROWS) return undefined;
  const steps = stepsOf(offset, func);
  const [along, across] = [steps?.[x.along], steps?.[1 - x.along]];
  if (along?.times !== 1 || along.param !== undefined || !across || across.times <= 0) return undefined;
  const step = { ...across, times: across.times * halves };
  if (step.param === undefined && step.times % PIECE !== 0) return undefined;
  const parts = mask ? limitsOf(mask, func) : [];
  if (!parts) return undefined;
  return {
    step,
    limits: parts.flatMap((p) => ("dim" in p ? [{ ...p, along: p.dim === x.along }] : [])),
    conditions: parts.flatMap((p) => ("dim" in p ? [] : [p])),
  };
}

/** The scalars that {@link emitBulk} needs. */
export function bulkScalars(x: Panels): readonly Value[] {
  const { limits, conditions } = x.bulk!;
  const parts = limits.flatMap((l) => [...scalarsOf(l.first), l.bound]);
  return [...scalarsOf(x.load.operands[1]!), ...parts, ...conditions];
}

/** One panel, of which each of two workgroups brings half the rows; of more they bring half each. */
const isOne = (x: Panels): boolean => x.length * x.size === ROW * 2;

/** Whether two workgroups can bring half of a tile each. */
export const isEven = (x: Panels): boolean =>
  isOne(x) ? x.rows % 16 === 0 : (x.length * x.size) % (ROW * 4) === 0;

/**
 * Starts the copy of a tile to its place in the stage at `to`; `mask` is true in one thread.
 *
 * @param half the workgroup's number in its cluster: it brings that half of the tile, to both
 */
export function emitBulk(
  unit: Unit,
  x: Panels,
  to: Place,
  barrier: Place,
  mask: Operand,
  half?: Operand,
): void {
  const { e } = unit;
  const [buffer, offset] = x.load.operands as [Value, Value];
  const { step, limits, conditions } = x.bulk!;
  const halves = x.size / 2;
  const i32 = (op: "add" | "sub" | "mul" | "minS" | "maxS", a: Operand, b: Operand): Operand =>
    e.op(op, "i32", 1, [a, b]);
  /** How many of `most` elements count, in one direction. */
  const count = (along: boolean, most: number): Operand =>
    limits.reduce<Operand>((least, l) => {
      if (l.along !== along) return least;
      const left = i32("sub", unit.scalar(l.bound), firstOf(unit, l.first));
      return i32("minS", least, i32("maxS", l.orEqual ? i32("add", left, 1) : left, 0));
    }, most);
  const all = conditions.map((v) => unit.scalar(v));
  const allRows = all.reduce<Operand>(
    (n, condition) => e.op("select", "i32", 1, [condition, n, 0]),
    count(false, x.rows),
  );
  const row = ROW / halves;
  const panels = x.length / row;
  const [parts, pieces] = half === undefined ? [1, panels] : isOne(x) ? [2, 1] : [1, panels / 2];
  const columns = count(true, x.length);
  const times = step.times / halves;
  const distance = step.param === undefined ? times : i32("mul", unit.scalar(unit.func.body.args[step.param]!), times); // biome-ignore format: one line
  const high = x.rows / parts;
  const map = unit.mapOf({ param: unit.paramOf(buffer), step, rows: high });
  // Where the half begins.
  const [top, left] = half === undefined ? [0, 0] : isOne(x) ? [i32("mul", half, high), 0] : [0, i32("mul", half, pieces * row)]; // biome-ignore format: one line
  const rows = half === undefined ? allRows : i32("minS", i32("maxS", i32("sub", allRows, top), 0), high);
  const origin = i32("add", firstOf(unit, offset), i32("mul", i32("add", rows, top), distance));
  const start = half === undefined ? to.at : i32("add", to.at, i32("mul", half, x.bytes / 2));
  for (let p = 0; p < pieces; p++) {
    const column = i32("add", left, p * row);
    const here = i32("minS", i32("maxS", i32("sub", columns, column), 0), row);
    // The engine leaves out what lies beyond the end of a row of 64, or beyond the last row: a block that is cut begins later.
    const at = i32("add", i32("add", origin, column), here);
    e.push({
      s: "bulkCopy",
      map,
      to: { ...to, at: start, plus: (to.plus ?? 0) + x.start + p * x.rows * ROW * 2 },
      from: [
        i32("mul", i32("sub", row, here), halves),
        i32("sub", high, rows),
        e.op("shrS", "i32", 1, [at, Math.log2(PIECE / halves)]),
      ],
      barrier,
      mask,
      ...(half === undefined ? {} : { both: true }),
    });
  }
}
