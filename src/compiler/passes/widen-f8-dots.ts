// Products of the floats of 8 bits as products of f16, for chips whose matrix units have no such operands.

import { isF8 } from "../ir/dtype.js";
import { type Func, Op, walk } from "../ir/ir.js";
import { tile, type TileType } from "../ir/type.js";

/** Casts the f8 operands of `dot` to f16, which holds all their values, in place. Both then have one dtype. */
export function widenF8Dots(func: Func): void {
  walk(func.body, (op) => {
    if (op.opcode !== "dot" || !isF8(op.operands[0]!.type.dtype)) return;
    for (const i of [0, 1]) {
      const v = op.operands[i]!;
      const type = tile("f16", (v.type as TileType).shape);
      const cast = new Op("cast", [v], [type], { dtype: "f16" }, [], op.loc);
      op.parent!.insertBefore(op, cast);
      op.setOperand(i, cast.result);
    }
  });
}
