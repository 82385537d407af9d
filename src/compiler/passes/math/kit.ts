// A short way to write arithmetic over one float dtype and shape, for the expansions in this folder.

import type { Builder } from "../../ir/builder.js";
import type { DType } from "../../ir/dtype.js";
import type { Value } from "../../ir/ir.js";
import type { CmpPred } from "../../ir/ops/arith.js";
import type { TileType } from "../../ir/type.js";

/** What differs between f32 and f64 in the layout of their bits. */
export interface FloatFormat {
  readonly float: DType;
  readonly int: DType;
  /** Stored mantissa bits. */
  readonly mantissa: number;
  readonly bias: number;
  /** Adding it rounds to an integer, which then stands in the low bits: 1.5 * 2^mantissa. */
  readonly magic: number;
  readonly smallestNormal: number;
}

const F32: FloatFormat = {
  float: "f32",
  int: "i32",
  mantissa: 23,
  bias: 127,
  magic: 1.5 * 2 ** 23,
  smallestNormal: 2 ** -126,
};
const F64: FloatFormat = {
  float: "f64",
  int: "i64",
  mantissa: 52,
  bias: 1023,
  magic: 1.5 * 2 ** 52,
  smallestNormal: 2 ** -1022,
};

/** Plain numbers stand for constants of the other operands' shape. */
export type Term = Value | number;

export class Kit {
  readonly format: FloatFormat;
  private readonly shape: readonly number[];
  constructor(
    readonly b: Builder,
    like: Value,
    dtype: DType = like.type.dtype,
  ) {
    this.format = dtype === "f64" ? F64 : F32;
    this.shape = (like.type as TileType).shape;
  }

  get wide(): boolean {
    return this.format === F64;
  }
  /** A constant of the float dtype. */
  num(x: number): Value {
    return this.b.constant(this.wide ? x : Math.fround(x), this.format.float, this.shape);
  }
  /** A constant of the integer dtype of the same width. */
  int(x: number | bigint): Value {
    return this.b.constant(this.wide ? BigInt(x) : Number(x), this.format.int, this.shape);
  }
  private op(opcode: string, terms: readonly Term[], attrs = {}): Value {
    const isInt = terms.some((t) => typeof t !== "number" && t.type.dtype === this.format.int);
    const values = terms.map((t) => (typeof t !== "number" ? t : isInt ? this.int(t) : this.num(t)));
    return this.b.value(opcode, values, attrs);
  }
  add = (x: Term, y: Term): Value => this.op("add", [x, y]);
  sub = (x: Term, y: Term): Value => this.op("sub", [x, y]);
  mul = (x: Term, y: Term): Value => this.op("mul", [x, y]);
  div = (x: Term, y: Term): Value => this.op("div", [x, y]);
  fma = (x: Term, y: Term, z: Term): Value => this.op("fma", [x, y, z]);
  neg = (x: Value): Value => this.op("neg", [x]);
  abs = (x: Value): Value => this.op("abs", [x]);
  sqrt = (x: Value): Value => this.op("sqrt", [x]);
  floor = (x: Value): Value => this.op("floor", [x]);
  and = (x: Term, y: Term): Value => this.op("and", [x, y]);
  or = (x: Term, y: Term): Value => this.op("or", [x, y]);
  xor = (x: Term, y: Term): Value => this.op("xor", [x, y]);
  shl = (x: Value, n: number): Value => this.op("shl", [x, n]);
  shr = (x: Value, n: number): Value => this.op("shr", [x, n]);
  not = (x: Value): Value => this.b.value("not", [x]);
  both = (x: Value, y: Value): Value => this.b.value("and", [x, y]);
  either = (x: Value, y: Value): Value => this.b.value("or", [x, y]);
  cmp = (x: Term, pred: CmpPred, y: Term): Value => this.op("cmp", [x, y], { pred });

  select(c: Value, x: Term, y: Term): Value {
    const like = typeof x !== "number" ? x : typeof y !== "number" ? y : undefined;
    const make = (t: Term) =>
      typeof t !== "number" ? t : like?.type.dtype === this.format.int ? this.int(t) : this.num(t);
    return this.b.value("select", [c, make(x), make(y)]);
  }

  /** Between two numbers; NaN stays NaN. */
  clamp(x: Value, low: number, high: number): Value {
    const nan = { nan: "propagate" };
    return this.op("max", [this.op("min", [x, high], nan), low], nan);
  }
  atMost = (x: Value, high: number): Value => this.op("min", [x, high], { nan: "propagate" });
  atLeast = (x: Value, low: number): Value => this.op("max", [x, low], { nan: "propagate" });

  bits = (x: Value): Value => this.b.value("bitcast", [x], { dtype: this.format.int });
  fromBits = (x: Value): Value => this.b.value("bitcast", [x], { dtype: this.format.float });
  /** The sign bit alone. */
  signBit(x: Value): Value {
    return this.and(this.bits(x), this.int(this.wide ? -(2n ** 63n) : -(2 ** 31)));
  }
  /** `magnitude`, which is not negative, with the sign of `x` (of -0 too). */
  withSign(magnitude: Value, x: Value): Value {
    return this.fromBits(this.or(this.bits(magnitude), this.signBit(x)));
  }

  /** `c0 + c1 x + c2 x^2 + …` by Horner's rule. */
  poly(x: Value, c: readonly number[]): Value {
    let p: Term = c.at(-1)!;
    for (let i = c.length - 2; i >= 0; i--) p = this.fma(p, x, c[i]!);
    return typeof p === "number" ? this.num(p) : p;
  }
}
