// Every element-wise op on every dtype, with the values that break things, against the interpreter.

import { describe, it } from "vitest";
import { buffer, Builder, type DType, DTYPES, Func, isFloat, type Value } from "../../ir/index.js";
import type { Arg } from "../testing/compare.js";
import { expectSame } from "./testing/compare.js";

const FLOATS = [
  0,
  -0,
  1,
  -1,
  0.5,
  1.5,
  2.5,
  -2.5,
  3.1,
  -7.3,
  1e-5,
  65504,
  1e9,
  -3e38,
  2 ** 31,
  -(2 ** 31),
  2 ** 63,
];
const SPECIAL = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e-40, 255.5, -0.75, 7, 8];

/** 32 elements of a dtype that meet each other in many pairs. */
function values(d: DType, shift: number): (number | bigint)[] {
  const { bits, kind } = DTYPES[d];
  let base: (number | bigint)[];
  if (kind === "float") base = [...FLOATS, ...SPECIAL];
  else if (kind === "bool") base = [0, 1, 1, 0, 0];
  else {
    const top = 2n ** BigInt(bits - 1);
    const list = [
      0n,
      1n,
      2n,
      3n,
      5n,
      7n,
      31n,
      63n,
      100n,
      top - 1n,
      -1n,
      -2n,
      -7n,
      -top,
      1n - top,
      top / 3n,
      0x1234n,
    ];
    base = list.map((x) => {
      const v = kind === "uint" ? BigInt.asUintN(bits, x) : BigInt.asIntN(bits, x);
      return bits === 64 ? v : Number(v);
    });
  }
  return Array.from({ length: 64 }, (_, i) => base[(i * (shift + 1) + (i >> 4) * shift) % base.length]!);
}

/** Loads `inputs`, builds, stores the results. */
function program(inputs: readonly DType[], build: (b: Builder, xs: Value[]) => Value[]): [Func, Arg[]] {
  const make = (outs: readonly DType[]): { func: Func; results: Value[] } => {
    const all = [...inputs, ...outs];
    const func = new Func(
      "ops",
      all.map((d, i) => ({ name: `p${i}`, type: buffer(d) })),
    );
    const b = new Builder(func.body);
    const at = b.value("arange", [], { start: 0, end: 64 });
    const xs = inputs.map((_, i) => b.value("load", [func.body.args[i]!, at]));
    const results = build(b, xs);
    outs.forEach((_, i) => {
      b.create("store", [func.body.args[inputs.length + i]!, at, results[i]!]);
    });
    return { func, results };
  };
  const outs = make([]).results.map((v) => v.type.dtype);
  const args: Arg[] = [
    ...inputs.map((d, i): Arg => [d, values(d, i)]),
    ...outs.map((d): Arg => [d, new Array(64).fill(DTYPES[d].bits === 64 && !isFloat(d) ? 0n : 0)]),
  ];
  return [make(outs).func, args];
}

const ALL = Object.keys(DTYPES) as DType[];
const BINARY_FLOAT = ["add", "sub", "mul", "div", "rem"];
const BINARY_INT = ["add", "sub", "mul", "div", "rem", "and", "or", "xor", "shl", "shr", "ushr"];

describe("element-wise ops", () => {
  for (const d of ALL) {
    const float = isFloat(d);
    it(`${d}: arithmetic`, () => {
      const ops = d === "bool" ? ["and", "or", "xor"] : float ? BINARY_FLOAT : [...BINARY_INT];
      if (["i32", "u32", "i64", "u64"].includes(d)) ops.push("mulhi");
      const unary = float
        ? ["neg", "abs", "sqrt", "floor", "ceil", "trunc", "round"]
        : d === "bool"
          ? ["not"]
          : ["neg", "abs", "not"];
      expectSame(
        ...program([d, d], (b, [x, y]) => [
          ...ops.map((op) => b.value(op, [x!, y!])),
          ...unary.map((op) => b.value(op, [x!])),
        ]),
        undefined,
        float ? 1e-6 : 0,
      );
    });
    it(`${d}: order`, () => {
      expectSame(
        ...program([d, d], (b, [x, y]) => [
          ...["eq", "ne", "lt", "le", "gt", "ge"].map((pred) => b.value("cmp", [x!, y!], { pred })),
          ...["min", "max"].flatMap((op) =>
            ["propagate", "ignore"].map((nan) => b.value(op, [x!, y!], { nan })),
          ),
          b.value("select", [b.value("cmp", [x!, y!], { pred: "lt" }), x!, y!]),
        ]),
      );
    });
    it(`${d}: casts to everything`, () => {
      const same = ALL.filter((t) => DTYPES[t].bits === DTYPES[d].bits);
      expectSame(
        ...program([d], (b, [x]) => [
          ...ALL.map((dtype) => b.value("cast", [x!], { dtype })),
          ...same.map((dtype) => b.value("bitcast", [x!], { dtype })),
        ]),
        undefined,
        1e-6,
      );
    });
  }

  it("divides by constants", () => {
    for (const d of ["i32", "u32", "i64", "u8", "i8"] as DType[])
      expectSame(
        ...program([d], (b, [x]) =>
          [0, 1, 7, 8, ...(DTYPES[d].kind === "int" ? [-1, -8] : [])].flatMap((c) => {
            const k = b.constant(c, d, [64]);
            return [b.value("div", [x!, k]), b.value("rem", [x!, k])];
          }),
        ),
      );
  });

  it("reduces NaN as asked", () => {
    for (const d of ["f32", "f64", "f16"] as DType[])
      for (const kind of ["max", "min", "argmax", "argmin"])
        for (const nan of ["propagate", "ignore"])
          expectSame(
            ...program([d, d], (b, [x, y]) => {
              const shape = [64];
              const reshaped = b.value("reshape", [x!], { shape: [8, 8] });
              return [
                ...b.create("reduce", [y!], { kind, axis: 0, nan }).results.map((r) => b.splat(r, shape)),
                ...[0, 1].flatMap((axis) =>
                  b.create("reduce", [reshaped], { kind, axis, nan }).results.map((r) => {
                    const wide = b.value("broadcast", [b.value("expandDims", [r], { axis: 0 })], {
                      shape: [8, 8],
                    });
                    return b.value("reshape", [wide], { shape });
                  }),
                ),
              ];
            }),
          );
  });

  it("takes extremes off their elements, also where all or some are NaN", () => {
    for (const kind of ["max", "min"])
      for (const along of [0, 1])
        expectSame(
          ...program(["f32"], (b, [x]) => {
            const shape = [8, 8];
            const grid = b.value("reshape", [x!], { shape });
            // A row, and a column, of nothing but NaN.
            const at = b.value("arange", [], { start: 0, end: 64 });
            const two = (v: number) => b.constant(v, "i32", [64]);
            const row = b.value("cmp", [b.value("div", [at, two(8)]), two(3)], { pred: "eq" });
            const column = b.value("cmp", [b.value("rem", [at, two(8)]), two(5)], { pred: "eq" });
            const lost = b.value("reshape", [b.value("or", [row, column])], { shape });
            const v = b.value("select", [lost, b.constant(Number.NaN, "f32", shape), grid]);
            // Beside their own elements (NaN stays NaN), and beside others' (where it is the extreme that is NaN).
            return [0, 1].flatMap((axis) => {
              const r = b.value("reduce", [v], { kind, axis, nan: "ignore" });
              const wide = b.value("expandDims", [r], { axis: along });
              const off = b.value("sub", [v, b.value("broadcast", [wide], { shape })]);
              return [b.value("reshape", [off], { shape: [64] })];
            });
          }),
        );
  });
});
