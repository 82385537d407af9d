// Statements, the order of memory accesses, the text form. Random programs against a plain interpreter.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Mem, Operand, Reg, RegOp, Stmt } from "../../compiler/lower/simd/form.js";
import { printForm } from "./print.js";
import { assembleWithWabt, checkWithWabt, FormBuilder, runForm } from "./testing/forms.js";

const MEMORY = { min: 1, max: 1024, shared: true };
const i32s = (n: number): Uint8Array => new Uint8Array(4 * n);
const ints = (b: Uint8Array): number[] => [...new Int32Array(b.buffer)];

describe("program ids", () => {
  it("runs x fastest over any grid", async () => {
    const b = new FormBuilder();
    const out = b.buffer("i32");
    const [x, y, z] = [0, 1, 2].map((index) => b.op("i32", 1, "programId", [], { index })) as [Reg, Reg, Reg];
    const [nx, ny, nz] = [0, 1, 2].map((index) => b.op("i32", 1, "numPrograms", [], { index })) as [
      Reg,
      Reg,
      Reg,
    ];
    const row = b.op("i32", 1, "add", [b.op("i32", 1, "mul", [z, ny]), y]);
    const at = b.op("i32", 1, "add", [b.op("i32", 1, "mul", [row, nx]), x]);
    const code = b.op("i32", 1, "add", [
      b.op("i32", 1, "mul", [b.op("i32", 1, "add", [b.op("i32", 1, "mul", [z, 10]), y]), 10]),
      x,
    ]);
    b.store(b.op("i32", 1, "add", [b.op("i32", 1, "mul", [nz, 1000]), code]), out, "i32", at);
    const result = i32s(24);
    await checkWithWabt(runForm(b.form(), [result], [4, 3, 2]));
    const expected = [];
    for (let k = 0; k < 2; k++)
      for (let j = 0; j < 3; j++) for (let i = 0; i < 4; i++) expected.push(2000 + 100 * k + 10 * j + i);
    expect(ints(result)).toEqual(expected);
  });
});

describe("parameters", () => {
  it("passes scalars in their kind", async () => {
    const b = new FormBuilder();
    const out = b.buffer("f64");
    const f = b.op("f32", 1, "param", [], { index: b.scalar("f32", "f32") });
    const d = b.op("f64", 1, "param", [], { index: b.scalar("f64", "f64") });
    const l = b.op("i64", 1, "param", [], { index: b.scalar("i64", "i64") });
    const i = b.op("i32", 1, "param", [], { index: b.scalar("i32", "i16") });
    const m = b.op("mask", 1, "param", [], { index: b.scalar("mask", "u8") });
    b.store(b.op("f64", 1, "convertS", [f]), out, "f64", 0);
    b.store(d, out, "f64", 1);
    b.store(b.op("f64", 1, "convertS", [l]), out, "f64", 2);
    b.store(b.op("f64", 1, "convertS", [i]), out, "f64", 3);
    b.store(b.op("f64", 1, "select", [m, 1, 2]), out, "f64", 4);
    const result = new Uint8Array(40);
    await checkWithWabt(runForm(b.form(), [result, 0.5, Math.PI, -(2n ** 40n), -7, 1]));
    expect([...new Float64Array(result.buffer)]).toEqual([0.5, Math.PI, -(2 ** 40), -7, 1]);
  });
});

describe("unrolled loops", () => {
  it("keep their steps apart without changing values", async () => {
    const b = new FormBuilder();
    const [x, y] = [b.buffer("f32"), b.buffer("f32")];
    const sums = [0, 1].map((i) => b.op("f32", 4, "copy", [i]));
    b.loop(0, 12, 3, (i) => {
      for (let step = 0; step < 3; step++) {
        const v = b.load("f32", 4, x, "f32", b.op("i32", 1, "add", [i, step]));
        b.to(sums[0]!, "add", [sums[0]!, v]);
        b.to(sums[1]!, "fma", [v, v, sums[1]!]);
      }
    });
    b.store(sums[0]!, y, "f32", 0);
    b.store(sums[1]!, y, "f32", 4);
    const input = Float32Array.from({ length: 16 }, (_, i) => i);
    const result = new Uint8Array(32);
    await checkWithWabt(runForm(b.form(), [new Uint8Array(input.buffer), result]));
    const lanes = [0, 1, 2, 3].map((l) => Array.from({ length: 12 }, (_, i) => i + l));
    expect([...new Float32Array(result.buffer)]).toEqual([
      ...lanes.map((v) => v.reduce((a, k) => a + k, 0)),
      ...lanes.map((v) => v.reduce((a, k) => a + k * k, 1)),
    ]);
    const { text } = printForm(b.form(), { relaxed: false, memory: MEMORY });
    expect(text.match(/br_if 1/g)).toHaveLength(2);
  });
});

describe("text", () => {
  it("is the same module for another assembler", async () => {
    const b = new FormBuilder();
    b.frameBytes = 64;
    const p = b.buffer("f32");
    const n = b.op("i32", 1, "param", [], { index: b.scalar("i32", "i32") });
    const sum = b.op("f32", 4, "copy", [-0.1]);
    b.loop(0, n, 4, (i) => {
      const v = b.load("f32", 4, p, "f32", i);
      const m = b.op("mask", 4, "ltS", [v, Infinity]);
      b.to(sum, "fma", [b.op("f32", 4, "select", [m, v, Number.NaN]), v, sum]);
      b.when(
        b.op("mask", 1, "any", [m]),
        () => b.store(b.op("i32", 4, "f32ToF16", [sum]), { frame: 8 }, "u16", 0),
        () => b.store(sum, p, "f32", i),
      );
    });
    b.store(b.op("f64", 2, "copy", [1e300]), { frame: 16 }, "f64", 0);
    b.store(b.op("i64", 1, "copy", [-(2n ** 63n)]), { frame: 16 }, "i64", 0);
    const printed = printForm(b.form("text_form"), { relaxed: true, memory: MEMORY });
    expect(printed.text).toContain("(func $text_form");
    const assembled = await assembleWithWabt(printed.text);
    // Ours ends with a name section; all before it is equal.
    expect(printed.bytes.subarray(0, assembled.length)).toEqual(new Uint8Array(assembled));
  });
});

type Env = { regs: Map<number, number>; memory: Int32Array };
const OPS: Partial<Record<RegOp, (a: number, b: number) => number>> = {
  add: (a, b) => (a + b) | 0,
  sub: (a, b) => (a - b) | 0,
  mul: Math.imul,
  xor: (a, b) => a ^ b,
  copy: (a) => a,
};
const MASK = 15;

/** Runs statements over i32 scalars the plain way. */
function interpret(list: readonly Stmt[], e: Env): void {
  const get = (o: Operand): number => (typeof o === "object" ? (e.regs.get(o.id) ?? 0) : Number(o));
  for (const s of list) {
    if (s.s === "op" && s.op === "ltS") e.regs.set(s.dst.id, get(s.args[0]!) < get(s.args[1]!) ? 1 : 0);
    else if (s.s === "op" && s.op === "and") e.regs.set(s.dst.id, get(s.args[0]!) & get(s.args[1]!));
    else if (s.s === "op")
      e.regs.set(s.dst.id, OPS[s.op]!(get(s.args[0]!), s.args.length > 1 ? get(s.args[1]!) : 0));
    else if (s.s === "load") e.regs.set(s.dst.id, e.memory[get(s.at)]!);
    else if (s.s === "store") e.memory[get(s.at)] = get(s.value);
    else if (s.s === "atomic") {
      const at = get(s.at);
      const value = get(s.value);
      e.regs.set(s.dst.id, e.memory[at]!);
      e.memory[at] = (e.memory[at]! + value) | 0;
    } else if (s.s === "if") interpret(get(s.test) ? s.then : s.else, e);
    else if (s.s === "while")
      for (;;) {
        interpret(s.cond, e);
        if (!get(s.test)) break;
        interpret(s.body, e);
      }
    else if (s.s === "for")
      for (let i = get(s.lo); i < get(s.hi); i += get(s.step)) {
        e.regs.set(s.iv.id, i);
        interpret(s.body, e);
      }
  }
}

/** Makes a random program from a list of numbers. */
function randomProgram(choices: readonly number[]): FormBuilder {
  const b = new FormBuilder();
  const mem = b.buffer("i32") as Mem;
  const vars = Array.from({ length: 6 }, (_, i) => b.op("i32", 1, "copy", [i * 5 - 7]));
  let next = 0;
  const choose = (n: number): number => (next < choices.length ? choices[next++]! % n : 0);
  const statements = (count: number, depth: number, known: Reg[]): void => {
    const regs = [...known];
    const operand = (): Operand => (choose(4) === 0 ? choose(9) - 4 : regs[choose(regs.length)]!);
    /** An address in range, sometimes a register plus a constant. */
    const address = (): Operand => {
      if (choose(4) === 0) return choose(MASK + 1);
      const at = b.op("i32", 1, "and", [regs[choose(regs.length)]!, MASK]);
      return choose(2) ? at : b.op("i32", 1, "add", [at, choose(5)]);
    };
    for (let i = 0; i < count && next < choices.length; i++) {
      const kind = choose(depth > 0 ? 11 : 7);
      if (kind <= 2) {
        const op = (["add", "sub", "mul", "xor"] as const)[choose(4)]!;
        regs.push(b.op("i32", 1, op, [operand(), operand()]));
      } else if (kind === 3) b.to(vars[choose(vars.length)]!, "add", [operand(), operand()]);
      else if (kind === 4) regs.push(b.load("i32", 1, mem, "i32", address()));
      else if (kind === 5)
        b.emit({
          s: "store",
          value: operand(),
          type: { kind: "i32", lanes: 1 },
          mem,
          kind: "i32",
          at: address(),
        });
      else if (kind === 6) {
        const dst = b.reg("i32");
        b.emit({ s: "atomic", op: "add", dst, mem, kind: "i32", at: address(), value: operand() });
        regs.push(dst);
      } else if (kind <= 8) {
        const test = b.op("mask", 1, "ltS", [regs[choose(regs.length)]!, operand()]);
        b.when(
          test,
          () => statements(choose(5), depth - 1, regs),
          () => statements(choose(4), depth - 1, regs),
        );
      } else if (kind === 9) {
        const lo = b.op("i32", 1, "and", [regs[choose(regs.length)]!, 3]);
        b.loop(lo, 4, 1 + choose(3), (iv) => statements(choose(6), depth - 1, [...regs, iv]));
      } else {
        const n = b.op("i32", 1, "copy", [0]);
        const limit = 1 + choose(4);
        const test = b.reg("mask");
        const cond = b.inside(() => b.to(test, "ltS", [n, limit]));
        const body = b.inside(() => {
          statements(choose(5), depth - 1, [...regs, n]);
          b.to(n, "add", [n, 1]);
        });
        b.emit({ s: "while", cond, test, body });
      }
    }
  };
  statements(30, 3, vars);
  vars.forEach((v, i) => {
    b.store(v, mem, "i32", 20 + i);
  });
  return b;
}

describe("random programs", () => {
  it("compute what an interpreter computes", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1000), { minLength: 20, maxLength: 200 }), (choices) => {
        const b = randomProgram(choices);
        const memory = Int32Array.from({ length: 32 }, (_, i) => i * 3 - 20);
        const expected = memory.slice();
        interpret(b.body, { regs: new Map(), memory: expected });
        const bytes = new Uint8Array(memory.buffer);
        runForm(b.form(), [bytes]);
        expect(ints(bytes)).toEqual([...expected]);
      }),
      { numRuns: 400 },
    );
  });
});
