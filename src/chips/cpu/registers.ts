// How each register of a form is represented in C: how wide the lanes of a mask are, and which registers may hold
// 16-bit halves as they stand in memory. A pass over the form before printing; prints nothing.

import type { Form, Operand, Reg, Stmt } from "../../compiler/lower/simd/form.js";

export interface Registers {
  /** Bytes of a lane of a mask vector: 4 or 8, as wide as what the mask mostly meets. */
  maskBytes(reg: Reg): 4 | 8;
  /** The register only ever carries half floats between memory and their conversion: it keeps 16 bits per lane. */
  isHalf(reg: Reg): boolean;
  isUsed(reg: Reg): boolean;
  /** A vector that several multiplications read: it is to stay in a register. */
  isShared(reg: Reg): boolean;
}

/** Multiplications that read a vector from which on loading it once pays. */
const SHARED = 3;

const isReg = (x: Operand | undefined): x is Reg => typeof x === "object";

/** Calls `fn` for every statement, outer before inner. */
export function eachStmt(body: readonly Stmt[], fn: (stmt: Stmt) => void): void {
  for (const stmt of body) {
    fn(stmt);
    if (stmt.s === "for") eachStmt(stmt.body, fn);
    else if (stmt.s === "while") {
      eachStmt(stmt.cond, fn);
      eachStmt(stmt.body, fn);
    } else if (stmt.s === "if") {
      eachStmt(stmt.then, fn);
      eachStmt(stmt.else, fn);
    }
  }
}

export function analyzeRegisters(form: Form): Registers {
  const parent = new Map<number, number>();
  const votes = new Map<number, number>(); // Positive: 8 bytes.
  const notHalf = new Set<number>();
  const half = new Set<number>();
  const used = new Set<number>();
  const factors = new Map<number, number>();

  const find = (id: number): number => {
    const up = parent.get(id);
    if (up === undefined || up === id) return id;
    const root = find(up);
    parent.set(id, root);
    return root;
  };
  const vote = (reg: Operand | undefined, other: Operand | undefined): void => {
    if (!isReg(reg) || !isReg(other) || other.type.kind === "mask") return;
    const wide = other.type.kind === "i64" || other.type.kind === "f64";
    const root = find(reg.id);
    votes.set(root, (votes.get(root) ?? 0) + (wide ? 1 : -1));
  };
  const join = (a: Operand | undefined, b: Operand | undefined): void => {
    if (!isReg(a) || !isReg(b) || a.type.kind !== "mask" || b.type.kind !== "mask") return;
    if (a.type.lanes === 1 || b.type.lanes === 1) return;
    const [x, y] = [find(a.id), find(b.id)];
    if (x === y) return;
    votes.set(y, (votes.get(y) ?? 0) + (votes.get(x) ?? 0));
    parent.set(x, y);
  };
  const use = (x: Operand | undefined, asHalf = false): void => {
    if (!isReg(x)) return;
    used.add(x.id);
    (asHalf ? half : notHalf).add(x.id);
  };
  const define = (reg: Reg, asHalf = false): void => {
    (asHalf ? half : notHalf).add(reg.id);
  };

  eachStmt(form.body, (stmt) => {
    switch (stmt.s) {
      case "op": {
        const { op, dst, args } = stmt;
        for (const a of args) use(a, op === "f16ToF32");
        if (op === "fma")
          for (const a of args.slice(0, 2))
            if (isReg(a) && a.type.lanes > 1) factors.set(a.id, (factors.get(a.id) ?? 0) + 1);
        define(dst, op === "f32ToF16");
        if (dst.type.kind === "mask") {
          for (const a of args) {
            vote(dst, a);
            join(dst, a);
          }
        } else if (op === "select" || op === "fromMask") vote(args[0], dst);
        break;
      }
      case "load":
        use(stmt.at);
        use(stmt.mask);
        use(stmt.other);
        vote(stmt.mask, stmt.dst);
        define(stmt.dst, stmt.kind === "u16");
        break;
      case "store":
        use(stmt.at);
        use(stmt.mask);
        vote(stmt.mask, stmt.value);
        use(stmt.value, stmt.kind === "u16");
        break;
      case "prefetch":
        use(stmt.at);
        break;
      case "tiles":
        for (const rows of [stmt.sums, stmt.left, stmt.right]) use(rows.at);
        break;
      case "atomic":
        use(stmt.at);
        use(stmt.value);
        use(stmt.expected);
        define(stmt.dst);
        break;
      case "for":
        use(stmt.lo);
        use(stmt.hi);
        use(stmt.step);
        define(stmt.iv);
        break;
      case "while":
      case "if":
        use(stmt.test);
        break;
    }
  });
  return {
    maskBytes: (reg) => ((votes.get(find(reg.id)) ?? 0) > 0 ? 8 : 4),
    isHalf: (reg) => half.has(reg.id) && !notHalf.has(reg.id),
    isUsed: (reg) => used.has(reg.id),
    isShared: (reg) => (factors.get(reg.id) ?? 0) >= SHARED,
  };
}
