// Reductions and scans along one axis, and the matrix product of tiles.

import { type DType, isF8, isFloat } from "../dtype.js";
import { showType, tile, type TileType, type Type } from "../type.js";
import { asTile, defineOp, IrTypeError } from "./define.js";

export type ReduceKind = "sum" | "prod" | "max" | "min" | "and" | "or" | "xor" | "argmax" | "argmin";

function axisOf(t: TileType, axis: number, opcode: string): number {
  if (!Number.isInteger(axis) || axis < 0 || axis >= t.shape.length)
    throw new IrTypeError(`${opcode}: axis ${axis} is outside a tile of shape [${t.shape}]`);
  return axis;
}

/**
 * `reduce {kind, axis, nan}`: drops the axis. `argmax` and `argmin` have two results, the value and its i32
 * index along the axis; ties take the lowest index. `nan` ("propagate" | "ignore") as in `max`.
 */
defineOp({
  opcode: "reduce",
  pure: true,
  arity: 1,
  infer: (o, a) => {
    const t = asTile(o, 0, "reduce");
    const axis = axisOf(t, a["axis"] as number, "reduce");
    const shape = t.shape.filter((_, i) => i !== axis);
    const kind = a["kind"] as ReduceKind;
    return kind === "argmax" || kind === "argmin"
      ? [tile(t.dtype, shape), tile("i32", shape)]
      : [tile(t.dtype, shape)];
  },
  fold: ([x], op) => (["max", "min", "and", "or"].includes(op.attrs["kind"] as string) ? x : undefined),
});

/** `scan {kind: "sum" | "prod" | "max" | "min", axis, reverse}`: inclusive. */
defineOp({
  opcode: "scan",
  pure: true,
  arity: 1,
  infer: (o, a) => {
    const t = asTile(o, 0, "scan");
    axisOf(t, a["axis"] as number, "scan");
    return [t];
  },
});

/** The dtype in which products of `d` accumulate. */
export const dotAccumulator = (d: DType): DType =>
  d === "f64" || d === "i64" || d === "u64" ? d : isFloat(d) ? "f32" : "i32";

/**
 * `dot {precision}(a[M,K], b[K,N], acc[M,N])`: `a @ b + acc`, in the accumulator's dtype. `a` and `b` have one dtype, or
 * each one of the floats of 8 bits. `precision` says how a chip may round f32 operands: "ieee" not at all, "tf32" to 10
 * bits of mantissa, "tf32x3" as the sum of three such products. With `subnormals` bf16 operands below the normal numbers count as what they are.
 */
defineOp({
  opcode: "dot",
  pure: true,
  arity: 3,
  infer: (o: readonly Type[]) => {
    const [a, b, c] = [asTile(o, 0, "dot"), asTile(o, 1, "dot"), asTile(o, 2, "dot")];
    if (a.shape.length !== 2 || b.shape.length !== 2 || a.shape[1] !== b.shape[0])
      throw new IrTypeError(`dot needs [M,K] and [K,N], not ${showType(a)} and ${showType(b)}`);
    if (a.dtype !== b.dtype && !(isF8(a.dtype) && isF8(b.dtype)))
      throw new IrTypeError(`dot needs one dtype, not ${a.dtype} and ${b.dtype}`);
    const want = tile(dotAccumulator(a.dtype), [a.shape[0]!, b.shape[1]!]);
    if (showType(c) !== showType(want))
      throw new IrTypeError(`the accumulator of dot must be ${showType(want)}, not ${showType(c)}`);
    return [want];
  },
});
