// The table of type promotion and casting: generated once from the lattice below, looked up everywhere, printed by
// `npm run docs`. Plain numbers and 0-dim tensors, which weigh less, are `resultType`'s in `dtype.ts`.

import { DTYPES, type DType } from "../compiler/ir/index.js";

/** The dtypes a tensor may have: a kernel's without the unsigned ones above 8 bits. */
export const TENSOR_DTYPES = [
  "bool", "u8", "i8", "i16", "i32", "i64", "f8e4m3", "f8e5m2", "f16", "bf16", "f32", "f64",
] as const; // biome-ignore format: one line reads better
export type TensorDType = (typeof TENSOR_DTYPES)[number];

/**
 * What each dtype's values fit into, one step up. Two dtypes meet at the lowest one above both. The floats of 8 bits
 * lead nowhere and nothing leads to them. Kernels have the wider unsigned integers too.
 */
const ABOVE: Readonly<Record<DType, readonly DType[]>> = {
  bool: ["u8", "i8"],
  u8: ["i16", "u16"],
  i8: ["i16"],
  u16: ["i32", "u32"],
  i16: ["i32"],
  u32: ["i64", "u64"],
  i32: ["i64"],
  u64: ["i64"],
  i64: ["f16", "bf16"],
  f16: ["f32"],
  bf16: ["f32"],
  f32: ["f64"],
  f64: [],
  f8e4m3: [],
  f8e5m2: [],
};

/** bool 0, integers 1, floats 2. */
export const category = (d: DType): 0 | 1 | 2 => (d === "bool" ? 0 : DTYPES[d].kind === "float" ? 2 : 1);

/** A dtype and all above it. */
function upwards(d: DType, into = new Set<DType>()): Set<DType> {
  into.add(d);
  for (const next of ABOVE[d]) if (!into.has(next)) upwards(next, into);
  return into;
}

const ALL = Object.keys(ABOVE) as DType[];
const UPWARDS = new Map(ALL.map((d) => [d, upwards(d)]));

/** The lowest dtype above both: the one from which most leads up. */
function meet(a: DType, b: DType): DType | undefined {
  const [fromA, fromB] = [UPWARDS.get(a)!, UPWARDS.get(b)!];
  const both = [...fromA].filter((d) => fromB.has(d));
  return both.sort((x, y) => UPWARDS.get(y)!.size - UPWARDS.get(x)!.size)[0];
}

const COMMON: Readonly<Record<string, Readonly<Record<string, DType | undefined>>>> = Object.fromEntries(
  ALL.map((a) => [a, Object.fromEntries(ALL.map((b) => [b, meet(a, b)]))]),
);

/** The entry of the table: the common dtype of two, undefined if they have none. */
export const commonDType = (a: DType, b: DType): DType | undefined => COMMON[a]![b];

/** Whether values may go from one dtype to another in place: not to a lower category. */
export const castable = (from: DType, to: DType): boolean => category(from) <= category(to);

/** The whole table, for documentation: rows and columns in the order of {@link TENSOR_DTYPES}; null where two do not meet. */
export const promotionTable = (): (DType | null)[][] =>
  TENSOR_DTYPES.map((a) => TENSOR_DTYPES.map((b) => commonDType(a, b) ?? null));
