// The matrix units by compute capability: which shapes there are, which thread holds which element, and the instruction.
// Source of the fragments: PTX ISA, "Warp-level matrix instructions" (mma.sync).

import type { SharedMatrix, Stmt } from "../../compiler/lower/simt/form.js";
import type { Fragment, MatrixShape } from "../../compiler/lower/simt/shape.js";
import type { Bases } from "./memory-ops.js";
import type { PtxUnit } from "./unit.js";

type MatrixStmt = Extract<Stmt, { s: "matrix" }>;

export interface PtxMatrix extends MatrixShape {
  /** The oldest compute capability that has it. */
  readonly since: number;
  /** The newest that has it, where later ones lack it. */
  readonly until?: number;
  print(u: PtxUnit, s: MatrixStmt, bases: Bases): void;
}

// In all of mma.sync a lane is four times a group of eight (rows of a and c, columns of b) and one of four within it.
const half: { a: Fragment; b: Fragment } = {
  // a[16,16]: pairs along k; then row + 8, then column + 8.
  a: { registers: [1, 128, 8], threads: [2, 4, 16, 32, 64] },
  // b[16,8]: pairs along k; then k + 8.
  b: { registers: [8, 64], threads: [16, 32, 1, 2, 4] },
};
const tf32: { a: Fragment; b: Fragment } = {
  a: { registers: [64, 4], threads: [1, 2, 8, 16, 32] },
  b: { registers: [32], threads: [8, 16, 1, 2, 4] },
};
const byte: { a: Fragment; b: Fragment } = {
  a: { registers: [1, 2, 256, 16], threads: [4, 8, 32, 64, 128] },
  b: { registers: [8, 16, 128], threads: [32, 64, 1, 2, 4] },
};
const f64: { a: Fragment; b: Fragment; c: Fragment } = {
  a: { registers: [], threads: [1, 2, 4, 8, 16] },
  b: { registers: [], threads: [8, 16, 1, 2, 4] },
  c: { registers: [1], threads: [2, 4, 8, 16, 32] },
};
/** c[16,8]: pairs along a row; then row + 8. */
const c: Fragment = { registers: [1, 64], threads: [2, 4, 8, 16, 32] };

function mma(
  since: number,
  operands: MatrixShape["operands"],
  types: string,
  [m, n, k]: readonly [number, number, number],
  fragments: { a: Fragment; b: Fragment; c?: Fragment },
): PtxMatrix {
  const accumulator = operands === "f64" ? "f64" : operands === "i8" || operands === "u8" ? "i32" : "f32";
  const name = `mma.sync.aligned.m${m}n${n}k${k}.row.col.${types}`;
  return {
    name,
    since,
    m,
    n,
    k,
    operands,
    accumulator,
    subgroups: 1,
    a: { fragment: fragments.a },
    b: { fragment: fragments.b },
    c: fragments.c ?? c,
    print(u, s) {
      if (!isList(s.a) || !isList(s.b)) throw new Error(`${name} takes its operands from registers`);
      const inputs = operands === "f64" ? "f64" : "i32";
      const [a, b] = [s.a, s.b].map((list) => list.map((o) => u.register(o, inputs)).join(", "));
      const sums = s.c.map((o) => u.register(o, accumulator)).join(", ");
      u.emit(`${name} {${s.d.map((r) => u.reg(r)).join(", ")}}, {${a}}, {${b}}, {${sums}};`);
    },
  };
}

/** A c fragment of m64: warps of 16 rows; in each, pairs along a row, then row + 8, then the next 8 columns. */
function wideSums(n: number): Fragment {
  const columns: number[] = [];
  for (let c = 8; c < n; c *= 2) columns.push(c);
  return { registers: [1, 8 * n, ...columns], threads: [2, 4, n, 2 * n, 4 * n, 16 * n, 32 * n] };
}

/** a[64,16] of a group of four warps, 16 rows each. */
const wideLeft: Fragment = { registers: [1, 128, 8], threads: [2, 4, 16, 32, 64, 256, 512] };

/** Products of a group of four warps (PTX ISA, "Asynchronous warpgroup level"): b out of shared memory, a too or in registers. */
function wgmma(operands: "bf16" | "f16", n: number): PtxMatrix {
  const name = `wgmma.mma_async.sync.aligned.m64n${n}k16.f32.${operands}.${operands}`;
  return {
    name,
    since: 90,
    until: 90,
    m: 64,
    n,
    k: 16,
    operands,
    accumulator: "f32",
    subgroups: 4,
    a: { shared: true, fragment: wideLeft },
    b: { shared: true },
    c: wideSums(n),
    isAsync: true,
    print(u, s, bases) {
      if (isList(s.b)) throw new Error(`${name} takes its right operand from shared memory`);
      const across = (x: SharedMatrix): number => (x.major === "k" ? 0 : 1);
      const sums = s.d.map((r) => u.reg(r)).join(", ");
      const b = descriptor(u, s.b, bases);
      const add = s.first === undefined ? "1" : typeof s.first === "object" ? `!${u.reg(s.first)}` : Number(s.first) ? "0" : "1"; // biome-ignore format: one line
      if (isList(s.a)) {
        const a = s.a.map((o) => u.register(o, "i32")).join(", ");
        u.emit(`${name} {${sums}}, {${a}}, ${b}, ${add}, 1, 1, ${across(s.b)};`);
      } else
        u.emit(
          `${name} {${sums}}, ${descriptor(u, s.a, bases)}, ${b}, ${add}, 1, 1, ${across(s.a)}, ${across(s.b)};`,
        );
    },
  };
}

/** a[64,8] of f32 in a group of four warps. */
const wideTf32: Fragment = { registers: [64, 4], threads: [1, 2, 8, 16, 32, 128, 256] };

/** The same for f32 rounded to TF32; what stands in shared memory stands along K (the direction of its rows). */
function wgmmaTf32(n: number): PtxMatrix {
  const name = `wgmma.mma_async.sync.aligned.m64n${n}k8.f32.tf32.tf32`;
  return {
    name,
    since: 90,
    until: 90,
    m: 64,
    n,
    k: 8,
    operands: "tf32",
    accumulator: "f32",
    subgroups: 4,
    a: { shared: true, fragment: wideTf32 },
    b: { shared: true },
    c: wideSums(n),
    isAsync: true,
    print(u, s, bases) {
      if (isList(s.b) || s.b.major !== "k" || (!isList(s.a) && s.a.major !== "k"))
        throw new Error(`${name} takes its operands along the sum from shared memory`);
      const b = descriptor(u, s.b, bases);
      const add = s.first === undefined ? "1" : typeof s.first === "object" ? `!${u.reg(s.first)}` : Number(s.first) ? "0" : "1"; // biome-ignore format: one line
      const sums = s.d.map((r) => u.reg(r)).join(", ");
      const a = isList(s.a)
        ? `{${s.a.map((o) => u.register(o, "i32")).join(", ")}}`
        : descriptor(u, s.a, bases);
      u.emit(`${name} {${sums}}, ${a}, ${b}, ${add}, 1, 1;`);
    },
  };
}

const SWIZZLE: Readonly<Record<SharedMatrix["swizzle"], bigint>> = { 0: 0n, 128: 1n, 64: 2n, 32: 3n };

/**
 * The 64 bits that describe an operand in shared memory; addresses and distances in 16 bytes. What differs between the operands of one
 * stage is a constant in the low word, which addresses of under 2^18 do not leave: one addition each.
 */
function descriptor(u: PtxUnit, x: SharedMatrix, bases: Bases): string {
  if (!("shared" in x.mem)) throw new Error("a matrix operand must stand in shared memory");
  const [low, d] = [u.temp("i32"), u.temp("i64")];
  u.emit(`add.s32 ${low}, ${bases.shared()}, ${u.operand(x.at, "i32")};`);
  u.emit(`shr.u32 ${low}, ${low}, 4;`);
  const plus = (x.mem.shared + (x.plus ?? 0)) / 16 + (x.leadingBytes / 16) * 2 ** 16;
  u.emit(`add.s32 ${low}, ${low}, ${plus};`);
  const high = BigInt(x.strideBytes / 16) | (SWIZZLE[x.swizzle] << 30n);
  u.emit(`mov.b64 ${d}, {${low}, ${Number(BigInt.asIntN(32, high))}};`);
  return d;
}

const isList = (x: MatrixStmt["a"]): x is Extract<MatrixStmt["a"], readonly unknown[]> => Array.isArray(x);

/** All shapes that the printer knows; a form names them by their place here. */
export const MATRICES: readonly PtxMatrix[] = [
  mma(80, "bf16", "f32.bf16.bf16.f32", [16, 8, 16], half),
  mma(80, "f16", "f32.f16.f16.f32", [16, 8, 16], half),
  mma(80, "tf32", "f32.tf32.tf32.f32", [16, 8, 8], tf32),
  mma(80, "i8", "s32.s8.s8.s32", [16, 8, 32], byte),
  mma(80, "u8", "s32.u8.u8.s32", [16, 8, 32], byte),
  mma(80, "f64", "f64.f64.f64.f64", [8, 8, 4], f64),
  ...(["bf16", "f16"] as const).flatMap((d) => [256, 128, 64, 32, 16, 8].map((n) => wgmma(d, n))),
  ...[256, 128, 64, 32, 16, 8].map(wgmmaTf32),
];
