// Ops that make values out of nothing: constants, ranges, splats, the program's place in the grid.

import { isScalar, scalar, tile, type Type } from "../type.js";
import { defineOp, IrTypeError } from "./define.js";

/** `const {value, dtype, shape}`: a scalar, or a tile whose elements are all `value`. */
defineOp({
  opcode: "const",
  pure: true,
  arity: 0,
  infer: (_o, a) => [tile(a["dtype"] as never, (a["shape"] as readonly number[] | undefined) ?? [])],
});

/** `arange {start, end}`: i32 tile `[end-start]` counting up; the length is a power of two. */
defineOp({
  opcode: "arange",
  pure: true,
  arity: 0,
  infer: (_o, a) => {
    const n = (a["end"] as number) - (a["start"] as number);
    if (!(n > 0) || (n & (n - 1)) !== 0)
      throw new IrTypeError(`the length of an arange must be a power of two, not ${n}`);
    return [tile("i32", [n])];
  },
  simplifyToConst: (op) =>
    (op.attrs["end"] as number) - (op.attrs["start"] as number) === 1
      ? (op.attrs["start"] as number)
      : undefined,
});

/** `splat {shape}`: a tile whose elements are all the scalar operand. */
defineOp({
  opcode: "splat",
  pure: true,
  arity: 1,
  infer: (o, a) => {
    if (!isScalar(o[0]!)) throw new IrTypeError("splat takes a scalar");
    return [tile(o[0]!.dtype, a["shape"] as readonly number[])];
  },
  fold: ([x]) => x,
  simplify: (op) => ((op.attrs["shape"] as readonly number[]).length === 0 ? op.operands[0] : undefined),
});

const gridOp = (opcode: string) =>
  defineOp({
    opcode,
    pure: true,
    arity: 0,
    infer: (_o, a): Type[] => {
      if (![0, 1, 2].includes(a["axis"] as number))
        throw new IrTypeError(`the axis of ${opcode} must be 0, 1 or 2`);
      return [scalar("i32")];
    },
  });
/** `programId {axis}`, `numPrograms {axis}`: i32 scalars. */
gridOp("programId");
gridOp("numPrograms");
