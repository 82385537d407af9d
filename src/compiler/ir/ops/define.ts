// How an operation is declared: its type rule, purity and folding stand together, one file per family.

import type { Attr, Block, ConstValue, Op, Value } from "../ir.js";
import { roundTo } from "../rounding.js";
import type { TileType, Type } from "../type.js";

export interface OpDef {
  readonly opcode: string;
  /** No side effect and no read of memory: may be removed, merged and hoisted. */
  readonly pure: boolean;
  /** `read` and `write` order the op against others on the same buffer. */
  readonly memory?: "read" | "write" | "readwrite";
  readonly terminator?: boolean;
  /** Works element by element: all operands and results have one shape. */
  readonly elementwise?: boolean;
  /** The number of operands, or the least and the most. */
  readonly arity?: number | readonly [number, number];
  /** `a op b` equals `b op a`. */
  readonly commutative?: boolean;
  /** Result types; throws {@link IrTypeError} when the operands do not fit. Also used by the verifier. */
  readonly infer: (
    operands: readonly Type[],
    attrs: Readonly<Record<string, Attr>>,
    regions: readonly Block[],
  ) => Type[];
  /** The value of the op on constant elements (already of the operand dtypes), or `undefined` if it does not fold. */
  readonly fold?: (args: readonly ConstValue[], op: Op) => ConstValue | undefined;
  /** An existing value that the op equals whatever its operands' values are (`x + 0`, `x * 1`, …). */
  readonly simplify?: (op: Op) => Value | undefined;
  /** The constant that the op equals whatever its operands' values are (`x - x` on integers, …). */
  readonly simplifyToConst?: (op: Op) => ConstValue | undefined;
}

/** An operand of the wrong type or shape. The front end adds the author's line. */
export class IrTypeError extends Error {
  override name = "IrTypeError";
}

const table = new Map<string, OpDef>();

export function defineOp(def: OpDef): OpDef {
  if (table.has(def.opcode)) throw new Error(`op ${def.opcode} is defined twice`);
  table.set(def.opcode, def);
  return def;
}

export function opDef(opcode: string): OpDef {
  const def = table.get(opcode);
  if (!def) throw new Error(`no op is called ${opcode}`);
  return def;
}

export const allOps = (): OpDef[] => [...table.values()];

/** The op that makes `v`, if it is one of `opcode`. */
export function madeBy(v: Value | undefined, opcode: string): Op | undefined {
  const def = v?.def;
  return def && "opcode" in def && def.opcode === opcode ? def : undefined;
}

/** Whether an op on the way of a reduction's result gives each element beside those that it was made of. */
export const spreadsBack = (reduce: Op, op: Op): boolean =>
  op.opcode === "splat" ||
  op.opcode === "broadcast" ||
  (op.opcode === "expandDims" && op.attrs["axis"] === reduce.attrs["axis"]);

/**
 * The value of every element of `v`, if it is a constant: of a `const`, or of one seen through `splat`,
 * `broadcast` and other ops that only change the shape. It is rounded to the dtype of `v`.
 */
export function constantOf(v: Value | undefined): ConstValue | undefined {
  for (let at = v; at?.def && "opcode" in at.def; at = at.def.operands[0]) {
    const op: Op = at.def;
    if (op.opcode === "const") return roundTo(at.type.dtype, op.attrs["value"] as ConstValue);
    if (!SHAPE_ONLY.has(op.opcode)) return undefined;
  }
  return undefined;
}
const SHAPE_ONLY = new Set(["splat", "broadcast", "expandDims", "reshape", "permute"]);

/** Checks that operand `i` is a tile (or scalar) and returns its type. */
export function asTile(types: readonly Type[], i: number, opcode: string): TileType {
  const t = types[i];
  if (t?.kind !== "tile") throw new IrTypeError(`operand ${i} of ${opcode} must be a tile or a scalar`);
  return t;
}
