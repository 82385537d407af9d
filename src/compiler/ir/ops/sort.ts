// Ordering the elements of tiles along an axis.

import { isInt } from "../dtype.js";
import { sameShape, showType, tile, type Type } from "../type.js";
import { asTile, defineOp, IrTypeError } from "./define.js";

/**
 * `sort {axis, descending, limit}(keys, ...values)`: the lines along the axis in the order of their keys, each with the
 * elements of `values` at the same places. Results, in the order of the operands, are `limit` long along the axis: the
 * first of the sorted line. Keys are integers (the front end maps floats to integers that compare as they do);
 * elements with equal keys keep their order, also when descending.
 */
defineOp({
  opcode: "sort",
  pure: true,
  arity: [1, 16],
  infer: (o, a) => {
    const keys = asTile(o, 0, "sort");
    const axis = a["axis"] as number;
    const length = keys.shape[axis];
    if (!Number.isInteger(axis) || length === undefined)
      throw new IrTypeError(`sort: axis ${axis} is outside a tile of shape [${keys.shape}]`);
    const limit = a["limit"] as number;
    if (!(Number.isInteger(limit) && limit >= 1 && limit <= length))
      throw new IrTypeError(`sort: the limit is ${limit}, but the axis has ${length} elements`);
    if (!isInt(keys.dtype)) throw new IrTypeError(`the keys of sort are integers, not ${showType(keys)}`);
    const shape = keys.shape.map((d, i) => (i === axis ? limit : d));
    return o.map((_: Type, i) => {
      const t = asTile(o, i, "sort");
      if (!sameShape(t.shape, keys.shape))
        throw new IrTypeError(`the operands of sort differ: ${showType(keys)} and ${showType(t)}`);
      return tile(t.dtype, shape);
    });
  },
});

/**
 * `countingSort {bins}(keys, ...values)`: of i32 keys `[N]`, all from 0 to `bins - 1`, how often each occurs (i32 `[bins]`), how many
 * are smaller than each (i32 `[bins]`), and the values in the order of their keys, those of equal keys in their own.
 */
defineOp({
  opcode: "countingSort",
  pure: true,
  arity: [1, 16],
  infer: (o, a) => {
    const keys = asTile(o, 0, "countingSort");
    const bins = a["bins"] as number;
    if (keys.dtype !== "i32" || keys.shape.length !== 1)
      throw new IrTypeError(`the keys of countingSort are i32 [N], not ${showType(keys)}`);
    if (!(Number.isInteger(bins) && bins >= 1)) throw new IrTypeError(`countingSort has ${bins} bins`);
    const values = o.slice(1).map((_: Type, i) => {
      const t = asTile(o, i + 1, "countingSort");
      if (!sameShape(t.shape, keys.shape))
        throw new IrTypeError(`the operands of countingSort differ: ${showType(keys)} and ${showType(t)}`);
      return t;
    });
    return [tile("i32", [bins]), tile("i32", [bins]), ...values];
  },
});
