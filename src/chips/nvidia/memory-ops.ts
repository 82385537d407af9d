// Loads, stores, atomics, asynchronous copies and shuffles of the lowered form as PTX. Addresses are computed here; what
// the statements mean stands in `lower/simt/form.ts`.

import type {
  CacheHint,
  FormParam,
  MemKind,
  Place,
  Reg,
  RegKind,
  Stmt,
} from "../../compiler/lower/simt/form.js";
import type { PtxUnit } from "./unit.js";

type Of<S extends Stmt["s"]> = Extract<Stmt, { s: S }>;

const BYTES: Readonly<Record<MemKind, number>> = {
  i8: 1,
  u8: 1,
  i16: 2,
  u16: 2,
  i32: 4,
  f32: 4,
  i64: 8,
  f64: 8,
};
export const bytesOf = (k: MemKind): number => BYTES[k];

/** How a memory kind is loaded into its register kind: small integers are extended. */
const LOAD: Readonly<Record<MemKind, string>> = {
  i8: "s8",
  u8: "u8",
  i16: "s16",
  u16: "u16",
  i32: "b32",
  i64: "b64",
  f32: "f32",
  f64: "f64",
};
const STORE: Readonly<Record<MemKind, string>> = { ...LOAD, i8: "u8", i16: "u16" };
const REGISTER: Readonly<Record<MemKind, RegKind>> = {
  i8: "i32",
  u8: "i32",
  i16: "i32",
  u16: "i32",
  i32: "i32",
  i64: "i64",
  f32: "f32",
  f64: "f64",
};

const LOAD_HINT: Readonly<Record<CacheHint, string>> = {
  streaming: ".cs",
  evictFirst: ".L1::evict_first",
  evictLast: ".L1::evict_last",
  global: ".cg",
};
const STORE_HINT: Readonly<Record<CacheHint, string>> = { ...LOAD_HINT, evictFirst: ".cs", evictLast: ".wb" };

/** Where the function keeps what addresses need. */
export interface Bases {
  readonly params: readonly FormParam[];
  /** The register (64 bits) with the address of buffer parameter `index`. */
  buffer(index: number): string;
  /** The register (32 bits) with the address of shared memory. */
  shared(): string;
  /** The register (64 bits) with the address of block map `index`. */
  map(index: number): string;
}

interface Address {
  readonly space: "global" | "shared";
  readonly text: string;
}

/** The address of a place as PTX writes it: `[%rd3+16]`. */
export function addressOf(u: PtxUnit, bases: Bases, p: Place): Address {
  if ("shared" in p.mem) {
    const fixed = p.mem.shared + (p.plus ?? 0);
    if (typeof p.at !== "object")
      return { space: "shared", text: `[${bases.shared()}+${fixed + Number(p.at)}]` };
    const t = u.temp("i32");
    if (p.at.type.kind === "i64") {
      u.emit(`cvt.u32.u64 ${t}, ${u.reg(p.at)};`);
      u.emit(`add.s32 ${t}, ${t}, ${bases.shared()};`);
    } else u.emit(`add.s32 ${t}, ${u.reg(p.at)}, ${bases.shared()};`);
    return { space: "shared", text: `[${t}+${fixed}]` };
  }
  const param = bases.params[p.mem.param]!;
  const size = param.kind === "buffer" ? BYTES[param.mem] : 1;
  const base = bases.buffer(p.mem.param);
  const plus = (p.plus ?? 0) * size;
  const near = plus >= -(2 ** 23) && plus < 2 ** 23;
  let at = base;
  if (typeof p.at === "object") {
    at = u.temp("i64");
    if (p.at.type.kind === "i64") {
      if (size === 1) u.emit(`add.s64 ${at}, ${base}, ${u.reg(p.at)};`);
      else {
        u.emit(`shl.b64 ${at}, ${u.reg(p.at)}, ${Math.log2(size)};`);
        u.emit(`add.s64 ${at}, ${base}, ${at};`);
      }
    } else u.emit(`mad.wide.s32 ${at}, ${u.reg(p.at)}, ${size}, ${base};`);
  } else if (BigInt(p.at) !== 0n) {
    at = u.temp("i64");
    u.emit(`add.s64 ${at}, ${base}, ${BigInt(p.at) * BigInt(size)};`);
  }
  if (near) return { space: "global", text: plus === 0 ? `[${at}]` : `[${at}+${plus}]` };
  const far = u.temp("i64");
  u.emit(`add.s64 ${far}, ${at}, ${plus};`);
  return { space: "global", text: `[${far}]` };
}

/** `@%p ` before an instruction under a mask; nothing for `true`; `undefined` when it never runs. */
export function guard(u: PtxUnit, mask: Of<"load">["mask"]): string | undefined {
  if (mask === undefined) return "";
  if (typeof mask === "object") return `@${u.reg(mask)} `;
  return Number(mask) ? "" : undefined;
}

const list = (names: readonly string[]): string => (names.length === 1 ? names[0]! : `{${names.join(", ")}}`);

export function printLoad(u: PtxUnit, bases: Bases, s: Of<"load">): void {
  const under = guard(u, s.mask);
  if (under === undefined) return;
  const { space, text } = addressOf(u, bases, s);
  const hint = space === "global" && s.cache ? LOAD_HINT[s.cache] : "";
  const vector = s.dst.length > 1 ? `.v${s.dst.length}` : "";
  // A plain kind may be wanted in a register of another kind of the same width.
  const type = untyped(s.kind, s.dst[0]!);
  u.emit(`${under}ld.${space}${hint}${vector}.${type} ${list(s.dst.map((r) => u.reg(r)))}, ${text};`);
}

const untyped = (kind: MemKind, reg: Reg): string =>
  REGISTER[kind] === reg.type.kind ? LOAD[kind] : BYTES[kind] === 8 ? "b64" : "b32";

export function printStore(u: PtxUnit, bases: Bases, s: Of<"store">): void {
  const under = guard(u, s.mask);
  if (under === undefined) return;
  const values = s.values.map((v) => u.register(v, s.type.kind));
  const { space, text } = addressOf(u, bases, s);
  const hint = space === "global" && s.cache ? STORE_HINT[s.cache] : "";
  const vector = values.length > 1 ? `.v${values.length}` : "";
  const type = REGISTER[s.kind] === s.type.kind ? STORE[s.kind] : BYTES[s.kind] === 8 ? "b64" : "b32";
  u.emit(`${under}st.${space}${hint}${vector}.${type} ${text}, ${list(values)};`);
}

const ATOMIC: Readonly<Record<string, string>> = { xchg: "exch" };
const SCOPE = { group: "cta", chip: "gpu", system: "sys" } as const;

export function printAtomic(u: PtxUnit, bases: Bases, s: Of<"atomic">): void {
  const under = guard(u, s.mask);
  if (under === undefined) return;
  const kind = REGISTER[s.kind];
  const value = u.register(s.value, kind);
  const expected = s.expected === undefined ? undefined : u.register(s.expected, kind);
  const { space, text } = addressOf(u, bases, s);
  const wide = BYTES[s.kind] === 8;
  const width = wide ? "64" : "32";
  const type =
    s.op === "add"
      ? s.kind === "f32" || s.kind === "f64"
        ? s.kind
        : `u${width}`
      : s.op === "min" || s.op === "max"
        ? `${s.unsigned ? "u" : "s"}${width}`
        : `b${width}`;
  const name = `atom.${s.order}.${SCOPE[s.scope ?? "chip"]}.${space}.${ATOMIC[s.op] ?? s.op}`;
  if (s.kind === "u8" && s.op === "cas") {
    printCas8(u, s, { space, text, name, value, expected: expected! });
    return;
  }
  if (s.kind === "u16" && s.op === "cas") {
    printCas16(u, s, under, name, text, value, expected!);
    return;
  }
  const dst = s.dst ? u.reg(s.dst) : u.temp(kind);
  const nothing = typeof s.value !== "object" && Number(s.value) === 0;
  if (s.op === "or" && nothing && s.order === "relaxed") {
    u.emit(`${under}ld.relaxed.${SCOPE[s.scope ?? "chip"]}.${space}.b${width} ${dst}, ${text};`);
    return;
  }
  const operands = expected === undefined ? value : `${expected}, ${value}`;
  u.emit(`${under}${name}.${type} ${dst}, ${text}, ${operands};`);
}

/** A byte is exchanged within its word, as long as the byte is what was expected: other threads may change the rest of the word. */
function printCas8(
  u: PtxUnit,
  s: Of<"atomic">,
  a: Address & { readonly name: string; readonly value: string; readonly expected: string },
): void {
  const wide = a.space === "global";
  const [at, low] = [u.temp(wide ? "i64" : "i32"), u.temp("i32")];
  const [again, done] = [u.newLabel("cas"), u.newLabel("end")];
  const bits = wide ? "64" : "32";
  const [, base, plus] = /^\[(.*?)(?:\+(-?\d+))?\]$/.exec(a.text)!;
  const skip = guard(u, s.mask);
  // Under a mask the whole loop is.
  if (skip) u.emit(`${skip.replace("@", "@!")}bra ${done};`);
  u.emit(`add.s${bits} ${at}, ${base}, ${plus ?? 0};`);
  u.emit(wide ? `cvt.u32.u64 ${low}, ${at};` : `mov.b32 ${low}, ${at};`);
  u.emit(`and.b${bits} ${at}, ${at}, -4;`);
  u.emit(`and.b32 ${low}, ${low}, 3;`);
  u.emit(`shl.b32 ${low}, ${low}, 3;`);
  const [word, old, byte, next] = [u.temp("i32"), u.temp("i32"), u.temp("i32"), u.temp("i32")];
  const stop = u.temp("mask");
  u.emit(`ld.relaxed.${SCOPE[s.scope ?? "chip"]}.${a.space}.b32 ${word}, [${at}];`);
  u.label(again);
  u.emit(`bfe.u32 ${byte}, ${word}, ${low}, 8;`);
  u.emit(`setp.ne.b32 ${stop}, ${byte}, ${a.expected};`);
  u.emit(`@${stop} bra ${done};`);
  u.emit(`bfi.b32 ${next}, ${a.value}, ${word}, ${low}, 8;`);
  u.emit(`${a.name}.b32 ${old}, [${at}], ${word}, ${next};`);
  u.emit(`setp.ne.b32 ${stop}, ${old}, ${word};`);
  u.emit(`mov.b32 ${word}, ${old};`);
  u.emit(`@${stop} bra ${again};`);
  u.label(done);
  if (s.dst) u.emit(`${skip}mov.b32 ${u.reg(s.dst)}, ${byte};`);
}

function printCas16(
  u: PtxUnit,
  s: Of<"atomic">,
  under: string,
  name: string,
  text: string,
  value: string,
  expected: string,
): void {
  const [old, want, put] = [u.temp("h"), u.temp("h"), u.temp("h")];
  u.emit(`cvt.u16.u32 ${want}, ${expected};`);
  u.emit(`cvt.u16.u32 ${put}, ${value};`);
  u.emit(`${under}${name}.b16 ${old}, ${text}, ${want}, ${put};`);
  if (s.dst) u.emit(`${under}cvt.u32.u16 ${u.reg(s.dst)}, ${old};`);
}

const HOW = { xor: ["bfly", 31], up: ["up", 0], down: ["down", 31], index: ["idx", 31] } as const;

export function printShuffle(u: PtxUnit, s: Of<"shuffle">): void {
  const [how, clamp] = HOW[s.how];
  const value = u.register(s.value, s.dst.type.kind);
  u.emit(`shfl.sync.${how}.b32 ${u.reg(s.dst)}, ${value}, ${u.operand(s.by, "i32")}, ${clamp}, -1;`);
}

/** One vote for each bit: several times as fast as `match.any`, which takes distinct values one after the other. */
export function printMatch(u: PtxUnit, s: Of<"match">): void {
  const [dst, value] = [u.reg(s.dst), u.register(s.value, "i32")];
  const [votes, bit, p] = [u.temp("i32"), u.temp("i32"), u.temp("mask")];
  for (let i = 0; i < s.bits; i++) {
    const all = i === 0 ? dst : votes;
    u.emit(`and.b32 ${bit}, ${value}, ${2 ** i};`);
    u.emit(`setp.ne.b32 ${p}, ${bit}, 0;`);
    u.emit(`vote.sync.ballot.b32 ${all}, ${p}, -1;`);
    u.emit(`@!${p} not.b32 ${all}, ${all};`);
    if (i > 0) u.emit(`and.b32 ${dst}, ${dst}, ${votes};`);
  }
}

export function printCopyAsync(u: PtxUnit, bases: Bases, s: Of<"copyAsync">): void {
  const to = addressOf(u, bases, s.to);
  const from = addressOf(u, bases, s.from);
  // Bytes beyond the size that is read are zeros, and a size of 0 reads nothing.
  let size = "";
  if (s.mask !== undefined) {
    const t = u.temp("i32");
    u.emit(`selp.b32 ${t}, ${s.bytes}, 0, ${u.operand(s.mask, "mask")};`);
    size = `, ${t}`;
  }
  // Only pieces of 16 bytes can pass by the first-level cache.
  const through = s.bytes === 16 ? "cg" : "ca";
  u.emit(`cp.async.${through}.shared.global ${to.text}, ${from.text}, ${s.bytes}${size};`);
}

export function printLoadMatrix(u: PtxUnit, bases: Bases, s: Of<"loadMatrix">): void {
  const { text } = addressOf(u, bases, s.place);
  const names = s.dst.map((r) => u.reg(r));
  u.emit(
    `ldmatrix.sync.aligned.m8n8.x${names.length}${s.transpose ? ".trans" : ""}.shared.b16 {${names.join(", ")}}, ${text};`,
  );
}
