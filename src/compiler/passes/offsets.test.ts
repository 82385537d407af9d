import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ConstValue, type Func, parse, print, type TileType, verify, type Value } from "../ir/index.js";
import { analyzeAxes, type AxisInfo } from "./analyze-axes.js";
import { optimize } from "./optimize.js";
import { evaluate } from "./testing/evaluate.js";
import { widenOffsets } from "./widen-offsets.js";

const named = (func: Func): Map<string, Value> => {
  const all = new Map<string, Value>();
  const visit = (ops: Func["body"]["ops"]) => {
    for (const op of ops) {
      for (const v of op.results) if (v.name) all.set(v.name, v);
      for (const r of op.regions) {
        for (const v of r.args) if (v.name) all.set(v.name, v);
        visit(r.ops);
      }
    }
  };
  for (const v of func.body.args) all.set(v.name!, v);
  visit(func.body.ops);
  return all;
};

const MATRIX = `func @f(%x: buffer<f32> {divisibility: 16}, %stride: i32 {divisibility: 16}, %n: i32 {divisibility: 1}) {
  %pid: i32 = programId {axis: 0}()
  %k32: i32 = const {value: 32, dtype: "i32", shape: []}()
  %base: i32 = mul(%pid, %k32)
  %r: i32[32] = arange {start: 0, end: 32}()
  %baseT: i32[32] = splat {shape: [32]}(%base)
  %rows: i32[32] = add(%baseT, %r)
  %rows2: i32[32,1] = expandDims {axis: 1}(%rows)
  %rowsB: i32[32,64] = broadcast {shape: [32,64]}(%rows2)
  %s: i32[32,64] = splat {shape: [32,64]}(%stride)
  %rowAt: i32[32,64] = mul(%rowsB, %s)
  %c: i32[64] = arange {start: 0, end: 64}()
  %c2: i32[1,64] = expandDims {axis: 0}(%c)
  %cols: i32[32,64] = broadcast {shape: [32,64]}(%c2)
  %at: i32[32,64] = add(%rowAt, %cols)
  %limit: i32[32,64] = splat {shape: [32,64]}(%stride)
  %mask: bool[32,64] = cmp {pred: "lt"}(%cols, %limit)
  %odd: i32[32,64] = splat {shape: [32,64]}(%n)
  %mask2: bool[32,64] = cmp {pred: "lt"}(%cols, %odd)
  %k8: i32[64] = const {value: 8, dtype: "i32", shape: [64]}()
  %q: i32[64] = div(%c, %k8)
  %m: i32[64] = rem(%c, %k8)
  %zero: i32 = const {value: 0, dtype: "i32", shape: []}()
  %last: i32[32,64] = for(%zero, %n, %k32, %at) (%i: i32, %p: i32[32,64]) {
    %k64: i32[32,64] = const {value: 64, dtype: "i32", shape: [32,64]}()
    %next: i32[32,64] = add(%p, %k64)
    yield(%next)
  }
  %slow: i32[32,64] = for(%zero, %n, %k32, %at) (%i2: i32, %p2: i32[32,64]) {
    %next2: i32[32,64] = add(%p2, %odd)
    yield(%next2)
  }
}`;

describe("analyzeAxes", () => {
  const func = parse(MATRIX);
  verify(func);
  const facts = analyzeAxes(func);
  const values = named(func);
  const of = (name: string): AxisInfo => facts.get(values.get(name)!)!;

  it("finds what a matrix kernel needs", () => {
    expect(of("x").scalarDivisibility).toBe(16);
    expect(of("base").scalarDivisibility).toBe(32);
    expect(of("rows")).toMatchObject({ contiguity: [32], divisibility: [32], constancy: [1] });
    expect(of("rowAt")).toMatchObject({ contiguity: [1, 1], divisibility: [16, 16], constancy: [1, 64] });
    expect(of("at")).toMatchObject({ contiguity: [1, 64], constancy: [1, 1] });
    expect(of("at").divisibility[1]).toBe(16);
    expect(of("mask").constancy).toEqual([32, 16]);
    expect(of("mask2").constancy).toEqual([32, 1]);
    expect(of("q")).toMatchObject({ contiguity: [1], constancy: [8] });
    expect(of("m")).toMatchObject({ contiguity: [8], divisibility: [8] });
    expect(of("i").scalarDivisibility).toBe(32);
  });
  it("keeps through a loop what every turn keeps", () => {
    expect(of("p").contiguity).toEqual([1, 64]);
    expect(of("last").divisibility[1]).toBe(16);
    expect(of("p2").contiguity).toEqual([1, 64]);
    expect(of("slow").divisibility[1]).toBe(1);
  });

  it("claims nothing that is not so, for random integer programs", () => {
    const ops = ["add", "sub", "mul", "div", "rem", "min", "max"] as const;
    const step = fc.record({ kind: fc.nat(11), a: fc.nat(1000), b: fc.nat(1000) });
    const program = fc.record({
      steps: fc.array(step, { minLength: 1, maxLength: 14 }),
      n: fc.integer({ min: -4, max: 40 }).map((x) => x * 4),
      start: fc.integer({ min: -3, max: 4 }).map((x) => x * 4),
      pid: fc.nat(5),
    });
    fc.assert(
      fc.property(program, ({ steps, n, start, pid }) => {
        const names = ["%r", "%nt", "%pt", "%k1", "%k4", "%k6"];
        const lines: string[] = [];
        steps.forEach((s, i) => {
          const a = names[s.a % names.length]!;
          const b = names[s.b % names.length]!;
          if (s.kind < ops.length) lines.push(`%v${i}: i32[16] = ${ops[s.kind]}(${a}, ${b})`);
          else if (s.kind === 7)
            lines.push(
              `%c${i}: bool[16] = cmp {pred: "${["lt", "le", "gt", "ge", "eq"][s.b % 5]}"}(${a}, ${b})`,
              `%v${i}: i32[16] = select(%c${i}, ${b}, ${a})`,
            );
          else if (s.kind === 8)
            lines.push(
              `%e${i}: i32[16,1] = expandDims {axis: 1}(${a})`,
              `%w${i}: i32[16,4] = broadcast {shape: [16,4]}(%e${i})`,
              `%p${i}: i32[4,16] = permute {order: [1,0]}(%w${i})`,
              `%v${i}: i32[16] = neg(${a})`,
            );
          else if (s.kind === 9)
            lines.push(
              `%two${i}: i32[16] = const {value: 2, dtype: "i32", shape: [16]}()`,
              `%v${i}: i32[16] = shl(${a}, %two${i})`,
            );
          else if (s.kind === 10)
            lines.push(
              `%w${i}: i64[16] = cast {dtype: "i64"}(${a})`,
              `%t${i}: i8[16] = cast {dtype: "i8"}(${a})`,
              `%v${i}: i32[16] = cast {dtype: "i32"}(%t${i})`,
            );
          else
            lines.push(
              `%v${i}: i32[16] = for(%z, %three, %one, ${a}) (%i${i}: i32, %acc${i}: i32[16]) { %n${i}: i32[16] = add(%acc${i}, ${b}) yield(%n${i}) }`,
            );
          names.push(`%v${i}`);
        });
        const text = `func @f(%n: i32 {divisibility: 4}) {
          %z: i32 = const {value: 0, dtype: "i32", shape: []}() %one: i32 = const {value: 1, dtype: "i32", shape: []}() %three: i32 = const {value: 3, dtype: "i32", shape: []}()
          %pid: i32 = programId {axis: 0}() %r: i32[16] = arange {start: ${start}, end: ${start + 16}}()
          %nt: i32[16] = splat {shape: [16]}(%n) %pt: i32[16] = splat {shape: [16]}(%pid)
          %k1: i32[16] = const {value: 1, dtype: "i32", shape: [16]}() %k4: i32[16] = const {value: 4, dtype: "i32", shape: [16]}() %k6: i32[16] = const {value: 6, dtype: "i32", shape: [16]}()
          ${lines.join("\n")}
        }`;
        const random = parse(text);
        verify(random);
        const info = analyzeAxes(random);
        let overflowed = false;
        evaluate(random, [n], {
          programId: [pid],
          trace: (v, elements) => {
            overflowed ||= v.type.dtype === "i32" && elements.some((e) => Math.abs(Number(e)) > 2 ** 28);
            if (!overflowed) check(v, elements, info.get(v)!);
          },
        });
      }),
      { numRuns: 600 },
    );
  });
});

/** Every claim, element by element. */
function check(v: Value, elements: readonly ConstValue[], info: AxisInfo): void {
  const { shape } = v.type as TileType;
  const numbers = elements.map(Number);
  for (const x of numbers) {
    expect(Math.abs(x % info.scalarDivisibility), `${v.name} each`).toBe(0);
    if (info.nonNegative) expect(x, `${v.name} is not negative`).toBeGreaterThanOrEqual(0);
  }
  shape.forEach((size, d) => {
    const step = shape.slice(d + 1).reduce((p, q) => p * q, 1);
    numbers.forEach((x, i) => {
      const k = Math.floor(i / step) % size;
      const groupStart = (g: number) => numbers[i - (k % g) * step]!;
      const run = info.contiguity[d]!;
      if (run > 1) expect(x - groupStart(run), `${v.name} runs`).toBe(k % run);
      if (k % run === 0) expect(Math.abs(x % info.divisibility[d]!), `${v.name} starts`).toBe(0);
      expect(x, `${v.name} constancy`).toBe(groupStart(info.constancy[d]!));
    });
  });
}

describe("widenOffsets", () => {
  const run = (text: string, args: readonly (ConstValue | Map<number, ConstValue>)[], programId = [0]) => {
    const func = parse(text);
    widenOffsets(func);
    verify(func);
    evaluate(func, args, { programId });
    const again = parse(text);
    widenOffsets(again);
    optimize(again, { verifyEach: true });
    return { func, again };
  };

  it("reaches past 2^31 through products, tiles and masks", () => {
    const text = `func @f(%x: buffer<f32>, %stride: i32, %n: i32) {
      %row: i32 = programId {axis: 0}()
      %start: i32 = mul(%row, %stride)
      %s: i32[4] = splat {shape: [4]}(%start)
      %r: i32[4] = arange {start: 0, end: 4}()
      %at: i32[4] = add(%s, %r)
      %nt: i32[4] = splat {shape: [4]}(%n)
      %mask: bool[4] = cmp {pred: "lt"}(%r, %nt)
      %f: f32[4] = cast {dtype: "f32"}(%r)
      store(%x, %at, %f, %mask)
    }`;
    const x = new Map<number, ConstValue>();
    const { func } = run(text, [x, 2_000_000_000, 3], [3]);
    expect([...x]).toEqual([
      [6_000_000_000, 0],
      [6_000_000_001, 1],
      [6_000_000_002, 2],
    ]);
    expect(print(func)).toContain("%r: i32[4] = arange");
  });

  it("carries wide offsets through loops and branches", () => {
    const text = `func @f(%x: buffer<i32>, %y: buffer<i32>, %step: i32) {
      %zero: i32 = const {value: 0, dtype: "i32", shape: []}()
      %four: i32 = const {value: 4, dtype: "i32", shape: []}()
      %one: i32 = const {value: 1, dtype: "i32", shape: []}()
      %end: i32 = for(%zero, %four, %one, %zero) (%i: i32, %at: i32) {
        store(%x, %at, %at)
        %next: i32 = add(%at, %step)
        yield(%next)
      }
      %c: bool = cmp {pred: "eq"}(%step, %zero)
      %p: i32 = if(%c) { yield(%zero) } { %twice: i32 = add(%end, %step) yield(%twice) }
      store(%y, %p, %one)
      %w: i32 = while(%p) (%q: i32) { %old: i32 = load(%y, %q) %go: bool = cmp {pred: "ne"}(%old, %zero) condition(%go) } (%q2: i32) { %q3: i32 = add(%q2, %one) yield(%q3) }
      store(%y, %w, %four)
    }`;
    const [x, y] = [new Map<number, ConstValue>(), new Map<number, ConstValue>()];
    const { again } = run(text, [x, y, 1_500_000_000]);
    // The stored values are the i32 ones, which wrap.
    expect([...x]).toEqual([
      [0, 0],
      [1_500_000_000, 1_500_000_000],
      [3_000_000_000, 3_000_000_000 | 0],
      [4_500_000_000, 4_500_000_000 | 0],
    ]);
    expect([...y]).toEqual([
      [7_500_000_000, 1],
      [7_500_000_001, 4],
    ]);
    // The narrow copies of the branch and the while had no other use.
    expect(print(again)).toMatch(/%p_wide: i64 = if/);
    expect(print(again)).toMatch(/%w_wide: i64 = while/);
  });

  it("leaves i64 offsets alone", () => {
    const text = "func @f(%x: buffer<f32>, %n: i64) {\n  %v: f32 = load(%x, %n)\n  store(%x, %n, %v)\n}\n";
    const func = parse(text);
    widenOffsets(func);
    expect(print(func)).toBe(text);
  });
});
