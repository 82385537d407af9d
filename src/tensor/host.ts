// Numbers on the host and their bytes in memory: conversion between JavaScript's arrays and a dtype's storage form.

import { NARROW_FLOATS } from "../compiler/ir/rounding.js";
import type { DType, Scalar } from "./dtype.js";
import { itemSize } from "./dtype.js";

/** What reading gives: floats of 8 and 16 bits come as Float32Array, bool as Uint8Array. */
export type TensorData =
  | Float32Array
  | Float64Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Int8Array
  | Int16Array;

/** Typed arrays that tensors are made from. */
export type SourceArray = TensorData | Uint8ClampedArray | Uint16Array | Uint32Array | BigUint64Array;

const f32 = new Float32Array(1);
const f32Word = new Uint32Array(f32.buffer);

/** bf16 of a number that is an f32 already: the fast way for whole arrays. */
function bf16OfF32(x: number): number {
  f32[0] = x;
  const word = f32Word[0]!;
  if ((word & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  return ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) & 0xffff;
}

const toBigInt = (v: Scalar): bigint => {
  if (typeof v === "bigint") return v;
  if (typeof v === "boolean") return v ? 1n : 0n;
  return Number.isFinite(v) ? BigInt(Math.trunc(v)) : 0n;
};

/**
 * The storage bytes of values, converted to `dtype` as a cast does: floats round to nearest even, integers wrap,
 * anything but zero is true.
 */
export function encode(values: ArrayLike<Scalar> | SourceArray, dtype: DType): Uint8Array {
  const n = values.length;
  const same = sameLayout(values, dtype);
  if (same) return new Uint8Array(same.buffer, same.byteOffset, same.byteLength).slice();
  const bytes = new Uint8Array(n * itemSize(dtype));
  const source = values as ArrayLike<Scalar>;
  switch (dtype) {
    case "i64":
    case "u64": {
      const out = new BigInt64Array(bytes.buffer);
      for (let i = 0; i < n; i++) out[i] = toBigInt(source[i]!);
      break;
    }
    case "bool":
      for (let i = 0; i < n; i++) bytes[i] = Number(source[i]) !== 0 ? 1 : 0;
      break;
    case "f8e4m3":
    case "f8e5m2":
    case "f16":
    case "bf16": {
      const out = patterns(bytes, dtype);
      const single = source instanceof Float32Array;
      const bits = dtype === "bf16" && single ? bf16OfF32 : NARROW_FLOATS[dtype].bits;
      for (let i = 0; i < n; i++) out[i] = bits(Number(source[i]));
      break;
    }
    case "f32":
    case "f64": {
      const out = dtype === "f32" ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer);
      for (let i = 0; i < n; i++) out[i] = Number(source[i]);
      break;
    }
    default: {
      const out = integerArray(bytes, dtype);
      for (let i = 0; i < n; i++) {
        const v = source[i]!;
        // Storing into an integer array wraps numbers; bigints wrap first, so that none loses its low bits.
        out[i] = typeof v === "bigint" ? Number(BigInt.asIntN(32, v)) : Number(v);
      }
    }
  }
  return bytes;
}

/** The bit patterns of narrow floats in storage bytes. */
const patterns = (bytes: Uint8Array, dtype: DType): Uint8Array | Uint16Array =>
  itemSize(dtype) === 1 ? bytes : new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);

function integerArray(
  bytes: Uint8Array,
  dtype: DType,
): Int8Array | Int16Array | Int32Array | Uint8Array | Uint16Array | Uint32Array {
  switch (dtype) {
    case "i8":
      return new Int8Array(bytes.buffer);
    case "i16":
      return new Int16Array(bytes.buffer);
    case "i32":
      return new Int32Array(bytes.buffer);
    case "u16":
      return new Uint16Array(bytes.buffer);
    case "u32":
      return new Uint32Array(bytes.buffer);
    default:
      return bytes;
  }
}

function sameLayout(values: ArrayLike<Scalar> | SourceArray, dtype: DType): ArrayBufferView | undefined {
  if (!ArrayBuffer.isView(values)) return undefined;
  return typedArrayDType(values) === dtype ? values : undefined;
}

/** The dtype whose storage form a typed array is; undefined for other values. */
export function typedArrayDType(values: unknown): DType | undefined {
  if (values instanceof Float32Array) return "f32";
  if (values instanceof Float64Array) return "f64";
  if (values instanceof Int32Array) return "i32";
  if (values instanceof BigInt64Array) return "i64";
  if (values instanceof Uint8Array || values instanceof Uint8ClampedArray) return "u8";
  if (values instanceof Int8Array) return "i8";
  if (values instanceof Int16Array) return "i16";
  if (values instanceof Uint16Array) return "u16";
  if (values instanceof Uint32Array) return "u32";
  if (values instanceof BigUint64Array) return "u64";
  return undefined;
}

/** Row-major storage bytes as a typed array; `bytes` must be the array's own buffer or is copied. */
export function decode(bytes: Uint8Array, dtype: DType): TensorData {
  const size = itemSize(dtype);
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const n = aligned.byteLength / size;
  const { buffer, byteOffset } = aligned;
  switch (dtype) {
    case "f32":
      return new Float32Array(buffer, byteOffset, n);
    case "f64":
      return new Float64Array(buffer, byteOffset, n);
    case "i32":
      return new Int32Array(buffer, byteOffset, n);
    case "i64":
      return new BigInt64Array(buffer, byteOffset, n);
    case "i16":
      return new Int16Array(buffer, byteOffset, n);
    case "i8":
      return new Int8Array(buffer, byteOffset, n);
    case "u8":
    case "bool":
      return new Uint8Array(buffer, byteOffset, n);
    case "f8e4m3":
    case "f8e5m2":
    case "f16":
    case "bf16": {
      const bits = patterns(aligned, dtype);
      const { value } = NARROW_FLOATS[dtype];
      const out = new Float32Array(n);
      for (let i = 0; i < n; i++) out[i] = value(bits[i]!);
      return out;
    }
    default:
      throw new TypeError(`tensors have no dtype ${dtype}`);
  }
}
