import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allOps, type Func, parse, print, verify } from "../ir/index.js";
import { cse } from "./cse.js";
import { dce } from "./dce.js";
import { foldControl } from "./fold-control.js";
import { licm } from "./licm.js";
import { optimize } from "./optimize.js";
import { simplify } from "./simplify.js";
import { evaluate } from "./testing/evaluate.js";

const lines = (func: Func) =>
  print(func)
    .split("\n")
    .slice(1, -2)
    .map((l) => l.trim());

/** The body after a pass, one op a line. */
function passed(
  pass: (f: Func) => unknown,
  body: string,
  params = "%x: buffer<f32>, %n: i32, %m: i32, %a: f32, %c: bool",
): string[] {
  const func = parse(`func @f(${params}) {\n${body}\n}`);
  verify(func);
  pass(func);
  verify(func);
  return lines(func);
}
/** What is stored after simplifying and removing the dead: the last value's making. */
const made = (expression: string, dtype: string, params?: string): string => {
  const got = passed(
    (f) => {
      simplify(f);
      dce(f);
    },
    `${expression}\nstore(%out, %zero, %r)`.replace(
      /^/,
      `%zero: i32 = const {value: 0, dtype: "i32", shape: []}()\n`,
    ),
    `%out: buffer<${dtype}>, ${params ?? `%x: ${dtype}, %y: ${dtype}`}`,
  );
  const stored = /store\(%out, %\w+, (%\w+)\)/.exec(got.at(-1)!)![1]!;
  return got.find((l) => l.startsWith(`${stored}:`))?.replace(/^.* = /, "") ?? stored;
};

describe("simplify", () => {
  const C = (value: string, dtype: string) => `const {value: ${value}, dtype: "${dtype}", shape: []}()`;
  it.each([
    ["i32", "add", "0", "%x"],
    ["i64", "add", "0n", "%x"],
    ["f32", "add", "-0", "%x"],
    ["f32", "add", "0", "add(%x, %c)"],
    ["f32", "sub", "0", "%x"],
    ["f32", "sub", "-0", "sub(%x, %c)"],
    ["f32", "mul", "1", "%x"],
    ["f32", "mul", "0", "mul(%x, %c)"],
    ["i32", "mul", "0", C("0", "i32")],
    ["u32", "mul", "1", "%x"],
    ["f16", "div", "1", "%x"],
    ["i32", "div", "1", "%x"],
    ["i32", "div", "0", C("0", "i32")],
    ["i32", "rem", "1", C("0", "i32")],
    ["i8", "and", "-1", "%x"],
    ["u8", "and", "255", "%x"],
    ["i32", "and", "0", C("0", "i32")],
    ["i32", "or", "0", "%x"],
    ["bool", "and", "1", "%x"],
    ["bool", "or", "1", C("1", "bool")],
    ["i32", "shl", "0", "%x"],
  ])("%s %s with %s", (dtype, opcode, value, want) => {
    expect(made(`%c: ${dtype} = ${C(value, dtype)}\n%r: ${dtype} = ${opcode}(%x, %c)`, dtype)).toBe(want);
  });
  it.each([
    ["%r: i32 = sub(%x, %x)", "i32", C("0", "i32")],
    ["%r: f32 = sub(%x, %x)", "f32", "sub(%x, %x)"],
    ["%r: i32 = xor(%x, %x)", "i32", C("0", "i32")],
    ['%r: bool = cmp {pred: "le"}(%x, %x)', "bool", C("1", "bool")],
    ["%a: f32 = neg(%x) %r: f32 = neg(%a)", "f32", "%x"],
    ['%t: bool = const {value: 1, dtype: "bool", shape: []}() %r: i32 = select(%t, %x, %y)', "i32", "%x"],
    ['%a: i64 = cast {dtype: "i64"}(%x) %r: i32 = cast {dtype: "i32"}(%a)', "i32", "%x"],
    [
      '%a: f64 = cast {dtype: "f64"}(%x) %b: f32 = cast {dtype: "f32"}(%a) %r: bf16 = cast {dtype: "bf16"}(%b)',
      "bf16",
      'cast {dtype: "bf16"}(%b)',
      "%x: i32",
    ],
    [
      '%a: f32 = cast {dtype: "f32"}(%x) %r: f64 = cast {dtype: "f64"}(%a)',
      "f64",
      'cast {dtype: "f64"}(%x)',
      "%x: f16",
    ],
    [
      '%a: f32 = cast {dtype: "f32"}(%x) %r: f64 = cast {dtype: "f64"}(%a)',
      "f64",
      'cast {dtype: "f64"}(%a)',
      "%x: f64",
    ],
    [
      '%a: i32 = cast {dtype: "i32"}(%x) %r: i8 = cast {dtype: "i8"}(%a)',
      "i8",
      'cast {dtype: "i8"}(%x)',
      "%x: i64",
    ],
    [
      '%a: f64 = cast {dtype: "f64"}(%x) %r: u32 = cast {dtype: "u32"}(%a)',
      "u32",
      'cast {dtype: "u32"}(%a)',
      "%x: i32",
    ],
  ])("%s", (text, dtype, want, params?: string) => {
    const dt = text.includes("cmp") ? "bool" : dtype;
    expect(made(text, dt, params ?? (dt === "bool" ? "%x: i32" : undefined))).toBe(want);
  });
  it("folds with the dtype's own arithmetic", () => {
    expect(
      made(`%a: f32 = ${C("0.1", "f32")} %b: f32 = ${C("0.2", "f32")} %r: f32 = add(%a, %b)`, "f32"),
    ).toBe(C(String(Math.fround(Math.fround(0.1) + Math.fround(0.2))), "f32"));
    expect(
      made(
        `%a: i64 = ${C("9223372036854775807n", "i64")} %b: i64 = ${C("1n", "i64")} %r: i64 = add(%a, %b)`,
        "i64",
      ),
    ).toBe(C("-9223372036854775808n", "i64"));
    expect(
      made(`%a: f16 = ${C("2048", "f16")} %b: f16 = ${C("1", "f16")} %r: f16 = add(%a, %b)`, "f16"),
    ).toBe(C("2048", "f16"));
    expect(
      made(`%a: i32 = ${C("-2147483648", "i32")} %b: i32 = ${C("-1", "i32")} %r: i32 = div(%a, %b)`, "i32"),
    ).toBe(C("-2147483648", "i32"));
    expect(made(`%a: f32 = ${C("nan", "f32")} %r: i32 = cast {dtype: "i32"}(%a)`, "i32")).toBe(C("0", "i32"));
    expect(made(`%a: i64 = ${C("9007199791611905n", "i64")} %r: f32 = cast {dtype: "f32"}(%a)`, "f32")).toBe(
      C("9007200328482816", "f32"),
    );
  });
  it("drops masks that are true and memory ops whose mask is false", () => {
    const got = passed(
      (f) => optimize(f),
      `%z: i32[4] = arange {start: 0, end: 4}()
       %t: bool[4] = const {value: 1, dtype: "bool", shape: [4]}()
       %no: bool[4] = const {value: 0, dtype: "bool", shape: [4]}()
       %v: f32[4] = load(%x, %z, %t)
       %w: f32[4] = load(%x, %z, %no, %v)
       store(%x, %z, %w, %t)
       store(%x, %z, %v, %no)`,
    );
    expect(got).toEqual([
      "%z: i32[4] = arange {start: 0, end: 4}()",
      "%v: f32[4] = load(%x, %z)",
      "store(%x, %z, %v)",
    ]);
  });
  it("every op with a simple meaning folds", () => {
    const folds = allOps().filter((d) => d.elementwise && !d.fold);
    expect(folds.map((d) => d.opcode).sort()).toEqual([
      "cos",
      "erf",
      "exp",
      "exp2",
      "exp2Approx",
      "expm1",
      "log",
      "log10",
      "log1p",
      "log2",
      "pow",
      "rsqrt",
      "sigmoidApprox",
      "sin",
      "tan",
      "tanh",
    ]);
  });
});

describe("cse", () => {
  it("merges equal pure ops, commuted ones too, and sees outer blocks", () => {
    const got = passed(
      cse,
      `%p: i32 = add(%n, %m) %q: i32 = add(%m, %n) %s: i32 = sub(%p, %q)
      if(%c) { %t: i32 = add(%n, %m) %u: f32 = load(%x, %t) store(%x, %s, %u) yield() } { yield() }`,
    );
    expect(got.filter((l) => l.includes("add("))).toHaveLength(1);
    expect(got[1]).toBe("%s: i32 = sub(%p, %p)");
  });
  it("merges loads only while nothing is written", () => {
    const got = passed(
      cse,
      `%u: f32 = load(%x, %n) %v: f32 = load(%x, %n) store(%x, %m, %v) %w: f32 = load(%x, %n) store(%x, %m, %u) store(%x, %n, %w)`,
    );
    expect(got.filter((l) => l.includes("load("))).toHaveLength(2);
  });
  it("does not carry loads into or out of a loop that writes", () => {
    const got = passed(
      cse,
      `%u: f32 = load(%x, %n) for(%n, %m, %m) (%i: i32) { %v: f32 = load(%x, %n) store(%x, %n, %v) yield() } %w: f32 = load(%x, %n) store(%x, %m, %w) store(%x, %m, %u)`,
    );
    expect(got.filter((l) => l.includes("load("))).toHaveLength(3);
  });
  it("keeps branches apart", () => {
    const got = passed(
      cse,
      `if(%c) { %t: i32 = add(%n, %m) store(%x, %t, %a) yield() } { %t2: i32 = add(%n, %m) store(%x, %t2, %a) yield() }`,
    );
    expect(got.filter((l) => l.includes("add("))).toHaveLength(2);
  });
});

describe("licm", () => {
  it("moves invariant pure ops out of nested loops, and loads not", () => {
    const got = passed(
      licm,
      `for(%n, %m, %m) (%i: i32) {
      for(%n, %m, %m) (%j: i32) {
        %p: i32 = add(%n, %m) %q: i32 = add(%i, %p) %r: i32 = add(%j, %q) %v: f32 = load(%x, %p) store(%x, %r, %v) yield()
      } yield() }`,
    );
    expect(got[0]).toBe("%p: i32 = add(%n, %m)");
    expect(got[1]).toContain("for(");
    expect(got[2]).toBe("%q: i32 = add(%i, %p)");
    expect(got[3]).toContain("for(");
    expect(got[4]).toBe("%r: i32 = add(%j, %q)");
    expect(got[5]).toContain("load");
  });
  it("leaves a branch's ops in it", () => {
    const got = passed(licm, `if(%c) { %p: i32 = add(%n, %m) store(%x, %p, %a) yield() } { yield() }`);
    expect(got[0]).toContain("if(");
  });
});

describe("fold-control", () => {
  const K = (name: string, v: number, dtype = "i32") =>
    `%${name}: ${dtype} = const {value: ${v}, dtype: "${dtype}", shape: []}()\n`;
  it("takes the decided branch", () => {
    const got = passed(
      foldControl,
      `${K("t", 0, "bool")}%r: f32 = if(%t) { yield(%a) } { %v: f32 = load(%x, %n) yield(%v) } store(%x, %m, %r)`,
    );
    expect(got.slice(1)).toEqual(["%v: f32 = load(%x, %n)", "store(%x, %m, %v)"]);
  });
  it("unrolls loops of no and one turn", () => {
    const loop = (hi: number) =>
      passed(
        foldControl,
        `${K("lo", 0)}${K("hi", hi)}${K("step", 4)}%r: f32 = for(%lo, %hi, %step, %a) (%i: i32, %acc: f32) { %v: f32 = load(%x, %i) %s: f32 = add(%acc, %v) yield(%s) } store(%x, %m, %r)`,
      ).slice(3);
    expect(loop(0)).toEqual(["store(%x, %m, %a)"]);
    expect(loop(4)).toEqual(["%v: f32 = load(%x, %lo)", "%s: f32 = add(%a, %v)", "store(%x, %m, %s)"]);
    expect(loop(5)[0]).toContain("for(");
  });
  it("ends a while that never turns, and replaces carried values that stay", () => {
    expect(
      passed(
        foldControl,
        `${K("t", 0, "bool")}%r: f32 = while(%a) (%q: f32) { condition(%t) } (%q2: f32) { yield(%q2) } store(%x, %m, %r)`,
      ).slice(1),
    ).toEqual(["store(%x, %m, %a)"]);
    const got = passed(
      foldControl,
      `%r: f32 = for(%n, %m, %m, %a) (%i: i32, %q: f32) { store(%x, %i, %q) yield(%q) } store(%x, %m, %r)`,
    );
    expect(got).toContain("store(%x, %i, %a)");
    expect(got.at(-1)).toBe("store(%x, %m, %a)");
  });
});

describe("dce", () => {
  it("removes dead ops, loads, effect-free control flow and carried values that feed only themselves", () => {
    const got = passed(
      dce,
      `%p: i32 = add(%n, %m) %v: f32 = load(%x, %p)
      %r: i32 = for(%n, %m, %m, %n) (%i: i32, %k: i32) { %k2: i32 = add(%k, %i) yield(%k2) }
      %s: f32, %dead: i32 = for(%n, %m, %m, %a, %n) (%j: i32, %acc: f32, %d: i32) { %acc2: f32 = add(%acc, %a) %d2: i32 = add(%d, %j) yield(%acc2, %d2) }
      %u: f32, %w: i32 = if(%c) { yield(%a, %n) } { yield(%s, %m) }
      store(%x, %n, %u)`,
    );
    expect(got).toEqual([
      "%s: f32 = for(%n, %m, %m, %a) (%j: i32, %acc: f32) {",
      "%acc2: f32 = add(%acc, %a)",
      "yield(%acc2)",
      "}",
      "%u: f32 = if(%c) {",
      "yield(%a)",
      "} {",
      "yield(%s)",
      "}",
      "store(%x, %n, %u)",
    ]);
  });
  it("keeps what a while's condition needs", () => {
    const body = `%r: i32 = while(%n) (%k: i32) { %go: bool = cmp {pred: "lt"}(%k, %m) condition(%go) } (%k2: i32) { %k3: i32 = add(%k2, %m) yield(%k3) }`;
    expect(passed(dce, body)).toHaveLength(7);
  });
});

describe("optimize", () => {
  const SOFTMAX = `func @softmax(%x: buffer<f32>, %y: buffer<f32>, %cols: i32) {
    %row: i32 = programId {axis: 0}()
    %at: i32[64] = arange {start: 0, end: 64}()
    %c: i32[64] = splat {shape: [64]}(%cols)
    %inside: bool[64] = cmp {pred: "lt"}(%at, %c)
    %start: i32 = mul(%row, %cols)
    %s: i32[64] = splat {shape: [64]}(%start)
    %o: i32[64] = add(%s, %at)
    %other: f32[64] = const {value: -inf, dtype: "f32", shape: [64]}()
    %v: f32[64] = load(%x, %o, %inside, %other)
    %m: f32 = reduce {kind: "max", axis: 0}(%v)
    %mt: f32[64] = splat {shape: [64]}(%m)
    %d: f32[64] = sub(%v, %mt)
    %e: f32[64] = exp(%d)
    %sum: f32 = reduce {kind: "sum", axis: 0}(%e)
    %st: f32[64] = splat {shape: [64]}(%sum)
    %r: f32[64] = div(%e, %st)
    %start2: i32 = mul(%row, %cols)
    %s2: i32[64] = splat {shape: [64]}(%start2)
    %o2: i32[64] = add(%s2, %at)
    store(%y, %o2, %r, %inside)
  }`;
  it("compiles softmax to exact ops and keeps its values", () => {
    const func = parse(SOFTMAX);
    const passes: string[] = [];
    optimize(func, { verifyEach: true, dump: (name) => passes.push(name) });
    verify(func);
    expect(passes).toEqual(expect.arrayContaining(["cse", "expand-math"]));
    const text = print(func);
    expect(text).not.toContain("exp(");
    expect(text.match(/programId/g)).toHaveLength(1);
    expect(text.match(/splat {shape: \[64]}\(%start/g)).toHaveLength(1);
    const x = Array.from({ length: 96 }, (_, i) => Math.fround(Math.sin(i) * 3));
    const y = new Array<number>(96).fill(0);
    for (const row of [0, 1]) evaluate(func, [x, y, 48], { programId: [row] });
    for (const row of [0, 1]) {
      const e = x.slice(row * 48, row * 48 + 48).map(Math.exp);
      const total = e.reduce((p, q) => p + q);
      e.forEach((v, i) => {
        expect(y[row * 48 + i]).toBeCloseTo(v / total, 6);
      });
    }
    const once = print(func);
    optimize(func);
    expect(print(func)).toBe(once);
  });

  it("keeps the meaning of random programs", () => {
    const dtypes = ["i32", "f32", "i64", "u8", "f16"] as const;
    const ops = ["add", "sub", "mul", "div", "rem", "min", "max"] as const;
    const constants = {
      i32: ["0", "1", "-1", "7", "-2147483648"],
      i64: ["0n", "1n", "-1n", "9n"],
      u8: ["0", "1", "255"],
      f32: ["0", "-0", "1", "-1", "0.1", "inf", "nan"],
      f16: ["0", "-0", "1", "2048", "nan"],
    };
    const program = fc.record({
      dtype: fc.constantFrom(...dtypes),
      steps: fc.array(fc.record({ op: fc.nat(11), a: fc.nat(1000), b: fc.nat(1000), c: fc.nat(1000) }), {
        minLength: 3,
        maxLength: 25,
      }),
      turns: fc.nat(3),
      x: fc.integer({ min: -300, max: 300 }),
    });
    fc.assert(
      fc.property(program, ({ dtype, steps, turns, x }) => {
        // Which zero `min` and `max` give of -0 and +0 is open (ir/ops/arith), and division would make it infinite.
        const usable = dtype[0] === "f" ? ([...ops.slice(0, 5), "add", "mul"] as const) : ops;
        const names = ["%x", ...constants[dtype].map((_, i) => `%k${i}`)];
        const head = constants[dtype].map(
          (v, i) => `%k${i}: ${dtype} = const {value: ${v}, dtype: "${dtype}", shape: []}()`,
        );
        const body: string[] = [];
        const inner = [...names, "%acc"];
        steps.forEach((s, i) => {
          const pick = (n: number) => inner[n % inner.length]!;
          if (s.op < ops.length) body.push(`%v${i}: ${dtype} = ${usable[s.op]}(${pick(s.a)}, ${pick(s.b)})`);
          else if (s.op < 9)
            body.push(
              `%c${i}: bool = cmp {pred: "${["lt", "eq", "ge"][s.c % 3]}"}(${pick(s.a)}, ${pick(s.b)})`,
              `%v${i}: ${dtype} = select(%c${i}, ${pick(s.b)}, ${pick(s.c)})`,
            );
          else if (s.op === 9) body.push(`%v${i}: ${dtype} = load(%out, %zero)`);
          else if (s.op === 10)
            body.push(`store(%out, %zero, ${pick(s.a)})`, `%v${i}: ${dtype} = neg(${pick(s.b)})`);
          else
            body.push(
              `%c${i}: bool = cmp {pred: "ne"}(${pick(s.a)}, ${pick(s.b)})`,
              `%v${i}: ${dtype} = if(%c${i}) { store(%out, %zero, ${pick(s.c)}) yield(${pick(s.a)}) } { yield(${pick(s.c)}) }`,
            );
          inner.push(`%v${i}`);
        });
        const text = `func @f(%out: buffer<${dtype}>, %x: ${dtype}, %turns: i32) {
          %zero: i32 = const {value: 0, dtype: "i32", shape: []}() %one: i32 = const {value: 1, dtype: "i32", shape: []}()
          ${head.join("\n")}
          %r: ${dtype} = for(%zero, %turns, %one, %x) (%i: i32, %acc: ${dtype}) {
            ${body.join("\n")}
            yield(${inner.at(-1)})
          }
          store(%out, %one, %r)
        }`;
        const big = dtype === "i64";
        const start = () => (big ? [3n, 5n] : [3, 5]);
        const arg = big ? BigInt(x) : x;
        const plain = parse(text);
        const [want, got] = [start(), start()];
        evaluate(plain, [want, arg, turns]);
        const func = parse(text);
        optimize(func, { verifyEach: true });
        evaluate(func, [got, arg, turns]);
        expect(got).toEqual(want);
      }),
      { numRuns: 400 },
    );
  });
});
