// Keys of a radix sort as unsigned integers, and back: what `radix-sort.ts` and `radix-tiles.ts` share.

import type { DType } from "../compiler/ir/index.js";
import { helper } from "../compiler/lang/index.js";

/** An element's key as an unsigned integer of `bits` bits in an i64; both zeros have one key. */
export const toWord = helper(
  (tl, v: number, bits: number, signed: boolean, float: boolean, down: boolean) => {
    const key = tl.cast(tl.sortKey(float ? tl.where(v === 0, 0, v) : v), tl.i64);
    const biased = signed ? key ^ (tl.cast(1, tl.i64) << (bits - 1)) : key;
    const turned = down ? ~biased : biased;
    return bits === 64 ? turned : turned & ((tl.cast(1, tl.i64) << bits) - 1);
  },
);
/** The element whose key is in a word; both zeros are +0, and every NaN is the same one. */
export const fromWord = helper(
  (tl, word: number, bits: number, signed: boolean, down: boolean, K: DType, T: DType) => {
    const biased = down ? ~word : word;
    const key = signed ? biased ^ (tl.cast(1, tl.i64) << (bits - 1)) : biased;
    return tl.fromSortKey(tl.cast(key, K), T);
  },
);

/**
 * The element whose key is in `word`, at `at` before the sort. A word does not tell which zero and which NaN it was: those are read
 * again where `live`. `wordOf` and `plain` are {@link toWord} and {@link fromWord}.
 */
export const elementOf = helper(
  (
    tl,
    word,
    at,
    live: boolean,
    wordOf: (v: number, bits: number, signed: boolean, float: boolean, down: boolean) => number,
    plain: (word: number, bits: number, signed: boolean, down: boolean, K: DType, T: DType) => number,
    bits: number,
    signed: boolean,
    float: boolean,
    down: boolean,
    K: DType,
    T: DType,
  ) => {
    let made = plain(word, bits, signed, down, K, T);
    if (float) {
      const zero = wordOf(tl.cast(0, T), bits, signed, float, down);
      const nan = wordOf(tl.cast(0 / 0, T), bits, signed, float, down);
      const unclear = word === zero || word === nan;
      made = tl.where(unclear, tl.load(at, live && unclear, 0), made);
    }
    return made;
  },
);
