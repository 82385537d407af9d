// Functions of `tl` that read and write memory through pointers.

import { isFloat, Value } from "../../ir/index.js";
import type { AtomicKind } from "../../ir/ops/memory.js";
import { commonShape, fitTo, typeOf } from "../coerce.js";
import type { Context } from "../context.js";
import { offsetValue } from "../operators.js";
import { describe, Pointer, type Val } from "../value.js";
import { flag, fn, maskArg, option, optionNames, word } from "./define.js";

function pointerArg(cx: Context, v: Val, what: string): { buffer: Value; at: Value; pointer: Pointer } {
  if (!(v instanceof Pointer))
    cx.fail(
      `the first argument of ${what} is ${describe(v)}, but must be a pointer`,
      "Declare the parameter as ptr and add the offset to it: x + offset.",
    );
  return { buffer: v.buffer, at: offsetValue(cx, v), pointer: v };
}

/** A value to write: cast to the buffer's dtype, repeated to the pointer's shape. */
function written(cx: Context, v: Val, p: Pointer, at: Value, what: string): Value {
  const shape = typeOf(at).shape;
  const given = commonShape([shape, isTile(v) ? typeOf(v).shape : []]);
  if (!given || given.length !== shape.length || given.some((d, i) => d !== shape[i]))
    cx.fail(
      `the value of ${what} is ${describe(v)}, but the pointer is to ${shape.length === 0 ? "one element" : `a tile [${shape.join(",")}]`} of ${p.param}`,
      "Value and pointer have one shape: add a tile of offsets to the pointer (x + tl.arange(0, BLOCK)), or reduce the value.",
    );
  return fitTo(cx, v, p.dtype, shape, `the value of ${what}`);
}

const isTile = (v: Val): v is Value => v instanceof Value;

type AtomicOptions = {
  /** Default `"acq_rel"`. */
  order?: "relaxed" | "acquire" | "release" | "acq_rel";
  /** Who sees the operation as one step: the programs of the chip (default), a group of threads, or other chips too. */
  scope?: "gpu" | "cta" | "sys";
};
type CacheOptions = {
  /** Which caches may keep the elements; a hint without effect on the result. */
  cache?: (typeof CACHES)[number];
  /** How long caches should keep them; a hint without effect on the result. */
  eviction?: (typeof EVICTIONS)[number];
};
type LoadOptions = CacheOptions & {
  /**
   * What is read was written long before this launch, as weights are: it may be fetched before the launches in front have ended. Right
   * in any case, since a launch waits where one of those wrote there; a hint for the first loads of a loop whose turns are shared out.
   */
  early?: boolean;
};
const CACHES = ["all", "global", "streaming", "writeBack", "writeThrough"] as const;
const EVICTIONS = ["normal", "first", "last"] as const;

/** The attributes of hints that are not the default. */
function hints(
  cx: Context,
  options: Val,
  what: string,
  more: readonly string[] = [],
): Record<string, string> {
  optionNames(cx, options, what, ["cache", "eviction", ...more]);
  const cache = word(cx, option(cx, options, "cache"), `the cache of ${what}`, CACHES, "all");
  const eviction = word(cx, option(cx, options, "eviction"), `the eviction of ${what}`, EVICTIONS, "normal");
  return { ...(cache === "all" ? {} : { cache }), ...(eviction === "normal" ? {} : { eviction }) };
}
const ORDERS = ["relaxed", "acquire", "release", "acq_rel"] as const;

/** The attribute of an order other than the default. */
function order(cx: Context, options: Val, what: string): Record<string, string> {
  optionNames(cx, options, what, ["order", "scope"]);
  const o = word(cx, option(cx, options, "order"), `the order of ${what}`, ORDERS, "acq_rel");
  const s = word(cx, option(cx, options, "scope"), `the scope of ${what}`, ["gpu", "cta", "sys"], "gpu");
  return { ...(o === "acq_rel" ? {} : { order: o }), ...(s === "gpu" ? {} : { scope: s }) };
}

const atomic = (kind: AtomicKind, what: string) =>
  fn<(pointer: number, value: number, mask?: boolean, options?: AtomicOptions) => number>(
    "pointer, value, mask?, options?",
    (cx, [p, value, mask, options]) => {
      const { buffer, at, pointer } = pointerArg(cx, p, what);
      const { dtype } = pointer;
      const bits = kind === "and" || kind === "or" || kind === "xor";
      if (dtype === "bool" || (bits && isFloat(dtype)))
        cx.fail(`${what} does not work on ${dtype} (${describe(pointer)})`);
      const operands = [buffer, at, written(cx, value, pointer, at, what)];
      if (mask !== undefined) operands.push(maskArg(cx, mask, typeOf(at).shape, what));
      return cx.b.value("atomic", operands, { kind, ...order(cx, options, what) });
    },
  );

export const memory = {
  /**
   * Reads elements: a tile of the pointer's shape and the tensor's dtype. Where `mask` is false nothing is read
   * and the element is `other` (default 0). `mask` and `other` broadcast to the pointer's shape.
   * @example const v = tl.load(x + row * cols + at, at < cols, -Infinity);
   */
  load: fn<(pointer: number, mask?: boolean, other?: number | boolean, options?: LoadOptions) => number>(
    "pointer, mask?, other?, options?",
    (cx, [p, mask, other, options]) => {
      const early = flag(cx, options, "early");
      const attrs = { ...hints(cx, options, "tl.load", ["early"]), ...(early ? { early } : {}) };
      const { buffer, at, pointer } = pointerArg(cx, p, "tl.load");
      const { shape } = typeOf(at);
      if (mask === undefined && other !== undefined)
        cx.fail("tl.load has a value for masked-out elements, but no mask", "tl.load(pointer, mask, other)");
      if (mask === undefined || mask === true) return cx.b.value("load", [buffer, at], attrs);
      const operands = [buffer, at, maskArg(cx, mask, shape, "tl.load")];
      if (other !== undefined) {
        const value = typeof other === "boolean" && pointer.dtype !== "bool" ? Number(other) : other;
        operands.push(fitTo(cx, value, pointer.dtype, shape, "the third argument of tl.load"));
      }
      return cx.b.value("load", operands, attrs);
    },
  ),
  /**
   * Writes elements where `mask` is true (default: everywhere). The value is cast to the tensor's dtype and
   * broadcasts to the pointer's shape, and so does the mask.
   * @example tl.store(y + at, tl.exp(v), at < n);
   */
  store: fn<(pointer: number, value: number | boolean, mask?: boolean, options?: CacheOptions) => void>(
    "pointer, value, mask?, options?",
    (cx, [p, value, mask, options]) => {
      const attrs = hints(cx, options, "tl.store");
      const { buffer, at, pointer } = pointerArg(cx, p, "tl.store");
      const operands = [buffer, at, written(cx, value, pointer, at, "tl.store")];
      if (mask !== undefined && mask !== true) operands.push(maskArg(cx, mask, typeOf(at).shape, "tl.store"));
      cx.b.create("store", operands, attrs);
      return undefined;
    },
  ),
  /** Adds to memory in one step; returns the old values (0 where masked out). */
  atomicAdd: atomic("add", "tl.atomicAdd"),
  /** Raises memory to `value` where that is larger, in one step; returns the old values. */
  atomicMax: atomic("max", "tl.atomicMax"),
  /** Lowers memory to `value` where that is smaller, in one step; returns the old values. */
  atomicMin: atomic("min", "tl.atomicMin"),
  /** Bitwise and with memory in one step (integers); returns the old values. */
  atomicAnd: atomic("and", "tl.atomicAnd"),
  /** Bitwise or with memory in one step (integers); returns the old values. */
  atomicOr: atomic("or", "tl.atomicOr"),
  /** Bitwise exclusive or with memory in one step (integers); returns the old values. */
  atomicXor: atomic("xor", "tl.atomicXor"),
  /** Exchanges memory for `value` in one step; returns the old values. */
  atomicXchg: atomic("xchg", "tl.atomicXchg"),
  /** Writes `value` where memory equals `expected`, in one step; returns the old values. */
  atomicCas: fn<(pointer: number, expected: number, value: number, options?: AtomicOptions) => number>(
    "pointer, expected, value, options?",
    (cx, [p, expected, value, options]) => {
      const { buffer, at, pointer } = pointerArg(cx, p, "tl.atomicCas");
      return cx.b.value(
        "atomicCas",
        [
          buffer,
          at,
          written(cx, expected, pointer, at, "tl.atomicCas"),
          written(cx, value, pointer, at, "tl.atomicCas"),
        ],
        order(cx, options, "tl.atomicCas"),
      );
    },
  ),
};
