// Elements of under 32 bits in registers of 32: several in one word, as they stand in memory.

import { DTYPES, type DType, isF8 } from "../../ir/index.js";
import { isReg } from "../simd/emit.js";
import { toNarrowBits } from "../simd/narrow.js";
import type { SimtEmitter } from "./emit.js";
import type { Operand } from "./form.js";
import { fromMemory, toMemory } from "./shared.js";

/** The words of neighbouring elements: one a word from 4 bytes on, and for a single element. */
export function packWords(e: SimtEmitter, d: DType, xs: readonly Operand[]): Operand[] {
  const { bytes } = DTYPES[d];
  if (bytes >= 4) return [...xs];
  if (xs.length === 1) return [toMemory(e, d, xs[0]!)];
  const each = 4 / bytes;
  return Array.from({ length: xs.length / each }, (_, w) => {
    const part = xs.slice(w * each, w * each + each);
    if (isHalf(d)) return packHalves(e, d, part[0]!, part[1]!);
    return part.reduce<Operand>((word, x, k) => {
      const bits = e.op("and", "i32", 1, [toMemory(e, d, x), bytes === 1 ? 0xff : 0xffff]);
      return e.op("or", "i32", 1, [word, e.op("shl", "i32", 1, [bits, k * bytes * 8])]);
    }, 0);
  });
}

/** Chips have operations for pairs of these. */
const isHalf = (d: DType): boolean => d === "f16" || d === "bf16";

function packHalves(e: SimtEmitter, d: DType, low: Operand, high: Operand): Operand {
  if (!isReg(low) && !isReg(high))
    return Number(toNarrowBits(e, d, low, 1)) | (Number(toNarrowBits(e, d, high, 1)) << 16) | 0;
  const both = e.unpacked(low, high);
  if (both) return both;
  const [a, b] = [e.halfOf(low), e.halfOf(high)];
  if (a && b) return e.simt("halvesOf", "i32", [a.pair, b.pair], { index: a.which | (b.which << 1) });
  return e.simt(d === "f16" ? "packF16" : "packBf16", "i32", [low, high]);
}

/** The elements of words. */
export function unpackWords(e: SimtEmitter, d: DType, words: readonly Operand[], count: number): Operand[] {
  const { bytes } = DTYPES[d];
  if (bytes >= 4) return [...words];
  if (count === 1) return [fromMemory(e, d, words[0]!)];
  const each = 4 / bytes;
  return Array.from({ length: count }, (_, i): Operand => {
    const word = words[Math.floor(i / each)]!;
    const k = i % each;
    if (isHalf(d)) {
      const op = d === "f16" ? (k ? "highF16" : "lowF16") : k ? "highBf16" : "lowBf16";
      const x = e.simt(op, "f32", [word]);
      if (isReg(x) && isReg(word)) e.isHalfOf(x, d, word, k as 0 | 1);
      return x;
    }
    const size = bytes * 8;
    const noted = (x: Operand): Operand => {
      if (bytes === 1 && isReg(x) && isReg(word)) e.isByteOf(x, word, k);
      return x;
    };
    if (DTYPES[d].kind === "int")
      return noted(e.op("shrS", "i32", 1, [e.op("shl", "i32", 1, [word, 32 - size * (k + 1)]), 32 - size]));
    const bits = e.op("and", "i32", 1, [e.op("shrU", "i32", 1, [word, k * size]), 2 ** size - 1]);
    return d === "bool" || isF8(d) ? fromMemory(e, d, bits) : noted(bits);
  });
}
