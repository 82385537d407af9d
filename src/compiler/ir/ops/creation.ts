// Ops that make values out of nothing: constants, ranges, splats, the program's place in the grid.

import { isScalar, scalar, tile, type Type } from "../type.js";
import { defineOp, IrTypeError } from "./define.js";

/** `const {value, dtype, shape}`: a scalar, or a tile whose elements are all `value`. */
defineOp({
  opcode: "const",
  pure: true,
  infer: (_o, a) => [tile(a["dtype"] as never, (a["shape"] as readonly number[] | undefined) ?? [])],
  fold: (_a, op) => op.attrs["value"] as number | bigint,
});

/** `arange {start, end}`: i32 tile `[end-start]` counting up; the length is a power of two. */
defineOp({
  opcode: "arange",
  pure: true,
  infer: (_o, a) => {
    const n = (a["end"] as number) - (a["start"] as number);
    if (!(n > 0) || (n & (n - 1)) !== 0)
      throw new IrTypeError(`the length of an arange must be a power of two, not ${n}`);
    return [tile("i32", [n])];
  },
});

/** `splat {shape}`: a tile whose elements are all the scalar operand. */
defineOp({
  opcode: "splat",
  pure: true,
  infer: (o, a) => {
    if (!isScalar(o[0]!)) throw new IrTypeError("splat takes a scalar");
    return [tile(o[0]!.dtype, a["shape"] as readonly number[])];
  },
  fold: ([x]) => x,
});

const gridOp = (opcode: string) =>
  defineOp({
    opcode,
    pure: true,
    infer: (_o, a): Type[] => {
      if (![0, 1, 2].includes(a["axis"] as number))
        throw new IrTypeError(`the axis of ${opcode} must be 0, 1 or 2`);
      return [scalar("i32")];
    },
  });
/** `programId {axis}`, `numPrograms {axis}`: i32 scalars. */
gridOp("programId");
gridOp("numPrograms");
