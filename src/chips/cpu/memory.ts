// C expressions for loads, stores and atomics: element kinds of memory to and from register kinds.

import { CompileError } from "../../compiler/target.js";
import type { AtomicOp, MemKind } from "../../compiler/lower/simd/form.js";
import { blend, convertLanes, narrow } from "./convert.js";
import { bytesOf, type CKind, intOf, type Unit } from "./unit.js";

type ValueKind = "i32" | "i64" | "f32" | "f64";

/** The value of `lanes` elements of `kind` at the pointer `at`, widened to a register kind. */
export function loadVector(u: Unit, kind: MemKind, to: ValueKind, lanes: number, at: string): string {
  if (lanes === 1) return kind === to ? `*${at}` : `(${u.type(to, 1)})*${at}`;
  const plain = `*(${u.unaligned(kind, lanes)}*)${at}`;
  if (kind === to) return plain;
  const bytes = bytesOf(kind) * lanes;
  if (u.features.x86 && to === "i32" && (lanes === 4 || lanes === 8)) {
    // pmovzx and pmovsx; the source is brought to 16 bytes by way of one scalar load.
    const name = `load_${kind}x${lanes}`;
    u.helper(name, () => {
      const I = u.type("i32", lanes);
      const builtin = `__builtin_ia32_pmov${kind[0] === "u" ? "z" : "s"}x${bytesOf(kind) === 1 ? "b" : "w"}d${lanes * 32}`;
      const whole: CKind = bytes === 4 ? "i32" : "i64";
      const source = bytes === 16 ? `*(const ${u.unaligned("i16", 8)}*)p` : `(C){*(const S*)p}`;
      const types =
        bytes === 16
          ? ""
          : `typedef ${u.type(whole, 1)} S __attribute__((aligned(1),may_alias));typedef ${u.type(whole, 16 / bytes)} C;`;
      const arg = bytesOf(kind) === 1 ? "(B)" : `(${u.type("i16", 8)})`;
      const chars = bytesOf(kind) === 1 ? "typedef char B __attribute__((vector_size(16)));" : "";
      return `${I} ${name}(const void*p){${types}${chars}return (${I})${builtin}(${arg}(${source}));}`;
    });
    return `${name}(${at})`;
  }
  if (u.features.x86wide && to === "i32" && lanes === 16) {
    const name = u.helper(`load_${kind}x16`, () => {
      const byte = bytesOf(kind) === 1;
      const builtin = `__builtin_ia32_pmov${kind[0] === "u" ? "z" : "s"}x${byte ? "b" : "w"}d512_mask`;
      const [I, V] = [u.type("i32", 16), byte ? "B" : u.type("i16", 16)];
      const types = byte ? "typedef char B __attribute__((vector_size(16)));" : "";
      const source = `(${V})*(const ${u.unaligned(kind, 16)}*)p`;
      return `${I} load_${kind}x16(const void*p){${types}return ${builtin}(${source},(${I}){},-1);}`;
    });
    return `${name}(${at})`;
  }
  return convertLanes(u, kind, to, lanes, `(${plain})`);
}

/** A statement that writes a register value as `lanes` elements of `kind`. */
export function storeVector(
  u: Unit,
  kind: MemKind,
  from: ValueKind,
  lanes: number,
  at: string,
  value: string,
): string {
  if (lanes === 1) return `*${at}=${kind === from ? "" : `(${u.type(kind, 1)})`}${value};`;
  const place = `*(${u.unaligned(kind, lanes)}*)${at}`;
  if (kind === from) return `${place}=${value};`;
  if (from === "i32" && (kind === "u8" || kind === "i8" || kind === "u16" || kind === "i16"))
    return `${place}=${narrow(u, kind, lanes, value)};`;
  return `${place}=${convertLanes(u, from, kind, lanes, value)};`;
}

/** Whether a vector has a store that goes past the caches. */
export const streamable = (kind: MemKind, lanes: number): kind is ValueKind => {
  const bytes = bytesOf(kind) * lanes;
  return bytesOf(kind) >= 4 && (bytes === 16 || bytes === 32 || bytes === 64);
};

/**
 * The name of a function `(pointer, vector)` that stores past the caches where the pointer is aligned to the vector, as
 * such stores want it; else it stores as usual. After the last one comes {@link streamFence}.
 */
export function streamVector(u: Unit, kind: ValueKind, lanes: number): string {
  const bytes = bytesOf(kind) * lanes;
  const T = u.type(kind, lanes);
  const unaligned = u.unaligned(kind, lanes);
  const name = `stream_${T}`;
  return u.helper(name, () => {
    const head = `void ${name}(${kind}*p,${T} v){if((i64)p&${bytes - 1})*(${unaligned}*)p=v;else `;
    if (u.features.clang) return `${head}__builtin_nontemporal_store(v,(${T}*)p);}`;
    const bits = bytes * 8;
    if (!u.features.x86 || (bits === 512 && !u.features.x86wide)) return `${head}*(${T}*)p=v;}`;
    const F = u.type("f32", bytes / 4);
    return `${head}__builtin_ia32_movntps${bits === 128 ? "" : bits}((float*)p,(${F})v);}`;
  });
}

/** The name of a function that orders {@link streamVector}'s stores before whatever tells others that they are done. */
export const streamFence = (u: Unit): string =>
  u.helper(
    "stream_fence",
    () => "void stream_fence(void){\n#ifdef __SSE2__\n__builtin_ia32_sfence();\n#endif\n}",
  );

/** What AVX2's masked accesses are called after, by element. */
const X86_MASKED = { i32: "d", i64: "q", f32: "ps", f64: "pd" } as const;

function x86Masked(u: Unit, what: "load" | "store", kind: ValueKind, lanes: number): string | undefined {
  const bits = lanes * bytesOf(kind) * 8;
  if (!u.features.x86 || (bits !== 128 && bits !== 256)) return undefined;
  return `__builtin_ia32_mask${what}${X86_MASKED[kind]}${bits === 256 ? "256" : ""}`;
}

/** {@link loadVector} of the lanes that `mask` (integers as wide as the elements) sets; the others get `other`, or 0. */
export function loadMasked(
  u: Unit,
  kind: ValueKind,
  lanes: number,
  at: string,
  mask: string,
  other: string | undefined,
): string {
  const T = u.type(kind, lanes);
  const M = u.type(intOf(kind), lanes);
  const builtin = x86Masked(u, "load", kind, lanes);
  if (builtin && other === undefined) return `${builtin}((const ${T}*)${at},${mask})`;
  const name = u.helper(`mload_${T}`, () => {
    const each = `for(int i=0;i<${lanes};i++)if(m[i])o[i]=p[i];return o;`;
    const whole = `${M} x=(${M})${builtin}((const ${T}*)p,m);return (${T})${blend("m", "x", `(${M})o`)};`;
    return `${T} mload_${T}(const ${kind}*p,${M} m,${T} o){${builtin ? whole : each}}`;
  });
  return `${name}(${at},${mask},${other ?? `(${T}){}`})`;
}

/** {@link storeVector} of the lanes that `mask` sets. */
export function storeMasked(
  u: Unit,
  kind: ValueKind,
  lanes: number,
  at: string,
  mask: string,
  value: string,
): string {
  const T = u.type(kind, lanes);
  const builtin = x86Masked(u, "store", kind, lanes);
  if (builtin) return `${builtin}((${T}*)${at},${mask},${value});`;
  const name = u.helper(
    `mstore_${T}`,
    () =>
      `void mstore_${T}(${kind}*p,${u.type(intOf(kind), lanes)} m,${T} x){for(int i=0;i<${lanes};i++)if(m[i])p[i]=x[i];}`,
  );
  return `${name}(${at},${mask},${value});`;
}

const FETCH: Partial<Record<AtomicOp, string>> = { add: "add", and: "and", or: "or", xor: "xor" };

/** A call that does one atomic and gives the old value. Floats work on their bits. */
export function atomic(
  u: Unit,
  op: AtomicOp,
  kind: MemKind,
  unsigned: boolean,
  at: string,
  values: readonly string[],
): string {
  const float = kind === "f32" || kind === "f64";
  const order = "__ATOMIC_ACQ_REL,__ATOMIC_ACQUIRE";
  const T = u.type(kind, 1);
  const fetch = FETCH[op];
  if (fetch && !float) return `__atomic_fetch_${fetch}(${at},(${T})${values[0]},__ATOMIC_ACQ_REL)`;
  if (float && (op === "and" || op === "or" || op === "xor"))
    throw new CompileError(`no atomic ${op} on floating-point memory`);
  if (op === "xchg" && !float) return `__atomic_exchange_n(${at},(${T})${values[0]},__ATOMIC_ACQ_REL)`;
  const name = `atomic_${op}_${kind}${unsigned ? "u" : ""}`;
  u.helper(name, () => {
    if (op === "cas" && !float)
      return `${T} ${name}(${T}*p,${T} v,${T} e){__atomic_compare_exchange_n(p,&e,v,0,${order});return e;}`;
    const B = float ? u.type(kind === "f32" ? "i32" : "i64", 1) : T;
    const typed = float ? `union U{${T} v;${B} b;};` : "";
    if (op === "cas")
      return (
        `${T} ${name}(${T}*p,${T} v,${T} e){union{${T} v;${B} b;}n={v},o={e};` +
        `__atomic_compare_exchange_n((${B}*)p,&o.b,n.b,0,${order});return o.v;}`
      );
    const read = unsigned
      ? kind === "i64"
        ? `(${u.type("u64", 1)})`
        : kind === "i32"
          ? `(${u.type("u32", 1)})`
          : ""
      : "";
    const less = op === "min" ? "<" : ">";
    const next =
      op === "add"
        ? "o.v+v"
        : op === "xchg"
          ? "v"
          : `${read}o.v${less}${read}v${float ? "||o.v!=o.v" : ""}?o.v:v`;
    const cell = float ? "union U o,n;" : `struct{${T} v;}o,n;`;
    const [old, now, place] = float ? ["o.b", "n.b", `(${B}*)p`] : ["o.v", "n.v", "p"];
    return (
      `${T} ${name}(${T}*p,${T} v){${typed}${cell}${old}=__atomic_load_n(${place},__ATOMIC_RELAXED);` +
      `do n.v=${next};while(!__atomic_compare_exchange_n(${place},&${old},${now},1,${order}));return o.v;}`
    );
  });
  return `${name}(${[at, ...values].join(",")})`;
}
