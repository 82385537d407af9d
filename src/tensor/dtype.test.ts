// Promotion against PyTorch's documented table, names, casting rules.

import { describe, expect, it } from "vitest";
import {
  canCast,
  parseDType,
  promoteTypes,
  promotionTable,
  resultType,
  scalarDType,
  setDefaultDType,
  TENSOR_DTYPES,
  torchDType,
  type DType,
} from "./dtype.js";

// torch.promote_types of each pair, torch 2.13; "-" where it refuses.
const TABLE = `
       bool u8   i8   i16  i32  i64  f8e4m3 f8e5m2 f16  bf16 f32 f64
bool   bool u8   i8   i16  i32  i64  -      -      f16  bf16 f32 f64
u8     u8   u8   i16  i16  i32  i64  -      -      f16  bf16 f32 f64
i8     i8   i16  i8   i16  i32  i64  -      -      f16  bf16 f32 f64
i16    i16  i16  i16  i16  i32  i64  -      -      f16  bf16 f32 f64
i32    i32  i32  i32  i32  i32  i64  -      -      f16  bf16 f32 f64
i64    i64  i64  i64  i64  i64  i64  -      -      f16  bf16 f32 f64
f8e4m3 -    -    -    -    -    -    f8e4m3 -      -    -    -   -
f8e5m2 -    -    -    -    -    -    -      f8e5m2 -    -    -   -
f16    f16  f16  f16  f16  f16  f16  -      -      f16  f32  f32 f64
bf16   bf16 bf16 bf16 bf16 bf16 bf16 -      -      f32  bf16 f32 f64
f32    f32  f32  f32  f32  f32  f32  -      -      f32  f32  f32 f64
f64    f64  f64  f64  f64  f64  f64  -      -      f64  f64  f64 f64`
  .trim()
  .split("\n")
  .map((row) => row.trim().split(/\s+/));
const ORDER = TABLE[0] as DType[];

// torch.can_cast from each (row) to each (column), in the same order.
const CASTS = `
bool   111111111111
u8     011111111111
i8     011111111111
i16    011111111111
i32    011111111111
i64    011111111111
f8e4m3 000000111111
f8e5m2 000000111111
f16    000000111111
bf16   000000111111
f32    000000111111
f64    000000111111`
  .trim()
  .split("\n")
  .map((row) => row.split(/\s+/)[1]!);

// torch.result_type of a tensor with dimensions (row) and 0-dim tensors (columns in the same order), then of the
// tensor and True, 2, 2.5, then of a 0-dim tensor of the row's dtype and these.
const MIXED = `
bool   bool u8 i8 i16 i32 i64 - - f16 bf16 f32 f64 bool i64 f32 bool i64 f32
u8     u8 u8 u8 u8 u8 u8 - - f16 bf16 f32 f64 u8 u8 f32 u8 u8 f32
i8     i8 i8 i8 i8 i8 i8 - - f16 bf16 f32 f64 i8 i8 f32 i8 i8 f32
i16    i16 i16 i16 i16 i16 i16 - - f16 bf16 f32 f64 i16 i16 f32 i16 i16 f32
i32    i32 i32 i32 i32 i32 i32 - - f16 bf16 f32 f64 i32 i32 f32 i32 i32 f32
i64    i64 i64 i64 i64 i64 i64 - - f16 bf16 f32 f64 i64 i64 f32 i64 i64 f32
f8e4m3 ${"f8e4m3 ".repeat(18)}
f8e5m2 ${"f8e5m2 ".repeat(18)}
f16    ${"f16 ".repeat(18)}
bf16   ${"bf16 ".repeat(18)}
f32    ${"f32 ".repeat(18)}
f64    ${"f64 ".repeat(18)}`
  .trim()
  .split("\n")
  .map((row) => row.trim().split(/\s+/).slice(1));

const orDash = (fn: () => string): string => {
  try {
    return fn();
  } catch {
    return "-";
  }
};

const dims = (dtype: DType): { dtype: DType; shape: number[] } => ({ dtype, shape: [2] });
const zero = (dtype: DType): { dtype: DType; shape: number[] } => ({ dtype, shape: [] });

describe("promotion", () => {
  it("follows PyTorch's table", () => {
    expect(ORDER).toEqual(TENSOR_DTYPES);
    for (const [i, a] of ORDER.entries()) {
      expect(TABLE[i + 1]).toEqual([a, ...ORDER.map((b) => orDash(() => promoteTypes(a, b)))]);
      expect(promotionTable()[i]!.map((x) => x ?? "-")).toEqual(TABLE[i + 1]!.slice(1));
    }
  });

  it("follows PyTorch's rules for 0-dim tensors and numbers", () => {
    for (const [i, a] of ORDER.entries())
      expect([a, ...MIXED[i]!]).toEqual([
        a,
        ...ORDER.map((b) => orDash(() => resultType(dims(a), zero(b)))),
        ...[true, 2, 2.5].map((n) => resultType(dims(a), n)),
        ...[true, 2, 2.5].map((n) => resultType(zero(a), n)),
      ]);
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

it("casts as PyTorch allows", () => {
  for (const [i, a] of ORDER.entries())
    expect(`${a} ${ORDER.map((b) => Number(canCast(a, b))).join("")}`).toBe(`${a} ${CASTS[i]}`);
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
