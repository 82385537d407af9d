// Two paths of which one runs: `if`, scalar `?:`, `&&`, `||`, and early returns.

import { Block, isFloat, opDef, Value } from "../ir/index.js";
import { literalAs, typeOf } from "./coerce.js";
import type { Cell, Context } from "./context.js";
import { join, materialize, rebuild, same, type Shape, type Slot } from "./merge.js";
import { describe, isList, isNumeric, Pointer, Soft, type Val } from "./value.js";

/** A condition: known at compile time, or a bool scalar, or a mask. */
export function truth(cx: Context, v: Val, what: string): boolean | Value {
  if (typeof v === "string") return v.length > 0;
  if (v === undefined) return false;
  if (isNumeric(v)) return Boolean(v);
  if (v instanceof Soft) return literalAs(cx, v.kind === "bool" ? v : new Soft("bool"), "bool");
  if (v instanceof Value) {
    const { dtype, shape } = typeOf(v);
    if (dtype === "bool") return v;
    if (isFloat(dtype) || shape.length > 0)
      cx.fail(`${what} is ${describe(v)}, but must be a boolean`, "Compare it with something: value !== 0.");
    return cx.b.cast(v, "bool");
  }
  if (isList(v)) return true;
  return cx.fail(
    `${what} is ${describe(v)}, but must be a boolean`,
    v instanceof Pointer
      ? `A pointer is never null. To test the element, load it: tl.load(${v.param}) !== 0.`
      : undefined,
  );
}

/** {@link truth} for control flow, where a mask cannot decide. */
export function scalarTruth(cx: Context, v: Val, what: string): boolean | Value {
  const t = truth(cx, v, what);
  if (t instanceof Value && typeOf(t).shape.length > 0)
    cx.fail(
      `${what} is a mask (${describe(t)}): its elements may differ, but only one branch can run`,
      "Choose element by element with tl.where(mask, a, b), or reduce the mask to one boolean with tl.any or tl.all.",
    );
  return t;
}

interface Path {
  readonly block: Block;
  readonly result: Val;
  readonly after: Map<Cell, Val>;
}

export function readPath(cx: Context, fn: () => Val): Path {
  const block = new Block();
  return { block, ...cx.region(block, fn) };
}

/** Runs one of two paths by a bool scalar; returns the joined result and joins what they assigned. */
export function branch(cx: Context, cond: Value, onTrue: () => Val, onFalse: () => Val): Val {
  const loc = cx.b.loc;
  const yes = readPath(cx, onTrue);
  const no = readPath(cx, onFalse);
  cx.b.loc = loc;
  return joinPaths(cx, cond, yes, no);
}

export function joinPaths(cx: Context, cond: Value, yes: Path, no: Path): Val {
  const slots: Slot[] = [];
  const result = join(cx, yes.result, no.result, "the result", slots);
  const merged: [Cell, Shape][] = [];
  for (const cell of new Set([...yes.after.keys(), ...no.after.keys()])) {
    const [a, b] = [yes, no].map((p) => (p.after.has(cell) ? p.after.get(cell) : cell.value));
    if (same(a, b) && same(a, cell.value)) continue;
    merged.push([cell, join(cx, a, b, `${cell.name} after the branches`, slots)]);
  }
  const results = emit(cx, cond, yes.block, no.block, slots);
  for (const [cell, shape] of merged) {
    const value = rebuild(shape, results);
    if (value instanceof Value) value.name ??= cell.name;
    cx.write(cell, value);
  }
  return rebuild(result, results);
}

/** At most this many pure ops of both sides are computed without a branch. */
const SPECULATE = 4;

function emit(cx: Context, cond: Value, yes: Block, no: Block, slots: readonly Slot[]): Value[] {
  const values = [yes, no].map((block, side) =>
    cx.b.inside(block, () => slots.map((s) => materialize(cx, s.values[side]!, s.type))),
  );
  const ops = [...yes.ops, ...no.ops];
  if (slots.length === 0 && ops.length === 0) return [];
  const cheap = ops.filter((op) => op.opcode !== "const");
  if (
    cheap.length <= SPECULATE &&
    ops.every((op) => (opDef(op.opcode).pure && opDef(op.opcode).elementwise) || op.opcode === "const") &&
    slots.every((s) => s.type.shape.length === 0) &&
    cheap.every((op) => op.results.every((r) => typeOf(r).shape.length === 0))
  ) {
    adopt(cx, yes);
    adopt(cx, no);
    return slots.map((_, i) => cx.b.value("select", [cond, values[0]![i]!, values[1]![i]!]));
  }
  cx.b.inside(yes, () => cx.b.create("yield", values[0]));
  cx.b.inside(no, () => cx.b.create("yield", values[1]));
  return cx.b.create("if", [cond], {}, [yes, no]).results;
}

/** Moves the ops of a block that was read apart to the current place. */
export function adopt(cx: Context, block: Block): void {
  for (const op of block.ops.splice(0)) cx.b.block.push(op);
}
