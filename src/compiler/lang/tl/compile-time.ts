// Functions of `tl` that act while the kernel is compiled (ranges, checks), and what a running kernel reports.

import { DTYPES, type DType, Value } from "../../ir/index.js";
import { truth } from "../branch.js";
import { toValue, typeOf } from "../coerce.js";
import { describe, isNumeric, isUntyped, Pointer, Range, Soft, type Val } from "../value.js";
import { defaultDtype } from "../coerce.js";
import { constInt, flag, fn, option, optionNames } from "./define.js";

/** `(hi)`, `(lo, hi)` or `(lo, hi, step)`. */
const bounds = ([a, b, c]: readonly Val[]): [Val, Val, Val] => [
  b === undefined ? 0 : a,
  b === undefined ? a : b,
  c ?? 1,
];

const COUNTS = ["stages", "unroll", "split", "programs"] as const;
const FLAGS = ["flatten", "warpSpecialize", "disallowAccMultiBuffer", "disableLicm"] as const;
type RangeOptions = {
  /** Overlap the loads of so many turns. */
  stages?: number;
  /** Put so many turns into one. */
  unroll?: number;
  /**
   * Let so many groups of threads (a power of two) share the turns. Only where all that the loop carries are sums of f32; they are
   * then added in another order.
   */
  split?: number;
  /** Keep registers to what lets so many programs run side by side, where programs share a processor's; 0: the compiler decides. */
  programs?: number;
  /** Make one loop of this one and the only one inside. */
  flatten?: boolean;
  /** Let groups of threads take different parts of a turn. */
  warpSpecialize?: boolean;
  /** Keep one copy of an accumulator. */
  disallowAccMultiBuffer?: boolean;
  /** Leave what is the same in each turn inside the loop. */
  disableLicm?: boolean;
};

export const compileTime = {
  /**
   * Counts in a `for … of` loop: `tl.range(end)`, `tl.range(start, end)` or `tl.range(start, end, step)`. Always
   * makes a loop. The options are hints without effect on the result.
   * @example for (const k of tl.range(0, K, BLOCK_K, { stages: 3 })) { … }
   */
  range: fn<(start: number, end?: number, step?: number, options?: RangeOptions) => Iterable<number>>(
    "start, end?, step?, options?",
    (cx, [a, b, c, options]) => {
      optionNames(cx, options, "tl.range", [...COUNTS, ...FLAGS]);
      const hints: Record<string, number | boolean> = {};
      for (const name of COUNTS) {
        const v = option(cx, options, name);
        if (v !== undefined) hints[name] = constInt(cx, v, name);
      }
      for (const name of FLAGS) if (flag(cx, options, name)) hints[name] = true;
      return new Range(...bounds([a, b, c]), false, hints);
    },
  ),
  /** As {@link range}, with bounds known at compile time, and unrolled: the counter is known in each turn. */
  staticRange: fn<(start: number, end?: number, step?: number) => Iterable<number>>(
    "start, end?, step?",
    (_cx, args) => new Range(...bounds(args), true, {}),
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
};
