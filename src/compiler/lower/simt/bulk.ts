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

/** Starts the copy of a tile to its place in the stage at `to`; `mask` is true in one thread. */
export function emitBulk(unit: Unit, x: Panels, to: Place, barrier: Place, mask: Operand): void {
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
  const rows = all.reduce<Operand>(
    (n, condition) => e.op("select", "i32", 1, [condition, n, 0]),
    count(false, x.rows),
  );
  const row = ROW / halves;
  const columns = count(true, x.length);
  const times = step.times / halves;
  const distance = step.param === undefined ? times : i32("mul", unit.scalar(unit.func.body.args[step.param]!), times); // biome-ignore format: one line
  const whole = { param: unit.paramOf(buffer), step, rows: x.rows };
  const map = unit.mapOf(whole);
  const origin = i32("add", firstOf(unit, offset), i32("mul", rows, distance));
  for (let column = 0; column < x.length; column += row) {
    const here = i32("minS", i32("maxS", i32("sub", columns, column), 0), row);
    // The engine leaves out what lies beyond the end of a row of 64, or beyond the last row: a block that is cut begins later.
    const at = i32("add", i32("add", origin, column), here);
    const [noColumn, noRow] = [here, rows].map((n) => e.op("eq", "mask", 1, [n, 0])) as [Operand, Operand];
    const test = e.op("or", "mask", 1, [noColumn, noRow]);
    e.push({
      s: "bulkCopy",
      map,
      to: { ...to, plus: (to.plus ?? 0) + x.start + (column / row) * x.rows * ROW * 2 },
      from: [
        i32("mul", i32("sub", row, here), halves),
        i32("sub", x.rows, rows),
        e.op("shrS", "i32", 1, [at, Math.log2(PIECE / halves)]),
      ],
      barrier,
      mask,
      ...(typeof test === "object" ? { empty: { test, map: unit.mapOf({ ...whole, empty: true }) } } : {}),
    });
  }
}
