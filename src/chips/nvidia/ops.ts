// Register operations of the lowered form as PTX instructions. What each means stands in `lower/simd/form.ts`; the
// parts where PTX's own meaning differs (shift counts, NaN in conversions, min and max) are written out here.

import type { Operand, Reg, RegKind, Stmt } from "../../compiler/lower/simt/form.js";
import { MOVE, type PtxUnit } from "./unit.js";

export type OpStmt = Extract<Stmt, { s: "op" }>;

const isFloat = (k: RegKind): boolean => k === "f32" || k === "f64";
const isWide = (k: RegKind): boolean => k === "i64" || k === "f64";
const bits = (k: RegKind): string => (isWide(k) ? "64" : "32");

/** The kind of an operation's first argument; literals take the result's. */
function kindOf(args: readonly Operand[], dst: Reg): RegKind {
  for (const a of args) if (typeof a === "object") return a.type.kind;
  return dst.type.kind;
}

const ARITHMETIC: Readonly<Record<string, (k: RegKind) => string>> = {
  add: (k) => (isFloat(k) ? `add.rn.${k}` : `add.s${bits(k)}`),
  sub: (k) => (isFloat(k) ? `sub.rn.${k}` : `sub.s${bits(k)}`),
  mul: (k) => (isFloat(k) ? `mul.rn.${k}` : `mul.lo.s${bits(k)}`),
  div: (k) => `div.rn.${k}`,
  fma: (k) => `fma.rn.${k}`,
  sqrt: (k) => `sqrt.rn.${k}`,
  floor: (k) => `cvt.rmi.${k}.${k}`,
  ceil: (k) => `cvt.rpi.${k}.${k}`,
  trunc: (k) => `cvt.rzi.${k}.${k}`,
  nearest: (k) => `cvt.rni.${k}.${k}`,
  abs: (k) => (isFloat(k) ? `abs.${k}` : `abs.s${bits(k)}`),
  neg: (k) => (isFloat(k) ? `neg.${k}` : `neg.s${bits(k)}`),
  divS: (k) => `div.s${bits(k)}`,
  divU: (k) => `div.u${bits(k)}`,
  remS: (k) => `rem.s${bits(k)}`,
  remU: (k) => `rem.u${bits(k)}`,
  minS: (k) => `min.s${bits(k)}`,
  minU: (k) => `min.u${bits(k)}`,
  maxS: (k) => `max.s${bits(k)}`,
  maxU: (k) => `max.u${bits(k)}`,
  and: (k) => `and.${k === "mask" ? "pred" : `b${bits(k)}`}`,
  or: (k) => `or.${k === "mask" ? "pred" : `b${bits(k)}`}`,
  xor: (k) => `xor.${k === "mask" ? "pred" : `b${bits(k)}`}`,
  not: (k) => `not.${k === "mask" ? "pred" : `b${bits(k)}`}`,
};

/** Comparisons: [signed or float, unsigned]. `neu` is true for NaN, as IEEE's `!=` is. */
const COMPARE: Readonly<Record<string, (k: RegKind) => string>> = {
  eq: (k) => `eq.${isFloat(k) ? k : `s${bits(k)}`}`,
  ne: (k) => (isFloat(k) ? `neu.${k}` : `ne.s${bits(k)}`),
  ltS: (k) => `lt.${isFloat(k) ? k : `s${bits(k)}`}`,
  leS: (k) => `le.${isFloat(k) ? k : `s${bits(k)}`}`,
  gtS: (k) => `gt.${isFloat(k) ? k : `s${bits(k)}`}`,
  geS: (k) => `ge.${isFloat(k) ? k : `s${bits(k)}`}`,
  ltU: (k) => `lt.u${bits(k)}`,
  leU: (k) => `le.u${bits(k)}`,
  gtU: (k) => `gt.u${bits(k)}`,
  geU: (k) => `ge.u${bits(k)}`,
};

const AXES = ["x", "y", "z"] as const;

/** Values that the function's head prepares, by name. */
export interface Head {
  /** The register that holds scalar parameter `index`. */
  scalar(index: number): string;
  programId(axis: number): string;
  numPrograms(axis: number): string;
  /** The predicate of the threads behind the workgroup's own. */
  isExtra(): string;
}

type Print = (u: PtxUnit, s: OpStmt, d: string, kind: RegKind, head: Head) => void;

/** An argument that must stand in a register. */
const inReg = (u: PtxUnit, s: OpStmt, i: number, kind: RegKind): string => u.register(s.args[i]!, kind);

const move: Print = (u, s, d) => {
  const kind = s.dst.type.kind;
  u.emit(`mov.${MOVE[kind]} ${d}, ${u.operand(s.args[0]!, kind)};`);
};
const half =
  (which: 0 | 1): Print =>
  (u, s, d) =>
    printHalf(u, d, inReg(u, s, 0, "i32"), which);

/** Everything that is not one instruction on operands of one kind. */
const OTHERS: Readonly<Record<string, Print>> = {
  min: printExtreme,
  max: printExtreme,
  shl: printShift,
  shrS: printShift,
  shrU: printShift,
  select: printSelect,
  convertS: printConvert,
  convertU: printConvert,
  bitcast: (u, s, d, kind) => u.emit(`mov.b${bits(kind)} ${d}, ${inReg(u, s, 0, kind)};`),
  fromMask: (u, s, d) =>
    u.emit(`selp.b${bits(s.dst.type.kind)} ${d}, 1, 0, ${u.operand(s.args[0]!, "mask")};`),
  copy: move,
  splat: move,
  param: (u, s, d, _, head) => {
    const from = head.scalar(s.index!);
    const { kind } = s.dst.type;
    u.emit(kind === "mask" ? `setp.ne.b32 ${d}, ${from}, 0;` : `mov.${MOVE[kind]} ${d}, ${from};`);
  },
  programId: (u, s, d, _, head) => u.emit(`mov.b32 ${d}, ${head.programId(s.index!)};`),
  numPrograms: (u, s, d, _, head) => u.emit(`mov.b32 ${d}, ${head.numPrograms(s.index!)};`),
  isExtra: (u, _s, d, _, head) => u.emit(`mov.pred ${d}, ${head.isExtra()};`),
  threadId: (u, _, d) => u.emit(`mov.u32 ${d}, %tid.x;`),
  exp2Approx: (u, s, d) => u.emit(`ex2.approx.ftz.f32 ${d}, ${inReg(u, s, 0, "f32")};`),
  sigmoidApprox: (u, s, d) => {
    const t = u.temp("f32");
    u.emit(`mul.rn.f32 ${t}, ${inReg(u, s, 0, "f32")}, 0fBFB8AA3B;`);
    u.emit(`ex2.approx.ftz.f32 ${t}, ${t};`);
    u.emit(`add.rn.f32 ${t}, ${t}, 0f3F800000;`);
    u.emit(`rcp.approx.ftz.f32 ${d}, ${t};`);
  },
  f16ToF32: half(0),
  lowF16: half(0),
  highF16: half(1),
  f32ToF16: (u, s, d) => {
    const h = u.temp("h");
    u.emit(`cvt.rn.f16.f32 ${h}, ${inReg(u, s, 0, "f32")};`);
    u.emit(`cvt.u32.u16 ${d}, ${h};`);
  },
  lowBf16: (u, s, d) => u.emit(`shl.b32 ${d}, ${inReg(u, s, 0, "i32")}, 16;`),
  highBf16: (u, s, d) => u.emit(`and.b32 ${d}, ${inReg(u, s, 0, "i32")}, -65536;`),
  packF16: (u, s, d) => {
    const [low, high] = [u.temp("h"), u.temp("h")];
    u.emit(`cvt.rn.f16.f32 ${low}, ${inReg(u, s, 0, "f32")};`);
    u.emit(`cvt.rn.f16.f32 ${high}, ${inReg(u, s, 1, "f32")};`);
    u.emit(`mov.b32 ${d}, {${low}, ${high}};`);
  },
  // Differences as sums of products with -1: those have one instruction since 8.0.
  subPairF16: (u, s, d) => printSubPair(u, s, d, "f16x2", 0xbc00bc00),
  subPairBf16: (u, s, d) => printSubPair(u, s, d, "bf16x2", 0xbf80bf80),
  andXor: (u, s, d) =>
    u.emit(`lop3.b32 ${d}, ${s.args.map((a) => u.operand(a, "i32")).join(", ")}, ${(0xf0 & 0xcc) ^ 0xaa};`),
  popCount: (u, s, d) => u.emit(`popc.b32 ${d}, ${inReg(u, s, 0, "i32")};`),
  halvesOf: (u, s, d) => {
    const bytes = [0x10, 0x32][s.index! & 1]! | ([0x54, 0x76][s.index! >> 1]! << 8);
    u.emit(`prmt.b32 ${d}, ${inReg(u, s, 0, "i32")}, ${inReg(u, s, 1, "i32")}, ${bytes};`);
  },
  packBf16: (u, s, d) => printPackBf16(u, d, inReg(u, s, 0, "f32"), inReg(u, s, 1, "f32")),
};

function printSubPair(u: PtxUnit, s: OpStmt, d: string, type: string, minusOne: number): void {
  const [a, b] = [inReg(u, s, 0, "i32"), inReg(u, s, 1, "i32")];
  const one = u.register(minusOne | 0, "i32");
  u.emit(`fma.rn.${type} ${d}, ${b}, ${one}, ${a};`);
}

/** Prints one register operation. */
export function printOp(u: PtxUnit, s: OpStmt, head: Head): void {
  const d = u.reg(s.dst);
  const kind = kindOf(s.args, s.dst);
  const [plain, compare, other] = [ARITHMETIC[s.op], COMPARE[s.op], OTHERS[s.op]];
  if (plain) u.emit(`${plain(kind)} ${d}, ${s.args.map((o) => u.operand(o, kind)).join(", ")};`);
  else if (compare) printCompare(u, s, d, kind, compare);
  else if (other) other(u, s, d, kind, head);
  else throw new Error(`the nvidia chip's printer does not know the operation ${s.op}`);
}

function printCompare(u: PtxUnit, s: OpStmt, d: string, kind: RegKind, how: (k: RegKind) => string): void {
  const [a, b] = [u.operand(s.args[0]!, kind), u.operand(s.args[1]!, kind)];
  if (kind !== "mask") {
    u.emit(`setp.${how(kind)} ${d}, ${a}, ${b};`);
    return;
  }
  u.emit(`xor.pred ${d}, ${a}, ${b};`);
  if (s.op === "eq") u.emit(`not.pred ${d}, ${d};`);
}

/** NaN if either is: native for f32 from 8.0 on. */
function printExtreme(u: PtxUnit, s: OpStmt, d: string, kind: RegKind): void {
  const [a, b] = [u.register(s.args[0]!, kind), u.register(s.args[1]!, kind)];
  if (kind === "f32" && u.capability >= 80) {
    u.emit(`${s.op}.NaN.f32 ${d}, ${a}, ${b};`);
    return;
  }
  const [t, sum, nan] = [u.temp(kind), u.temp(kind), u.temp("mask")];
  u.emit(`${s.op}.${kind} ${t}, ${a}, ${b};`);
  u.emit(`add.rn.${kind} ${sum}, ${a}, ${b};`);
  u.emit(`setp.nan.${kind} ${nan}, ${a}, ${b};`);
  u.emit(`selp.${kind} ${d}, ${sum}, ${t}, ${nan};`);
}

/** PTX clamps counts at the width; the form masks them. */
function printShift(u: PtxUnit, s: OpStmt, d: string, kind: RegKind): void {
  const wide = isWide(kind);
  const by = s.args[1]!;
  let count: string;
  if (typeof by !== "object") count = String(Number(BigInt(by) & (wide ? 63n : 31n)));
  else {
    count = u.temp("i32");
    const from = u.reg(by);
    if (by.type.kind === "i64") {
      u.emit(`cvt.u32.u64 ${count}, ${from};`);
      u.emit(`and.b32 ${count}, ${count}, ${wide ? 63 : 31};`);
    } else u.emit(`and.b32 ${count}, ${from}, ${wide ? 63 : 31};`);
  }
  const type = s.op === "shl" ? "shl.b" : s.op === "shrS" ? "shr.s" : "shr.u";
  u.emit(`${type}${bits(kind)} ${d}, ${u.operand(s.args[0]!, kind)}, ${count};`);
}

function printSelect(u: PtxUnit, s: OpStmt, d: string): void {
  const p = u.operand(s.args[0]!, "mask");
  const kind = s.dst.type.kind;
  const [a, b] = [u.operand(s.args[1]!, kind), u.operand(s.args[2]!, kind)];
  if (kind !== "mask") {
    u.emit(`selp.${isFloat(kind) ? kind : `b${bits(kind)}`} ${d}, ${a}, ${b}, ${p};`);
    return;
  }
  const [no, yes, other] = [u.temp("mask"), u.temp("mask"), u.temp("mask")];
  u.emit(`not.pred ${no}, ${p};`);
  u.emit(`and.pred ${yes}, ${p}, ${a};`);
  u.emit(`and.pred ${other}, ${no}, ${b};`);
  u.emit(`or.pred ${d}, ${yes}, ${other};`);
}

/** Conversions between kinds. Float to integer saturates, and NaN becomes 0. */
function printConvert(u: PtxUnit, s: OpStmt, d: string, from: RegKind): void {
  const to = s.dst.type.kind;
  const a = inReg(u, s, 0, from);
  const simple = conversion(from, to, s.op === "convertS" ? "s" : "u");
  if (simple) {
    u.emit(`${simple} ${d}, ${a};`);
    return;
  }
  const [t, nan] = [u.temp(to), u.temp("mask")];
  u.emit(`cvt.rzi.${s.op === "convertS" ? "s" : "u"}${bits(to)}.${from} ${t}, ${a};`);
  u.emit(`setp.nan.${from} ${nan}, ${a}, ${a};`);
  u.emit(`selp.b${bits(to)} ${d}, 0, ${t}, ${nan};`);
}

/** The instruction that converts, or `undefined` where NaN needs care: PTX makes it 0 only from f32 to 32 bits. */
function conversion(from: RegKind, to: RegKind, sign: "s" | "u"): string | undefined {
  if (from === to) return `mov.${MOVE[to]}`;
  if (isFloat(from) && isFloat(to)) return to === "f64" ? "cvt.f64.f32" : "cvt.rn.f32.f64";
  if (isFloat(to)) return `cvt.rn.${to}.${sign}${bits(from)}`;
  if (!isFloat(from)) return to === "i64" ? `cvt.${sign}64.${sign}32` : "cvt.u32.u64";
  return from === "f32" && to === "i32" ? `cvt.rzi.${sign}32.f32` : undefined;
}

/** The low (0) or high (1) half of 32 bits, as f16, to f32. */
function printHalf(u: PtxUnit, d: string, pair: string, which: 0 | 1): void {
  const h = [u.temp("h"), u.temp("h")];
  u.emit(`mov.b32 {${h.join(", ")}}, ${pair};`);
  u.emit(`cvt.f32.f16 ${d}, ${h[which]};`);
}

function printPackBf16(u: PtxUnit, d: string, low: string, high: string): void {
  // The instruction's first source is the high half.
  if (u.capability >= 80) {
    u.emit(`cvt.rn.bf16x2.f32 ${d}, ${high}, ${low};`);
    return;
  }
  const [l, h] = [roundBf16(u, low), roundBf16(u, high)];
  u.emit(`prmt.b32 ${d}, ${l}, ${h}, 0x7632;`);
}

/** bf16 in the high half of 32 bits, to nearest even; NaN stays NaN. */
function roundBf16(u: PtxUnit, x: string): string {
  const [b, odd, t, nan] = [u.temp("i32"), u.temp("i32"), u.temp("i32"), u.temp("mask")];
  u.emit(`mov.b32 ${b}, ${x};`);
  u.emit(`bfe.u32 ${odd}, ${b}, 16, 1;`);
  u.emit(`add.u32 ${t}, ${b}, ${odd};`);
  u.emit(`add.u32 ${t}, ${t}, 32767;`);
  u.emit(`setp.nan.f32 ${nan}, ${x}, ${x};`);
  u.emit(`selp.b32 ${t}, 2143289344, ${t}, ${nan};`);
  return t;
}

/** The special register of a grid axis. */
export const gridRegister = (what: "ctaid" | "nctaid", axis: number): string => `%${what}.${AXES[axis]}`;
