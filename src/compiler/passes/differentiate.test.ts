import { describe, expect, it } from "vitest";
import { Builder, type Func, type Op, parse, verify } from "../ir/index.js";
import { differentiate } from "./differentiate.js";
import { optimize } from "./optimize.js";
import { evaluate } from "./testing/evaluate.js";

/** A function of f64 scalars x, y, z from its body (whose last value is %r), with its derivatives stored behind it. */
function withGradients(body: string): {
  value: (...x: number[]) => number;
  gradients: (...x: number[]) => number[];
} {
  const text = (out: string) => `func @f(%out: buffer<f64>, %x: f64, %y: f64, %z: f64) {\n${body}\n${out}}`;
  const func: Func = parse(text(""));
  const b = new Builder(func.body);
  const result = func.body.ops.at(-1)!.result;
  const grads = differentiate(b, [result], [b.constant(1, "f64")], func.body.args.slice(1));
  [result, ...grads].forEach((g, i) => {
    b.create("store", [func.body.args[0]!, b.constant(i, "i32"), g ?? b.constant(0, "f64")]);
  });
  verify(func);
  optimize(func, { verifyEach: true });
  const run = (...x: number[]) => {
    const out = [0, 0, 0, 0];
    evaluate(func, [out, ...x, ...new Array<number>(3 - x.length).fill(0.5)]);
    return out;
  };
  return { value: (...x) => run(...x)[0]!, gradients: (...x) => run(...x).slice(1) };
}

const unary = (opcode: string) => `%r: f64 = ${opcode}(%x)`;
const SMOOTH: [string, string, number[][]][] = [
  ["add", "%r: f64 = add(%x, %y)", [[1, 2]]],
  ["sub", "%r: f64 = sub(%x, %y)", [[1, 2]]],
  ["mul", "%r: f64 = mul(%x, %y)", [[1.5, -2]]],
  [
    "div",
    "%r: f64 = div(%x, %y)",
    [
      [1.5, -2],
      [0.1, 3],
    ],
  ],
  [
    "rem",
    "%r: f64 = rem(%x, %y)",
    [
      [7.3, 2],
      [-7.3, 2.1],
    ],
  ],
  ["fma", "%r: f64 = fma(%x, %y, %z)", [[1.5, -2, 3]]],
  ["square", "%r: f64 = mul(%x, %x)", [[3]]],
  ["neg", unary("neg"), [[2]]],
  ["abs", unary("abs"), [[2], [-2]]],
  [
    "min",
    "%r: f64 = min(%x, %y)",
    [
      [1, 2],
      [2, 1],
    ],
  ],
  [
    "max",
    "%r: f64 = max(%x, %y)",
    [
      [1, 2],
      [2, 1],
    ],
  ],
  [
    "select",
    '%c: bool = cmp {pred: "lt"}(%x, %y) %a: f64 = mul(%x, %y) %r: f64 = select(%c, %a, %x)',
    [
      [1, 2],
      [2, 1],
    ],
  ],
  ...["exp", "exp2", "exp2Approx", "sigmoidApprox", "expm1", "sin", "cos", "tan", "tanh", "erf"].map(
    (f): [string, string, number[][]] => [f, unary(f), [[0.7], [-1.1], [0.01]]],
  ),
  ...["log", "log2", "log10", "log1p", "sqrt", "rsqrt"].map((f): [string, string, number[][]] => [
    f,
    unary(f),
    [[0.7], [3.3]],
  ]),
  [
    "pow",
    "%r: f64 = pow(%x, %y)",
    [
      [1.7, 2.3],
      [0.4, -1.5],
      [3, 2],
    ],
  ],
  ["floor", "%f: f64 = floor(%x) %r: f64 = mul(%f, %y)", [[1.5, 2]]],
  [
    "gelu",
    `%k: f64 = const {value: 0.7071067811865476, dtype: "f64", shape: []}() %one: f64 = const {value: 1, dtype: "f64", shape: []}()
    %s: f64 = mul(%x, %k) %e: f64 = erf(%s) %p: f64 = add(%e, %one) %h: f64 = mul(%x, %p) %r: f64 = mul(%h, %y)`,
    [
      [0.3, 0.5],
      [-2, 1.5],
    ],
  ],
  [
    "a value used twice",
    "%e: f64 = exp(%x) %s: f64 = sin(%e) %p: f64 = mul(%s, %e) %r: f64 = add(%p, %x)",
    [[0.4]],
  ],
];

describe("differentiate", () => {
  it.each(SMOOTH)("%s agrees with finite differences", (_name, body, points) => {
    const f = withGradients(body);
    for (const point of points) {
      const at = [...point, ...[0.5, 0.5, 0.5].slice(point.length)];
      const grads = f.gradients(...at);
      at.forEach((x, i) => {
        const h = 1e-5 * Math.max(1, Math.abs(x));
        const moved = (s: number) => f.value(...at.map((v, j) => (j === i ? v + s * h : v)));
        const slope = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * h);
        expect(Math.abs(grads[i]! - slope)).toBeLessThan(2e-9 * Math.max(1, Math.abs(slope)));
      });
    }
  });

  it("follows PyTorch at the corners", () => {
    expect(withGradients(unary("abs")).gradients(0)[0]).toBe(0);
    expect(withGradients("%r: f64 = max(%x, %y)").gradients(2, 2).slice(0, 2)).toEqual([0.5, 0.5]);
    expect(withGradients("%r: f64 = min(%x, %y)").gradients(2, 2).slice(0, 2)).toEqual([0.5, 0.5]);
    const clamp = withGradients(
      '%k: f64 = const {value: 2, dtype: "f64", shape: []}() %r: f64 = max(%x, %k)',
    );
    expect([1, 2, 3].map((x) => clamp.gradients(x)[0])).toEqual([0, 1, 1]);
    const pow = withGradients("%r: f64 = pow(%x, %y)");
    expect(pow.gradients(0, 0).slice(0, 2)).toEqual([0, 0]);
    expect(pow.gradients(0, 2).slice(0, 2)).toEqual([0, 0]);
    expect(pow.gradients(-2, 3)[0]).toBe(12);
    expect(pow.gradients(-2, 3)[1]).toBeNaN();
    expect(pow.gradients(0, -1)[1]).toBe(-Infinity);
  });

  it("has no gradient through rounding, comparisons and integers", () => {
    const func = parse(
      'func @f(%x: f32, %n: i32) { %a: f32 = floor(%x) %i: i32 = cast {dtype: "i32"}(%x) %b: f32 = cast {dtype: "f32"}(%i) %r: f32 = add(%a, %b) }',
    );
    const b = new Builder(func.body);
    const r = func.body.ops.at(-1)!.result;
    const one = b.constant(1, "f32");
    expect(differentiate(b, [r], [one], [...func.body.args])).toEqual([undefined, undefined]);
    expect(differentiate(b, [func.body.args[0]!], [one], [func.body.args[0]!])).toEqual([one]);
  });

  it("casts gradients back", () => {
    const func = parse(
      'func @f(%x: f16[4]) { %a: f32[4] = cast {dtype: "f32"}(%x) %r: f32[4] = exp(%a) }'
        .replace("%x: f16[4]", "%s: f16")
        .replace("(%x)", "(%x)")
        .replace("{ %a", "{ %x: f16[4] = splat {shape: [4]}(%s) %a"),
    );
    const b = new Builder(func.body);
    const x = func.body.ops[0]!.result;
    const r = func.body.ops.at(-1)!.result;
    const [g] = differentiate(b, [r], [b.constant(1, "f32", [4])], [x]);
    expect(g!.type).toEqual(x.type);
    verify(func);
  });

  it("says which op it cannot differentiate", () => {
    const loop = parse(
      "func @f(%n: i32, %x: f32) { %i: i32, %r: f32 = for(%n, %n, %n, %n, %x) (%k: i32, %j: i32, %acc: f32) { %s: f32 = mul(%acc, %x) yield(%j, %s) } }",
    );
    const b = new Builder(loop.body);
    const r = (loop.body.ops[0] as Op).results[1]!;
    expect(() => differentiate(b, [r], [b.constant(1, "f32")], [loop.body.args[1]!])).toThrow(
      "for has no derivative",
    );
    const bits = parse(
      'func @f(%x: f32) { %i: i32 = bitcast {dtype: "i32"}(%x) %r: f32 = bitcast {dtype: "f32"}(%i) %s: f32[2] = splat {shape: [2]}(%x) %t: f32 = reduce {kind: "sum", axis: 0}(%s) }',
    );
    const c = new Builder(bits.body);
    const last = bits.body.ops.at(-1)!.result;
    expect(() => differentiate(c, [last], [c.constant(1, "f32")], [bits.body.args[0]!])).toThrow(
      "reduce has no derivative",
    );
    expect(() => differentiate(c, [last], [c.constant(1, "f64")], [bits.body.args[0]!])).toThrow(
      "the gradient of an output",
    );
  });
});
