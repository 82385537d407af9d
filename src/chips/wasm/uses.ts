// What the printer must know of a Form before it prints: operands, definitions and uses of registers, and the cost.

import type { Form, Operand, Reg, RegType, Stmt } from "../../compiler/lower/simd/form.js";

export interface RegUse {
  defs: number;
  uses: number;
  /** The only statement that assigns it, if there is one. */
  def?: Stmt;
  /** The lists that hold the (last) definition and use. */
  defList?: readonly Stmt[];
  useList?: readonly Stmt[];
}

export const isReg = (o: Operand | undefined): o is Reg => typeof o === "object";

/** The operands that a statement itself reads (not its nested ones). `repeated`: read more than once. */
export function operandsOf(s: Stmt): { once: readonly Operand[]; repeated: readonly Operand[] } {
  switch (s.s) {
    case "op":
      return { once: s.args, repeated: [] };
    case "load":
      return { once: [s.at], repeated: [] };
    case "store":
      return { once: [s.at, s.value], repeated: [] };
    case "prefetch":
      return { once: [s.at], repeated: [] };
    case "atomic":
      return { once: s.expected === undefined ? [s.at, s.value] : [s.at, s.value, s.expected], repeated: [] };
    case "tiles":
      return { once: [s.sums.at, s.left.at, s.right.at], repeated: [] };
    case "for":
      return { once: [s.lo], repeated: [s.hi, s.step] };
    case "while":
      return { once: [], repeated: [s.test] };
    case "if":
      return { once: [s.test], repeated: [] };
  }
}

export function listsOf(s: Stmt): readonly (readonly Stmt[])[] {
  if (s.s === "for") return [s.body];
  if (s.s === "while") return [s.cond, s.body];
  return s.s === "if" ? [s.then, s.else] : [];
}

/** The register that a statement itself assigns. */
export function destination(s: Stmt): Reg | undefined {
  if (s.s === "op" || s.s === "load" || s.s === "atomic") return s.dst;
  return s.s === "for" ? s.iv : undefined;
}

/** All registers that a statement assigns, nested ones included. */
export function assigned(s: Stmt, into: Set<number> = new Set()): Set<number> {
  const d = destination(s);
  if (d) into.add(d.id);
  for (const list of listsOf(s)) for (const t of list) assigned(t, into);
  return into;
}

/** The type that argument `i` of an operation takes if it is a literal. */
export function literalType(s: Stmt & { s: "op" }, i: number): RegType {
  const { op, dst, args } = s;
  const lanes = dst.type.lanes;
  switch (op) {
    case "select":
      return i === 0 ? { kind: "mask", lanes } : dst.type;
    case "any":
    case "all":
    case "fromMask":
      return { kind: "mask", lanes };
    case "splat":
      return { kind: dst.type.kind, lanes: 1 };
    case "pack":
      return { kind: dst.type.kind, lanes: 1 };
    case "insert":
      return i === 0 ? dst.type : { kind: dst.type.kind, lanes: 1 };
    case "f16ToF32":
      return { kind: "i32", lanes };
    case "f32ToF16":
      return { kind: "f32", lanes };
    case "bitcast": {
      const from = { i32: "f32", f32: "i32", i64: "f64", f64: "i64", mask: "mask" } as const;
      return { kind: from[dst.type.kind], lanes };
    }
    case "convertS":
    case "convertU":
      return { kind: typeof args[0] === "bigint" ? "i64" : "f64", lanes };
    case "eq":
    case "ne":
    case "ltS":
    case "leS":
    case "gtS":
    case "geS":
    case "ltU":
    case "leU":
    case "gtU":
    case "geU": {
      const reg = args.find(isReg);
      if (reg) return reg.type;
      return { kind: typeof args[0] === "bigint" ? "i64" : op.endsWith("U") ? "i32" : "f64", lanes };
    }
    default:
      return dst.type;
  }
}

export function countUses(form: Form): Map<number, RegUse> {
  const uses = new Map<number, RegUse>();
  const of = (r: Reg): RegUse => {
    let u = uses.get(r.id);
    if (!u) {
      u = { defs: 0, uses: 0 };
      uses.set(r.id, u);
    }
    return u;
  };
  const visit = (list: readonly Stmt[]): void => {
    for (const s of list) {
      const { once, repeated } = operandsOf(s);
      for (const o of once)
        if (isReg(o)) {
          const u = of(o);
          u.uses++;
          u.useList = list;
        }
      for (const o of repeated) if (isReg(o)) of(o).uses += 2;
      const d = destination(s);
      if (d) {
        const u = of(d);
        u.defs += s.s === "for" ? 2 : 1;
        u.def = s;
        u.defList = list;
      }
      for (const inner of listsOf(s)) visit(inner);
    }
  };
  visit(form.body);
  return uses;
}

/** What a loop of unknown length is assumed to run. */
const UNKNOWN_TRIPS = 32;
const SLOW = new Set(["div", "sqrt", "divS", "divU", "remS", "remU"]);

/**
 * A rough time of one program in nanoseconds: a guess until the driver has measured one.
 * Its only use is whether to wake other threads.
 */
export function estimateNanoseconds(list: readonly Stmt[]): number {
  let sum = 0;
  for (const s of list) {
    if (s.s === "for") {
      const known = !isReg(s.lo) && !isReg(s.hi) && !isReg(s.step);
      const trips = known
        ? Math.max(0, Math.ceil((Number(s.hi) - Number(s.lo)) / Number(s.step)))
        : UNKNOWN_TRIPS;
      sum += trips * (0.5 + estimateNanoseconds(s.body));
    } else if (s.s === "while")
      sum += UNKNOWN_TRIPS * (0.5 + estimateNanoseconds(s.cond) + estimateNanoseconds(s.body));
    else if (s.s === "if") sum += 0.5 + Math.max(estimateNanoseconds(s.then), estimateNanoseconds(s.else));
    else if (s.s === "atomic") sum += 8;
    else if (s.s === "op" && (SLOW.has(s.op) || s.op === "f32ToF16")) sum += 3;
    else sum += 0.4;
  }
  return sum;
}
