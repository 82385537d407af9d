// Copies of whole blocks by the chip's copy engine: which loads it can do, and the statements of one. The engine computes addresses and
// fills what a mask leaves out with zeros; who starts copies, and when, stands in produce.ts.

import { DTYPES, type Func, type Value } from "../../ir/index.js";
import { dtypeOf } from "../simd/kinds.js";
import { firstOf, type Limit, limitsOf, scalarsOf, type Step, stepsOf } from "./affine.js";
import type { Operand, Place } from "./form.js";
import type { Panels } from "./panels.js";
import type { Unit } from "./unit.js";

/** Elements of 2 bytes in a row of a panel. */
const ROW = 64;
/** Most rows of a block. */
const MOST_ROWS = 256;
/** Elements of 2 bytes in a piece of 16. */
const PIECE = 8;

/** How the engine finds a block: the elements between its rows, and what cuts it. */
export interface Bulk {
  readonly step: Step;
  /** Along a row (`true`) or across rows. */
  readonly limits: readonly (Limit & { readonly along: boolean })[];
  readonly conditions: readonly Value[];
}

/** The way of the copy engine to a loaded tile; undefined where it has none. */
export function bulkOf(x: Omit<Panels, "bulk">, func: Func): Bulk | undefined {
  const [buffer, offset, mask] = x.load.operands as [Value, Value, Value?];
  if (dtypeOf(offset) !== "i32" || DTYPES[buffer.type.dtype].bytes !== 2 || x.rows > MOST_ROWS)
    return undefined;
  const steps = stepsOf(offset, func);
  const [along, across] = [steps?.[x.along], steps?.[1 - x.along]];
  if (along?.times !== 1 || along.param !== undefined || !across || across.times <= 0) return undefined;
  if (across.param === undefined && across.times % PIECE !== 0) return undefined;
  const parts = mask ? limitsOf(mask, func) : [];
  if (!parts) return undefined;
  return {
    step: across,
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

/** Starts the copy of a tile to its place in the stage at `to`; `mask` is true in one thread. */
export function emitBulk(unit: Unit, x: Panels, to: Place, barrier: Place, mask: Operand): void {
  const { e } = unit;
  const [buffer, offset] = x.load.operands as [Value, Value];
  const { step, limits, conditions } = x.bulk!;
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
  const rows = all.reduce<Operand>(
    (n, condition) => e.op("select", "i32", 1, [condition, n, 0]),
    count(false, x.rows),
  );
  const columns = count(true, x.length);
  const distance = step.param === undefined ? step.times : i32("mul", unit.scalar(unit.func.body.args[step.param]!), step.times); // biome-ignore format: one line
  const origin = i32("add", firstOf(unit, offset), i32("mul", rows, distance));
  const map = unit.mapOf({ param: unit.paramOf(buffer), step, rows: x.rows });
  for (let p = 0; p * ROW < x.length; p++) {
    const here = i32("minS", i32("maxS", i32("sub", columns, p * ROW), 0), ROW);
    // The engine leaves out what lies beyond the end of a row of 64, or beyond the last row: a block that is cut begins later.
    const piece = e.op("shrS", "i32", 1, [i32("add", i32("add", origin, p * ROW), here), Math.log2(PIECE)]);
    e.push({
      s: "bulkCopy",
      map,
      to: { ...to, plus: (to.plus ?? 0) + x.start + p * x.rows * ROW * 2 },
      from: [i32("sub", ROW, here), i32("sub", x.rows, rows), piece],
      barrier,
      mask,
    });
  }
}
