// Functions of `tl` that act while the kernel is compiled: ranges, checks, hints.

import { DTYPES, type DType, Value } from "../../ir/index.js";
import { truth } from "../branch.js";
import { toValue, typeOf } from "../coerce.js";
import { describe, isNumeric, isUntyped, Pointer, Range, Soft, type Val } from "../value.js";
import { defaultDtype } from "../coerce.js";
import { constInt, fn, option, optionNames } from "./define.js";

/** `(hi)`, `(lo, hi)` or `(lo, hi, step)`. */
const bounds = ([a, b, c]: readonly Val[]): [Val, Val, Val] => [
  b === undefined ? 0 : a,
  b === undefined ? a : b,
  c ?? 1,
];

type Hint = <T extends number>(x: T, ...values: number[]) => T;
const hint = fn<Hint>("x, ...values", (_cx, [x]) => x);

export const compileTime = {
  /**
   * Counts in a `for … of` loop: `tl.range(end)`, `tl.range(start, end)` or `tl.range(start, end, step)`. Always
   * makes a loop. `stages` asks the compiler to overlap the loads of so many turns, `unroll` to
   * put so many turns into one; both are hints.
   * @example for (const k of tl.range(0, K, BLOCK_K, { stages: 3 })) { … }
   */
  range: fn<
    (
      start: number,
      end?: number,
      step?: number,
      options?: { stages?: number; unroll?: number },
    ) => Iterable<number>
  >("start, end?, step?, options?", (cx, [a, b, c, options]) => {
    optionNames(cx, options, "tl.range", ["stages", "unroll"]);
    const unroll = option(cx, options, "unroll");
    const stages = option(cx, options, "stages");
    return new Range(
      ...bounds([a, b, c]),
      false,
      stages === undefined ? undefined : constInt(cx, stages, "stages"),
      unroll === undefined ? undefined : constInt(cx, unroll, "unroll"),
    );
  }),
  /** As {@link range}, with bounds known at compile time, and unrolled: the counter is known in each turn. */
  staticRange: fn<(start: number, end?: number, step?: number) => Iterable<number>>(
    "start, end?, step?",
    (_cx, args) => new Range(...bounds(args), true, undefined),
  ),
  /** Refuses to compile the kernel, with the message, unless the condition holds. */
  staticAssert: fn<(condition: boolean, message?: string) => void>(
    "condition, message?",
    (cx, [condition, message]) => {
      if (!isNumeric(condition))
        cx.fail(`tl.staticAssert needs a condition known at compile time, not ${describe(condition)}`);
      if (!condition) cx.fail(typeof message === "string" ? message : "tl.staticAssert does not hold");
      return undefined;
    },
  ),
  /** Prints values (of tiles: their types) while the kernel is compiled. */
  staticPrint: fn<(...values: unknown[]) => void>("...values", (cx, values) => {
    if (cx.trials === 0)
      console.log(
        `kernel ${cx.kernel}:`,
        ...values.map((v) => (isNumeric(v) || typeof v === "string" ? v : describe(v))),
      );
    return undefined;
  }),
  /**
   * Claims that a condition holds for every element, while the kernel runs. Where it does not, an error names the
   * kernel, the program, the element and the author's line: the interpreter throws it at once, `cpu` and `wasm` when
   * memory is next read or the chip waited for. Only kernels that use it pay for it.
   * @example tl.deviceAssert(index < rows, "index out of range");
   */
  deviceAssert: fn<(condition: boolean, message?: string) => void>(
    "condition, message?",
    (cx, [condition, message]) => {
      const c = truth(cx, condition, "the condition of tl.deviceAssert");
      const v =
        typeof c === "boolean"
          ? cx.b.constant(c, "bool")
          : toValue(cx, c, "the condition of tl.deviceAssert");
      if (message !== undefined && typeof message !== "string")
        return cx.fail(`the message of tl.deviceAssert must be a text, not ${describe(message)}`);
      cx.b.create("assert", [v], typeof message === "string" ? { message } : {});
      return undefined;
    },
  ),
  /**
   * Prints scalars and tiles while the kernel runs, after a label and the program's id. `cpu` and `wasm` print once the
   * launch has run, up to 65,000 values of it.
   * @example tl.devicePrint("row", row, v);
   */
  devicePrint: fn<(label: string, ...values: (number | boolean)[]) => void>(
    "label, ...values",
    (cx, [label, ...values]) => {
      if (typeof label !== "string")
        return cx.fail(`the label of tl.devicePrint must be a text, not ${describe(label)}`);
      cx.b.create(
        "print",
        values.map((v) => toValue(cx, v, "a value of tl.devicePrint")),
        { label },
      );
      return undefined;
    },
  ),
  /** The dtype of a value, or of the tensor behind a pointer. */
  dtypeOf: fn<(x: number | boolean) => DType>("x", (cx, [x]) => {
    if (x instanceof Value) return typeOf(x).dtype;
    if (x instanceof Pointer) return x.dtype;
    if (isUntyped(x) && !(x instanceof Soft)) return defaultDtype(x);
    return cx.fail(`tl.dtypeOf takes a tile, a scalar or a pointer, not ${describe(x)}`);
  }),
  /** The width of a dtype in bits. */
  bitsOf: fn<(dtype: DType) => number>("dtype", (cx, [d]) => {
    const info = typeof d === "string" ? (DTYPES as Record<string, { bits: number }>)[d] : undefined;
    return info ? info.bits : cx.fail(`tl.bitsOf takes a dtype, not ${describe(d)}`);
  }),
  /** A hint that values are multiples of a number. It has no effect on the result. */
  multipleOf: hint,
  /** A hint that so many neighbouring values are contiguous. It has no effect on the result. */
  maxContiguous: hint,
  /** A hint that a condition holds. It has no effect on the result. */
  assume: fn<(condition: boolean) => void>("condition", () => undefined),
};
