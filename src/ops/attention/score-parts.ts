// What the kernels of attention share: which keys a query sees, and which weights dropout keeps. The kernels stand in
// `forward-kernel.ts` and `backward-kernel.ts`.

import { helper } from "../../compiler/lang/index.js";

/** Whether a key `gap` behind (positive: ahead of) the query's own place lies in its window. */
export const inWindow = helper(
  (
    _tl,
    inside: boolean,
    gap: number,
    left: number,
    right: number,
    LEFT: boolean,
    RIGHT: boolean,
  ): boolean => {
    let seen = inside;
    if (RIGHT) seen = seen && gap <= right;
    if (LEFT) seen = seen && -gap <= left;
    return seen;
  },
);

/**
 * Whether dropout keeps a weight: decided by the seed, the draw, the head, the query and the key, so that the backward
 * pass finds the same answer. The last counter's top bit tells these draws from those of other operators.
 */
export const kept = helper(
  (
    tl,
    seed: number,
    low: number,
    high: number,
    head: number,
    query: number,
    key: number,
    keys: number,
    drop: number,
  ): boolean => {
    const place = tl.cast(query * keys + key, tl.u32);
    const bits = tl.philox(seed, place, tl.cast(head, tl.u32), low, high | 0x80000000);
    return (bits[0] as number) >= drop;
  },
);

/** `cap * tanh(s / cap)`: scores that stay below `cap`. */
export const capped = helper((tl, s, cap) => cap * tl.tanh(s / cap));
