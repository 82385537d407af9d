// Ops that rearrange a tile's elements and compute nothing.

import type { Op, Value } from "../ir.js";
import { numel, sameShape, showType, tile, type TileType } from "../type.js";
import { asTile, constantOf, defineOp, IrTypeError, madeBy } from "./define.js";

const sameAsOperand = (op: Op, shape: readonly number[]): Value | undefined =>
  sameShape((op.operands[0]!.type as TileType).shape, shape) ? op.operands[0] : undefined;

/** `expandDims {axis}`: inserts a dimension of 1. */
defineOp({
  opcode: "expandDims",
  pure: true,
  arity: 1,
  infer: (o, a) => {
    const t = asTile(o, 0, "expandDims");
    const axis = a["axis"] as number;
    if (axis < 0 || axis > t.shape.length)
      throw new IrTypeError(`expandDims: axis ${axis} is outside a tile of rank ${t.shape.length}`);
    return [tile(t.dtype, [...t.shape.slice(0, axis), 1, ...t.shape.slice(axis)])];
  },
  fold: ([x]) => x,
});

/** `broadcast {shape}`: repeats dimensions of 1; the rank stays. */
defineOp({
  opcode: "broadcast",
  pure: true,
  arity: 1,
  infer: (o, a) => {
    const t = asTile(o, 0, "broadcast");
    const shape = a["shape"] as readonly number[];
    if (t.shape.length !== shape.length || t.shape.some((d, i) => d !== 1 && d !== shape[i]))
      throw new IrTypeError(`a tile [${t.shape}] does not broadcast to [${shape}]`);
    return [tile(t.dtype, shape)];
  },
  fold: ([x]) => x,
  simplify: (op) => sameAsOperand(op, op.attrs["shape"] as readonly number[]),
});

/** `reshape {shape}`: the same elements in row-major order. */
defineOp({
  opcode: "reshape",
  pure: true,
  arity: 1,
  infer: (o, a) => {
    const t = asTile(o, 0, "reshape");
    const shape = a["shape"] as readonly number[];
    if (numel(t.shape) !== numel(shape))
      throw new IrTypeError(
        `a tile [${t.shape}] of ${numel(t.shape)} elements does not reshape to [${shape}]`,
      );
    return [tile(t.dtype, shape)];
  },
  fold: ([x]) => x,
  simplify: (op) => sameAsOperand(op, op.attrs["shape"] as readonly number[]),
});

/** `permute {order}`: result dimension `i` is operand dimension `order[i]`. */
defineOp({
  opcode: "permute",
  pure: true,
  arity: 1,
  infer: (o, a) => {
    const t = asTile(o, 0, "permute");
    const order = a["order"] as readonly number[];
    if (order.length !== t.shape.length || [...order].sort((x, y) => x - y).some((d, i) => d !== i))
      throw new IrTypeError(`[${order}] is no order of the ${t.shape.length} dimensions of [${t.shape}]`);
    return [
      tile(
        t.dtype,
        order.map((d) => t.shape[d]!),
      ),
    ];
  },
  fold: ([x]) => x,
  simplify: (op) => {
    const order = op.attrs["order"] as readonly number[];
    if (order.every((d, i) => d === i)) return op.operands[0];
    const inner = madeBy(op.operands[0], "permute");
    const back = inner?.attrs["order"] as readonly number[] | undefined;
    return back && order.every((d, i) => back[d] === i) ? inner!.operands[0] : undefined;
  },
});

/**
 * `gather(source, index)`: for each i32 element of `index` the element of `source` at that row-major position. The
 * result has the shape of `index`. Positions lie inside the source; the front end sees to that.
 */
defineOp({
  opcode: "gather",
  pure: true,
  arity: 2,
  infer: (o) => {
    const [source, index] = [asTile(o, 0, "gather"), asTile(o, 1, "gather")];
    if (source.shape.length === 0) throw new IrTypeError("gather takes elements of a tile, not of a scalar");
    if (index.dtype !== "i32" || index.shape.length === 0)
      throw new IrTypeError(`the index of gather is a tile of i32, not ${showType(index)}`);
    return [tile(source.dtype, index.shape)];
  },
  simplifyToConst: (op) => constantOf(op.operands[0]),
});
