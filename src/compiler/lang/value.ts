// The values that the front end computes with while it reads a kernel's body: IR values and the things that
// exist at compile time only (literals, pointers, lists, functions, `tl`).

import { type DType, showType, Value } from "../ir/index.js";
import type { Context } from "./context.js";

/** Untyped: takes the dtype of what it meets. Dtypes are strings. */
export type Literal = number | bigint | boolean | string;

/** A parameter's buffer and an offset in elements. The IR has no pointers, so this is all a pointer is. */
export class Pointer {
  constructor(
    readonly param: string,
    readonly buffer: Value,
    /** An integer literal, an integer scalar or a tile of integers. */
    readonly offset: Value | Soft | number,
  ) {}
  get dtype(): DType {
    return this.buffer.type.dtype;
  }
}

/**
 * A loop-carried variable that started as a literal, in the trial turn that finds its type: it takes other
 * operands' types as a literal does, but its value is not known.
 */
export class Soft {
  constructor(readonly kind: "bool" | "int" | "float") {}
}

/** A variable without a value on some path; reading it is an error that says why. */
export class Unset {
  constructor(readonly why: string) {}
}

/** Something with named members: the parameter object, `tl`, an options object. */
export class Fields {
  constructor(
    readonly what: string,
    readonly get: (name: string, cx: Context) => Val,
    readonly names: () => readonly string[],
  ) {}
}

/** Something that can be called: a function of `tl`, a helper, a function inside the body. */
export class Callable {
  constructor(
    /** Functions inside a body get the name of the variable they are first put in. */
    public name: string,
    readonly call: (cx: Context, args: Val[]) => Val,
  ) {}
}

/** `tl.range(…)` and `tl.staticRange(…)`. */
export class Range {
  constructor(
    readonly lo: Val,
    readonly hi: Val,
    readonly step: Val,
    readonly unroll: boolean,
    /** Attributes of the loop that are hints. */
    readonly hints: Readonly<Record<string, number | boolean>>,
  ) {}
}

export type Val =
  | Value
  | Pointer
  | Soft
  | Unset
  | Literal
  | Fields
  | Callable
  | Range
  | readonly Val[]
  | undefined;

export const isList = (v: Val): v is readonly Val[] => Array.isArray(v);
export const isNumeric = (v: Val): v is number | bigint | boolean =>
  typeof v === "number" || typeof v === "bigint" || typeof v === "boolean";
/** An untyped number or boolean, known or not. */
export const isUntyped = (v: Val): v is number | bigint | boolean | Soft => isNumeric(v) || v instanceof Soft;

export function kindOf(v: number | bigint | boolean | Soft): "bool" | "int" | "float" {
  if (v instanceof Soft) return v.kind;
  if (typeof v === "boolean") return "bool";
  return typeof v === "bigint" || Number.isInteger(v) ? "int" : "float";
}

/** What a message calls a value: `f32[64]`, `the literal 0.5`, `pointer x (f32)`. */
export function describe(v: Val): string {
  if (v instanceof Value) return showType(v.type);
  if (v instanceof Pointer) return `pointer ${v.param} (${v.dtype})`;
  if (v instanceof Soft) return v.kind === "bool" ? "an untyped boolean" : "an untyped number";
  if (v instanceof Unset) return "nothing";
  if (v instanceof Fields) return v.what;
  if (v instanceof Callable) return `the function ${v.name}`;
  if (v instanceof Range) return "a tl.range";
  if (v === undefined) return "undefined";
  if (isList(v)) return `a list of ${v.length}`;
  if (typeof v === "string") return JSON.stringify(v);
  return `the literal ${v}`;
}
