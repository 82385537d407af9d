// Descriptors: a block of a strided array as one thing to load and store. Here they become masked loads and stores;
// a chip with bulk copies finds the same pattern in the offsets.

import type { Value } from "../../ir/index.js";
import { broadcast, fitTo, toValue } from "../coerce.js";
import type { Context } from "../context.js";
import { binary } from "../operators.js";
import { Callable, describe, Fields, isList, isUntyped, Pointer, type Val } from "../value.js";
import { fn, option, optionNames, shapeArg, word } from "./define.js";
import { countAlong } from "./elements.js";
import { memory } from "./memory.js";

/** A block of a strided array, as kernels see it. */
export interface Descriptor {
  /** The block that starts at these coordinates. Elements outside the array are 0 (or NaN, as the descriptor says). */
  load(at: readonly number[]): number;
  /** Writes the block that starts at these coordinates; what lies outside the array is left out. */
  store(at: readonly number[], value: number | boolean): void;
}

interface Parts {
  readonly pointer: Pointer;
  readonly shape: readonly Val[];
  readonly strides: readonly Val[];
  readonly block: readonly number[];
}

/** Scalars, one for each dimension. */
function scalars(cx: Context, v: Val, rank: number, what: string): readonly Val[] {
  if (!isList(v) || v.length !== rank)
    return cx.fail(
      `${what} must be a list of ${rank} integers, one for each dimension of the block, not ${describe(v)}`,
    );
  for (const x of v) if (!isUntyped(x)) toValue(cx, x, what);
  return v;
}

/** The pointer to the block's elements, and which of them are inside the array. */
function place(cx: Context, d: Parts, at: Val, what: string): { pointer: Val; mask: Value } {
  const start = scalars(cx, at, d.block.length, `the coordinates of ${what}`);
  let pointer: Val = d.pointer;
  let mask: Value | undefined;
  d.block.forEach((length, axis) => {
    const index = binary(cx, "+", start[axis], countAlong(cx, axis, d.block));
    pointer = binary(cx, "+", pointer, binary(cx, "*", index, d.strides[axis]));
    for (const [op, bound] of [
      ["<", d.shape[axis]],
      [">=", 0],
    ] as const) {
      // A coordinate that is a literal of 0 or more is inside on its side.
      if (op === ">=" && typeof start[axis] === "number" && start[axis] >= 0) continue;
      const inside = broadcast(cx, binary(cx, op, index, bound) as Value, d.block, what);
      mask = mask ? cx.b.value("and", [mask, inside]) : inside;
    }
    if (length === 0) cx.fail(`${what}: a block has no dimension of 0`);
  });
  return { pointer, mask: mask! };
}

export const descriptors = {
  /**
   * Describes blocks of an array: `shape` and `strides` (in elements) of the array, the block's shape known at compile
   * time. `load` fills what lies outside the array with 0, or with NaN for `{ padding: "nan" }`.
   * @example
   * const a = tl.descriptor(x, [M, K], [K, 1], [BLOCK_M, BLOCK_K]);
   * const tile = a.load([row, k]);
   */
  descriptor: fn<
    (
      pointer: number,
      shape: readonly number[],
      strides: readonly number[],
      block: readonly number[],
      options?: { padding?: "zero" | "nan" },
    ) => Descriptor
  >("pointer, shape, strides, block, options?", (cx, [pointer, shape, strides, block, options]) => {
    const what = "tl.descriptor";
    if (!(pointer instanceof Pointer))
      return cx.fail(`the first argument of ${what} is ${describe(pointer)}, but must be a pointer`);
    if (!isList(block) || block.length === 0)
      cx.fail(`the block of ${what} must be a list of lengths, not ${describe(block)}`);
    optionNames(cx, options, what, ["padding"]);
    const padding = word(
      cx,
      option(cx, options, "padding"),
      `the padding of ${what}`,
      ["zero", "nan"],
      "zero",
    );
    const lengths = shapeArg(cx, block, `the block of ${what}`);
    const parts: Parts = {
      pointer,
      block: lengths,
      shape: scalars(cx, shape, lengths.length, `the shape of ${what}`),
      strides: scalars(cx, strides, lengths.length, `the strides of ${what}`),
    };
    const load = new Callable("load", (inner, args) => {
      const { pointer: p, mask } = place(inner, parts, args[0], "load");
      return memory.load.lower(inner, padding === "nan" ? [p, mask, Number.NaN] : [p, mask]);
    });
    const store = new Callable("store", (inner, args) => {
      const { pointer: p, mask } = place(inner, parts, args[0], "store");
      const value = fitTo(inner, args[1], pointer.dtype, lengths, "the value of store");
      return memory.store.lower(inner, [p, value, mask]);
    });
    const members: Record<string, Callable> = { load, store };
    return new Fields(
      "a descriptor",
      (name, inner) => members[name] ?? inner.fail(`a descriptor has no ${name}`, "It has load and store."),
      () => Object.keys(members),
    );
  }),
};
