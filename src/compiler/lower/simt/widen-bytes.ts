// Integers of 8 and 4 bits as halves, two at a time in the words they were loaded in: a byte's bits become the low bits of a half
// whose step is 1 there, and what that half is too large by is taken off. All of these integers are exact as halves.

import type { Op, Value } from "../../ir/index.js";
import { isReg } from "../simd/emit.js";
import { dtypeOf } from "../simd/kinds.js";
import type { Operand, Reg } from "./form.js";
import type { Layout } from "./layout.js";
import type { Unit } from "./unit.js";

const defOf = (v: Value): Op | undefined => (v.def && "opcode" in v.def ? v.def : undefined);

function constantOf(v: Value): number | undefined {
  const op = defOf(v);
  if (op?.opcode === "splat" || op?.opcode === "broadcast") return constantOf(op.operands[0]!);
  return op?.opcode === "const" ? Number(op.attrs["value"]) : undefined;
}

/** A signed byte, or the low or high four bits of one with their sign. */
interface Source {
  readonly byte: Value;
  readonly part: "all" | "low" | "high";
}

/** What `(nibble ^ 8) - 8` or a signed byte is made of. */
function sourceOf(v: Value): Source | undefined {
  const op = defOf(v);
  if (op?.opcode === "load" && dtypeOf(v) === "i8") return { byte: v, part: "all" };
  if (op?.opcode === "cast" && (dtypeOf(v) === "f32" || dtypeOf(v) === "i32")) {
    const inner = sourceOf(op.operands[0]!);
    if (inner && (dtypeOf(v) === "f32" || inner.part !== "all")) return inner;
  }
  if (!op || dtypeOf(v) !== "i32") return undefined;
  const [left, right] = op.operands as [Value, Value];
  const less = op.opcode === "sub" ? constantOf(right) : op.opcode === "add" ? -(constantOf(right) ?? NaN) : undefined; // biome-ignore format: one line
  const flipped = less === 8 ? defOf(left) : undefined;
  if (flipped?.opcode !== "xor" || constantOf(flipped.operands[1]!) !== 8) return undefined;
  const bits = defOf(flipped.operands[0]!);
  if (!bits) return undefined;
  const wide = defOf(bits.operands[0]!);
  const by = bits.operands[1] && constantOf(bits.operands[1]);
  const byte = wide?.opcode === "cast" ? wide.operands[0]! : undefined;
  if (!byte || dtypeOf(byte) !== "u8" || defOf(byte)?.opcode !== "load") return undefined;
  if (bits.opcode === "and" && by === 15) return { byte, part: "low" };
  return (bits.opcode === "shr" || bits.opcode === "ushr") && by === 4 ? { byte, part: "high" } : undefined;
}

const twice = (half: number): number => (half << 16) | half;

/** The registers of a cast to halves, if that is of loaded bytes that stand together in words. */
export function widenBytes(unit: Unit, op: Op, l: Layout): readonly Operand[] | undefined {
  const d = dtypeOf(op.result);
  if (!unit.shape.halfPairs || (d !== "bf16" && d !== "f16")) return undefined;
  const source = sourceOf(op.operands[0]!);
  if (!source) return undefined;
  const { e } = unit;
  const places = unit.get(source.byte, l).map((x) => (isReg(x) ? e.byteOf(x) : undefined));
  const made: Operand[] = [];
  for (const p of places) {
    if (!p) return undefined;
    // Bytes 0 and 2 of a word make a pair, and 1 and 3.
    const pair = pairOf(unit, d, p.word, p.byte & 1, source.part);
    const which = (p.byte >> 1) as 0 | 1;
    const x = e.simt(d === "f16" ? (which ? "highF16" : "lowF16") : which ? "highBf16" : "lowBf16", "f32", [pair]); // biome-ignore format: one line
    if (isReg(x)) e.isHalfOf(x, d, pair, which);
    made.push(x);
  }
  return made;
}

/**
 * Two halves for each signed byte that is cast to bf16, whose sum it is: 128 and its low seven bits, less 128 or, with the sign's bit,
 * 256. A product that adds both up needs no subtractions. Registers stand as those of the cast, which nobody asks for then.
 */
export function termsOf(unit: Unit, v: Value, l: Layout): readonly (readonly Operand[])[] | undefined {
  const op = defOf(v);
  if (!unit.shape.halfPairs || op?.opcode !== "cast" || dtypeOf(v) !== "bf16") return undefined;
  const source = sourceOf(op.operands[0]!);
  if (source?.part !== "all") return undefined;
  const { e } = unit;
  const terms: [Operand[], Operand[]] = [[], []];
  for (const x of unit.get(source.byte, l)) {
    const p = isReg(x) ? e.byteOf(x) : undefined;
    if (!p) return undefined;
    const bits = p.byte & 1 ? e.op("shrU", "i32", 1, [p.word, 8]) : p.word;
    const which = (p.byte >> 1) as 0 | 1;
    [placed(e, bits, 127, 0x4300), placed(e, bits, 128, 0xc300)].forEach((pair, i) => {
      const half = e.simt(which ? "highBf16" : "lowBf16", "f32", [pair]);
      if (isReg(half)) e.isHalfOf(half, "bf16", pair, which);
      terms[i]!.push(half);
    });
  }
  return terms;
}

/** Bits of a byte in each half of a word, and those of a half beside them, both twice. */
const placed = (e: Unit["e"], bits: Operand, mask: number, base: number): Reg =>
  e.simt("andXor", "i32", [bits, twice(mask), twice(base)]) as Reg;

function pairOf({ e }: Unit, d: "f16" | "bf16", word: Reg, byte: number, part: Source["part"]): Reg {
  const by = 8 * byte + (part === "high" ? 4 : 0);
  const bits = by ? e.op("shrU", "i32", 1, [word, by]) : word;
  /** Bits of a byte, and those of a half beside them. */
  const placed = (mask: number, base: number): Operand => e.simt("andXor", "i32", [bits, twice(mask), base]);
  const less = (x: Operand, y: Operand): Reg =>
    e.simt(d === "f16" ? "subPairF16" : "subPairBf16", "i32", [x, y]) as Reg;
  // 128 or 1024, and the bits with the sign's turned over.
  if (part !== "all") {
    const base = twice(d === "f16" ? 0x6408 : 0x4308);
    return less(placed(15, base), base);
  }
  if (d === "f16") return less(placed(255, twice(0x6480)), twice(0x6480));
  // A bf16 from 128 to 255 has room for seven bits: the sign's bit makes 256 out of the 128 that is taken off.
  return less(placed(127, twice(0x4300)), placed(128, twice(0x4300)));
}
