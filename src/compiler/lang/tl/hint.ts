// Hints of `tl`: what an author knows of integers and conditions. They change no result; where they are wrong, anything may.

import { isInt, Value } from "../../ir/index.js";
import type { HintKind } from "../../ir/ops/hint.js";
import { truth } from "../branch.js";
import { typeOf } from "../coerce.js";
import { offsetValue } from "../operators.js";
import { describe, isUntyped, Pointer, type Val } from "../value.js";
import { constInt, fn } from "./define.js";

type Hint = <T extends number>(x: T, ...values: number[]) => T;

const hint = (kind: HintKind, what: string) =>
  fn<Hint>("x, ...values", (cx, [x, ...values]) => {
    if (isUntyped(x)) return x;
    const v = x instanceof Pointer ? offsetValue(cx, x) : x;
    if (!(v instanceof Value) || !isInt(typeOf(v).dtype))
      return cx.fail(`${what} takes integers and pointers, not ${describe(x)}`);
    const rank = Math.max(1, typeOf(v).shape.length);
    const list = values.map((n: Val) => constInt(cx, n, `a value of ${what}`));
    if (list.length !== rank || list.some((n) => n <= 0))
      return cx.fail(
        `${what} needs ${rank === 1 ? "one positive number" : `${rank} positive numbers, one per dimension,`} for ${describe(x)}, not ${list.join(", ") || "none"}`,
      );
    const r = cx.b.value("hint", [v], { [kind]: list });
    return x instanceof Pointer ? new Pointer(x.param, x.buffer, r) : r;
  });

export const hints = {
  /**
   * `x`, whose elements are multiples of a number: for a tile one number per dimension, about the first element of each
   * run that counts up. Of a pointer its offset in elements.
   * @example const row = tl.multipleOf(tl.load(starts + pid), 16);
   */
  multipleOf: hint("divisibility", "tl.multipleOf"),
  /**
   * `x`, whose elements count up by 1 in groups of so many along each dimension.
   * @example const at = tl.maxContiguous(tl.multipleOf((pid * B + tl.arange(0, B)) % n, B), B);
   */
  maxContiguous: hint("contiguity", "tl.maxContiguous"),
  /** `x`, whose elements are equal in groups of so many along each dimension. */
  maxConstancy: hint("constancy", "tl.maxConstancy"),
  /**
   * Claims that a condition holds whenever this line is reached. The compiler learns from `x % 16 === 0`,
   * `(x & 15) === 0`, `x >= 0` and `x > 0`, also several with `&&`. The interpreter checks it.
   * @example tl.assume(stride % 16 === 0);
   */
  assume: fn<(condition: boolean) => void>("condition", (cx, [condition]) => {
    const c = truth(cx, condition, "the condition of tl.assume");
    if (c === false) return cx.fail("tl.assume is given a condition that is false");
    if (c !== true) cx.b.create("assume", [c]);
    return undefined;
  }),
};
