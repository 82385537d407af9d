// Products of several elements in a lane, in the instructions that processors have for them: VNNI and AVX512-BF16 on x86-64, the
// dot products of NEON and SVE on arm64. As assembly: compilers that know the processor differ in what they call these.

import type { Dots, DotOp } from "../../compiler/lower/simd/form.js";
import type { DotUnit, Features, Unit } from "./unit.js";

interface Instruction {
  readonly op: DotOp;
  /** The template; `%0` is the sum, `%1` and `%2` the operands of the form's operation in their order. */
  readonly text: string;
  readonly constraint: string;
  /** It takes whole vectors only: compilers give shorter ones registers of another set's names. */
  readonly wholeOnly?: boolean;
}

/**
 * By set. `vpdpbusd` takes its unsigned operand before the signed one, which AT&T's syntax turns around; `vdpbf16ps` and
 * `bfdot` round after each product or after both, and take and give 0 for numbers below the normal ones.
 */
const INT8: Readonly<Record<NonNullable<DotUnit["i8"]>, Instruction>> = {
  "avx512-vnni": { op: "dot4U", text: "vpdpbusd %2,%1,%0", constraint: "v" },
  "avx-vnni": { op: "dot4U", text: "%{vex%} vpdpbusd %2,%1,%0", constraint: "x" },
  "avx-vnni-int8": { op: "dot4S", text: "vpdpbssd %2,%1,%0", constraint: "x" },
  neon: { op: "dot4S", text: "sdot %0.4s,%1.16b,%2.16b", constraint: "w" },
  sve: { op: "dot4S", text: "sdot %0.s,%1.b,%2.b", constraint: "w", wholeOnly: true },
};
const BF16: Readonly<Record<NonNullable<DotUnit["bf16"]>, Instruction>> = {
  "avx512-bf16": { op: "dot2B", text: "vdpbf16ps %2,%1,%0", constraint: "v" },
  neon: { op: "dot2B", text: "bfdot %0.4s,%1.8h,%2.8h", constraint: "w" },
  sve: { op: "dot2B", text: "bfdot %0.s,%1.h,%2.h", constraint: "w", wholeOnly: true },
};

const instructions = ({ dots }: Features): Instruction[] => [
  ...(dots?.i8 ? [INT8[dots.i8]] : []),
  ...(dots?.bf16 ? [BF16[dots.bf16]] : []),
];

/** The operations that the printer has one instruction for, by dtype. */
export function dotsOf({ dots }: Features): Dots | undefined {
  if (!dots) return undefined;
  return {
    ...(dots.i8 && { i8: INT8[dots.i8].op as "dot4U" | "dot4S" }),
    ...(dots.bf16 && { bf16: "dot2B" }),
  };
}

/** The instruction of an operation, its operands to be put in; undefined where there is none. */
export const dotText = (f: Features, op: DotOp): string | undefined =>
  instructions(f).find((i) => i.op === op)?.text;

/** The operations that run on AMX. */
export function tilesOf({ tiles }: Features): Dots | undefined {
  return tiles && { ...(tiles.i8 && { i8: "dot4S" }), ...(tiles.bf16 && { bf16: "dot2B" }) };
}

/** The name of a function `(a, b, sum)` for one vector. */
export function dot(u: Unit, op: DotOp, lanes: number): string {
  const found = instructions(u.features).find((i) => i.op === op);
  if (!found) throw new Error(`no instruction for ${op}`);
  const result = op === "dot2B" ? "f32" : "i32";
  const [I, R] = [u.type("i32", lanes), u.type(result, lanes)];
  const { text, constraint } = found;
  const asm = (a: string, b: string, c: string): string =>
    `__asm__("${text}":"+${constraint}"(${c}):"${constraint}"(${a}),"${constraint}"(${b}));`;
  const whole = u.features.vectorBytes / 4;
  return u.helper(`${op}_${lanes}`, () => {
    const head = `${R} ${op}_${lanes}(${I} a,${I} b,${R} c)`;
    if (!found.wholeOnly || lanes >= whole) return `${head}{${asm("a", "b", "c")}return c;}`;
    const [WI, WR] = [u.type("i32", whole), u.type(result, whole)];
    const copy = (to: string, from: string): string => `__builtin_memcpy(&${to},&${from},${4 * lanes});`;
    return `${head}{${WI} A={0},B={0};${WR} C={0};${copy("A", "a")}${copy("B", "b")}${copy("C", "c")}${asm("A", "B", "C")}${copy("c", "C")}return c;}`;
  });
}
