// Reductions over several axes at once: one whose operand is a reshape that only joins dimensions to the reduced one.
// The loops run over the dimensions as they were, so that what is the same in all of an inner run (the scale of a group of
// weights) is computed outside of it. Elements are combined in the order of the joined dimension.

import { numel, type Op, type Value } from "../../ir/index.js";
import { shapeOf } from "./kinds.js";
import { isView } from "./maps.js";
import { defOf } from "./values.js";

/** What a reduction combines: the elements of `value` along its dimensions `dims`, the last one innermost. */
export interface Reduced {
  readonly value: Value;
  readonly dims: readonly number[];
}

export function reducedOf(op: Op): Reduced {
  const whole = op.operands[0]!;
  const dim = op.attrs["axis"] as number;
  const shape = shapeOf(whole);
  const own = { value: whole, dims: [dim] };
  const reshape = defOf(whole);
  const kind = op.attrs["kind"] as string;
  if (reshape?.opcode !== "reshape" || isView(reshape) || reshape.parent !== op.parent) return own;
  if (whole.uses.size !== 1 || kind.startsWith("arg") || dim !== shape.length - 1) return own;
  const from = shapeOf(reshape.operands[0]!);
  const joined = from.slice(dim);
  const leads = from.length > dim && shape.slice(0, dim).every((d, i) => d === from[i]);
  if (!leads || numel(joined) !== shape[dim]) return own;
  return { value: reshape.operands[0]!, dims: joined.map((_, i) => dim + i) };
}

/** Whether the reshape's tile exists nowhere, since the one reduction that reads it goes over its operand. */
export function isJoined(reshape: Op): boolean {
  const [user] = reshape.result.uses;
  return user?.opcode === "reduce" && reducedOf(user).dims.length > 1;
}
