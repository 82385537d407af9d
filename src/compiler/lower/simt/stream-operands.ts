// The left operand of a streamed product that is computed: what it is rounded from.

import type { Op, Value } from "../../ir/index.js";

/** What a computed left operand is rounded from, and to which dtype: packing it into pairs rounds. */
export function leftOf(dot: Op): { value: Value; dtype: string } {
  const v = dot.operands[0]!;
  const op = v.def && "opcode" in v.def ? v.def : undefined;
  const wide = op?.opcode === "cast" && op.operands[0]!.type.dtype === "f32";
  return { value: wide ? op.operands[0]! : v, dtype: v.type.dtype };
}
