// Promotion against PyTorch's documented table, names, casting rules.

import { describe, expect, it } from "vitest";
import {
  canCast,
  parseDType,
  promoteTypes,
  resultType,
  scalarDType,
  setDefaultDType,
  torchDType,
  type DType,
} from "./dtype.js";

const ORDER: DType[] = ["u8", "i8", "i16", "i32", "i64", "f16", "f32", "f64", "bool", "bf16"];
// Rows and columns in ORDER: torch.promote_types of each pair.
const TABLE = `
u8   i16  i16  i32  i64  f16  f32  f64  u8   bf16
i16  i8   i16  i32  i64  f16  f32  f64  i8   bf16
i16  i16  i16  i32  i64  f16  f32  f64  i16  bf16
i32  i32  i32  i32  i64  f16  f32  f64  i32  bf16
i64  i64  i64  i64  i64  f16  f32  f64  i64  bf16
f16  f16  f16  f16  f16  f16  f32  f64  f16  f32
f32  f32  f32  f32  f32  f32  f32  f64  f32  f32
f64  f64  f64  f64  f64  f64  f64  f64  f64  f64
u8   i8   i16  i32  i64  f16  f32  f64  bool bf16
bf16 bf16 bf16 bf16 bf16 f32  f32  f64  bf16 bf16`
  .trim()
  .split("\n")
  .map((row) => row.trim().split(/\s+/));

const dims = (dtype: DType): { dtype: DType; shape: number[] } => ({ dtype, shape: [2] });
const zero = (dtype: DType): { dtype: DType; shape: number[] } => ({ dtype, shape: [] });

describe("promotion", () => {
  it("follows PyTorch's table", () => {
    for (const [i, a] of ORDER.entries())
      for (const [j, b] of ORDER.entries())
        expect(`${a} ${b} ${promoteTypes(a, b)}`).toBe(`${a} ${b} ${TABLE[i]![j]}`);
  });

  it.each([
    [[dims("i32"), 2], "i32"],
    [[dims("i32"), 2.5], "f32"],
    [[dims("f16"), 2.5], "f16"],
    [[dims("bool"), 2], "i64"],
    [[dims("bool"), true], "bool"],
    [[dims("u8"), -1n], "u8"],
    [[dims("f16"), zero("f64")], "f16"],
    [[dims("i32"), zero("f64")], "f64"],
    [[dims("i8"), zero("i64")], "i8"],
    [[zero("i8"), 5], "i8"],
    [[zero("i32"), 1.5], "f32"],
    [[zero("f16"), zero("f32")], "f32"],
    [[dims("bf16"), dims("f16"), 1], "f32"],
    [[1, 2.5], "f32"],
    [[1, true], "i64"],
    [["i64", dims("f16")], "f16"],
    [[dims("i64"), null, undefined, Number.NaN], "f32"],
  ] as const)("resultType, case %#", (values, want) => {
    expect(resultType(...values)).toBe(want);
  });

  it("uses the default dtype for plain fractions", () => {
    setDefaultDType("f64");
    try {
      expect(scalarDType(0.5)).toBe("f64");
      expect(resultType(dims("i32"), 0.5)).toBe("f64");
    } finally {
      setDefaultDType("f32");
    }
    expect(() => setDefaultDType("i32")).toThrow(/must be a float, not i32/);
    expect(() => resultType(null)).toThrow(/at least one/);
  });
});

it("casts only up the categories", () => {
  expect([
    canCast("f64", "f16"),
    canCast("f32", "i64"),
    canCast("i64", "bool"),
    canCast("bool", "u8"),
  ]).toEqual([true, false, false, true]);
});

it("knows PyTorch's names", () => {
  expect(["float32", "torch.int64", "half", "bf16", "double", "bool", "complex64"].map(parseDType)).toEqual([
    "f32",
    "i64",
    "f16",
    "bf16",
    "f64",
    "bool",
    undefined,
  ]);
  expect(ORDER.every((d) => parseDType(torchDType(d)) === d)).toBe(true);
});
