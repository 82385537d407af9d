// The passes of a radix sort where programs may wait for each other: every digit is read and written once. What travels and in
// which order stands in `radix-sort.ts`; chips whose programs may not wait count first (`radix-tiles.ts`).
//
// A program sorts a tile of elements by one of their digits, and needs to know how many elements of each digit the tiles before
// have. It says how many its own tile has, then looks back over what those before it said until one says how many it and all
// before it have: that tile's number is its own place in line, so nobody waits for a program that has not begun.
// (A. Adinets, D. Merrill, Onesweep: a faster least significant digit radix sort for GPUs, 2022.)

import { constexpr, helper, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { elementOf, fromWord, toWord } from "./radix-words.js";

/** Elements of a tile, and bits of a digit. */
export const PASS_TILE = 4096;
export const PASS_DIGIT = 8;
/** Elements that a program counts at once. */
export const COUNTED = 8192;
/** What a tile says of a digit: a number below 2^30, and above it whether it is that tile's own or that of all up to it. */
export const MOST_COUNTED = 2 ** 30;

const digitAt = helper(
  (tl, word: number, shift: number, buckets: number) =>
    tl.cast(word >>> tl.cast(shift, tl.i64), tl.i32) & (buckets - 1),
);

/** Adds to `counts[row, pass, digit]`. */
export const countPasses = kernel(
  // biome-ignore format: one line per group
  { x: ptr, counts: ptr, cols: i32, toWord, digitAt, PASSES: constexpr, DIGIT: constexpr, BUCKETS: constexpr,
    BITS: constexpr, SIGNED: constexpr.bool, FLOAT: constexpr.bool, DOWN: constexpr.bool, B: constexpr },
  ({ x, counts, cols, toWord, digitAt, PASSES, DIGIT, BUCKETS, BITS, SIGNED, FLOAT, DOWN, B }, tl) => {
    const [part, row] = [tl.programId(0), tl.programId(1)];
    const i = part * B + tl.arange(0, B);
    const inside = i < cols;
    const word = toWord(tl.load(x + row * cols + i, inside, 0), BITS, SIGNED, FLOAT, DOWN);
    const bucket = tl.arange(0, BUCKETS);
    // What lies beyond the row counts in the last bucket, and is taken off.
    const beyond = tl.maximum(part * B + B - cols, 0);
    for (const pass of tl.staticRange(PASSES)) {
      const digit = tl.where(inside, digitAt(word, pass * DIGIT, BUCKETS), BUCKETS - 1);
      const [count] = tl.countingSort(digit, [], BUCKETS);
      const own = count! - tl.where(bucket === BUCKETS - 1, beyond, 0);
      tl.atomicAdd(counts + (row * PASSES + pass) * BUCKETS + bucket, own, own > 0, { order: "relaxed" });
    }
  },
  "radix_count_passes",
);

/** Moves the elements of a tile by one digit. `status[row, tile, digit]` and `turns[row]` begin as zeros. */
export const distributePass = kernel(
  // biome-ignore format: one line per group
  { x: ptr, words: ptr, from: ptr, toWords: ptr, toPlaces: ptr, values: ptr, indices: ptr,
    counts: ptr, status: ptr, turns: ptr, cols: i32, tiles: i32, shift: i32, pass: i32, toWord, fromWord, elementOf, digitAt,
    FIRST: constexpr.bool, LAST: constexpr.bool, PASSES: constexpr, BUCKETS: constexpr, BITS: constexpr, SIGNED: constexpr.bool,
    FLOAT: constexpr.bool, DOWN: constexpr.bool, K: constexpr.dtype, T: constexpr.dtype, B: constexpr },
  (
    // biome-ignore format: one line per group
    { x, words, from, toWords, toPlaces, values, indices, counts, status, turns, cols, tiles, shift, pass, toWord, fromWord, elementOf, digitAt,
      FIRST, LAST, PASSES, BUCKETS, BITS, SIGNED, FLOAT, DOWN, K, T, B },
    tl,
  ) => {
    const row = tl.programId(1);
    // A launch that is made again on what it left behind, as profilers do, gives nonsense, but within the buffers.
    const tile = tl.atomicAdd(turns + row, 1, true, { order: "relaxed" }) % tiles;
    const base = row * cols;
    const own = tl.arange(0, B);
    const i = tile * B + own;
    const inside = i < cols;
    // What lies beyond the row has the largest digit, and stays behind everything.
    const raw = FIRST
      ? toWord(tl.load(x + base + i, inside, 0), BITS, SIGNED, FLOAT, DOWN)
      : tl.load(words + base + i, inside, -1);
    const unsorted = FIRST && BITS !== 64 ? (raw << 32) | tl.cast(i, tl.i64) : raw;
    const places = BITS !== 64 ? [] : FIRST ? [i] : [tl.load(from + base + i, inside, 0)];
    const digits = digitAt(unsorted, shift, BUCKETS);
    const key = FIRST ? tl.where(inside, digits, BUCKETS - 1) : digits;
    const ordered = tl.countingSort(key, [unsorted, ...places], BUCKETS);
    const [count, first, word] = ordered;

    const bucket = tl.arange(0, BUCKETS);
    const OWN = 1 << 30;
    const ALL = OWN + OWN;
    const said = status + row * tiles * BUCKETS + bucket;
    let before = tl.zeros([BUCKETS], tl.i32);
    if (tile === 0) {
      const all = tl.load(counts + (row * PASSES + pass) * BUCKETS + bucket);
      before = tl.cumsum(all, 0) - all;
    } else {
      tl.atomicXchg(said + tile * BUCKETS, count! | OWN, true, { order: "relaxed" });
      let look = tl.zeros([BUCKETS], tl.i32) + (tile - 1);
      let open = tl.full([BUCKETS], 1, tl.i32);
      let more = tl.cast(1, tl.i32);
      while (more > 0) {
        // Four tiles at once: the nearest first, up to the first that has not spoken or that speaks for all.
        const a = tl.atomicOr(said + look * BUCKETS, 0, open > 0, { order: "relaxed" });
        const b = tl.atomicOr(said + (look - 1) * BUCKETS, 0, open > 0 && look > 0, { order: "relaxed" });
        const c = tl.atomicOr(said + (look - 2) * BUCKETS, 0, open > 0 && look > 1, { order: "relaxed" });
        const d = tl.atomicOr(said + (look - 3) * BUCKETS, 0, open > 0 && look > 2, { order: "relaxed" });
        let going = open;
        for (const w of [a, b, c, d]) {
          const heard = tl.where(w !== 0, going, 0);
          before = before + tl.where(heard > 0, w & (OWN - 1), 0);
          look = look - heard;
          const ends = tl.where(w < 0, heard, 0);
          open = open - ends;
          going = heard - ends;
        }
        more = tl.max(open, 0);
      }
    }
    tl.atomicXchg(said + tile * BUCKETS, (before + count!) | ALL, true, { order: "relaxed" });

    const digit = digitAt(word!, shift, BUCKETS);
    const rank = tl.gather(before - first!, digit, 0) + own;
    const live = own < tl.minimum(cols - tile * B, B) && rank < cols;
    const to = base + rank;
    const source = BITS === 64 ? ordered[3]! : tl.cast(word!, tl.i32);
    if (LAST) {
      tl.store(indices + to, tl.cast(source, tl.i64), live);
      const key = BITS === 64 ? word! : word! >>> 32;
      const made = elementOf(key, x + base + source, live, toWord, fromWord, BITS, SIGNED, FLOAT, DOWN, K, T);
      tl.store(values + to, made, live);
    } else {
      tl.store(toWords + to, word!, live);
      if (BITS === 64) tl.store(toPlaces + to, source, live);
    }
  },
  "radix_distribute_pass",
);
