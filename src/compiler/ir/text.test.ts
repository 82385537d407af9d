import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  Block,
  buffer,
  Builder,
  cloneFunc,
  Func,
  IrParseError,
  Op,
  parse,
  print,
  scalar,
  tile,
  verify,
} from "./index.js";

const SAMPLE = `func @sample(%x: buffer<f32>, %n: i32, %big: i64) {
  %row: i32 = programId {axis: 0}()
  %at: i32[64] = arange {start: 0, end: 64}()
  %0: i32[64] = splat {shape: [64]}(%n)
  %mask: bool[64] = cmp {pred: "lt"}(%at, %0)
  %other: f32[64] = const {value: -inf, dtype: "f32", shape: [64]}()
  %v: f32[64] = load(%x, %at, %mask, %other)
  %acc0: f32 = const {value: -0, dtype: "f32", shape: []}()
  %c: i64 = const {value: -9223372036854775808n, dtype: "i64", shape: []}()
  %zero: i32 = const {value: 0, dtype: "i32", shape: []}()
  %one: i32 = const {value: 1, dtype: "i32", shape: []}()
  %sum: f32 = for {stages: 2}(%zero, %n, %one, %acc0) (%i: i32, %acc: f32) {
    %m: f32 = reduce {kind: "max", axis: 0, nan: "propagate"}(%v)
    %even: bool = cmp {pred: "eq"}(%i, %zero)
    %p: f32 = if(%even) {
      yield(%m)
    } {
      yield(%acc)
    }
    %next: f32 = add(%acc, %p)
    yield(%next)
  }
  %w: i32 = while(%one) (%k: i32) {
    %go: bool = cmp {pred: "lt"}(%k, %n)
    condition(%go)
  } (%k2: i32) {
    %d: i32 = add(%k2, %k2)
    yield(%d)
  }
  %best: f32, %where: i32 = reduce {kind: "argmax", axis: 0}(%v)
  %s: f32 = mul(%sum, %best)
  %t: f32[64] = splat {shape: [64]}(%s)
  store(%x, %at, %t, %mask)
}
`;

describe("text form", () => {
  it("prints what it parsed", () => {
    const func = parse(SAMPLE);
    verify(func);
    expect(print(func)).toBe(SAMPLE);
  });

  it("keeps locations, sources, facts and odd names", () => {
    const func = new Func("odd name", [
      { name: "x-1", type: buffer("bf16") },
      { name: "n", type: scalar("i32") },
    ]);
    func.sources = [{ name: "k", text: 'a "quoted"\n\\ text // no comment' }];
    func.paramFacts = [{ divisibility: 16 }, { divisibility: 1 }];
    const b = new Builder(func.body);
    b.loc = { source: 0, start: 3, end: 9, caller: { source: 1, start: 0, end: 2 } };
    const one = b.constant(1, "i32");
    one.name = "n";
    const sum = b.value("add", [one, func.body.args[1]!]);
    sum.name = "é";
    b.value("mul", [sum, one]);
    const text = print(func, { locations: true });
    const again = parse(text);
    expect(print(again, { locations: true })).toBe(text);
    expect(again.sources).toEqual(func.sources);
    expect(again.paramFacts).toEqual(func.paramFacts);
    expect(again.paramNames).toEqual(["x-1", "n"]);
    expect(again.body.ops[1]!.loc).toEqual(b.loc);
  });

  it("reads constants of every kind exactly", () => {
    for (const v of [0.1, 1e300, 5e-324, -0, Number.NaN, Infinity, -Infinity, 123456789]) {
      const func = new Func("f", []);
      new Builder(func.body).constant(v, "f64");
      expect(parse(print(func)).body.ops[0]!.attrs["value"]).toBe(v);
    }
  });

  it.each([
    ["func @f() {\n  %a: i32 = nonsense()\n}", 2, "nonsense"],
    ["func @f() {\n\n  %a: i32 = add(%b, %b)\n}", 3, "%b is used before"],
    ["func @f(%a: i32, %a: i32) {}", 1, "defined twice"],
    ["func @f(%a: i33) {}", 1, "i33"],
    ["func @f() {", 1, "ends inside"],
    ["func @f() {}\nx", 2, "after the function"],
    ["func @f() {\n  %a: i32 = const {value: 1e}()\n}", 2, "a number"],
  ])("refuses %j with its line", (text, line, words) => {
    expect(() => parse(text)).toThrow(IrParseError);
    try {
      parse(text);
    } catch (e) {
      expect((e as IrParseError).line).toBe(line);
      expect((e as IrParseError).message).toContain(words);
    }
  });

  it("never crashes on mutated text", () => {
    const piece = fc.oneof(
      fc.constantFrom(
        "{",
        "}",
        "(",
        ")",
        "%",
        ":",
        "=",
        "loc(",
        '"',
        "[",
        "]",
        "n",
        "yield(",
        "@",
        "//",
        "-",
        "9".repeat(40),
      ),
      fc.string({ maxLength: 6 }),
    );
    const edit = fc.record({ at: fc.nat(SAMPLE.length), drop: fc.nat(40), put: piece });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        let text = SAMPLE;
        for (const e of edits) text = text.slice(0, e.at) + e.put + text.slice(e.at + e.drop);
        try {
          const func = parse(text);
          print(func);
          try {
            verify(func);
          } catch (e) {
            expect((e as Error).name).toBe("IrVerifyError");
          }
        } catch (e) {
          if ((e as Error).name !== "IrParseError") throw e;
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("refuses nesting that would overflow the stack", () => {
    const deep = "func @f(%c: bool) {" + "if(%c) {".repeat(50_000);
    expect(() => parse(deep)).toThrow(IrParseError);
  });
});

describe("verify", () => {
  const wrong = (text: string) => () => verify(parse(text));
  it.each([
    ['%a: i32[3] = const {value: 0, dtype: "i32", shape: [3]}()', "powers of two"],
    ["%a: f32 = add(%n, %n)", "result 0 is f32"],
    ["%a: i32 = add(%n)", "takes 2 operands"],
    ["%a: i32 = add(%n, %n, %n)", "takes 2 operands"],
    ["%a: f32 = neg(%x)", "a buffer is only operand 0"],
    ["yield(%n)", "ends with yield"],
    [
      '%c: bool = const {value: 1, dtype: "bool", shape: []}()\n if(%c) { } { yield() }',
      "must end with yield",
    ],
    ['%c: bool = cmp {pred: "less"}(%n, %n)', "{pred} must be one of"],
    ["%c: bool = cmp(%n, %n)", "missing"],
    ['%a: i64 = const {value: 1, dtype: "i64", shape: []}()', "a bigint"],
    ['%a: i32 = const {value: 1.5, dtype: "i32", shape: []}()', "an integer"],
    ["for(%n, %n, %n, %n) (%i: i32) { yield() }", "arguments of a for body"],
    ["%r: i32 = for(%n, %n, %n, %n) (%i: i32, %j: i32) { yield() }", "yield of a for body"],
    ["if(%n) { yield() } { yield() }", "bool scalar"],
    ["store(%x, %n, %n)", "store needs f32"],
    ["for(%n, %n, %n) (%i: i32) { condition(%n) }", "condition"],
  ])("refuses %s", (ops, words) => {
    expect(wrong(`func @f(%x: buffer<f32>, %n: i32) {\n${ops}\n}`)).toThrow(words);
    expect(wrong(`func @f(%x: buffer<f32>, %n: i32) {\n${ops}\n}`)).toThrow(
      expect.objectContaining({ name: "IrVerifyError" }),
    );
  });

  it("finds uses before definitions and values out of their region", () => {
    const func = parse("func @f(%n: i32) { %a: i32 = add(%n, %n) %b: i32 = add(%a, %n) }");
    func.body.ops.reverse();
    expect(() => verify(func)).toThrow("not defined before");
    const inner = parse(
      "func @f(%c: bool, %n: i32) { if(%c) { %a: i32 = add(%n, %n) yield() } { yield() } %b: i32 = add(%n, %n) }",
    );
    const [branch, b] = inner.body.ops as [Op, Op];
    b.setOperand(0, branch.regions[0]!.ops[0]!.result);
    expect(() => verify(inner)).toThrow("not defined before");
  });

  it("finds broken use lists and parents", () => {
    const one = parse("func @f(%n: i32) { %a: i32 = add(%n, %n) }");
    one.body.args[0]!.uses.clear();
    expect(() => verify(one)).toThrow("does not know of this use");
    const two = parse("func @f(%n: i32) { %a: i32 = add(%n, %n) }");
    two.body.args[0]!.uses.add(new Op("neg", [], [scalar("i32")]));
    expect(() => verify(two)).toThrow("use list");
    const three = parse("func @f(%n: i32) { %a: i32 = add(%n, %n) }");
    three.body.ops[0]!.parent = new Block();
    expect(() => verify(three)).toThrow("does not know the block");
    const four = new Func("f", [{ name: "t", type: tile("f32", [4]) }]);
    expect(() => verify(four)).toThrow("parameter t is a tile");
  });
});

describe("cloneFunc", () => {
  it("copies all and shares nothing", () => {
    const func = parse(SAMPLE);
    const copy = cloneFunc(func);
    verify(copy);
    expect(print(copy)).toBe(SAMPLE);
    const row = copy.body.ops[0]!;
    row.results[0]!.name = "changed";
    copy.body.ops.at(-1)!.erase();
    expect(print(func)).toBe(SAMPLE);
    verify(func);
  });
});
