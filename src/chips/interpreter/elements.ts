// How the interpreter keeps tiles: one typed array per value, whose element type does the wrapping and the
// rounding. Tiles of narrow floats are Float32Arrays that hold only values of their dtype.

import { DTYPES, type DType, isF8, isNarrowFloat } from "../../compiler/ir/index.js";
import type { NarrowFloat } from "./narrow.js";

/** The elements of a tile, row-major; a scalar is an array of one element. */
export type Elements =
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

type Maker = { new (n: number): Elements; new (buffer: ArrayBuffer): Elements };

const TILE: Record<DType, Maker> = {
  bool: Uint8Array,
  i8: Int8Array,
  i16: Int16Array,
  i32: Int32Array,
  i64: BigInt64Array,
  u8: Uint8Array,
  u16: Uint16Array,
  u32: Uint32Array,
  u64: BigUint64Array,
  f8e4m3: Float32Array,
  f8e5m2: Float32Array,
  f16: Float32Array,
  bf16: Float32Array,
  f32: Float32Array,
  f64: Float64Array,
};

/** A zeroed tile of `n` elements. */
export const elements = (dtype: DType, n: number): Elements => new TILE[dtype](n);

/** A buffer's bytes as elements of `dtype`; narrow floats as their bit patterns. */
export function memoryView(dtype: DType, data: ArrayBuffer): Elements {
  const bytes = DTYPES[dtype].bytes;
  const whole = data.byteLength - (data.byteLength % bytes);
  const patterns = isF8(dtype) ? Uint8Array : Uint16Array;
  const make = (isNarrow(dtype) ? patterns : TILE[dtype]) as new (
    buffer: ArrayBuffer,
    offset: number,
    length: number,
  ) => Elements;
  return new make(data, 0, whole / bytes);
}

/** The same memory as unsigned integers of the elements' width. */
export function bitsOf(a: Elements): Elements {
  const n = a.length;
  switch (a.BYTES_PER_ELEMENT) {
    case 1:
      return new Uint8Array(a.buffer, a.byteOffset, n);
    case 2:
      return new Uint16Array(a.buffer, a.byteOffset, n);
    case 4:
      return new Uint32Array(a.buffer, a.byteOffset, n);
    default:
      return new BigUint64Array(a.buffer, a.byteOffset, n);
  }
}

/** Copies a tile into another of the same dtype and length. */
export function copyElements(dst: Elements, src: Elements): void {
  if (dst.length === 1) dst[0] = src[0]!;
  else (dst as Float64Array).set(src as Float64Array);
}

/** Sets every element; `value` is a bigint for 64-bit integers. */
export function fillElements(dst: Elements, value: number | bigint): void {
  (dst as Float64Array).fill(value as number);
}

/** Whether the dtype is kept as 32-bit floats that need rounding after each op. */
export const isNarrow = (d: DType): d is NarrowFloat => isNarrowFloat(d);
