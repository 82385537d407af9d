// Builds statements of the form. Repeated pure operations are emitted once, and sums with a constant keep base and constant
// apart: the registers of one tile mostly differ by constants, which then end in the immediate offsets of loads and stores.

import { Emitter } from "../simd/emit.js";
import { foldOp } from "../simd/fold.js";
import type { Operand, Reg, RegKind, RegOp as SimdOp } from "../simd/form.js";
import type { RegOp, Stmt } from "./form.js";

/** A value as a base (absent: 0) and a constant. */
export interface Sum {
  readonly base: Operand | undefined;
  readonly plus: number | bigint;
}

const isReg = (o: Operand): o is Reg => typeof o === "object";
const COMMUTATIVE = new Set<string>([
  "add",
  "mul",
  "and",
  "or",
  "xor",
  "eq",
  "ne",
  "minS",
  "maxS",
  "minU",
  "maxU",
]);

export class SimtEmitter extends Emitter {
  /** Registers that are written once, or never again after they are read. */
  private readonly stable = new Set<Reg>();
  private readonly sums = new Map<Reg, Sum>();
  private readonly pairs = new Map<Reg, { readonly pair: Reg; readonly which: 0 | 1 }>();
  private readonly bytes = new Map<Reg, { readonly word: Reg; readonly byte: number }>();
  private scopes: Map<string, Reg>[] = [new Map()];

  constructor() {
    super(8);
  }

  /** Appends a statement that only this lowering has. */
  push(s: Stmt): void {
    (this.out as unknown as Stmt[]).push(s);
  }

  /** The statements so far. */
  get statements(): readonly Stmt[] {
    return this.out as unknown as Stmt[];
  }

  /** A register whose value does not change between two reads. */
  value(kind: RegKind): Reg {
    const r = this.reg(kind);
    this.stable.add(r);
    return r;
  }

  /** Promises the same of an existing register. */
  settle(r: Reg): void {
    this.stable.add(r);
  }

  override inside<T>(list: never[], fn: () => T): T {
    this.scopes.push(new Map());
    try {
      return super.inside(list, fn);
    } finally {
      this.scopes.pop();
    }
  }

  override op(
    op: SimdOp,
    kind: RegKind,
    lanes: number,
    args: readonly Operand[],
    extra: { lane?: number; index?: number } = {},
  ): Operand {
    if (lanes === 1 && (kind === "i32" || kind === "i64")) {
      const sum = this.linear(op, kind, args);
      if (sum !== undefined) return sum;
    }
    return this.emit(op, kind, args, extra, lanes);
  }

  /** Operations of this form alone. */
  simt(
    op: Exclude<RegOp, SimdOp>,
    kind: RegKind,
    args: readonly Operand[],
    extra: { index?: number } = {},
  ): Operand {
    return this.emit(op as SimdOp, kind, args, extra, 1);
  }

  /** Notes that `x` is a byte of a word. */
  isByteOf(x: Reg, word: Reg, byte: number): void {
    this.bytes.set(x, { word, byte });
  }

  byteOf(x: Reg): { readonly word: Reg; readonly byte: number } | undefined {
    return this.bytes.get(x);
  }

  /** The pair that this is a half of. */
  halfOf(x: Operand): { readonly pair: Reg; readonly which: 0 | 1 } | undefined {
    return isReg(x) ? this.pairs.get(x) : undefined;
  }

  /** Notes that `x` is one half of a pair. */
  isHalfOf(x: Reg, dtype: string, pair: Reg, which: 0 | 1): void {
    this.pairs.set(x, { pair, which });
    const bits = which ? this.op("shrU", "i32", 1, [pair, 16]) : this.op("and", "i32", 1, [pair, 0xffff]);
    this.narrowBits.set(x, { dtype, bits });
  }

  /** The pair that these are the two halves of. */
  unpacked(low: Operand, high: Operand): Reg | undefined {
    const [a, b] = [isReg(low) && this.pairs.get(low), isReg(high) && this.pairs.get(high)];
    return a && b && a.pair === b.pair && a.which === 0 && b.which === 1 ? a.pair : undefined;
  }

  /** What an integer is made of. */
  split(x: Operand): Sum {
    if (!isReg(x)) return { base: undefined, plus: x };
    return this.sums.get(x) ?? { base: x, plus: x.type.kind === "i64" ? 0n : 0 };
  }

  private emit(
    op: SimdOp,
    kind: RegKind,
    args: readonly Operand[],
    extra: { lane?: number; index?: number },
    lanes: number,
  ): Operand {
    const folded = foldOp(op, kind, args);
    if (folded !== undefined) return folded;
    const once = args.every((a) => !isReg(a) || this.stable.has(a));
    const key = once ? keyOf(op, kind, lanes, args, extra) : "";
    if (once)
      for (let i = this.scopes.length - 1; i >= 0; i--) {
        const known = this.scopes[i]!.get(key);
        if (known) return known;
      }
    const dst = this.reg(kind, lanes);
    this.out.push({ s: "op", op, dst, args, ...extra });
    if (once) {
      this.stable.add(dst);
      this.scopes.at(-1)!.set(key, dst);
    }
    return dst;
  }

  /** Integer sums with their constants last; undefined for everything else. */
  private linear(op: SimdOp, kind: "i32" | "i64", args: readonly Operand[]): Operand | undefined {
    if (op !== "add" && op !== "sub" && op !== "mul" && op !== "shl") return undefined;
    if (args.some((a) => isReg(a) && !this.stable.has(a))) return undefined;
    const [a, b] = [this.split(args[0]!), this.split(args[1]!)];
    const zero = kind === "i64" ? 0n : 0;
    if (op === "add" || op === "sub") {
      const plus = wrap(
        kind,
        op === "add" ? BigInt(a.plus) + BigInt(b.plus) : BigInt(a.plus) - BigInt(b.plus),
      );
      const base =
        b.base === undefined
          ? a.base
          : a.base === undefined && op === "add"
            ? b.base
            : this.emit(op, kind, [a.base ?? zero, b.base], {}, 1);
      return this.sum(kind, base, plus);
    }
    if (b.base !== undefined || a.base === undefined || Number(a.plus) === 0) return undefined;
    const factor = op === "mul" ? BigInt(b.plus) : 1n << (BigInt(b.plus) & (kind === "i64" ? 63n : 31n));
    const literal = op === "mul" ? b.plus : args[1]!;
    return this.sum(kind, this.op(op, kind, 1, [a.base, literal]), wrap(kind, BigInt(a.plus) * factor));
  }

  private sum(kind: "i32" | "i64", base: Operand | undefined, plus: number | bigint): Operand {
    if (base === undefined) return plus;
    if (!isReg(base)) return wrap(kind, BigInt(base) + BigInt(plus));
    const inner = this.split(base);
    if (inner.base !== undefined && inner.base !== base)
      return this.sum(kind, inner.base, wrap(kind, BigInt(inner.plus) + BigInt(plus)));
    if (Number(plus) === 0) return base;
    const r = this.emit("add", kind, [base, plus], {}, 1);
    if (isReg(r)) this.sums.set(r, { base, plus });
    return r;
  }
}

const wrap = (kind: "i32" | "i64", x: bigint): number | bigint =>
  kind === "i64" ? BigInt.asIntN(64, x) : Number(BigInt.asIntN(32, x));

function keyOf(
  op: string,
  kind: string,
  lanes: number,
  args: readonly Operand[],
  extra: { lane?: number; index?: number },
): string {
  const names = args.map((a) =>
    isReg(a) ? `%${a.id}` : Object.is(a, -0) ? "-0" : `${typeof a === "bigint" ? "n" : ""}${a}`,
  );
  if (COMMUTATIVE.has(op)) names.sort();
  // The kinds of a conversion's argument are part of its register.
  return `${op} ${kind} ${lanes} ${names.join(",")} ${extra.lane ?? ""} ${extra.index ?? ""}`;
}
