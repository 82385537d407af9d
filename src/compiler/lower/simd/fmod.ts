// The exact remainder of floats (C's fmod), by shifting and subtracting, one lane at a time.

import { type Emitter, isReg } from "./emit.js";
import type { Operand, Reg, RegKind, Stmt } from "./form.js";

/** `a - trunc(a / b) * b` without rounding. NaN if `a` is infinite, `b` is zero, or either is NaN. */
export function floatRemainder(e: Emitter, kind: RegKind, a: Operand, b: Operand, lanes: number): Operand {
  if (lanes === 1) return one(e, kind, a, b);
  let result: Operand = e.reg(kind, lanes);
  e.assign(result as Reg, 0);
  for (let lane = 0; lane < lanes; lane++) {
    const part = one(e, kind, e.extract(a, kind, lane), e.extract(b, kind, lane));
    result = e.op("insert", kind, lanes, [result, part], { lane });
  }
  return result;
}

function one(e: Emitter, kind: RegKind, a: Operand, b: Operand): Operand {
  const reg = (v: Operand): Reg => {
    const r = e.reg(kind);
    e.assign(r, v);
    return r;
  };
  const f = (op: "add" | "sub" | "mul", x: Operand, y: Operand): Operand => e.op(op, kind, 1, [x, y]);
  const test = (op: "leS" | "ltS" | "geS" | "eq" | "ne", x: Operand, y: Operand): Operand =>
    e.op(op, "mask", 1, [x, y]);
  const x = reg(e.op("abs", kind, 1, [isReg(a) ? a : reg(a)]));
  const y = reg(e.op("abs", kind, 1, [isReg(b) ? b : reg(b)]));
  const t = reg(y);
  const both = (p: Operand, q: Operand): Operand => e.op("and", "mask", 1, [p, q]);
  const finite = both(test("ltS", x, Number.POSITIVE_INFINITY), test("ltS", 0, y));
  const work = both(finite, both(test("leS", y, x), test("ltS", y, Number.POSITIVE_INFINITY)));
  e.when(work, () => {
    // t = y * 2^k, the largest that is at most x.
    loop(
      e,
      () => test("leS", t, f("sub", x, t)),
      () => e.assign(t, f("add", t, t)),
    );
    loop(
      e,
      () => test("leS", y, t),
      () => {
        e.when(test("leS", t, x), () => e.assign(x, f("sub", x, t)));
        e.assign(t, f("mul", t, 0.5));
      },
    );
  });
  // The result has the sign of `a`; what cannot be divided is NaN.
  const valid = both(finite, test("eq", y, y));
  const signed = e.op("select", kind, 1, [negative(e, kind, a), e.op("neg", kind, 1, [x]), x]);
  return e.op("select", kind, 1, [valid, signed, Number.NaN]);
}

function negative(e: Emitter, kind: RegKind, a: Operand): Operand {
  const int = kind === "f64" ? "i64" : "i32";
  let x = a;
  if (!isReg(x)) {
    x = e.reg(kind);
    e.assign(x, a);
  }
  return e.op("ltS", "mask", 1, [e.op("bitcast", int, 1, [x]), int === "i64" ? 0n : 0]);
}

function loop(e: Emitter, condition: () => Operand, body: () => void): void {
  const [cond, turn]: [Stmt[], Stmt[]] = [[], []];
  const test = e.inside(cond, condition);
  e.inside(turn, body);
  e.out.push({ s: "while", cond, test, body: turn });
}
