// The element types of kernels: their names, sizes and classes.
// It knows nothing about tensors; the promotion rules of PyTorch stand in `tensor/`.

/**
 * An element type of a kernel value. Tensors use all of them but `u16`, `u32` and `u64`. `f8e4m3` is PyTorch's
 * `float8_e4m3fn` (finite: no infinity, one NaN, largest value 448), `f8e5m2` the upper byte of an `f16`.
 */
export type DType =
  | "bool"
  | "i8"
  | "i16"
  | "i32"
  | "i64"
  | "u8"
  | "u16"
  | "u32"
  | "u64"
  | "f8e4m3"
  | "f8e5m2"
  | "f16"
  | "bf16"
  | "f32"
  | "f64";

export interface DTypeInfo {
  /** Bytes of one element in memory (`bool` takes one byte, 0 or 1). */
  readonly bytes: number;
  readonly bits: number;
  readonly kind: "bool" | "int" | "uint" | "float";
}

export const DTYPES: Readonly<Record<DType, DTypeInfo>> = {
  bool: { bytes: 1, bits: 1, kind: "bool" },
  i8: { bytes: 1, bits: 8, kind: "int" },
  i16: { bytes: 2, bits: 16, kind: "int" },
  i32: { bytes: 4, bits: 32, kind: "int" },
  i64: { bytes: 8, bits: 64, kind: "int" },
  u8: { bytes: 1, bits: 8, kind: "uint" },
  u16: { bytes: 2, bits: 16, kind: "uint" },
  u32: { bytes: 4, bits: 32, kind: "uint" },
  u64: { bytes: 8, bits: 64, kind: "uint" },
  f8e4m3: { bytes: 1, bits: 8, kind: "float" },
  f8e5m2: { bytes: 1, bits: 8, kind: "float" },
  f16: { bytes: 2, bits: 16, kind: "float" },
  bf16: { bytes: 2, bits: 16, kind: "float" },
  f32: { bytes: 4, bits: 32, kind: "float" },
  f64: { bytes: 8, bits: 64, kind: "float" },
};

export const isDType = (name: string): name is DType => Object.hasOwn(DTYPES, name);
export const isFloat = (d: DType): boolean => DTYPES[d].kind === "float";
export const isInt = (d: DType): boolean => DTYPES[d].kind === "int" || DTYPES[d].kind === "uint";
export const isSigned = (d: DType): boolean => DTYPES[d].kind === "int" || DTYPES[d].kind === "float";
/** Floats of 8 and 16 bits: their arithmetic is done in f32, and each result rounded. */
export const isNarrowFloat = (d: DType): boolean => isFloat(d) && DTYPES[d].bits < 32;
export const isF8 = (d: DType): boolean => isFloat(d) && DTYPES[d].bits === 8;
export const is64 = (d: DType): boolean => DTYPES[d].bits === 64;
