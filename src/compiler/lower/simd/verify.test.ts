// Forms that break a rule are refused by name.

import { describe, expect, it } from "vitest";
import type { Form, Operand, Reg, RegKind, RegOp, Stmt } from "./form.js";
import { FormError, verifyForm } from "./verify.js";

let next = 0;
const reg = (kind: RegKind, lanes = 1): Reg => ({ id: next++, type: { kind, lanes } });
const op = (name: RegOp, dst: Reg, ...args: Operand[]): Stmt => ({ s: "op", op: name, dst, args });
const form = (regs: Reg[], body: Stmt[], frameBytes = 64): Form => ({
  name: "f",
  params: [{ kind: "buffer", name: "x", mem: "f32" }],
  frameBytes,
  regs,
  body,
});

describe("verifyForm", () => {
  const a = reg("f32", 4);
  const i = reg("i32");
  const m = reg("mask", 4);
  const start: Stmt[] = [op("copy", a, 0), op("copy", i, 0)];
  const refuse = (body: Stmt[], why: RegExp): void => {
    expect(() => verifyForm(form([a, i, m], [...start, ...body]))).toThrow(why);
    expect(() => verifyForm(form([a, i, m], [...start, ...body]))).toThrow(FormError);
  };

  it("takes a right form", () => {
    const at: Stmt = { s: "load", dst: a, mem: { param: 0 }, kind: "f32", at: i };
    expect(() =>
      verifyForm(form([a, i, m], [...start, at, op("ltS", m, a, 1), op("select", a, m, a, 0)])),
    ).not.toThrow();
  });

  it("refuses wrong kinds, lanes and literals", () => {
    refuse([op("add", a, a, i)], /argument 1 is i32x1, not f32x4/);
    refuse([op("divS", a, a, a)], /no divS of f32/);
    refuse([op("add", i, i, 0.5)], /0.5 is no i32/);
    refuse([op("add", a, a, 0.1)], /0.1 is no f32/);
    refuse([op("ltS", m, 1, 2)], /two literals/);
    refuse([op("select", a, a, a, a)], /the condition is f32x4/);
    refuse([op("bitcast", i, a)], /no bitcast/);
  });

  it("refuses what is not assigned, declared or inside", () => {
    refuse([op("not", m, m)], /not assigned before/);
    refuse([op("copy", reg("i32"), 1)], /not declared/);
    refuse([{ s: "load", dst: a, mem: { frame: 64 }, kind: "f32", at: i }], /frame offset 64/);
    refuse(
      [{ s: "load", dst: a, mem: { param: 0 }, kind: "f64", at: i }],
      /f32 registers do not stand in f64/,
    );
    refuse([{ s: "for", iv: i, lo: 0, hi: 4, step: 1, body: [op("copy", i, 2)] }], /assigns a loop variable/);
  });
});
