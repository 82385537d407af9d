// Element types of tensors: names, PyTorch's promotion rules, the default dtype.
// Sizes and classes of all kernel dtypes stand in `compiler/ir/dtype.ts`.

import { DTYPES, isDType, type DType } from "../compiler/ir/index.js";
import { settingsChanged } from "../runtime/recording.js";
import { castable, category, commonDType } from "./promotion.js";

export { category } from "./promotion.js";

export type { DType } from "../compiler/ir/index.js";

/** A number that is not a tensor. A whole `number` counts as an integer in promotion, as `2` does in PyTorch. */
export type Scalar = number | bigint | boolean;

export { promotionTable, TENSOR_DTYPES, type TensorDType } from "./promotion.js";

const FROM_TORCH: Readonly<Record<string, DType>> = {
  float32: "f32",
  float: "f32",
  float64: "f64",
  double: "f64",
  float16: "f16",
  half: "f16",
  bfloat16: "bf16",
  float8_e4m3fn: "f8e4m3",
  float8_e5m2: "f8e5m2",
  int64: "i64",
  long: "i64",
  int32: "i32",
  int: "i32",
  int16: "i16",
  short: "i16",
  int8: "i8",
  uint8: "u8",
  uint16: "u16",
  uint32: "u32",
  uint64: "u64",
  bool: "bool",
};

const TO_TORCH: Readonly<Record<DType, string>> = {
  bool: "bool",
  i8: "int8",
  i16: "int16",
  i32: "int32",
  i64: "int64",
  u8: "uint8",
  u16: "uint16",
  u32: "uint32",
  u64: "uint64",
  f8e4m3: "float8_e4m3fn",
  f8e5m2: "float8_e5m2",
  f16: "float16",
  bf16: "bfloat16",
  f32: "float32",
  f64: "float64",
};

/** Our name of a dtype given in ours (`f32`) or PyTorch's (`float32`, `torch.float32`); undefined if it is neither. */
export function parseDType(name: string): DType | undefined {
  if (isDType(name)) return name;
  const bare = name.startsWith("torch.") ? name.slice(6) : name;
  return Object.hasOwn(FROM_TORCH, bare) ? FROM_TORCH[bare] : undefined;
}

/** PyTorch's name of a dtype: `f32` to `float32`. */
export const torchDType = (dtype: DType): string => TO_TORCH[dtype];

let defaultFloat: DType = "f32";

/** The dtype of float data and results where nothing else decides: `f32`. */
export const defaultDType = (): DType => defaultFloat;

/** Changes the default dtype; it must be a float. */
export function setDefaultDType(dtype: DType): void {
  if (DTYPES[dtype].kind !== "float") throw new TypeError(`the default dtype must be a float, not ${dtype}`);
  defaultFloat = dtype;
  settingsChanged();
}

export const isFloatDType = (d: DType): boolean => DTYPES[d].kind === "float";
export const isBoolDType = (d: DType): boolean => d === "bool";
/** Signed and unsigned integers, not bool. */
export const isIntDType = (d: DType): boolean => DTYPES[d].kind === "int" || DTYPES[d].kind === "uint";
export const itemSize = (d: DType): number => DTYPES[d].bytes;

/**
 * The dtype that holds the values of both, by PyTorch's lattice: within a category the wider one, u8 with a signed
 * integer the next signed that holds both, f16 with bf16 f32, and a float beats any integer. The floats of 8 bits
 * meet no other dtype, as in PyTorch: convert first. Looked up in the table of `promotion.ts`.
 *
 * @example promoteTypes("i64", "f16") // "f16"
 */
export function promoteTypes(a: DType, b: DType): DType {
  if (a === b) return a;
  const found = commonDType(a, b);
  if (found === undefined)
    throw new TypeError(`${a} and ${b} have no common dtype: convert one, as in x.to("f32")`);
  return found;
}

/** The dtype that a plain number has on its own. */
export function scalarDType(value: Scalar): DType {
  if (typeof value === "boolean") return "bool";
  if (typeof value === "bigint" || Number.isInteger(value)) return "i64";
  return defaultFloat;
}

/** Whatever takes part in promotion: a tensor (its dtype and rank), a plain number, a dtype. */
export type Promotable =
  | { readonly dtype: DType; readonly shape: readonly number[] }
  | Scalar
  | DType
  | null
  | undefined;

const wider = (a: DType | undefined, b: DType): DType => (a === undefined ? b : promoteTypes(a, b));

/**
 * The result dtype of an operation over tensors and plain numbers. Tensors with dimensions decide; 0-dim tensors and
 * plain numbers only raise the category (bool < integer < float), in that order of weight. A bare dtype counts as a
 * tensor with dimensions; null and undefined are passed over.
 *
 * @example resultType(tensor([1, 2]), 2.5) // "f32"
 */
export function resultType(...values: readonly Promotable[]): DType {
  let dims: DType | undefined;
  let zeros: DType | undefined;
  let numbers: DType | undefined;
  for (const v of values) {
    if (v === null || v === undefined) continue;
    if (typeof v === "object") {
      if (v.shape.length > 0) dims = wider(dims, v.dtype);
      else zeros = wider(zeros, v.dtype);
    } else if (typeof v === "string") dims = wider(dims, v);
    else numbers = wider(numbers, scalarDType(v));
  }
  const merged = raise(raise(dims, zeros), numbers);
  if (merged === undefined) throw new TypeError("resultType needs at least one tensor, number or dtype");
  return merged;
}

/** `high` decides unless `low` is of a higher category. */
function raise(high: DType | undefined, low: DType | undefined): DType | undefined {
  if (high === undefined) return low;
  if (low === undefined || category(high) >= category(low)) return high;
  // bool with a float of a lower weight takes that float, an integer with one likewise.
  return promoteTypes(high, low);
}

/** Whether values may go from one dtype to another in place: not to a lower category. */
export const canCast = castable;
