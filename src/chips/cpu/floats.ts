// C expressions for the floating-point operations that C has no vector operator for.

import { blend } from "./convert.js";
import { intOf, list, type Unit } from "./unit.js";

type FloatKind = "f32" | "f64";
export type RoundOp = "floor" | "ceil" | "trunc" | "nearest";

/** The SSE4.1 rounding mode: no exception, direction in the low bits. */
const X86_ROUND: Readonly<Record<RoundOp, number>> = { nearest: 8, floor: 9, ceil: 10, trunc: 11 };
const C_ROUND: Readonly<Record<RoundOp, string>> = {
  floor: "floor",
  ceil: "ceil",
  trunc: "trunc",
  nearest: "rint",
};
const ELEMENTWISE_ROUND: Readonly<Record<RoundOp, string>> = { ...C_ROUND, nearest: "roundeven" };

/** 128, 256 or 512 if GCC's x86 builtins serve vectors of this size here, else 0. */
function x86Bits(u: Unit, kind: FloatKind, lanes: number): 0 | 128 | 256 | 512 {
  const bits = lanes * (kind === "f32" ? 32 : 64);
  if (!u.features.x86) return 0;
  if (bits === 128 || bits === 256) return bits;
  return bits === 512 && u.features.x86wide ? 512 : 0;
}

const ps = (kind: FloatKind): string => (kind === "f32" ? "ps" : "pd");
const width = (bits: number): string => (bits === 128 ? "" : String(bits));
const perLane = (u: Unit, kind: FloatKind, lanes: number, call: (i: number) => string): string =>
  `(${u.type(kind, lanes)}){${list(lanes, call)}}`;

export function round(u: Unit, op: RoundOp, kind: FloatKind, lanes: number, x: string): string {
  const s = kind === "f32" ? "f" : "";
  if (lanes === 1) return `__builtin_${C_ROUND[op]}${s}(${x})`;
  if (u.features.elementwise) return `__builtin_elementwise_${ELEMENTWISE_ROUND[op]}(${x})`;
  const bits = x86Bits(u, kind, lanes);
  if (bits === 512) return `__builtin_ia32_rndscale${ps(kind)}_mask(${x},${X86_ROUND[op]},${x},-1,4)`;
  if (bits) return `__builtin_ia32_round${ps(kind)}${width(bits)}(${x},${X86_ROUND[op]})`;
  return perLane(u, kind, lanes, (i) => `__builtin_${C_ROUND[op]}${s}(${x}[${i}])`);
}

export function sqrt(u: Unit, kind: FloatKind, lanes: number, x: string): string {
  const s = kind === "f32" ? "f" : "";
  if (lanes === 1) return `__builtin_sqrt${s}(${x})`;
  if (u.features.elementwise) return `__builtin_elementwise_sqrt(${x})`;
  const bits = x86Bits(u, kind, lanes);
  if (bits === 512) return `__builtin_ia32_sqrt${ps(kind)}512_mask(${x},${x},-1,4)`;
  if (bits) return `__builtin_ia32_sqrt${ps(kind)}${width(bits)}(${x})`;
  return perLane(u, kind, lanes, (i) => `__builtin_sqrt${s}(${x}[${i}])`);
}

export function fma(u: Unit, kind: FloatKind, lanes: number, a: string, b: string, c: string): string {
  if (u.features.fma !== "builtin") return `${a}*${b}+${c}`;
  if (lanes === 1) return `__builtin_fma${kind === "f32" ? "f" : ""}(${a},${b},${c})`;
  if (u.features.elementwise) return `__builtin_elementwise_fma(${a},${b},${c})`;
  const bits = x86Bits(u, kind, lanes);
  if (bits === 512) return `__builtin_ia32_vfmadd${ps(kind)}512_mask(${a},${b},${c},-1,4)`;
  if (bits) return `__builtin_ia32_vfmadd${ps(kind)}${width(bits)}(${a},${b},${c})`;
  return `${a}*${b}+${c}`;
}

/** A choice lane by lane as one instruction, for masks of whole lanes; undefined where there is none. */
export function blendFloats(
  u: Unit,
  kind: FloatKind,
  lanes: number,
  mask: string,
  yes: string,
  no: string,
): string | undefined {
  const bits = x86Bits(u, kind, lanes);
  if (bits !== 128 && bits !== 256) return undefined;
  return `__builtin_ia32_blendv${ps(kind)}${width(bits)}(${no},${yes},(${u.type(kind, lanes)})${mask})`;
}

/** The name of a helper of two arguments that takes the smaller or larger and passes NaN on. */
export function extreme(u: Unit, op: "min" | "max", kind: FloatKind, lanes: number): string {
  const name = `${op}_${kind}_${lanes}`;
  const less = op === "min" ? "<" : ">";
  return u.helper(name, () => {
    const F = u.type(kind, lanes);
    const head = `${F} ${name}(${F} a,${F} b)`;
    // Where b is NaN the comparison fails and gives b; where a is NaN, a is asked for.
    if (lanes === 1) return `${head}{return a${less}b||a!=a?a:b;}`;
    const M = u.type(intOf(kind), lanes);
    const bits = x86Bits(u, kind, lanes);
    if (bits) {
      const smaller = x86Extreme(op, kind, bits)("a", "b");
      return `${head}{${M} n=(${M})(a!=a),x=(${M})a,y=(${M})${smaller};return (${F})${blend("n", "x", "y")};}`;
    }
    return (
      `${head}{${M} m=(${M})(a${less}b)|(${M})(a!=a),x=(${M})a,y=(${M})b;` +
      `return (${F})${blend("m", "x", "y")};}`
    );
  });
}

/** The instruction for the smaller or larger of a number and a vector: where the vector is NaN, it gives its second operand. */
export function extremeWith(
  u: Unit,
  op: "min" | "max",
  kind: FloatKind,
  lanes: number,
): ((number: string, vector: string) => string) | undefined {
  const bits = lanes === 1 ? 0 : x86Bits(u, kind, lanes);
  return bits ? x86Extreme(op, kind, bits) : undefined;
}

/** The instruction that gives its second operand where one of the two is NaN. */
const x86Extreme =
  (op: "min" | "max", kind: FloatKind, bits: number) =>
  (a: string, b: string): string =>
    bits === 512
      ? `__builtin_ia32_${op}${ps(kind)}512_mask(${a},${b},${b},-1,4)`
      : `__builtin_ia32_${op}${ps(kind)}${width(bits)}(${a},${b})`;

/** A function that gives `b` where it is beyond `a`, else `a`. */
export function firstExtreme(u: Unit, op: "min" | "max", kind: FloatKind, lanes: number): string {
  const F = u.type(kind, lanes);
  const I = u.type(intOf(kind), lanes);
  const beyond = op === "min" ? "b<a" : "a<b";
  return u.helper(
    `p${op}_${kind}_${lanes}`,
    () =>
      `${F} p${op}_${kind}_${lanes}(${F} a,${F} b){${I} m=${beyond};return (${F})${blend("m", `(${I})b`, `(${I})a`)};}`,
  );
}

/** The instruction for the smaller or larger of signed integers, where the C compiler does not find it. */
export function integerExtremeOf(
  u: Unit,
  op: "min" | "max",
  kind: string,
  lanes: number,
): ((a: string, b: string) => string) | undefined {
  const bits = kind === "i32" && lanes > 1 ? x86Bits(u, "f32", lanes) : 0;
  if (!bits) return undefined;
  const name = `__builtin_ia32_p${op}sd${bits}`;
  return (a, b) => (bits === 512 ? `${name}_mask(${a},${b},${b},-1)` : `${name}(${a},${b})`);
}
