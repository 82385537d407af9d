// Floats of 8 and 16 bits in the interpreter: rounding arrays of 32-bit floats, and turning them into bits and back.

import { DTYPES, type DType, isF8 } from "../../compiler/ir/dtype.js";
import { NARROW_FLOATS } from "../../compiler/ir/rounding.js";
import type { A } from "./loops.js";
import type { Elements } from "./elements.js";

export type NarrowFloat = keyof typeof NARROW_FLOATS;
/** An array for the bits of `n` elements. */
export const bitArray = (dtype: DType, n: number): Uint8Array | Uint16Array =>
  isF8(dtype) ? new Uint8Array(n) : new Uint16Array(n);

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** The f16 bits of a number that is an f32 value; to nearest, ties to even. */
export function f16Bits(x: number): number {
  scratch[0] = x;
  const u = scratchBits[0]!;
  const sign = (u >>> 16) & 0x8000;
  const mag = u & 0x7fffffff;
  if (mag > 0x7f800000) return sign | 0x7e00; // NaN
  if (mag >= 0x477ff000) return sign | 0x7c00; // rounds to 2^16 or more
  if (mag >= 0x38800000) return sign | ((mag - 0x38000000 + 0xfff + ((mag >>> 13) & 1)) >>> 13);
  // Below 2^-14 the steps are 2^-24: adding 0.5 makes f32 round to exactly those.
  scratch[0] = Math.abs(x) + 0.5;
  return sign | (scratchBits[0]! - 0x3f000000);
}

const tables: Partial<Record<NarrowFloat, Float32Array>> = {};

/** The value of each bit pattern. */
export function narrowValues(dtype: NarrowFloat): Float32Array {
  let table = tables[dtype];
  if (!table) {
    const n = 2 ** DTYPES[dtype].bits;
    table = tables[dtype] = new Float32Array(n);
    if (dtype === "bf16") {
      // Not by value, which would lose the bits of NaNs.
      const bits = new Uint32Array(table.buffer);
      for (let i = 0; i < n; i++) bits[i] = i << 16;
    } else for (let i = 0; i < n; i++) table[i] = NARROW_FLOATS[dtype].value(i);
  }
  return table;
}

/** The bits of one f32 value, rounded. */
export const narrowBitsOf = (dtype: NarrowFloat): ((x: number) => number) =>
  dtype === "f16" ? f16Bits : NARROW_FLOATS[dtype].bits;

/** Bits of `n` values that are already of the dtype. */
export function narrowBits(
  dtype: NarrowFloat,
  o: Uint8Array | Uint16Array,
  values: Elements,
  n: number,
): void {
  if (dtype !== "bf16") {
    const bits = narrowBitsOf(dtype);
    for (let i = 0; i < n; i++) o[i] = bits(values[i] as number);
  } else {
    const bits = new Uint32Array(values.buffer, values.byteOffset, n);
    for (let i = 0; i < n; i++) o[i] = bits[i]! >>> 16;
  }
}

const roundBf16 = (bits: A, n: number): void => {
  for (let i = 0; i < n; i++) {
    const u = bits[i]!;
    if ((u & 0x7fffffff) > 0x7f800000) bits[i] = (u | 0x400000) & 0xffff0000;
    else bits[i] = (u + 0x7fff + ((u >>> 16) & 1)) & 0xffff0000;
  }
};

const roundF16 = (v: A, bits: A, n: number): void => {
  for (let i = 0; i < n; i++) {
    const u = bits[i]!;
    const mag = u & 0x7fffffff;
    if (mag >= 0x477ff000) {
      if (mag <= 0x7f800000) bits[i] = (u & 0x80000000) | 0x7f800000;
    } else if (mag >= 0x38800000) bits[i] = (u + 0xfff + ((u >>> 13) & 1)) & 0xffffe000;
    else if (mag !== 0) {
      const x = v[i]!;
      const r = Math.fround(Math.abs(x) + 0.5) - 0.5;
      v[i] = x < 0 ? -r : r;
    }
  }
};

/** Rounds a tile of f32 values to the dtype in place, to nearest, ties to even. */
export function makeRound(dtype: NarrowFloat, tile: Elements): () => void {
  if (isF8(dtype)) {
    const { round } = NARROW_FLOATS[dtype];
    return () => {
      for (let i = 0; i < tile.length; i++) tile[i] = round(tile[i] as number);
    };
  }
  const bits = new Uint32Array(tile.buffer, tile.byteOffset, tile.length) as unknown as A;
  const n = tile.length;
  if (dtype === "bf16") return () => roundBf16(bits, n);
  const values = tile as unknown as A;
  return () => roundF16(values, bits, n);
}
