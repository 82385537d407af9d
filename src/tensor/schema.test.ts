// The schema parser: examples, errors, and that printing and parsing agree on random schemas.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { camelCase, parseSchema, printSchema, SchemaError } from "./schema.js";

describe("parseSchema", () => {
  it("reads names, kinds, defaults and keyword-only arguments", () => {
    const s = parseSchema(
      'foo.bar(Tensor self, Scalar alpha, int[2] kernel_size=1, int[]? dim=None, *, float eps=1e-05, bool up=True, ScalarType? dtype=None, Generator? generator=None, str mode="nearest") -> (Tensor values, Tensor indices)',
    );
    expect(s).toMatchObject({ name: "foo.bar", base: "foo", overload: "bar" });
    expect(
      s.args.map((a) => [a.property, a.type.kind, a.type.list, a.type.optional, a.keywordOnly, a.default]),
    ).toEqual([
      ["self", "Tensor", false, false, false, undefined],
      ["alpha", "Scalar", false, false, false, undefined],
      ["kernelSize", "int", true, false, false, 1],
      ["dim", "int", true, true, false, null],
      ["eps", "float", false, false, true, 1e-5],
      ["up", "bool", false, false, true, true],
      ["dtype", "ScalarType", false, true, true, null],
      ["generator", "Generator", false, true, true, null],
      ["mode", "str", false, false, true, "nearest"],
    ]);
    expect(s.args[2]!.type.size).toBe(2);
    expect(s.returns.map((r) => r.name)).toEqual(["values", "indices"]);
  });

  it("reads aliases, mutation and lists of optional tensors", () => {
    const s = parseSchema(
      "index_put_(Tensor(a!) self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor(a!)",
    );
    expect(s.args[0]!.type).toMatchObject({ alias: "a", mutable: true });
    expect(s.args[1]!.type).toMatchObject({ list: true, elementOptional: true, optional: false });
    expect(s.returns[0]!.type.mutable).toBe(true);
    const v = parseSchema("split.Tensor(Tensor(a -> *) self, SymInt split_size, int dim=0) -> Tensor(a)[]");
    expect(v.returns[0]!.type).toMatchObject({ alias: "a", list: true, mutable: false });
    expect(v.args[1]!.type.kind).toBe("int");
  });

  it("reads named defaults, negative numbers, lists and no results", () => {
    const s = parseSchema("f(Tensor x, int reduction=Mean, int i=-100, int[] d=[0,-1], float p=inf) -> ()");
    expect(s.args.map((a) => a.default)).toEqual([undefined, 1, -100, [0, -1], Infinity]);
    expect(s.returns).toEqual([]);
  });

  it.each([
    ["add(Tensor self, Tensr other) -> Tensor", /unknown type `Tensr` at column 18/],
    ["add(Tensor self -> Tensor", /expected `,` at column 17/],
    ["add(Tensor self)", /expected `->`/],
    ["add(Tensor self, Tensor self) -> Tensor", /`self` stands twice/],
    ["add(Tensor self) -> Tensor extra", /unexpected text/],
    ["(Tensor self) -> Tensor", /expected an operator name at column 1/],
  ])("refuses %s", (text, message) => {
    expect(() => parseSchema(text)).toThrow(message);
  });

  it("throws nothing but SchemaError on arbitrary text", () => {
    const piece = fc.constantFrom(
      "Tensor",
      "int",
      "(",
      ")",
      "[",
      "]",
      "?",
      "*",
      "=",
      "->",
      ",",
      " ",
      "a!",
      "None",
      "1e",
      "-",
      '"',
      "self",
      ".",
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 20 }).map((p) => `f(${p.join("")}`),
    );
    fc.assert(
      fc.property(text, (t) => {
        try {
          parseSchema(t);
        } catch (error) {
          expect(error).toBeInstanceOf(SchemaError);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("parses what it prints", () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/);
    const type = fc.constantFrom(
      "Tensor",
      "Tensor?",
      "Tensor[]",
      "Tensor?[]",
      "Tensor(a!)",
      "Tensor(b)",
      "Scalar",
      "int",
      "int[]",
      "int[2]",
      "int[1]?",
      "bool[3]",
      "float?",
      "str",
      "ScalarType?",
      "Generator?",
    );
    const value = fc.constantFrom("", "=None", "=True", "=-3", "=2.5e-07", "=[1, 2]", '="x y"', "=inf");
    const args = fc.uniqueArray(fc.tuple(type, name, value), { selector: (a) => a[1], maxLength: 6 });
    fc.assert(
      fc.property(name, args, fc.nat(6), fc.array(type, { maxLength: 3 }), (op, list, star, results) => {
        const words = list.map(([t, n, v]) => `${t} ${n}${v}`);
        if (star < words.length) words.splice(star, 0, "*");
        const returns = results.length === 1 ? results[0] : `(${results.join(", ")})`;
        const schema = parseSchema(`${op}(${words.join(", ")}) -> ${returns}`);
        const again = parseSchema(printSchema(schema));
        expect({ ...again, text: "" }).toEqual({ ...schema, text: "" });
        expect(schema.args.length).toBe(list.length);
      }),
    );
  });
});

it("camelCase keeps underscores at the ends", () => {
  expect(["log_softmax", "add_", "_to_copy", "keepdim", "__and__", "a_b_c"].map(camelCase)).toEqual([
    "logSoftmax",
    "add_",
    "_toCopy",
    "keepdim",
    "__and__",
    "aBC",
  ]);
});
