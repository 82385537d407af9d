// Ops that read and write buffers: a buffer, a tile of element offsets (i32 or i64), a mask.

import type { Attr, Block } from "../ir.js";
import { isInt } from "../dtype.js";
import { sameShape, showType, tile, type TileType, type Type } from "../type.js";
import { asTile, defineOp, IrTypeError } from "./define.js";

function place(o: readonly Type[], opcode: string, maskAt: number): TileType {
  if (o[0]?.kind !== "buffer") throw new IrTypeError(`operand 0 of ${opcode} must be a buffer`);
  const at = asTile(o, 1, opcode);
  if (!isInt(at.dtype)) throw new IrTypeError(`offsets are integers, not ${at.dtype}`);
  const mask = o[maskAt];
  if (mask && (mask.kind !== "tile" || mask.dtype !== "bool" || !sameShape(mask.shape, at.shape)))
    throw new IrTypeError(`the mask of ${opcode} must be bool[${at.shape}], not ${showType(mask)}`);
  return tile(o[0].dtype, at.shape);
}

function valueFits(o: readonly Type[], i: number, want: TileType, opcode: string): void {
  const v = o[i];
  if (v?.kind !== "tile" || v.dtype !== want.dtype || !sameShape(v.shape, want.shape))
    throw new IrTypeError(`${opcode} needs ${showType(want)}, not ${v ? showType(v) : "nothing"}`);
}

/** `load(buffer, offset[, mask[, other]])`. A masked-out element is `other`, else 0; it is not read. */
defineOp({
  opcode: "load",
  pure: false,
  arity: [2, 4],
  memory: "read",
  infer: (o) => {
    const t = place(o, "load", 2);
    if (o.length > 3) valueFits(o, 3, t, "load");
    return [t];
  },
});

/** `store(buffer, offset, value[, mask])`. */
defineOp({
  opcode: "store",
  pure: false,
  arity: [3, 4],
  memory: "write",
  infer: (o) => {
    valueFits(o, 2, place(o, "store", 3), "store");
    return [];
  },
});

export type AtomicKind = "add" | "max" | "min" | "and" | "or" | "xor" | "xchg";
/** `atomic {kind, order}(buffer, offset, value[, mask])`: returns the old values (0 where masked out). */
defineOp({
  opcode: "atomic",
  pure: false,
  arity: [3, 4],
  memory: "readwrite",
  infer: (o: readonly Type[], _a: Readonly<Record<string, Attr>>, _r: readonly Block[]) => {
    const t = place(o, "atomic", 3);
    valueFits(o, 2, t, "atomic");
    return [t];
  },
});

/** `atomicCas {order}(buffer, offset, expected, value)`: returns the old values. */
defineOp({
  opcode: "atomicCas",
  pure: false,
  arity: 4,
  memory: "readwrite",
  infer: (o) => {
    const t = place(o, "atomicCas", 4);
    valueFits(o, 2, t, "atomicCas");
    valueFits(o, 3, t, "atomicCas");
    return [t];
  },
});
