// Where control flow joins: what a variable is when each path left another value in it, and which parts of it
// become results (or block arguments) of the IR op.

import { isFloat, isInt, sameType, type TileType, tile, Value } from "../ir/index.js";
import { defaultDtype, literalAs, typeOf } from "./coerce.js";
import type { Context } from "./context.js";
import { describe, isList, isUntyped, kindOf, Pointer, Soft, Unset, type Val } from "./value.js";

/** How to build a value again from the results of an op: its slots in order. */
export type Shape =
  | { readonly kind: "fixed"; readonly value: Val }
  | { readonly kind: "slot"; readonly index: number }
  | { readonly kind: "pointer"; readonly pointer: Pointer; readonly offset: Shape }
  | { readonly kind: "list"; readonly items: readonly Shape[] };

export function rebuild(s: Shape, results: readonly Value[]): Val {
  switch (s.kind) {
    case "fixed":
      return s.value;
    case "slot":
      return results[s.index];
    case "pointer":
      return new Pointer(s.pointer.param, s.pointer.buffer, rebuild(s.offset, results) as Value | number);
    case "list":
      return s.items.map((i) => rebuild(i, results));
  }
}

type Scalarish = Value | Soft | number | bigint | boolean;
export interface Slot {
  readonly type: TileType;
  readonly values: readonly [Scalarish, Scalarish];
}

export const same = (a: Val, b: Val): boolean =>
  Object.is(a, b) ||
  (a instanceof Pointer && b instanceof Pointer && a.buffer === b.buffer && Object.is(a.offset, b.offset)) ||
  (isList(a) && isList(b) && a.length === b.length && a.every((x, i) => same(x, b[i])));

/** The value of a variable after two paths; parts that differ become slots. */
export function join(cx: Context, a: Val, b: Val, what: string, slots: Slot[]): Shape {
  if (same(a, b)) return { kind: "fixed", value: a };
  if (a instanceof Pointer && b instanceof Pointer) {
    if (a.buffer !== b.buffer)
      cx.fail(
        `${what} is ${describe(a)} on one path and ${describe(b)} on the other`,
        "A pointer stays with one parameter. Load in each branch, or choose between loaded values.",
      );
    return {
      kind: "pointer",
      pointer: a,
      offset: join(cx, a.offset, b.offset, `the offset of ${what}`, slots),
    };
  }
  if (isList(a) && isList(b) && a.length === b.length)
    return { kind: "list", items: a.map((x, i) => join(cx, x, b[i], `${what}[${i}]`, slots)) };
  if (a === undefined || b === undefined || a instanceof Unset || b instanceof Unset) {
    const unset = [a, b].find((v) => v instanceof Unset);
    return {
      kind: "fixed",
      value: unset ?? new Unset("it is only assigned on one of the paths that lead here"),
    };
  }
  const type = meet(cx, a, b, what);
  if (type === undefined) return { kind: "fixed", value: softer(a as Soft, b as Soft) };
  slots.push({ type, values: [a as Scalarish, b as Scalarish] });
  return { kind: "slot", index: slots.length - 1 };
}

const softer = (a: Parameters<typeof kindOf>[0], b: Parameters<typeof kindOf>[0]): Soft => {
  const kinds = [kindOf(a), kindOf(b)];
  return new Soft(kinds.includes("float") ? "float" : kinds.includes("int") ? "int" : "bool");
};

/** The one type of two values that meet; undefined where both stay untyped in a trial. */
export function meet(cx: Context, a: Val, b: Val, what: string): TileType | undefined {
  if (a instanceof Value && b instanceof Value) {
    if (!sameType(a.type, b.type))
      cx.fail(
        `${what} is ${describe(a)} on one path and ${describe(b)} on the other`,
        "Give both paths one type: tl.cast changes the dtype, tl.broadcastTo the shape.",
      );
    return typeOf(a);
  }
  if (a instanceof Value && isUntyped(b)) return typeOf(a);
  if (b instanceof Value && isUntyped(a)) return typeOf(b);
  if (isUntyped(a) && isUntyped(b)) {
    if (a instanceof Soft || b instanceof Soft) return undefined;
    return untypedMeet(cx, [a, b], what);
  }
  return cx.fail(
    `${what} is ${describe(a)} on one path and ${describe(b)} on the other`,
    "Only numbers, tiles, masks, pointers and lists of them may depend on a condition of the run time.",
  );
}

/** The type of several untyped values that never meet a typed one. */
export function untypedMeet(
  cx: Context,
  values: readonly (number | bigint | boolean | Soft)[],
  what: string,
): TileType {
  const kinds = new Set(values.map(kindOf));
  if (kinds.has("bool") && kinds.size > 1)
    cx.fail(`${what} is a boolean on one path and a number on the other`);
  if (kinds.has("float")) return tile("f32", []);
  return tile(values.map(defaultDtype).find((d) => d !== "i32") ?? "i32", []);
}

/** A slot's value in the block of its path. */
export function materialize(cx: Context, v: Scalarish, type: TileType): Value {
  return v instanceof Value ? v : literalAs(cx, v, type.dtype, type.shape);
}

/** Whether an untyped value can have this dtype at all. */
export const literalFits = (v: number | bigint | boolean | Soft, type: TileType): boolean => {
  const kind = kindOf(v);
  if (kind === "bool") return type.dtype === "bool";
  return kind === "int" ? isInt(type.dtype) || isFloat(type.dtype) : isFloat(type.dtype);
};
