// Untyped values become typed ones, scalars become tiles, shapes and dtypes are brought together.

import {
  DTYPES,
  type DType,
  isFloat,
  isInt,
  roundTo,
  sameShape,
  showType,
  type TileType,
  tile,
  Value,
} from "../ir/index.js";
import type { Context } from "./context.js";
import { describe, isUntyped, kindOf, Pointer, Soft, Unset, type Val } from "./value.js";

export const typeOf = (v: Value): TileType => v.type as TileType;

/** An untyped number or boolean as a constant of `dtype`; an error where it would lose its meaning. */
export function literalAs(
  cx: Context,
  v: number | bigint | boolean | Soft,
  dtype: DType,
  shape: readonly number[] = [],
): Value {
  const kind = kindOf(v);
  const known = v instanceof Soft ? 0 : v;
  if (kind === "float" && isInt(dtype))
    cx.fail(
      `${describe(v)} is not an integer, but meets ${showType(tile(dtype, shape))}`,
      `Cast the integers first: tl.cast(value, tl.f32).`,
    );
  if (kind === "bool" && dtype !== "bool")
    cx.fail(
      `${describe(v)} is a boolean, but meets ${showType(tile(dtype, shape))}`,
      "tl.cast turns a boolean into a number; tl.where chooses between two.",
    );
  if (dtype === "bool" && kind !== "bool" && known !== 0 && known !== 1)
    cx.fail(
      `${describe(v)} is a number, but meets ${showType(tile(dtype, shape))}`,
      "Compare to get a boolean (value !== 0), or turn the booleans into numbers with tl.cast.",
    );
  if (isInt(dtype)) {
    const { bits } = DTYPES[dtype];
    const exact = BigInt(known);
    if (exact < -(1n << BigInt(bits - 1)) || exact >= 1n << BigInt(bits))
      cx.fail(
        `${describe(v)} does not fit into ${dtype}`,
        "Cast the other operand to a wider dtype with tl.cast.",
      );
    return cx.b.constant(roundTo(dtype, exact), dtype, shape);
  }
  return cx.b.constant(roundTo(dtype, typeof known === "boolean" ? Number(known) : known), dtype, shape);
}

/** The dtype of an untyped value that meets nothing typed: i32 (i64 if it does not fit), f32 or bool. */
export function defaultDtype(v: number | bigint | boolean | Soft): DType {
  const kind = kindOf(v);
  if (kind === "bool") return "bool";
  if (kind === "float") return "f32";
  return !(v instanceof Soft) && (Number(v) < -2147483648 || Number(v) > 4294967295) ? "i64" : "i32";
}

/** Any numeric value as an IR value. `what` names it in the error: "the value of tl.store". */
export function toValue(cx: Context, v: Val, what: string): Value {
  if (v instanceof Value) return v;
  if (isUntyped(v)) return literalAs(cx, v, defaultDtype(v));
  return notANumber(cx, v, what);
}

export function notANumber(cx: Context, v: Val, what: string): never {
  if (v instanceof Pointer)
    cx.fail(
      `${what} is ${describe(v)}, but must be a number`,
      `A pointer is only good for offsets, loads and stores: tl.load(${v.param} + offset).`,
    );
  if (v instanceof Unset) cx.fail(`${what} has no value: ${v.why}`);
  cx.fail(`${what} is ${describe(v)}, but must be a number, a tile or a mask`);
}

/** Repeats a scalar or dimensions of 1; missing leading dimensions count as 1. */
export function broadcast(cx: Context, v: Value, shape: readonly number[], what: string): Value {
  const t = typeOf(v);
  if (sameShape(t.shape, shape)) return v;
  if (t.shape.length === 0) return cx.b.splat(v, shape);
  let r = v;
  let s = t.shape;
  while (s.length < shape.length) {
    r = cx.b.value("expandDims", [r], { axis: 0 });
    s = [1, ...s];
  }
  if (s.length > shape.length || s.some((d, i) => d !== 1 && d !== shape[i]))
    cx.fail(
      `${what}: ${showType(t)} does not broadcast to [${shape.join(",")}]`,
      "Dimensions must be equal or 1. tl.row, tl.col and tl.expandDims add dimensions of 1.",
    );
  return sameShape(s, shape) ? r : cx.b.value("broadcast", [r], { shape });
}

/** The shape to which shapes broadcast, or undefined. */
export function commonShape(shapes: readonly (readonly number[])[]): number[] | undefined {
  const rank = Math.max(...shapes.map((s) => s.length));
  const out: number[] = new Array<number>(rank).fill(1);
  for (const s of shapes)
    for (let i = 0; i < s.length; i++) {
      const at = rank - s.length + i;
      const d = s[i]!;
      if (d === 1 || d === out[at]) continue;
      if (out[at] !== 1) return undefined;
      out[at] = d;
    }
  return out;
}

/** A value as `dtype` and `shape`: typed values are cast and broadcast, untyped ones checked. */
export function fitTo(cx: Context, v: Val, dtype: DType, shape: readonly number[], what: string): Value {
  if (isUntyped(v)) return literalAs(cx, v, dtype, shape);
  const value = toValue(cx, v, what);
  return broadcast(cx, cx.b.cast(value, dtype), shape, what);
}

const RANK = { bool: 0, int: 1, uint: 1, float: 2 } as const;

/**
 * The dtype in which two typed values meet, by Triton's rules: the higher kind (bool, integer, float) wins; of
 * one kind the wider; f16 and bf16 meet in f32, the two f8 in f16; of a signed and an unsigned integer the unsigned wins unless
 * it is narrower. A scalar does not widen a tile of its kind, except that 64-bit integers are never cut.
 */
export function promote(a: TileType, b: TileType, full = false): DType {
  if (a.dtype === b.dtype) return a.dtype;
  const [x, y] = [DTYPES[a.dtype], DTYPES[b.dtype]];
  if (RANK[x.kind] !== RANK[y.kind]) return RANK[x.kind] > RANK[y.kind] ? a.dtype : b.dtype;
  if (!full && (a.shape.length === 0) !== (b.shape.length === 0)) {
    const [s, t] = a.shape.length === 0 ? [a, b] : [b, a];
    if (isFloat(t.dtype) || DTYPES[s.dtype].bits < 64) return t.dtype;
  }
  if (isFloat(a.dtype))
    return x.bits === y.bits ? (x.bits === 8 ? "f16" : "f32") : x.bits > y.bits ? a.dtype : b.dtype;
  if (x.kind === y.kind) return x.bits > y.bits ? a.dtype : b.dtype;
  const [u, s] = x.kind === "uint" ? [a.dtype, b.dtype] : [b.dtype, a.dtype];
  return DTYPES[u].bits >= DTYPES[s].bits ? u : s;
}

/** Brings values to one dtype and one shape. At least one must be typed. */
export function unify(cx: Context, values: readonly Val[], what: string, full = false): Value[] {
  const typed = values.filter((v): v is Value => v instanceof Value);
  const first = typed[0];
  if (!first) throw new Error("unify needs a typed value");
  let type = typeOf(first);
  for (const v of typed) {
    const shape = commonShape([type.shape, typeOf(v).shape]);
    if (!shape)
      cx.fail(
        `${what} cannot combine ${typed.map((u) => showType(u.type)).join(" and ")}: the shapes do not broadcast`,
        "Dimensions must be equal or 1. tl.row(v) makes [1,N] of [N], tl.col(v) makes [N,1].",
      );
    type = tile(promote(type, typeOf(v), full), shape);
  }
  return values.map((v) => fitTo(cx, v, type.dtype, type.shape, `an operand of ${what}`));
}
