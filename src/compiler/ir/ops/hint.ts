// What an author knows and the compiler cannot see. Read by `passes/analyze-axes`; lowerings drop these ops.

import type { Attr } from "../ir.js";
import { isInt } from "../dtype.js";
import { showType } from "../type.js";
import { asTile, defineOp, IrTypeError } from "./define.js";

export const HINTS = ["divisibility", "contiguity", "constancy"] as const;
export type HintKind = (typeof HINTS)[number];

/**
 * `hint {divisibility?, contiguity?, constancy?}(x)`: `x`, an integer scalar or tile of which the author claims what the
 * lists say, one number per dimension (of a scalar: one): elements come in aligned groups of `contiguity` that count up
 * by 1, the first of each divisible by `divisibility`, and in aligned groups of `constancy` equal ones.
 */
defineOp({
  opcode: "hint",
  pure: true,
  arity: 1,
  infer: (o, a: Readonly<Record<string, Attr>>) => {
    const t = asTile(o, 0, "hint");
    if (!isInt(t.dtype)) throw new IrTypeError(`a hint is about integers, not ${showType(t)}`);
    for (const kind of HINTS) {
      const list = a[kind];
      if (list === undefined) continue;
      const fits = Array.isArray(list) && list.length === Math.max(1, t.shape.length);
      if (!fits || !list.every((n: number) => Number.isInteger(n) && n > 0))
        throw new IrTypeError(
          `the ${kind} of a hint must be a positive integer for each dimension of ${showType(t)}`,
        );
    }
    return [t];
  },
  fold: ([x]) => x,
});

/**
 * `assume(cond)`: every element of the mask holds wherever this op is reached; anything may happen where it does not.
 * Unlike `assert` it is there for the compiler; the interpreter checks it.
 */
defineOp({
  opcode: "assume",
  pure: false,
  arity: 1,
  infer: (o) => {
    const t = asTile(o, 0, "assume");
    if (t.dtype !== "bool") throw new IrTypeError(`an assume takes a mask, not ${showType(t)}`);
    return [];
  },
});
