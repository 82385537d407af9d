// The text of one PTX function under construction: typed virtual registers, literals, labels, lines. Knows PTX's syntax
// and nothing of the lowered form's statements.

import type { Operand, Reg, RegKind } from "../../compiler/lower/simt/form.js";

/** The classes of virtual registers: a lowered register's kind, and `h` for 16 bits. */
export type PtxClass = RegKind | "h";

const PREFIX: Readonly<Record<PtxClass, string>> = {
  i32: "%r",
  i64: "%rd",
  f32: "%f",
  f64: "%fd",
  mask: "%p",
  h: "%h",
};
const DECLARE: Readonly<Record<PtxClass, string>> = {
  i32: ".b32",
  i64: ".b64",
  f32: ".f32",
  f64: ".f64",
  mask: ".pred",
  h: ".b16",
};

const bits32 = new Uint32Array(new Float32Array(1).buffer);
const floats32 = new Float32Array(bits32.buffer);
const bits64 = new BigUint64Array(new Float64Array(1).buffer);
const floats64 = new Float64Array(bits64.buffer);

/** A float as PTX writes it exactly: `0f3f800000`. */
export function f32Literal(value: number): string {
  floats32[0] = value;
  return `0f${bits32[0]!.toString(16).padStart(8, "0")}`;
}
export function f64Literal(value: number): string {
  floats64[0] = value;
  return `0d${bits64[0]!.toString(16).padStart(16, "0")}`;
}

/** A literal of a register kind other than `mask`, which has none in PTX. */
export function literalText(value: number | bigint, kind: RegKind): string {
  if (kind === "f32") return f32Literal(Number(value));
  if (kind === "f64") return f64Literal(Number(value));
  if (kind === "i64") return BigInt.asIntN(64, BigInt(value)).toString();
  return String(Number(value) | 0);
}

export class PtxUnit {
  readonly lines: string[] = [];
  private readonly counts = new Map<PtxClass, number>();
  private readonly names = new Map<number, string>();
  private labels = 0;

  constructor(readonly capability: number) {}

  emit(line: string): void {
    this.lines.push(`\t${line}`);
  }

  label(name: string): void {
    this.lines.push(`${name}:`);
  }

  /** A label that nothing else has. */
  newLabel(what: string): string {
    return `$${what}${this.labels++}`;
  }

  /** A fresh virtual register. */
  temp(cls: PtxClass): string {
    const n = this.counts.get(cls) ?? 0;
    this.counts.set(cls, n + 1);
    return `${PREFIX[cls]}${n}`;
  }

  /** The name of a register of the form. */
  reg(r: Reg): string {
    let name = this.names.get(r.id);
    if (name === undefined) {
      name = this.temp(r.type.kind);
      this.names.set(r.id, name);
    }
    return name;
  }

  /** An operand where a register or a literal may stand. Predicates always become registers. */
  operand(o: Operand, kind: RegKind): string {
    if (typeof o === "object") return this.reg(o);
    return kind === "mask" ? this.predicate(Number(o) !== 0) : literalText(o, kind);
  }

  /** An operand where only a register may stand. */
  register(o: Operand, kind: RegKind): string {
    if (typeof o === "object") return this.reg(o);
    if (kind === "mask") return this.predicate(Number(o) !== 0);
    const t = this.temp(kind);
    this.emit(`mov.${MOVE[kind]} ${t}, ${literalText(o, kind)};`);
    return t;
  }

  private predicate(value: boolean): string {
    const p = this.temp("mask");
    this.emit(`setp.ne.b32 ${p}, ${value ? 1 : 0}, 0;`);
    return p;
  }

  /** The declarations of all registers that were used. */
  declarations(): string[] {
    return [...this.counts].map(([cls, n]) => `\t.reg ${DECLARE[cls]} ${PREFIX[cls]}<${n}>;`);
  }
}

/** The type that `mov` writes for a kind. */
export const MOVE: Readonly<Record<RegKind, string>> = {
  i32: "b32",
  i64: "b64",
  f32: "f32",
  f64: "f64",
  mask: "pred",
};
