// Checks a form: register kinds and lanes of every statement, literals, memory kinds, loop variables.

import { nestedLists } from "../dead.js";
import { eachOperand } from "./dead.js";
import type { Form, MemKind, Operand, Reg, RegKind, RegOp, RegType, Stmt } from "./form.js";

/** A statement that breaks the rules of `form.ts`; the message names it. */
export class FormError extends Error {
  override name = "FormError";
}

const INT: readonly RegKind[] = ["i32", "i64"];
const FLOAT: readonly RegKind[] = ["f32", "f64"];
const NUMBER: readonly RegKind[] = [...INT, ...FLOAT];
const ANY: readonly RegKind[] = [...NUMBER, "mask"];
/** Ops whose arguments all have the kind and lanes of the result. */
const SAME: Partial<Record<RegOp, readonly [kinds: readonly RegKind[], arity: number]>> = {
  add: [NUMBER, 2],
  sub: [NUMBER, 2],
  mul: [NUMBER, 2],
  div: [FLOAT, 2],
  min: [FLOAT, 2],
  pmin: [FLOAT, 2],
  pmax: [FLOAT, 2],
  max: [FLOAT, 2],
  fma: [FLOAT, 3],
  sqrt: [FLOAT, 1],
  floor: [FLOAT, 1],
  ceil: [FLOAT, 1],
  trunc: [FLOAT, 1],
  nearest: [FLOAT, 1],
  abs: [FLOAT, 1],
  neg: [FLOAT, 1],
  divS: [INT, 2],
  divU: [INT, 2],
  remS: [INT, 2],
  remU: [INT, 2],
  minS: [INT, 2],
  minU: [INT, 2],
  maxS: [INT, 2],
  maxU: [INT, 2],
  and: [[...INT, "mask"], 2],
  or: [[...INT, "mask"], 2],
  xor: [[...INT, "mask"], 2],
  shl: [INT, 2],
  shrS: [INT, 2],
  shrU: [INT, 2],
  not: [["mask"], 1],
  copy: [ANY, 1],
};
const COMPARE = /^(eq|ne|(lt|le|gt|ge)[SU])$/;
const MEM_OF: Record<RegKind, readonly MemKind[]> = {
  i32: ["i8", "u8", "i16", "u16", "i32"],
  i64: ["i64"],
  f32: ["f32"],
  f64: ["f64"],
  mask: [],
};
const BITS: Record<RegKind, number> = { i32: 32, f32: 32, i64: 64, f64: 64, mask: 1 };

const text = (t: RegType): string => `${t.kind}x${t.lanes}`;
const isReg = (o: Operand | undefined): o is Reg => typeof o === "object";

/** Throws {@link FormError} if the form breaks a rule. */
export function verifyForm(form: Form): void {
  const declared = new Set(form.regs);
  const assigned = new Set<Reg>();
  const fail = (s: Stmt, why: string): never => {
    throw new FormError(`${form.name}: ${describe(s)}: ${why}`);
  };
  const check = (s: Stmt, ok: boolean, why: string): void => {
    if (!ok) fail(s, why);
  };
  const scalarInt = (s: Stmt, o: Operand, what: string): void => {
    if (isReg(o))
      check(
        s,
        o.type.lanes === 1 && INT.includes(o.type.kind),
        `${what} is ${text(o.type)}, not a scalar integer`,
      );
    else check(s, typeof o === "bigint" || Number.isInteger(o), `${what} is ${o}`);
  };
  /** The operand is a register of the type, or a literal that fits the kind. */
  const fits = (s: Stmt, o: Operand | undefined, t: RegType, what: string): void => {
    if (o === undefined) fail(s, `${what} is missing`);
    else if (isReg(o))
      check(
        s,
        o.type.kind === t.kind && o.type.lanes === t.lanes,
        `${what} is ${text(o.type)}, not ${text(t)}`,
      );
    else if (t.kind === "i64")
      check(s, typeof o === "bigint", `${what}: the literal ${o} of i64 is no bigint`);
    else {
      check(s, typeof o === "number", `${what}: the literal ${o} of ${t.kind} is no number`);
      if (t.kind === "i32") check(s, (Number(o) | 0) === o, `${what}: ${o} is no i32`);
      if (t.kind === "mask") check(s, o === 0 || o === 1, `${what}: ${o} is no mask`);
      if (t.kind === "f32") check(s, Object.is(Math.fround(Number(o)), o), `${what}: ${o} is no f32`);
    }
  };
  const mask = (lanes: number): RegType => ({ kind: "mask", lanes });

  const operation = (s: Extract<Stmt, { s: "op" }>): void => {
    const { op, args, dst } = s;
    const t = dst.type;
    const [a] = args;
    const arity = (n: number): void => check(s, args.length === n, `${args.length} arguments, not ${n}`);
    const rule = SAME[op];
    if (rule) {
      arity(rule[1]);
      check(s, rule[0].includes(t.kind), `no ${op} of ${t.kind}`);
      args.forEach((o, i) => {
        fits(s, o, t, `argument ${i}`);
      });
      return;
    }
    if (COMPARE.test(op)) {
      arity(2);
      check(s, t.kind === "mask", "a comparison makes a mask");
      const r = args.find(isReg);
      if (!r) {
        fail(s, "a comparison of two literals");
        return;
      }
      check(s, r.type.kind !== "mask" || op === "eq" || op === "ne", "masks have no order");
      check(
        s,
        !op.endsWith("U") || op === "eq" || INT.includes(r.type.kind),
        "floats have no unsigned order",
      );
      args.forEach((o, i) => {
        fits(s, o, { kind: r.type.kind, lanes: t.lanes }, `argument ${i}`);
      });
      return;
    }
    switch (op) {
      case "select":
        arity(3);
        fits(s, a, mask(t.lanes), "the condition");
        fits(s, args[1], t, "argument 1");
        fits(s, args[2], t, "argument 2");
        return;
      case "any":
      case "all":
        arity(1);
        check(s, text(t) === "maskx1" && isReg(a) && a.type.kind === "mask", "makes a scalar mask of a mask");
        return;
      case "convertS":
      case "convertU": {
        arity(1);
        if (!isReg(a)) {
          fail(s, "a conversion of a literal");
          return;
        }
        const [from, to] = [a.type.kind, t.kind];
        const ok = from !== to && from !== "mask" && to !== "mask" && a.type.lanes === t.lanes;
        check(s, ok, `${text(a.type)} does not convert to ${text(t)}`);
        return;
      }
      case "bitcast":
        arity(1);
        if (!isReg(a)) {
          fail(s, "a bitcast of a literal");
          return;
        }
        check(
          s,
          BITS[a.type.kind] === BITS[t.kind] && a.type.lanes === t.lanes,
          `no bitcast from ${text(a.type)} to ${text(t)}`,
        );
        return;
      case "fromMask":
        arity(1);
        check(s, INT.includes(t.kind), "makes integers");
        fits(s, a, mask(t.lanes), "argument 0");
        return;
      case "f16ToF32":
        check(s, t.kind === "f32", "makes f32");
        fits(s, a, { kind: "i32", lanes: t.lanes }, "argument 0");
        return;
      case "f32ToF16":
        check(s, t.kind === "i32", "makes i32");
        fits(s, a, { kind: "f32", lanes: t.lanes }, "argument 0");
        return;
      case "splat":
        arity(1);
        fits(s, a, { kind: t.kind, lanes: 1 }, "argument 0");
        return;
      case "iota":
        arity(0);
        check(s, t.kind === "i32", "makes i32");
        return;
      case "shuffle":
        arity(2);
        for (const [i, x] of args.entries()) {
          check(s, isReg(x), "shuffles a literal");
          fits(s, x, t, `argument ${i}`);
        }
        check(
          s,
          t.kind !== "mask" && s.pick?.length === t.lanes && s.pick.every((k) => k >= 0 && k < 2 * t.lanes),
          `no lanes [${s.pick}]`,
        );
        return;
      case "extract":
        if (!isReg(a)) {
          fail(s, "extracts from a literal");
          return;
        }
        check(s, t.lanes === 1 && a.type.kind === t.kind, `no ${text(t)} in ${text(a.type)}`);
        check(s, s.lane !== undefined && s.lane >= 0 && s.lane < a.type.lanes, `no lane ${s.lane}`);
        return;
      case "half":
        arity(1);
        fits(s, a, { kind: t.kind, lanes: 2 * t.lanes }, "argument 0");
        check(s, isReg(a) && (s.lane === 0 || s.lane === 1), "a half of a vector is 0 or 1");
        return;
      case "dot4S":
      case "dot4U":
      case "dot2S":
      case "dot2B":
        arity(3);
        check(s, t.kind === (op === "dot2B" ? "f32" : "i32") && t.lanes > 1, `no ${op} into ${text(t)}`);
        for (const i of [0, 1]) fits(s, args[i], { kind: "i32", lanes: t.lanes }, `argument ${i}`);
        fits(s, args[2], t, "argument 2");
        return;
      case "lookup":
        arity(2);
        check(s, t.kind === "f32" && t.lanes > 1 && isReg(a), "looks up in a vector of f32");
        fits(s, a, t, "argument 0");
        fits(s, args[1], { kind: "i32", lanes: t.lanes }, "argument 1");
        return;
      case "insert":
        arity(2);
        fits(s, a, t, "argument 0");
        fits(s, args[1], { kind: t.kind, lanes: 1 }, "argument 1");
        check(s, s.lane !== undefined && s.lane >= 0 && s.lane < t.lanes, `no lane ${s.lane}`);
        return;
      case "pack":
        arity(t.lanes);
        for (const [k, x] of args.entries()) fits(s, x, { kind: t.kind, lanes: 1 }, `argument ${k}`);
        return;
      case "param": {
        const p = form.params[s.index ?? -1];
        check(
          s,
          p?.kind === "scalar" && p.reg === t.kind && t.lanes === 1,
          `no scalar parameter ${s.index} of ${t.kind}`,
        );
        return;
      }
      case "programId":
      case "numPrograms":
        check(s, text(t) === "i32x1" && [0, 1, 2].includes(s.index ?? -1), "needs an axis and an i32");
        return;
      default:
        fail(s, "no such operation");
    }
  };

  const memory = (s: Extract<Stmt, { s: "load" | "store" | "atomic" }>, t: RegType): void => {
    scalarInt(s, s.at, "the index");
    check(s, MEM_OF[t.kind].includes(s.kind), `${t.kind} registers do not stand in ${s.kind} memory`);
    if ("param" in s.mem) {
      const p = form.params[s.mem.param];
      check(
        s,
        p?.kind === "buffer" && p.mem === s.kind,
        `parameter ${s.mem.param} is no buffer of ${s.kind}`,
      );
    } else
      check(s, s.mem.frame >= 0 && s.mem.frame < form.frameBytes, `frame offset ${s.mem.frame} is outside`);
    if (s.s === "load" && s.packed)
      check(s, t.kind === "i32" && s.mask === undefined, "packed elements stand in vectors of i32");
    if (s.s === "atomic" || s.mask === undefined) return;
    fits(s, s.mask, mask(t.lanes), "the mask");
    check(s, t.lanes > 1 && t.kind === s.kind, `no masked access of ${text(t)} in ${s.kind} memory`);
    if (s.s === "load") fits(s, s.other, t, "the value of lanes that are off");
  };

  const statement = (s: Stmt, loops: readonly Reg[]): void => {
    if (s.s === "while") for (const x of s.cond) statement(x, loops);
    eachOperand(s, (o) => {
      if (!isReg(o)) return;
      check(s, declared.has(o), `%${o.id} is not declared`);
      check(s, assigned.has(o), `%${o.id} is not assigned before`);
    });
    if ("dst" in s) {
      check(s, declared.has(s.dst), `%${s.dst.id} is not declared`);
      check(s, !loops.includes(s.dst), "assigns a loop variable");
    }
    switch (s.s) {
      case "op":
        operation(s);
        break;
      case "load":
        memory(s, s.dst.type);
        break;
      case "store":
        memory(s, s.type);
        fits(s, s.value, s.type, "the value");
        break;
      case "prefetch":
        scalarInt(s, s.at, "the index");
        check(s, "param" in s.mem, "prefetches are of parameters");
        break;
      case "atomic":
        memory(s, s.dst.type);
        check(s, s.dst.type.lanes === 1 && "param" in s.mem, "atomics are scalar, on parameters");
        fits(s, s.value, s.dst.type, "the value");
        if (s.op === "cas") fits(s, s.expected, s.dst.type, "the expected value");
        break;
      case "for":
        for (const o of [s.lo, s.hi, s.step]) fits(s, o, s.iv.type, "a bound");
        check(s, s.iv.type.lanes === 1 && INT.includes(s.iv.type.kind), "the variable is a scalar integer");
        assigned.add(s.iv);
        break;
      case "tiles":
        for (const { mem, at } of [s.sums, s.left, s.right]) {
          scalarInt(s, at, "the index");
          check(
            s,
            "frame" in mem && mem.frame >= 0 && mem.frame < form.frameBytes,
            "tiles stand in the frame",
          );
        }
        for (const n of [s.rows, s.columns]) check(s, n === 16 || n === 32, `no tiles of ${n}`);
        check(s, s.words > 0 && s.words % 16 === 0, `no tiles of ${s.words} words`);
        break;
      case "while":
      case "if":
        fits(s, s.test, mask(1), "the test");
    }
    if ("dst" in s) assigned.add(s.dst);
    for (const l of s.s === "while" ? [s.body] : nestedLists(s))
      for (const x of l) statement(x, s.s === "for" ? [...loops, s.iv] : loops);
  };
  for (const s of form.body) statement(s, []);
}

function describe(s: Stmt): string {
  if (s.s === "op") return `%${s.dst.id} = ${s.op}`;
  if (s.s === "load" || s.s === "store") return `${s.s}.${s.kind}`;
  return s.s === "atomic" ? `atomic.${s.op}` : s.s;
}
