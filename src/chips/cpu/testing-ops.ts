// For the tests of this folder: every register operation with its meaning in plain JavaScript, and inputs with the
// edges of each kind. Not part of the chip.

import type { RegKind, RegOp } from "../../compiler/lower/simd/form.js";

export type V = number | bigint;
export type Kind = Exclude<RegKind, "mask">;
const KINDS: readonly Kind[] = ["i32", "i64", "f32", "f64"];
export const N = 64;

export const rand = (() => {
  let s = 12345;
  return (): number => {
    s = (Math.imul(s, 1664525) + 1013904223) | 0;
    return (s >>> 0) / 2 ** 32;
  };
})();

const EDGE: Readonly<Record<Kind, readonly V[]>> = {
  i32: [0, 1, -1, 2147483647, -2147483648, 31, 32, 65536],
  i64: [0n, 1n, -1n, (1n << 63n) - 1n, -(1n << 63n), 63n, 4294967296n, -2147483649n],
  f32: [
    0,
    -0,
    1.5,
    -2.5,
    NaN,
    Infinity,
    -Infinity,
    0.5,
    3e9,
    -3e9,
    1e19,
    -1e19,
    2147483648,
    4294967040,
    -0.75,
    2.5,
  ],
  f64: [
    0,
    -0,
    1.5,
    -2.5,
    NaN,
    Infinity,
    -Infinity,
    0.5,
    3e9,
    -3e9,
    1e19,
    -1e19,
    2147483647.5,
    4294967295.5,
    -0.75,
    3.5,
  ],
};
const sample = (kind: Kind): V => {
  if (kind === "i32") return Math.trunc((rand() - 0.5) * (rand() < 0.5 ? 100 : 2 ** 32)) | 0;
  if (kind === "i64")
    return rand() < 0.5
      ? BigInt(Math.trunc((rand() - 0.5) * 100))
      : BigInt.asIntN(64, BigInt(Math.trunc(rand() * 2 ** 32)) * 4294967311n);
  const v = (rand() - 0.5) * 10 ** Math.trunc(rand() * 12 - 2);
  return kind === "f32" ? Math.fround(v) : v;
};
/** N values: in `a` each edge beside each other one of `b`. */
export const inputs = (kind: Kind, shift: number): V[] =>
  Array.from({ length: N }, (_, i) => {
    const e = EDGE[kind];
    if (i >= N / 2) return sample(kind);
    const v = e[(i + (shift ? shift * Math.floor(i / e.length + 1) : 0)) % e.length]!;
    return kind === "f32" ? Math.fround(Number(v)) : v;
  });

export const array = (kind: Kind | "u8", values: readonly V[]): ArrayBufferView =>
  kind === "i64"
    ? BigInt64Array.from(values as bigint[])
    : kind === "i32"
      ? Int32Array.from(values as number[])
      : kind === "f32"
        ? Float32Array.from(values as number[])
        : kind === "f64"
          ? Float64Array.from(values as number[])
          : Uint8Array.from(values as number[]);
export const read = (kind: Kind | "u8", b: ArrayBuffer): V[] =>
  kind === "i64"
    ? [...new BigInt64Array(b)]
    : kind === "i32"
      ? [...new Int32Array(b)]
      : kind === "f32"
        ? [...new Float32Array(b)]
        : kind === "f64"
          ? [...new Float64Array(b)]
          : [...new Uint8Array(b)];

const bitsOf = { i32: 32, i64: 64 } as const;
export const big = (v: V): bigint => BigInt(v);
const wrap = (kind: Kind, v: bigint): V =>
  kind === "i64" ? BigInt.asIntN(64, v) : Number(BigInt.asIntN(32, v));
const unsigned = (kind: "i32" | "i64", v: V): bigint => BigInt.asUintN(bitsOf[kind], big(v));
const either = (first: boolean, a: V, b: V): V => (first ? a : b);
const toKind = (kind: Kind, v: number): number => (kind === "f32" ? Math.fround(v) : v);
const roundEven = (v: number): number => {
  if (!Number.isFinite(v) || Math.abs(v) >= 2 ** 52) return v;
  const f = Math.floor(v);
  const d = v - f;
  const r = d < 0.5 ? f : d > 0.5 ? f + 1 : f % 2 === 0 ? f : f + 1;
  return r === 0 && (v < 0 || Object.is(v, -0)) ? -0 : r;
};

function toInt(v: number, to: "i32" | "i64", isUnsigned: boolean): V {
  const bits = BigInt(bitsOf[to]);
  const min = isUnsigned ? 0n : -(1n << (bits - 1n));
  const max = isUnsigned ? (1n << bits) - 1n : (1n << (bits - 1n)) - 1n;
  if (Number.isNaN(v)) return wrap(to, 0n);
  const t = v === Infinity ? max : v === -Infinity ? min : BigInt(Math.trunc(v));
  return wrap(to, t < min ? min : t > max ? max : t);
}

/** bigint to the nearest f32 or f64, ties to even, without rounding twice. */
function fromInt(v: bigint, to: "f32" | "f64"): number {
  if (to === "f64") return Number(v);
  const m = v < 0n ? -v : v;
  const extra = m.toString(2).length - 24;
  if (extra <= 0) return Number(v);
  const unit = 1n << BigInt(extra);
  const [q, r] = [m / unit, m % unit];
  const up = r * 2n > unit || (r * 2n === unit && q % 2n === 1n);
  return Number((up ? q + 1n : q) * unit) * (v < 0n ? -1 : 1);
}

export interface Case {
  op: RegOp;
  from: readonly (Kind | "mask")[];
  to: Kind | "mask";
  want(a: V, b: V, c: V): V;
  /** Bounds what the arguments are: the divisor is never 0. */
  guard?: "divisor";
  relative?: number;
}

export function cases(): Case[] {
  const out: Case[] = [];
  const add = (
    op: RegOp,
    from: readonly (Kind | "mask")[],
    to: Kind | "mask",
    want: (a: V, b: V, c: V) => V,
    more: Partial<Case> = {},
  ): void => void out.push({ op, from, to, want, ...more });
  for (const k of ["i32", "i64"] as const) {
    const two = [k, k];
    add("add", two, k, (a, b) => wrap(k, big(a) + big(b)));
    add("sub", two, k, (a, b) => wrap(k, big(a) - big(b)));
    add("mul", two, k, (a, b) => wrap(k, big(a) * big(b)));
    add("and", two, k, (a, b) => wrap(k, big(a) & big(b)));
    add("or", two, k, (a, b) => wrap(k, big(a) | big(b)));
    add("xor", two, k, (a, b) => wrap(k, big(a) ^ big(b)));
    add("divS", two, k, (a, b) => wrap(k, big(a) / big(b)), { guard: "divisor" });
    add("remS", two, k, (a, b) => wrap(k, big(a) % big(b)), { guard: "divisor" });
    add("divU", two, k, (a, b) => wrap(k, unsigned(k, a) / unsigned(k, b)), { guard: "divisor" });
    add("remU", two, k, (a, b) => wrap(k, unsigned(k, a) % unsigned(k, b)), { guard: "divisor" });
    add("minS", two, k, (a, b) => either(a < b, a, b));
    add("maxS", two, k, (a, b) => either(a > b, a, b));
    add("minU", two, k, (a, b) => (unsigned(k, a) < unsigned(k, b) ? a : b));
    add("maxU", two, k, (a, b) => (unsigned(k, a) > unsigned(k, b) ? a : b));
    const count = (b: V): bigint => big(b) & BigInt(bitsOf[k] - 1);
    add("shl", two, k, (a, b) => wrap(k, big(a) << count(b)));
    add("shrS", two, k, (a, b) => wrap(k, big(a) >> count(b)));
    add("shrU", two, k, (a, b) => wrap(k, unsigned(k, a) >> count(b)));
    for (const [op, f] of [
      ["ltU", (x: bigint, y: bigint) => x < y],
      ["leU", (x: bigint, y: bigint) => x <= y],
      ["gtU", (x: bigint, y: bigint) => x > y],
      ["geU", (x: bigint, y: bigint) => x >= y],
    ] as const)
      add(op, two, "mask", (a, b) => Number(f(unsigned(k, a), unsigned(k, b))));
    add("fromMask", ["mask"], k, (a) => wrap(k, big(a)));
    for (const f of ["f32", "f64"] as const) {
      add("convertS", [k], f, (a) => fromInt(big(a), f));
      add("convertU", [k], f, (a) => fromInt(unsigned(k, a), f));
      add("convertS", [f], k, (a) => toInt(a as number, k, false));
      add("convertU", [f], k, (a) => toInt(a as number, k, true));
    }
  }
  add("convertS", ["i32"], "i64", (a) => big(a));
  add("convertU", ["i32"], "i64", (a) => unsigned("i32", a));
  add("convertS", ["i64"], "i32", (a) => wrap("i32", big(a)));
  add("convertS", ["f32"], "f64", (a) => a);
  add("convertS", ["f64"], "f32", (a) => Math.fround(a as number));
  const bits =
    <A extends "Int32" | "Float32" | "BigInt64" | "Float64">(from: A, to: A) =>
    (v: V): V => {
      const view = new DataView(new ArrayBuffer(8));
      (view[`set${from}`] as (at: number, v: V) => void).call(view, 0, v);
      return view[`get${to}`](0);
    };
  add("bitcast", ["i32"], "f32", bits("Int32", "Float32"));
  add("bitcast", ["f32"], "i32", bits("Float32", "Int32"));
  add("bitcast", ["i64"], "f64", bits("BigInt64", "Float64"));
  add("bitcast", ["f64"], "i64", bits("Float64", "BigInt64"));
  for (const k of ["f32", "f64"] as const) {
    const two = [k, k];
    const n = (f: (a: number, b: number, c: number) => number) => (a: V, b: V, c: V) =>
      toKind(k, f(a as number, b as number, c as number));
    add(
      "add",
      two,
      k,
      n((a, b) => a + b),
    );
    add(
      "sub",
      two,
      k,
      n((a, b) => a - b),
    );
    add(
      "mul",
      two,
      k,
      n((a, b) => a * b),
    );
    add(
      "div",
      two,
      k,
      n((a, b) => a / b),
    );
    add(
      "min",
      two,
      k,
      n((a, b) => Math.min(a, b)),
    );
    add(
      "max",
      two,
      k,
      n((a, b) => Math.max(a, b)),
    );
    add(
      "pmin",
      two,
      k,
      n((a, b) => (b < a ? b : a)),
    );
    add(
      "pmax",
      two,
      k,
      n((a, b) => (a < b ? b : a)),
    );
    // Once or twice rounded: near the exact sum in relation to its largest part.
    add(
      "fma",
      [k, k, k],
      k,
      n((a, b, c) => a * b + c),
      { relative: k === "f32" ? 2e-7 : 4e-16 },
    );
    add("sqrt", [k], k, n(Math.sqrt));
    add("floor", [k], k, n(Math.floor));
    add("ceil", [k], k, n(Math.ceil));
    add("trunc", [k], k, n(Math.trunc));
    add("nearest", [k], k, n(roundEven));
    add("abs", [k], k, n(Math.abs));
    add(
      "neg",
      [k],
      k,
      n((a) => -a),
    );
  }
  for (const k of KINDS) {
    add("eq", [k, k], "mask", (a, b) => Number(a === b));
    add("ne", [k, k], "mask", (a, b) => Number(a !== b));
    add("ltS", [k, k], "mask", (a, b) => Number(a < b));
    add("leS", [k, k], "mask", (a, b) => Number(a <= b));
    add("gtS", [k, k], "mask", (a, b) => Number(a > b));
    add("geS", [k, k], "mask", (a, b) => Number(a >= b));
    add("select", ["mask", k, k], k, (m, a, b) => (m ? a : b));
    add("copy", [k], k, (a) => a);
  }
  const bit = (f: (a: number, b: number) => number) => (a: V, b: V) => f(Number(a), Number(b)) & 1;
  add(
    "and",
    ["mask", "mask"],
    "mask",
    bit((a, b) => a & b),
  );
  add(
    "or",
    ["mask", "mask"],
    "mask",
    bit((a, b) => a | b),
  );
  add(
    "xor",
    ["mask", "mask"],
    "mask",
    bit((a, b) => a ^ b),
  );
  add(
    "eq",
    ["mask", "mask"],
    "mask",
    bit((a, b) => (a === b ? 1 : 0)),
  );
  add(
    "ne",
    ["mask", "mask"],
    "mask",
    bit((a, b) => a ^ b),
  );
  add("not", ["mask"], "mask", (a) => 1 - Number(a));
  add("copy", ["mask"], "mask", (a) => a);
  add("select", ["mask", "mask", "mask"], "mask", (m, a, b) => (m ? a : b));
  return out;
}

export const isWide = (c: Case): boolean => [...c.from, c.to].some((k) => k === "i64" || k === "f64");
