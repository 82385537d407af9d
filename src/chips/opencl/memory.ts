// OpenCL C statements for loads, stores and atomics.

import type { Form, MemKind, Place, RegKind, Stmt } from "../../compiler/lower/simt/index.js";
import { BYTES, MEMORY, operand, register, TYPE } from "./names.js";

type Of<S extends Stmt["s"]> = Extract<Stmt, { s: S }>;

/** A pointer to elements of `kind` at a place. */
function pointer(form: Form, place: Place, kind: string): string {
  const wide = typeof place.at === "bigint" || (typeof place.at === "object" && place.at.type.kind === "i64");
  const plus = place.plus ? `${place.plus < 0 ? "" : "+"}${place.plus}` : "";
  if ("shared" in place.mem) {
    const at = typeof place.at === "object" ? `+(int)${register(place.at)}` : "";
    const fixed =
      place.mem.shared + (place.plus ?? 0) + (typeof place.at === "object" ? 0 : Number(place.at));
    return `(__local ${kind}*)(shared${at}${fixed ? `+${fixed}` : ""})`;
  }
  const i = place.mem.param;
  const at =
    typeof place.at === "object"
      ? wide
        ? `(long)${register(place.at)}`
        : `(long)(int)${register(place.at)}`
      : `${place.at}`;
  const p = form.params[i]!;
  const own = p.kind === "buffer" && `a_${p.mem}` === kind;
  return own ? `(p${i}+(${at}${plus}))` : `(__global ${kind}*)(p${i}+(${at}${plus}))`;
}

const vectorOf = (kind: MemKind, n: number): string => (n === 1 ? `a_${kind}` : `${MEMORY[kind]}${n}`);

export function loadText(form: Form, s: Of<"load">): string {
  const p = pointer(form, s, vectorOf(s.kind, s.dst.length));
  const names = s.dst.map(register);
  const first = s.dst[0]!.type.kind;
  // Small elements are extended to a register as their kind says.
  const cast = (x: string): string =>
    BYTES[s.kind] < 4 && first === "i32" ? `(uint)${s.kind[0] === "i" ? "(int)" : ""}${x}` : x;
  const assign =
    names.length === 1
      ? `${names[0]}=${cast(`*${p}`)};`
      : `{${MEMORY[s.kind]}${names.length} t=*${p};${names.map((n, k) => `${n}=t.s${k};`).join("")}}`;
  return s.mask === undefined
    ? assign
    : `if(${operand(s.mask, "mask")})${names.length === 1 ? assign : assign}`;
}

export function storeText(form: Form, s: Of<"store">): string {
  const n = s.values.length;
  const kind: RegKind = s.type.kind;
  const p = pointer(form, s, vectorOf(s.kind, n));
  const values = s.values.map((v) => operand(v, kind));
  const value = n === 1 ? `(${MEMORY[s.kind]})${values[0]}` : `(${MEMORY[s.kind]}${n})(${values.join(",")})`;
  return `${s.mask === undefined ? "" : `if(${operand(s.mask, "mask")})`}*${p}=${value};`;
}

/** Compare-and-exchange of parts of a word. */
const partial = (name: string, bits: number): string =>
  `inline uint ${name}(volatile __global void*p,uint e,uint v){` +
  `size_t a=(size_t)p;uint s=(uint)(a&3)*8;volatile __global uint*w=(volatile __global uint*)(a&~(size_t)3);` +
  `uint m=${2 ** bits - 1}u<<s;uint o=*w;for(;;){uint c=(o&m)>>s;if(c!=e)return c;` +
  `uint r=atomic_cmpxchg(w,o,(o&~m)|(v<<s));if(r==o)return e;o=r;}}`;

export const ATOMIC_HELPERS: Readonly<Record<string, string>> = {
  cas_u8: partial("cas_u8", 8),
  cas_u16: partial("cas_u16", 16),
};

/** A statement that does one atomic on a buffer. */
export function atomic(form: Form, s: Of<"atomic">, use: (helper: string) => void): string {
  const kind = s.kind;
  const reg: RegKind = kind === "i64" ? "i64" : kind === "f32" ? "f32" : kind === "f64" ? "f64" : "i32";
  const value = operand(s.value, reg);
  let call: string;
  if (kind === "u8" || kind === "u16") {
    use(`cas_${kind}`);
    call = `cas_${kind}((volatile __global void*)${pointer(form, s, MEMORY[kind])},${operand(s.expected!, reg)},${value})`;
  } else {
    const wide = kind === "i64";
    const signed = (s.op === "min" || s.op === "max") && !s.unsigned;
    const type = wide ? (signed ? "long" : "ulong") : signed ? "int" : TYPE[reg];
    const place = `(volatile __global ${type}*)${pointer(form, s, type)}`;
    const name = `${wide ? "atom" : "atomic"}_${s.op === "cas" ? "cmpxchg" : s.op}`;
    const read = (x: string): string => (signed ? `(${type})${x}` : x);
    const args = [...(s.expected === undefined ? [] : [operand(s.expected, reg)]), read(value)];
    call = `(${TYPE[reg]})${name}(${[place, ...args].join(",")})`;
  }
  const fence = s.order === "relaxed" ? "" : "mem_fence(CLK_GLOBAL_MEM_FENCE);";
  const body = `${fence}${s.dst ? `${register(s.dst)}=` : "(void)"}${call};${fence}`;
  return s.mask === undefined ? body : `if(${operand(s.mask, "mask")}){${body}}`;
}
