// Builds statements of the form: registers, a current statement list, and folding of literals on the way.
// It knows nothing about tiles or dtypes.

import type { Mem, MemKind, Operand, OuterProducts, Reg, RegKind, RegOp, Stmt } from "./form.js";
import { foldOp } from "./fold.js";
import { is64Kind } from "./kinds.js";

/** Thrown when a vector would be wider than the vector unit: the group starts again with fewer lanes. */
export class TooWide extends Error {}

export const isReg = (o: Operand): o is Reg => typeof o === "object";

/** An `if` statement. */
export const branch = (test: Operand, yes: readonly Stmt[], no: readonly Stmt[]): Stmt =>
  // biome-ignore lint/suspicious/noThenProperty: a statement is no promise
  ({ s: "if", test, then: yes, else: no });

export class Emitter {
  readonly regs: Reg[] = [];
  /** Where statements go. */
  out: Stmt[] = [];
  /** The bits of rounded narrow floats, so that a store need not convert again. */
  readonly narrowBits = new Map<Reg, { readonly dtype: string; readonly bits: Operand }>();

  constructor(
    readonly vectorBytes: number,
    private readonly maskedMemory = false,
    /** Whether prefetches are of use. */
    readonly prefetches = false,
  ) {}

  /** Whether vectors in such memory can be accessed under a mask. */
  canMask(kind: MemKind): boolean {
    return this.maskedMemory && (kind === "i32" || kind === "i64" || kind === "f32" || kind === "f64");
  }

  reg(kind: RegKind, lanes = 1, name?: string): Reg {
    this.checkWidth(kind, lanes);
    const r: Reg = { id: this.regs.length, type: { kind, lanes }, ...(name ? { name } : {}) };
    this.regs.push(r);
    return r;
  }

  private checkWidth(kind: RegKind, lanes: number): void {
    if (lanes > 1 && is64Kind(kind) && lanes * 8 > this.vectorBytes) throw new TooWide();
  }

  /** Emits an operation into a new register, or folds it away. */
  op(
    op: RegOp,
    kind: RegKind,
    lanes: number,
    args: readonly Operand[],
    extra: { lane?: number; index?: number; pick?: readonly number[] } = {},
  ): Operand {
    const folded = foldOp(op, kind, args);
    if (folded !== undefined) return folded;
    const dst = this.reg(kind, lanes);
    this.out.push({ s: "op", op, dst, args, ...extra });
    return dst;
  }

  /** Puts a value into an existing register. */
  assign(dst: Reg, value: Operand): void {
    if (value === dst) return;
    const splat = isReg(value) && value.type.lanes !== dst.type.lanes;
    this.out.push({ s: "op", op: splat ? "splat" : "copy", dst, args: [value] });
  }

  load(
    kind: RegKind,
    lanes: number,
    mem: Mem,
    from: MemKind,
    at: Operand,
    how?: { mask: Operand; other: Operand } | { packed: boolean },
  ): Reg {
    const dst = this.reg(kind, lanes);
    this.out.push({ s: "load", dst, mem, kind: from, at, ...how });
    return dst;
  }

  store(
    kind: RegKind,
    lanes: number,
    mem: Mem,
    to: MemKind,
    at: Operand,
    value: Operand,
    how?: { mask?: Operand; stream?: boolean },
  ): void {
    // A literal has no register that would tell.
    this.checkWidth(kind, lanes);
    this.out.push({ s: "store", value, type: { kind, lanes }, mem, kind: to, at, ...how });
  }

  /** A scalar as a vector of `lanes`; literals stay literals. */
  splat(x: Operand, lanes: number): Operand {
    if (!isReg(x) || x.type.lanes === lanes) return x;
    const dst = this.reg(x.type.kind, lanes);
    this.out.push({ s: "op", op: "splat", dst, args: [x] });
    return dst;
  }

  /** One lane of a vector. */
  extract(x: Operand, kind: RegKind, lane: number): Operand {
    if (!isReg(x) || x.type.lanes === 1) return x;
    return this.op("extract", kind, 1, [x], { lane });
  }

  inside<T>(list: Stmt[], fn: () => T): T {
    const outer = this.out;
    this.out = list;
    try {
      return fn();
    } finally {
      this.out = outer;
    }
  }

  /** A counting loop of i32; a single turn is emitted without a loop. */
  loop(
    lo: Operand,
    hi: Operand,
    step: number,
    body: (iv: Operand) => void,
    extra: { products?: OuterProducts } = {},
  ): void {
    if (typeof lo === "number" && typeof hi === "number" && hi - lo <= step) {
      if (hi > lo) body(lo);
      return;
    }
    const iv = this.reg("i32");
    const list: Stmt[] = [];
    this.inside(list, () => body(iv));
    this.out.push({ s: "for", iv, lo, hi, step, body: list, ...extra });
  }

  when(test: Operand, then: () => void, otherwise?: () => void): void {
    if (!isReg(test)) {
      if (Number(test)) then();
      else otherwise?.();
      return;
    }
    const [a, b]: [Stmt[], Stmt[]] = [[], []];
    this.inside(a, then);
    if (otherwise) this.inside(b, otherwise);
    if (a.length || b.length) this.out.push(branch(test, a, b));
  }
}
