// C expressions that change the kind of a value: between register kinds, between memory and register kinds, and half
// floats. Portable vector text first; single instructions where GCC on x86-64 does not find them itself.

import type { RegKind } from "../../compiler/lower/simd/form.js";
import { type CKind, intOf, list, type Unit, unsignedOf } from "./unit.js";

/** Conversions of 128/256-bit vectors that GCC would do in pieces: [from, to, lanes] -> builtin. */
const X86_CONVERT: Readonly<Record<string, string>> = {
  "f32 f64 4": "cvtps2pd256",
  "f64 f32 4": "cvtpd2ps256",
  "i32 f64 4": "cvtdq2pd256",
  "f64 i32 4": "cvttpd2dq256",
  "i32 i64 4": "pmovsxdq256",
  "u32 i64 4": "pmovzxdq256",
  "u32 u64 4": "pmovzxdq256",
  "i32 i64 2": "pmovsxdq128",
};

/** A vector of another element kind with the same lanes, by value; C's rules for single elements. */
export function convertLanes(u: Unit, from: CKind, to: CKind, lanes: number, x: string): string {
  const type = u.type(to, lanes);
  if (from === to) return x;
  if (lanes === 1) return `(${type})${x}`;
  const builtin = u.features.x86 ? X86_CONVERT[`${from} ${to} ${lanes}`] : undefined;
  if (builtin && !builtin.endsWith("128")) {
    const arg = from === "u32" ? `(${u.type("i32", lanes)})${x}` : x;
    return `(${type})__builtin_ia32_${builtin}(${arg})`;
  }
  if (
    u.features.x86 &&
    u.features.shuffle &&
    lanes === 4 &&
    (from === "i64" || from === "u64") &&
    to === "i32"
  ) {
    const half = u.type("i32", 8);
    return `__builtin_shufflevector((${half})${x},(${half})${x},0,2,4,6)`;
  }
  return `__builtin_convertvector(${x},${type})`;
}

/** `(x & m) | (y & ~m)`: GCC and Clang both know it as a blend. All three are integer vectors of one type. */
export const blend = (m: string, x: string, y: string): string => `((${x}&${m})|(${y}&~${m}))`;

/** Float to integer that saturates and takes NaN to 0: the name of a helper. */
export function saturate(u: Unit, from: "f32" | "f64", to: CKind, lanes: number): string {
  const signed = to === "i32" || to === "i64";
  const bits = to === "i32" || to === "u32" ? 32 : 64;
  const s = from === "f32" ? "f" : "";
  // The bounds are powers of two, so they are exact: in range means low <= x < high (unsigned: -1 < x < high).
  const high = `${2 ** (signed ? bits - 1 : bits)}.0${s}`;
  const low = signed ? `x>=-${high}` : `x>-1.0${s}`;
  const reg = bits === 32 ? "i32" : "i64";
  const max = signed ? (bits === 32 ? "2147483647" : "9223372036854775807ll") : "-1";
  const min = signed ? (bits === 32 ? "(-2147483647-1)" : "(-9223372036854775807ll-1)") : "0";
  return u.helper(`sat_${from}_${to}_${lanes}`, () => {
    const F = u.type(from, lanes);
    const R = u.type(reg, lanes);
    const name = `${R} sat_${from}_${to}_${lanes}(${F} x)`;
    if (lanes === 1)
      return `${name}{return x>=${high}?${max}:${low}?(${R})(${u.type(to, 1)})x:x!=x?0:${min};}`;
    const M = u.type(intOf(from), lanes);
    const mask = (m: string): string => convertLanes(u, intOf(from), reg, lanes, `(${M})(${m})`);
    const zeroed = `(${F})((${M})x&ok)`;
    // Unsigned 32-bit goes through i64, which has an instruction everywhere.
    const converted =
      to === "u32"
        ? convertLanes(u, "i64", "i32", lanes, convertLanes(u, from, "i64", lanes, zeroed))
        : convertLanes(u, from, to, lanes, zeroed);
    return (
      `${name}{${M} ok=(${M})(${low})&(${M})(x<${high});` +
      `${R} r=(${R})${converted};` +
      `return (r&${mask("ok")})|(${mask(`x>=${high}`)}&${max})|(${mask(`x<0`)}&~${mask("ok")}&${min});}`
    );
  });
}

/** The register operations `convertS` and `convertU`. */
export function convert(
  u: Unit,
  from: RegKind,
  to: RegKind,
  lanes: number,
  x: string,
  unsigned: boolean,
): string {
  if (from === "mask" || to === "mask") throw new Error("masks convert with fromMask and comparisons");
  if (from === to) return x;
  if (from === "f32" || from === "f64") {
    if (to === "f32" || to === "f64") return convertLanes(u, from, to, lanes, x);
    return `${saturate(u, from, unsigned ? unsignedOf(to) : to, lanes)}(${x})`;
  }
  if (!unsigned || (from === "i64" && to === "i32")) return convertLanes(u, from, to, lanes, x);
  const source = unsignedOf(from);
  const reinterpreted = `(${u.type(source, lanes)})${x}`;
  return convertLanes(u, source, to, lanes, lanes === 1 ? `(${reinterpreted})` : reinterpreted);
}

/** Half bits (`raw`: u16 lanes as in memory, else i32 lanes) to f32. */
export function halfToFloat(u: Unit, lanes: number, x: string, raw: boolean): string {
  const mode = halfMode(u, lanes);
  if (mode === "bits")
    return `${halfToFloatBits(u, lanes)}(${raw ? convertLanes(u, "u16", "i32", lanes, x) : x})`;
  const name = `h2f_${lanes}`;
  u.helper(name, () => {
    const [F, H] = [u.type("f32", lanes), u.type("u16", lanes)];
    if (mode === "native") {
      const N = u.type("f16", lanes);
      if (lanes === 1) return `${F} ${name}(${H} x){union{${H} u;${N} h;}b={x};return (${F})b.h;}`;
      return `${F} ${name}(${H} x){return __builtin_convertvector((${N})x,${F});}`;
    }
    const S = u.type("i16", 8);
    if (lanes === 1) return `${F} ${name}(${H} x){return __builtin_ia32_vcvtph2ps((${S}){(short)x})[0];}`;
    if (lanes === 4)
      return `${F} ${name}(${H} x){return __builtin_ia32_vcvtph2ps((${S})__builtin_shufflevector(x,x,0,1,2,3,-1,-1,-1,-1));}`;
    if (lanes === 8) return `${F} ${name}(${H} x){return __builtin_ia32_vcvtph2ps256((${S})x);}`;
    return `${F} ${name}(${H} x){return __builtin_ia32_vcvtph2ps512_mask((${u.type("i16", 16)})x,(${F}){},-1,4);}`;
  });
  return `${name}(${raw ? x : narrow(u, "u16", lanes, x)})`;
}

/** f32 to half bits, to nearest even; u16 lanes if `raw`, else i32 lanes. */
export function floatToHalf(u: Unit, lanes: number, x: string, raw: boolean): string {
  const mode = halfMode(u, lanes);
  if (mode === "bits") {
    const bits = `${floatToHalfBits(u, lanes)}(${x})`;
    return raw ? narrow(u, "u16", lanes, bits) : bits;
  }
  const name = `f2h_${lanes}`;
  u.helper(name, () => {
    const [F, H] = [u.type("f32", lanes), u.type("u16", lanes)];
    if (mode === "native") {
      const N = u.type("f16", lanes);
      if (lanes === 1) return `${H} ${name}(${F} x){union{${N} h;${H} u;}b={(${N})x};return b.u;}`;
      return `${H} ${name}(${F} x){return (${H})__builtin_convertvector(x,${N});}`;
    }
    const X = u.type("f32", 4);
    if (lanes === 1) return `${H} ${name}(${F} x){return (${H})__builtin_ia32_vcvtps2ph((${X}){x},0)[0];}`;
    if (lanes === 4)
      return (
        `${H} ${name}(${F} x){${u.type("i16", 8)} h=__builtin_ia32_vcvtps2ph(x,0);` +
        `return (${H})__builtin_shufflevector(h,h,0,1,2,3);}`
      );
    if (lanes === 8) return `${H} ${name}(${F} x){return (${H})__builtin_ia32_vcvtps2ph256(x,0);}`;
    return `${H} ${name}(${F} x){return (${H})__builtin_ia32_vcvtps2ph512_mask(x,0,(${u.type("i16", 16)}){},-1);}`;
  });
  return raw ? `${name}(${x})` : convertLanes(u, "u16", "i32", lanes, `${name}(${x})`);
}

function halfMode(u: Unit, lanes: number): "f16c" | "native" | "bits" {
  const { half, x86wide } = u.features;
  if (half !== "f16c") return half;
  return lanes === 1 || lanes === 4 || lanes === 8 || (lanes === 16 && x86wide) ? "f16c" : "bits";
}

/** i32 lanes to the low bits of u8 or u16 lanes. */
export function narrow(u: Unit, kind: "u8" | "u16" | "i8" | "i16", lanes: number, x: string): string {
  const bytes = kind.endsWith("8") ? 1 : 2;
  if (u.features.x86 && u.features.shuffle && lanes >= 4) {
    const name = `narrow_${kind}x${lanes}`;
    u.helper(name, () => {
      const all = u.type(kind, (lanes * 4) / bytes);
      const to = u.type(kind, lanes);
      const picks = list(lanes, (i) => i * (4 / bytes));
      return `${to} ${name}(${u.type("i32", lanes)} x){return __builtin_shufflevector((${all})x,(${all})x,${picks});}`;
    });
    return `${name}(${x})`;
  }
  return convertLanes(u, "i32", kind, lanes, x);
}

/**
 * Half to float by integers: the exponent and mantissa moved into an f32 and scaled by 2^112, which makes subnormal
 * halves right too; an exponent of all ones is put back by hand.
 */
function halfToFloatBits(u: Unit, lanes: number): string {
  const name = `h2fb_${lanes}`;
  return u.helper(name, () => {
    const [I, F] = [u.type("i32", lanes), u.type("f32", lanes)];
    const scale = "5192296858534827628530496329220096.0f";
    if (lanes === 1)
      return (
        `${F} ${name}(${I} h){union{${I} i;${F} f;}b={(h&0x7fff)<<13};b.f*=${scale};` +
        `if((h&0x7c00)==0x7c00)b.i|=0x7f800000;b.i|=(h&0x8000)<<16;return b.f;}`
      );
    return (
      `${F} ${name}(${I} h){${I} m=(h&0x7fff)<<13;${I} e=(${I})((h&0x7c00)==0x7c00);` +
      `return (${F})((${I})((${F})m*${scale})|(e&0x7f800000)|((h&0x8000)<<16));}`
    );
  });
}

/**
 * Float to half by integers. Normal results: add half a unit (to even) and shift. Subnormal ones: adding 0.5 lines the
 * mantissa up with the half's smallest step, and the addition rounds. From 65520 on: infinity. NaN: a quiet NaN.
 */
function floatToHalfBits(u: Unit, lanes: number): string {
  const name = `f2hb_${lanes}`;
  return u.helper(name, () => {
    const [I, F] = [u.type("i32", lanes), u.type("f32", lanes)];
    const normal = "(a+0xfff+((a>>13)&1)-0x38000000)>>13";
    if (lanes === 1)
      return (
        `${I} ${name}(${F} x){union{${F} f;${I} i;}b={x};${I} s=(b.i>>16)&0x8000,a=b.i&0x7fffffff;` +
        `if(a>0x7f800000)return s|0x7e00;if(a>=0x477ff000)return s|0x7c00;` +
        `if(a<0x38800000){b.i=a;b.f+=0.5f;return s|(b.i-0x3f000000);}return s|(${normal});}`
      );
    const pick = (cond: string, x: string, y: string): string => `m=(${I})(${cond});r=${blend("m", x, y)};`;
    return (
      `${I} ${name}(${F} x){${I} v=(${I})x,a=v&0x7fffffff,m,r=${normal},t=(${I})((${F})a+0.5f)-0x3f000000,z=a-a;` +
      pick("a<0x38800000", "t", "r") +
      pick("a>=0x477ff000", "(z+0x7c00)", "r") +
      pick("a>0x7f800000", "(z+0x7e00)", "r") +
      `return r|((v>>16)&0x8000);}`
    );
  });
}
