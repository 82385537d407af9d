// How a function of `tl` is declared: its type for the author, its parameters and what it becomes, in one place.

import { type DType, isDType, showType, Value } from "../../ir/index.js";
import { broadcast, commonShape, fitTo, toValue, typeOf } from "../coerce.js";
import type { Context } from "../context.js";
import { describe, Fields, isList, Soft, type Val } from "../value.js";

declare const TYPE: unique symbol;
/** A function of `tl`; `F` is its type in kernels. */
export interface TlFunction<F> {
  readonly params: readonly string[];
  /** So many arguments must be given. */
  readonly least: number;
  readonly lower: (cx: Context, args: Val[]) => Val;
  readonly [TYPE]?: F;
}
/** The type of a table of functions as kernels see it; comments of the table stay with the members. */
export type TlOf<T> = {
  readonly [K in keyof T]: T[K] extends TlFunction<infer F> ? F : T[K];
};

/** Declares a function: `params` as in `"pointer, mask?, other?, options?"`. */
export function fn<F extends (...args: never[]) => unknown>(
  params: string,
  lower: (cx: Context, args: Val[]) => Val,
): TlFunction<F> {
  const list = params === "" ? [] : params.split(", ");
  return { params: list, least: list.filter((p) => !p.endsWith("?") && !p.startsWith("...")).length, lower };
}

const pow2 = (n: number): boolean => Number.isInteger(n) && n > 0 && 2 ** Math.round(Math.log2(n)) === n;

/** An integer known at compile time. */
export function constInt(cx: Context, v: Val, what: string): number {
  const n = typeof v === "bigint" ? Number(v) : v;
  if (typeof n === "number" && Number.isInteger(n)) return n;
  if (v instanceof Value || v instanceof Soft)
    cx.fail(
      `${what} must be known at compile time, but it is ${v instanceof Soft ? "a variable that changes in the loop" : describe(v)}`,
      "Make it a constexpr parameter, or compute it from constexpr parameters and literals.",
    );
  return cx.fail(`${what} must be an integer, not ${describe(v)}`);
}

/** A length of a tile's dimension. */
export function dimension(cx: Context, v: Val, what: string): number {
  const n = constInt(cx, v, what);
  if (!pow2(n))
    cx.fail(
      `${what} must be a power of two, not ${n}`,
      n > 0
        ? `Use ${2 ** Math.ceil(Math.log2(n))} (tl.nextPowerOf2(${n})) and mask what is too much: tl.load(pointer, at < ${n}, 0).`
        : undefined,
    );
  return n;
}

/** A shape: a list of dimensions, or one dimension. */
export function shapeArg(cx: Context, v: Val, what: string): number[] {
  const list = isList(v) ? v : [v];
  return list.map((d, i) => dimension(cx, d, list.length > 1 ? `dimension ${i} of ${what}` : what));
}

export function dtypeArg(cx: Context, v: Val, what: string): DType {
  if (typeof v === "string" && isDType(v)) return v;
  return cx.fail(`${what} must be a dtype such as tl.f32, not ${describe(v)}`);
}

/** A member of the options object, or undefined. */
export function option(cx: Context, options: Val, name: string): Val {
  if (options === undefined) return undefined;
  if (!(options instanceof Fields))
    cx.fail(`the options must be an object such as { ${name}: … }, not ${describe(options)}`);
  return options.get(name, cx);
}

/** Refuses options that the function does not have. */
export function optionNames(cx: Context, options: Val, what: string, names: readonly string[]): void {
  if (options === undefined) return;
  if (!(options instanceof Fields))
    cx.fail(`the options of ${what} must be an object, not ${describe(options)}`);
  for (const n of options.names())
    if (!names.includes(n)) cx.fail(`${what} has no option ${n}`, `It has ${names.join(", ")}.`);
}

export function flag(cx: Context, options: Val, name: string): boolean {
  const v = option(cx, options, name);
  if (v === undefined || typeof v === "boolean") return v ?? false;
  return cx.fail(`the option ${name} must be true or false at compile time, not ${describe(v)}`);
}

/** One of several words. */
export function word<W extends string>(
  cx: Context,
  v: Val,
  what: string,
  words: readonly W[],
  otherwise: W,
): W {
  if (v === undefined) return otherwise;
  if (typeof v === "string" && (words as readonly string[]).includes(v)) return v as W;
  return cx.fail(`${what} must be one of ${words.map((w) => `"${w}"`).join(", ")}, not ${describe(v)}`);
}

/** A tile of one dimension or more. */
export function tileArg(cx: Context, v: Val, what: string): Value {
  const t = toValue(cx, v, what);
  if (typeOf(t).shape.length === 0) cx.fail(`${what} must be a tile, not the scalar ${describe(v)}`);
  return t;
}

/** An axis of a tile; negative ones count from the last. */
export function axisArg(cx: Context, v: Val, rank: number, what: string): number {
  const axis = constInt(cx, v, what);
  if (axis < -rank || axis >= rank)
    cx.fail(`${what} is ${axis}, but the tile has ${rank} dimension${rank === 1 ? "" : "s"}`);
  return axis < 0 ? axis + rank : axis;
}

/** A mask as bool of a shape. */
export function maskArg(cx: Context, v: Val, shape: readonly number[], what: string): Value {
  if (v instanceof Value && typeOf(v).dtype !== "bool")
    cx.fail(`the mask of ${what} is ${describe(v)}, but must be a mask`, "Compare: at < n.");
  if (v instanceof Value && !commonShape([typeOf(v).shape, shape])?.every((d, i) => d === shape[i]))
    cx.fail(
      `the mask of ${what} is ${showType(v.type)}, which does not fit the pointer's shape [${shape.join(",")}]`,
      "Pointer and mask are tiles of one shape; tl.row and tl.col add dimensions.",
    );
  if (v instanceof Value) return broadcast(cx, v, shape, `the mask of ${what}`);
  return fitTo(cx, v, "bool", shape, `the mask of ${what}`);
}
