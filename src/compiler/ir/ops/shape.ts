// Ops that change a tile's shape and nothing else.

import { numel, sameShape, tile } from "../type.js";
import { asTile, defineOp, IrTypeError } from "./define.js";

/** `expandDims {axis}`: inserts a dimension of 1. */
defineOp({
  opcode: "expandDims",
  pure: true,
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
  infer: (o, a) => {
    const t = asTile(o, 0, "broadcast");
    const shape = a["shape"] as readonly number[];
    if (t.shape.length !== shape.length || t.shape.some((d, i) => d !== 1 && d !== shape[i]))
      throw new IrTypeError(`a tile [${t.shape}] does not broadcast to [${shape}]`);
    return [tile(t.dtype, shape)];
  },
  fold: ([x]) => x,
  simplify: (op) =>
    sameShape((op.operands[0]!.type as { shape: readonly number[] }).shape, op.attrs["shape"] as number[])
      ? op.operands[0]
      : undefined,
});

/** `reshape {shape}`: the same elements in row-major order. */
defineOp({
  opcode: "reshape",
  pure: true,
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
});

/** `permute {order}`: result dimension `i` is operand dimension `order[i]`. */
defineOp({
  opcode: "permute",
  pure: true,
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
});
