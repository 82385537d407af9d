// Sorting long rows: a least-significant-digit radix sort. Elements are distributed by one digit of their key after
// another, each time in the order in which they stand, so equal elements keep their order. Short rows are `sort-kernels.ts`.
//
// Where many threads work on one program, it takes its elements as tiles (`radix-tiles.ts`); else one after the other.
//
// What travels is one i64 for each element: its key as an unsigned integer above, its place below. Keys of 64 bits
// travel beside an i32. Each of the parts that a row is cut into counts its digits and then moves its elements
// behind those of the parts before it.

import { DTYPES, type DType } from "../compiler/ir/index.js";
import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { kernel, scope } from "../runtime/index.js";
import { callOperator, empty, isFloatDType, type Tensor } from "../tensor/index.js";
import { fromWord, toWord } from "./radix-words.js";
import { COUNTED, countPasses, distributePass, MOST_COUNTED, PASS_DIGIT, PASS_TILE } from "./radix-passes.js";
import { countTiles, distributeTiles, TILE, TILE_DIGIT } from "./radix-tiles.js";

/** The most bits of a key that are looked at in one pass: as many places as are written to in turn stay in the cache. */
const DIGIT = 11;

/** What about an element type the kernels must know. */
interface Key {
  readonly BITS: number;
  readonly SIGNED: boolean;
  readonly FLOAT: boolean;
  /** The dtype of `tl.sortKey`. */
  readonly K: DType;
}
export function keyOf(d: DType): Key {
  const BITS = Math.max(8, DTYPES[d].bits);
  const SIGNED = d !== "bool" && d !== "u8";
  return { BITS, SIGNED, FLOAT: isFloatDType(d), K: SIGNED ? (`i${BITS}` as DType) : "u8" };
}

const countDigits = kernel(
  // biome-ignore format: one line per group
  { x: ptr, words: ptr, counts: ptr, cols: i32, length: i32, parts: i32, shift: i32, toWord,
    FIRST: constexpr.bool, BUCKETS: constexpr, BITS: constexpr, SIGNED: constexpr.bool, FLOAT: constexpr.bool, DOWN: constexpr.bool },
  (
    { x, words, counts, cols, length, parts, shift, toWord, FIRST, BUCKETS, BITS, SIGNED, FLOAT, DOWN },
    tl,
  ) => {
    const [part, row] = [tl.programId(0), tl.programId(1)];
    const own = counts + (row * parts + part) * BUCKETS;
    tl.store(own + tl.arange(0, BUCKETS), 0);
    const base = row * cols;
    const end = tl.minimum(part * length + length, cols);
    for (let i = part * length; i < end; i++) {
      const word = FIRST
        ? toWord(tl.load(x + base + i), BITS, SIGNED, FLOAT, DOWN)
        : tl.load(words + base + i) >>> tl.cast(shift, tl.i64);
      const at = own + (tl.cast(word, tl.i32) & (BUCKETS - 1));
      tl.store(at, tl.load(at) + 1);
    }
  },
  "radix_count",
);

/** Counts become places: of a digit in a part, behind all smaller digits and the same digit in earlier parts. */
const placeDigits = kernel(
  { counts: ptr, parts: i32, BUCKETS: constexpr },
  ({ counts, parts, BUCKETS }, tl) => {
    const own = counts + tl.programId(0) * parts * BUCKETS;
    let sum = tl.cast(0, tl.i32);
    for (let d = 0; d < BUCKETS; d++)
      for (let p = 0; p < parts; p++) {
        const at = own + p * BUCKETS + d;
        const n = tl.load(at);
        tl.store(at, sum);
        sum += n;
      }
  },
  "radix_place",
);

const distribute = kernel(
  // biome-ignore format: one line per group
  { x: ptr, words: ptr, from: ptr, toWords: ptr, toPlaces: ptr, values: ptr, indices: ptr, places: ptr,
    cols: i32, length: i32, parts: i32, shift: i32, toWord, fromWord,
    FIRST: constexpr.bool, LAST: constexpr.bool, BUCKETS: constexpr, BITS: constexpr, SIGNED: constexpr.bool,
    FLOAT: constexpr.bool, DOWN: constexpr.bool, K: constexpr.dtype, T: constexpr.dtype },
  (
    // biome-ignore format: one line per group
    { x, words, from, toWords, toPlaces, values, indices, places, cols, length, parts, shift, toWord, fromWord,
      FIRST, LAST, BUCKETS, BITS, SIGNED, FLOAT, DOWN, K, T },
    tl,
  ) => {
    const [part, row] = [tl.programId(0), tl.programId(1)];
    const own = places + (row * parts + part) * BUCKETS;
    const base = row * cols;
    const end = tl.minimum(part * length + length, cols);
    const zero = FLOAT ? toWord(tl.cast(0, T), BITS, SIGNED, FLOAT, DOWN) : tl.cast(0, tl.i64);
    const nan = FLOAT ? toWord(tl.cast(0 / 0, T), BITS, SIGNED, FLOAT, DOWN) : tl.cast(0, tl.i64);
    for (let i = part * length; i < end; i++) {
      const word = FIRST
        ? BITS === 64
          ? toWord(tl.load(x + base + i), BITS, SIGNED, FLOAT, DOWN)
          : (toWord(tl.load(x + base + i), BITS, SIGNED, FLOAT, DOWN) << 32) | tl.cast(i, tl.i64)
        : tl.load(words + base + i);
      const digit = tl.cast(word >>> tl.cast(shift, tl.i64), tl.i32) & (BUCKETS - 1);
      const to = tl.load(own + digit);
      tl.store(own + digit, to + 1);
      const place = BITS === 64 ? (FIRST ? i : tl.load(from + base + i)) : tl.cast(word, tl.i32);
      if (LAST) {
        tl.store(indices + base + to, tl.cast(place, tl.i64));
        const key = BITS === 64 ? word : word >>> 32;
        // A word does not tell which zero and which NaN it was.
        if (FLOAT && (key === zero || key === nan)) tl.store(values + base + to, tl.load(x + base + place));
        else tl.store(values + base + to, fromWord(key, BITS, SIGNED, DOWN, K, T));
      } else {
        tl.store(toWords + base + to, word);
        if (BITS === 64) tl.store(toPlaces + base + to, place);
      }
    }
  },
  "radix_distribute",
);

/** The rows of a row-major `[rows, cols]` in order, and the i64 places that the elements came from. */
export const radixSort = (x: Tensor, rows: number, cols: number, descending: boolean): [Tensor, Tensor] =>
  scope(() => sortRows(x, rows, cols, descending));

function sortRows(x: Tensor, rows: number, cols: number, DOWN: boolean): [Tensor, Tensor] {
  const { device, dtype: T } = x;
  const n = rows * cols;
  const values = empty([rows, cols], { dtype: T, device });
  const indices = empty([rows, cols], { dtype: "i64", device });
  const key = keyOf(T);
  const { BITS, SIGNED, FLOAT } = key;
  const { threads, programThreads = 1, programsWait } = x.chip.capabilities;
  if (programsWait && cols < MOST_COUNTED) return sortByPasses(x, rows, cols, DOWN);
  const tiles = programThreads > 1;
  const passes = Math.ceil(BITS / (tiles ? TILE_DIGIT : DIGIT));
  const digit = Math.ceil(BITS / passes);
  const BUCKETS = 1 << digit;
  const parts = tiles
    ? Math.ceil(cols / TILE)
    : Math.max(1, Math.min(Math.ceil((2 * threads) / rows), Math.floor(cols / (4 * BUCKETS))));
  const length = Math.ceil(cols / parts);
  const room = (dtype: DType, count: number): Tensor => empty([count], { dtype, device });
  // The words go back and forth between two buffers.
  const words = passes > 1 ? [room("i64", n), room("i64", passes > 2 ? n : 1)] : [indices, indices];
  const wide = BITS === 64;
  const travel = wide ? [room("i32", n), room("i32", n)] : words;
  const counts = room("i32", rows * parts * BUCKETS);
  for (let pass = 0; pass < passes; pass++) {
    const [FIRST, LAST] = [pass === 0, pass === passes - 1];
    const shift = pass * digit + (wide ? 0 : 32);
    const [from, to] = [(pass + 1) % 2, pass % 2];
    // biome-ignore format: one line per group
    const shared = { x, words: words[from]!, cols, length, parts, shift, FIRST, BUCKETS, BITS, SIGNED, FLOAT, DOWN };
    const travels = { from: travel[from]!, toWords: words[to]!, toPlaces: travel[to]!, values, indices };
    if (tiles) {
      callOperator("zero_", counts);
      const { length: _, ...tiled } = shared;
      countTiles.launch([parts, rows], { ...tiled, counts, B: TILE });
      const [flat, dtype] = [counts.view([rows, parts * BUCKETS]), "i32" as const];
      const places: Tensor = callOperator("cumsum", flat, -1, { dtype }) as Tensor;
      distributeTiles.launch([parts, rows], {
        ...tiled,
        ...travels,
        counts,
        places,
        LAST,
        K: key.K,
        T,
        B: TILE,
      });
      continue;
    }
    countDigits.launch([parts, rows], { ...shared, counts });
    placeDigits.launch([rows], { counts, parts, BUCKETS });
    distribute.launch([parts, rows], {
      ...shared, ...travels, places: counts, LAST, K: key.K, T,
    }); // biome-ignore format: one line per group
  }
  return [values, indices];
}

/** Every digit in one pass over the elements, after one that counts them all. */
function sortByPasses(x: Tensor, rows: number, cols: number, DOWN: boolean): [Tensor, Tensor] {
  const { device, dtype: T } = x;
  const n = rows * cols;
  const values = empty([rows, cols], { dtype: T, device });
  const indices = empty([rows, cols], { dtype: "i64", device });
  const { BITS, SIGNED, FLOAT, K } = keyOf(T);
  const PASSES = Math.ceil(BITS / PASS_DIGIT);
  const BUCKETS = 1 << PASS_DIGIT;
  const tiles = Math.ceil(cols / PASS_TILE);
  const room = (dtype: DType, count: number): Tensor => empty([count], { dtype, device });
  const words = PASSES > 1 ? [room("i64", n), room("i64", PASSES > 2 ? n : 1)] : [indices, indices];
  const travel = BITS === 64 ? [room("i32", n), room("i32", n)] : words;
  // What programs tell each other, zeros at first: for each pass what each tile has, whose turn it is, and counts.
  const [said, turnsAt] = [rows * tiles * BUCKETS, PASSES * rows * tiles * BUCKETS];
  const countsAt = turnsAt + Math.ceil((PASSES * rows) / 4) * 4;
  const shared = room("i32", countsAt + rows * PASSES * BUCKETS);
  callOperator("zero_", shared);
  const counts = shared.narrow(0, countsAt, rows * PASSES * BUCKETS);
  const key = { BITS, SIGNED, FLOAT, DOWN };
  countPasses.launch([Math.ceil(cols / COUNTED), rows], {
    x, counts, cols, PASSES, DIGIT: PASS_DIGIT, BUCKETS, ...key, B: COUNTED,
  }); // biome-ignore format: one line
  for (let pass = 0; pass < PASSES; pass++) {
    const [from, to] = [(pass + 1) % 2, pass % 2];
    // biome-ignore format: one line per group
    distributePass.launch([tiles, rows], {
      x, words: words[from]!, from: travel[from]!, toWords: words[to]!, toPlaces: travel[to]!, values, indices, counts,
      status: shared.narrow(0, pass * said, said), turns: shared.narrow(0, turnsAt + pass * rows, rows),
      cols, tiles, shift: pass * PASS_DIGIT + (BITS === 64 ? 0 : 32), pass,
      FIRST: pass === 0, LAST: pass === PASSES - 1, PASSES, BUCKETS, ...key, K, T, B: PASS_TILE,
    });
  }
  return [values, indices];
}
