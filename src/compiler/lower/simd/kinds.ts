// How dtypes stand in registers, in buffers and in the frame. No code is emitted here.

import { type ConstValue, DTYPES, type DType, type TileType, type Value } from "../../ir/index.js";
import { NARROW_FLOATS } from "../../ir/rounding.js";
import type { MemKind, RegKind } from "./form.js";

/** The register kind of a dtype: small integers in i32, narrow floats in f32, `bool` in masks. */
export function regKind(d: DType): RegKind {
  if (d === "bool") return "mask";
  if (d === "i64" || d === "u64") return "i64";
  if (d === "f64") return "f64";
  return DTYPES[d].kind === "float" ? "f32" : "i32";
}

const MEM: Record<DType, MemKind> = {
  bool: "u8",
  i8: "i8",
  i16: "i16",
  i32: "i32",
  i64: "i64",
  u8: "u8",
  u16: "u16",
  u32: "i32",
  u64: "i64",
  f8e4m3: "u8",
  f8e5m2: "u8",
  f16: "u16",
  bf16: "u16",
  f32: "f32",
  f64: "f64",
};
/** The memory kind of a dtype in a buffer. */
export const memKind = (d: DType): MemKind => MEM[d];

/** The memory kind of a register kind in the frame, where no precision may be lost. */
export const frameKind = (k: RegKind): MemKind => (k === "mask" ? "u8" : k);

export const KIND_BYTES: Record<RegKind, number> = { i32: 4, i64: 8, f32: 4, f64: 8, mask: 1 };
export const is64Kind = (k: RegKind): boolean => k === "i64" || k === "f64";

export const tileOf = (v: Value): TileType => v.type as TileType;
export const shapeOf = (v: Value): readonly number[] => tileOf(v).shape;
export const dtypeOf = (v: Value): DType => v.type.dtype;
export const isScalarValue = (v: Value): boolean => v.type.kind === "tile" && v.type.shape.length === 0;

/** The dimensions that are not 1. */
export const squeeze = (shape: readonly number[]): number[] => shape.filter((d) => d !== 1);

/** A constant of a dtype as a literal of its register kind. */
export function literal(value: ConstValue, d: DType): number | bigint {
  switch (d) {
    case "i64":
    case "u64":
      return BigInt.asIntN(64, BigInt(value));
    case "bool":
      return Number(value) ? 1 : 0;
    case "i8":
      return (Number(value) << 24) >> 24;
    case "i16":
      return (Number(value) << 16) >> 16;
    case "u8":
      return Number(value) & 0xff;
    case "u16":
      return Number(value) & 0xffff;
    case "i32":
    case "u32":
      return Number(value) | 0;
    case "f32":
      return Math.fround(Number(value));
    case "f8e4m3":
    case "f8e5m2":
    case "f16":
    case "bf16":
      return NARROW_FLOATS[d].round(Number(value));
    case "f64":
      return Number(value);
  }
}
