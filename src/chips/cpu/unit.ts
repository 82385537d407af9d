// One C translation unit in the making: the types and helper functions that its statements asked for, and how
// literals are written. Knows C and its vector extensions, nothing of kernels.

import type { MemKind, RegKind } from "../../compiler/lower/simd/form.js";

/** What the C compiler and the machine offer; found by `compiler.ts`, read by the printer. */
export interface Features {
  readonly clang: boolean;
  /** Bytes of a vector register. */
  readonly vectorBytes: 16 | 32 | 64;
  readonly vectorRegisters: number;
  /** GCC on x86-64 with AVX2: single instructions that GCC does not find from portable text. */
  readonly x86: boolean;
  /** `x86` and AVX-512 F, BW, DQ and VL. */
  readonly x86wide: boolean;
  /** GCC calls a library for atomics of less than a word, which the processor does not have. */
  readonly atomicLibrary?: boolean;
  /** Clang's `__builtin_elementwise_*`. */
  readonly elementwise: boolean;
  /** How `fma` is said: as a builtin, as `a*b+c` that the compiler contracts, or as two operations. */
  readonly fma: "builtin" | "contract" | "none";
  /** How half floats convert: F16C builtins, the type `_Float16`, or integer arithmetic. */
  readonly half: "f16c" | "native" | "bits";
  readonly shuffle: boolean;
  /** Instructions that add up products of several elements in a lane. Default: none. */
  readonly dots?: DotUnit;
  /** AMX, for these dtypes, where the system lets this process use it. Default: none. */
  readonly tiles?: { readonly i8?: boolean; readonly bf16?: boolean };
}

/** The sets of instructions for such products; what each has is said in `dots.ts`. */
export interface DotUnit {
  readonly i8?: "avx512-vnni" | "avx-vnni" | "avx-vnni-int8" | "neon" | "sve";
  readonly bf16?: "avx512-bf16" | "neon" | "sve";
}

/** The plainest machine: 16-byte vectors, portable text only. */
export const PORTABLE: Features = {
  clang: false,
  vectorBytes: 16,
  vectorRegisters: 16,
  x86: false,
  x86wide: false,
  elementwise: false,
  fma: "none",
  half: "bits",
  shuffle: false,
};

/** C element types: those of memory plus the unsigned views of registers. */
export type CKind = MemKind | "u32" | "u64" | "f16";

const ELEMENT: Readonly<Record<CKind, readonly [c: string, bytes: number]>> = {
  i8: ["signed char", 1],
  u8: ["unsigned char", 1],
  i16: ["short", 2],
  u16: ["unsigned short", 2],
  i32: ["int", 4],
  u32: ["unsigned", 4],
  i64: ["long long", 8],
  u64: ["unsigned long long", 8],
  f16: ["_Float16", 2],
  f32: ["float", 4],
  f64: ["double", 8],
};

export const bytesOf = (kind: CKind): number => ELEMENT[kind][1];
export const unsignedOf = (kind: "i32" | "i64"): "u32" | "u64" => (kind === "i32" ? "u32" : "u64");
/** The signed integer kind as wide as `kind`. */
export const intOf = (kind: CKind): "i32" | "i64" => (bytesOf(kind) === 8 ? "i64" : "i32");
/** `count` times the same text, or one text per index, between commas. */
export const list = (count: number, item: string | ((i: number) => string | number)): string =>
  Array.from({ length: count }, (_, i) => (typeof item === "string" ? item : item(i))).join(",");

export class Unit {
  private readonly types = new Map<string, string>();
  private readonly helpers = new Map<string, string>();
  private readonly constants = new Map<string, string>();

  constructor(readonly features: Features) {
    // The argument block is made of these, so every unit needs it.
    this.type("i64", 1);
  }

  /** The name of a scalar (`f32`) or vector type (`f32x8`), declared on first use. */
  type(kind: CKind, lanes: number): string {
    if (!this.types.has(kind)) this.types.set(kind, `typedef ${ELEMENT[kind][0]} ${kind};`);
    if (lanes === 1) return kind;
    const name = `${kind}x${lanes}`;
    if (!this.types.has(name))
      this.types.set(
        name,
        `typedef ${kind} ${name} __attribute__((vector_size(${lanes * ELEMENT[kind][1]})));`,
      );
    return name;
  }

  /** A vector type for memory accesses that are aligned to their elements only, and may alias anything. */
  unaligned(kind: CKind, lanes: number): string {
    const base = this.type(kind, lanes);
    const name = `${base}u`;
    if (!this.types.has(name))
      this.types.set(
        name,
        `typedef ${base} ${name} __attribute__((aligned(${ELEMENT[kind][1]}),may_alias));`,
      );
    return name;
  }

  /** The name of a static function, whose text (from `make`) is added on first use. Helpers it uses come before it. */
  helper(name: string, make: () => string): string {
    if (!this.helpers.has(name)) {
      const text = make();
      this.helpers.set(name, `static inline __attribute__((always_inline)) ${text}`);
    }
    return name;
  }

  /** The name of a vector with the same literal in all lanes: its long text stands once, not wherever it is used. */
  constant(kind: CKind, lanes: number, text: string): string {
    const value = `const ${this.type(kind, lanes)} %={${list(lanes, text)}};`;
    let name = this.constants.get(value);
    if (name === undefined) {
      name = `k${this.constants.size}`;
      this.constants.set(value, name);
    }
    return name;
  }

  /** Everything that was asked for, in an order that C accepts. */
  preamble(): string {
    const constants = [...this.constants].map(([value, name]) => `static ${value.replace("%", name)}`);
    return [...this.types.values(), ...constants, ...this.helpers.values(), ""].join("\n");
  }
}

/** A scalar literal of a register kind. */
export function literal(kind: RegKind, value: number | bigint): string {
  switch (kind) {
    case "mask":
      return Number(value) ? "1" : "0";
    case "i32": {
      const v = Number(BigInt.asIntN(32, typeof value === "bigint" ? value : BigInt(Math.trunc(value))));
      return v === -2147483648 ? "(-2147483647-1)" : v < 0 ? `(${v})` : String(v);
    }
    case "i64": {
      const v = BigInt.asIntN(64, typeof value === "bigint" ? value : BigInt(Math.trunc(value)));
      return v === -(1n << 63n) ? "(-9223372036854775807ll-1)" : v < 0n ? `(${v}ll)` : `${v}ll`;
    }
    case "f32":
      return floatLiteral(Math.fround(Number(value)), "f");
    case "f64":
      return floatLiteral(Number(value), "");
  }
}

function floatLiteral(v: number, suffix: "f" | ""): string {
  if (Number.isNaN(v)) return `__builtin_nan${suffix}("")`;
  if (!Number.isFinite(v)) return `${v < 0 ? "(-" : ""}__builtin_inf${suffix}()${v < 0 ? ")" : ""}`;
  const text = Object.is(v, -0) ? "-0" : String(v);
  const full = (/[.e]/.test(text) ? text : text + ".0") + suffix;
  return text.startsWith("-") ? `(${full})` : full;
}
