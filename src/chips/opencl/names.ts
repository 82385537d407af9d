// How registers, literals and types of the form are written in OpenCL C. Integers are unsigned; signed operations say so.

import type { MemKind, Operand, Reg, RegKind } from "../../compiler/lower/simt/index.js";

/** The C type of a register. */
export const TYPE: Readonly<Record<RegKind, string>> = {
  i32: "uint",
  i64: "ulong",
  f32: "float",
  f64: "double",
  mask: "bool",
};
export const SIGNED: Readonly<Record<"i32" | "i64", string>> = { i32: "int", i64: "long" };

/** The C type of an element in memory. */
export const MEMORY: Readonly<Record<MemKind, string>> = {
  i8: "char",
  u8: "uchar",
  i16: "short",
  u16: "ushort",
  i32: "uint",
  i64: "ulong",
  f32: "float",
  f64: "double",
};
export const BYTES: Readonly<Record<MemKind, number>> = {
  i8: 1, u8: 1, i16: 2, u16: 2, i32: 4, i64: 8, f32: 4, f64: 8,
}; // biome-ignore format: one line reads better

const PREFIX: Readonly<Record<RegKind, string>> = { i32: "i", i64: "l", f32: "f", f64: "d", mask: "m" };

export const register = (r: Reg): string => `${PREFIX[r.type.kind]}${r.id}`;
export const typeOf = (r: Reg): string => TYPE[r.type.kind] + (r.type.lanes > 1 ? r.type.lanes : "");

/** A literal of a register kind. */
export function literal(x: number | bigint, kind: RegKind): string {
  switch (kind) {
    case "mask":
      return Number(x) ? "true" : "false";
    case "i32":
      return `${BigInt.asUintN(32, BigInt(x))}u`;
    case "i64":
      return `${BigInt.asUintN(64, BigInt(x))}ul`;
    default:
      return float(Number(x), kind);
  }
}

function float(x: number, kind: "f32" | "f64"): string {
  const suffix = kind === "f32" ? "f" : "";
  const type = TYPE[kind];
  if (Number.isNaN(x)) return kind === "f32" ? "as_float(0x7fc00000u)" : "as_double(0x7ff8000000000000ul)";
  if (!Number.isFinite(x)) return `(${type})${x < 0 ? "-" : ""}INFINITY`;
  const text = Object.is(x, -0) ? "-0" : String(x);
  const full = /[.e]/.test(text) ? text : `${text}.0`;
  return `${text.startsWith("-") ? `(${full}${suffix})` : `${full}${suffix}`}`;
}

export const operand = (o: Operand, kind: RegKind): string =>
  typeof o === "object" ? register(o) : literal(o, kind);
