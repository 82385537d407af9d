// The passes of a radix sort where many threads work on one program: a program takes a tile of elements, sorts it by their digits and
// writes runs of equal digits side by side. What travels and in which order stands in `radix-sort.ts`.

import { constexpr, helper, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { elementOf, fromWord, toWord } from "./radix-words.js";

/** Elements of a tile, and bits of a digit. */
export const TILE = 2048;
export const TILE_DIGIT = 8;

/** The digit of an element that is read for the first time, or of a word that travels. */
const digitOf = helper((tl, word: number, shift: number, FIRST: boolean, BUCKETS: number) =>
  FIRST
    ? tl.cast(word, tl.i32) & (BUCKETS - 1)
    : tl.cast(word >>> tl.cast(shift, tl.i64), tl.i32) & (BUCKETS - 1),
);

/** `counts[row, digit, part]`, from zeros. */
export const countTiles = kernel(
  // biome-ignore format: one line per group
  { x: ptr, words: ptr, counts: ptr, cols: i32, parts: i32, shift: i32, toWord, digitOf,
    FIRST: constexpr.bool, BUCKETS: constexpr, BITS: constexpr, SIGNED: constexpr.bool, FLOAT: constexpr.bool, DOWN: constexpr.bool, B: constexpr },
  (
    { x, words, counts, cols, parts, shift, toWord, digitOf, FIRST, BUCKETS, BITS, SIGNED, FLOAT, DOWN, B },
    tl,
  ) => {
    const [part, row] = [tl.programId(0), tl.programId(1)];
    const i = part * B + tl.arange(0, B);
    const inside = i < cols;
    const at = row * cols + i;
    const word = FIRST
      ? toWord(tl.load(x + at, inside, 0), BITS, SIGNED, FLOAT, DOWN)
      : tl.load(words + at, inside, 0);
    const digit = digitOf(word, shift, FIRST, BUCKETS);
    tl.atomicAdd(counts + (row * BUCKETS + digit) * parts + part, 1, inside);
  },
  "radix_count_tiles",
);

/** Moves the elements of a tile; `places`: running sums of `counts` along each row, this count included. */
export const distributeTiles = kernel(
  // biome-ignore format: one line per group
  { x: ptr, words: ptr, from: ptr, toWords: ptr, toPlaces: ptr, values: ptr, indices: ptr, counts: ptr, places: ptr,
    cols: i32, parts: i32, shift: i32, toWord, fromWord, elementOf, digitOf,
    FIRST: constexpr.bool, LAST: constexpr.bool, BUCKETS: constexpr, BITS: constexpr, SIGNED: constexpr.bool,
    FLOAT: constexpr.bool, DOWN: constexpr.bool, K: constexpr.dtype, T: constexpr.dtype, B: constexpr },
  (
    // biome-ignore format: one line per group
    { x, words, from, toWords, toPlaces, values, indices, counts, places, cols, parts, shift, toWord, fromWord, elementOf, digitOf,
      FIRST, LAST, BUCKETS, BITS, SIGNED, FLOAT, DOWN, K, T, B },
    tl,
  ) => {
    const [part, row] = [tl.programId(0), tl.programId(1)];
    const base = row * cols;
    const own = tl.arange(0, B);
    const inside = part * B + own < cols;
    const at = base + part * B + own;
    const unsorted = FIRST
      ? toWord(tl.load(x + at, inside, 0), BITS, SIGNED, FLOAT, DOWN)
      : tl.load(words + at, inside, 0);
    // Equal digits keep their order: the place in the tile stands below the digit.
    const digits = tl.where(inside, digitOf(unsorted, shift, FIRST, BUCKETS), BUCKETS);
    const order = tl.sort(digits * B + own);
    const place = order & (B - 1);
    const digit = tl.minimum(tl.floorDiv(order, B), BUCKETS - 1);
    const live = own < tl.minimum(cols - part * B, B);
    // Where the first element of each digit goes, less where it stands in the sorted tile.
    const entry = (row * BUCKETS + tl.arange(0, BUCKETS)) * parts + part;
    const count = tl.load(counts + entry);
    const start = tl.load(places + entry) - count - (tl.cumsum(count, 0) - count);
    const to = base + tl.gather(start, digit, 0) + own;
    const i = part * B + place;
    const raw = FIRST
      ? toWord(tl.load(x + base + i, live, 0), BITS, SIGNED, FLOAT, DOWN)
      : tl.load(words + base + i, live, 0);
    const word = FIRST && BITS !== 64 ? (raw << 32) | tl.cast(i, tl.i64) : raw;
    const source = BITS === 64 ? (FIRST ? i : tl.load(from + base + i, live, 0)) : tl.cast(word, tl.i32);
    if (LAST) {
      tl.store(indices + to, tl.cast(source, tl.i64), live);
      const key = BITS === 64 ? word : word >>> 32;
      const made = elementOf(key, x + base + source, live, toWord, fromWord, BITS, SIGNED, FLOAT, DOWN, K, T);
      tl.store(values + to, made, live);
    } else {
      tl.store(toWords + to, word, live);
      if (BITS === 64) tl.store(toPlaces + to, source, live);
    }
  },
  "radix_distribute_tiles",
);
