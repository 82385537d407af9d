// Blocks of integers with shared scales, as GGUF files hold them: to the layout of `ops/quantized.ts`, to floats, and
// from floats. Every type is one description of how a block's integers, scales and zeros stand in its bytes.
// Formats: the block structures of ggml (Q4_0 to Q8_0: 32 elements; K types: 256 elements in 8 or 16 groups).

import type { IntegerLayout, IntegerPiece } from "../parameters.js";
import { half, toBrain, toHalf } from "./halves.js";
import type { Room } from "./room.js";
import { isQuick, quickRows } from "./rows.js";
import { type BlockType, TYPES, type WrittenType } from "./types.js";

interface Reader {
  /** Elements that share a scale. */
  readonly group: number;
  readonly bits: 4 | 8;
  /** Scales are halves in the file, and stay so. */
  readonly halves: boolean;
  /** What is subtracted from the file's integers so that they stand around 0 and fit their bits. */
  readonly middle: number;
  /** Whether groups have a least element: then one is `scale * (q + middle) + least`, else `scale * q`. */
  readonly least: boolean;
  /** Writes a block's integers from `e` on, its scales and least elements from `g` on. */
  readonly read: (
    b: Uint8Array,
    at: number,
    q: Int8Array,
    e: number,
    s: Float32Array,
    m: Float32Array,
    g: number,
  ) => void;
}

const u16 = (b: Uint8Array, at: number): number => b[at]! | (b[at + 1]! << 8);

/** Blocks of 32: a scale, perhaps a minimum, perhaps a fifth bit for each, then the low bits. */
const simple = (bits: 4 | 5, least: boolean): Reader => {
  const middle = bits === 4 ? 8 : 16;
  return {
    group: 32,
    bits: bits === 4 ? 4 : 8,
    halves: true,
    middle,
    least,
    read(b, at, q, e, s, m, g) {
      s[g] = half(u16(b, at));
      if (least) m[g] = half(u16(b, at + 2));
      const fifth = at + (least ? 4 : 2);
      const low = fifth + (bits === 5 ? 4 : 0);
      for (let i = 0; i < 16; i++) {
        let [x, y] = [b[low + i]! & 15, b[low + i]! >> 4];
        if (bits === 5) {
          x |= ((b[fifth + (i >> 3)]! >> (i & 7)) & 1) << 4;
          y |= ((b[fifth + 2 + (i >> 3)]! >> (i & 7)) & 1) << 4;
        }
        q[e + i] = x - middle;
        q[e + 16 + i] = y - middle;
      }
    },
  };
};

/** Blocks of 256 in groups of 32, whose scales and minima have six bits each. */
const superBlock = (bits: 4 | 5): Reader => {
  const middle = bits === 4 ? 8 : 16;
  return {
    group: 32,
    bits: bits === 4 ? 4 : 8,
    halves: false,
    middle,
    least: true,
    read(b, at, q, e, s, m, g) {
      const d = half(u16(b, at));
      const dMin = half(u16(b, at + 2));
      const high = at + 16;
      const low = high + (bits === 5 ? 32 : 0);
      for (let j = 0; j < 8; j++) {
        const [scale, least] = sixBits(b, at + 4, j);
        const from = low + 32 * (j >> 1);
        for (let i = 0; i < 32; i++) {
          let x = j & 1 ? b[from + i]! >> 4 : b[from + i]! & 15;
          if (bits === 5) x |= ((b[high + i]! >> j) & 1) << 4;
          q[e + 32 * j + i] = x - middle;
        }
        s[g + j] = d * scale;
        m[g + j] = -dMin * least;
      }
    },
  };
};

/** Scale and minimum `j` of eight, in twelve bytes. */
function sixBits(b: Uint8Array, at: number, j: number): [number, number] {
  if (j < 4) return [b[at + j]! & 63, b[at + j + 4]! & 63];
  return [
    (b[at + j + 4]! & 15) | ((b[at + j - 4]! >> 6) << 4),
    (b[at + j + 4]! >> 4) | ((b[at + j]! >> 6) << 4),
  ];
}

const READERS: Readonly<Record<BlockType, Reader>> = {
  Q4_0: simple(4, false),
  Q4_1: simple(4, true),
  Q5_0: simple(5, false),
  Q5_1: simple(5, true),
  Q8_0: {
    group: 32,
    bits: 8,
    halves: true,
    middle: 0,
    least: false,
    read(b, at, q, e, s, _m, g) {
      s[g] = half(u16(b, at));
      for (let i = 0; i < 32; i++) q[e + i] = b[at + 2 + i]!;
    },
  },
  Q4_K: superBlock(4),
  Q5_K: superBlock(5),
  Q6_K: {
    group: 16,
    bits: 8,
    halves: false,
    middle: 0,
    least: false,
    read(b, at, q, e, s, _m, g) {
      const d = half(u16(b, at + 208));
      for (let j = 0; j < 16; j++) s[g + j] = d * ((b[at + 192 + j]! << 24) >> 24);
      for (let n = 0; n < 2; n++)
        for (let i = 0; i < 32; i++) {
          const [x, y, h] = [b[at + 64 * n + i]!, b[at + 64 * n + 32 + i]!, b[at + 128 + 32 * n + i]!];
          const to = e + 128 * n + i;
          q[to] = ((x & 15) | ((h & 3) << 4)) - 32;
          q[to + 32] = ((y & 15) | (((h >> 2) & 3) << 4)) - 32;
          q[to + 64] = ((x >> 4) | (((h >> 4) & 3) << 4)) - 32;
          q[to + 96] = ((y >> 4) | (((h >> 6) & 3) << 4)) - 32;
        }
    },
  },
};

interface Unpacked {
  readonly q: Int8Array;
  readonly scales: Float32Array;
  readonly leasts: Float32Array;
}

function unpack(type: BlockType, data: Uint8Array): Unpacked {
  const { group, least, read } = READERS[type];
  const { block, bytes } = TYPES[type];
  const blocks = data.length / bytes;
  const q = new Int8Array(blocks * block);
  const scales = new Float32Array(q.length / group);
  const leasts = new Float32Array(least ? scales.length : 0);
  for (let i = 0; i < blocks; i++) read(data, i * bytes, q, i * block, scales, leasts, (i * block) / group);
  return { q, scales, leasts };
}

/** The floats that blocks stand for, rounded as ggml's reference rounds: the product to f32, then the sum. */
export function blockFloats(type: BlockType, data: Uint8Array): Float32Array {
  const { q, scales, leasts } = unpack(type, data);
  const { group, least, middle } = READERS[type];
  const out = new Float32Array(q.length);
  for (let g = 0, i = 0; g < scales.length; g++) {
    const scale = scales[g]!;
    if (!least) for (const end = i + group; i < end; i++) out[i] = scale * q[i]!;
    else
      for (const end = i + group; i < end; i++) out[i] = Math.fround(scale * (q[i]! + middle)) + leasts[g]!;
  }
  return out;
}

/** The integer (or fraction) that stands for 0 in each group. */
function zerosOf({ q, scales, leasts }: Unpacked, { group, middle }: Reader): Float32Array {
  return leasts.map((least, g) => {
    if (scales[g] !== 0) return -least / scales[g]! - middle;
    // All are the same: one step away from the zero, whatever the step.
    scales[g] = least;
    q.fill(-middle, g * group, (g + 1) * group);
    return -middle - 1;
  });
}

/** How a matrix of blocks stands as integers. */
export function integerLayout(type: BlockType, rows: number, columns: number): IntegerLayout {
  const { group, bits, halves, least } = READERS[type];
  const groups = columns / group;
  const [packed, half] = [
    [rows, bits === 8 ? columns : Math.ceil(groups / 2) * group],
    [rows, groups],
  ];
  return {
    packed: { dtype: bits === 8 ? "i8" : "u8", shape: packed },
    scales: { dtype: halves ? "f16" : "f32", shape: half },
    zeros: least ? { dtype: "f32", shape: half } : undefined,
    groupSize: group,
  };
}

/** Rows of blocks in the layout of `ops/quantized.ts`: the same integers and scales. They may stand in `room` until it is used again. */
export function blockIntegers(
  type: BlockType,
  data: Uint8Array,
  rows: number,
  columns: number,
  room: Room = {},
): IntegerPiece {
  if (isQuick(type)) return { ...quickRows(type, data, rows, columns, room), zeros: undefined };
  const unpacked = unpack(type, data);
  const { q, scales } = unpacked;
  const { group, bits, halves, least } = READERS[type];
  const zeros = least ? zerosOf(unpacked, READERS[type]) : undefined;
  const groups = columns / group;
  const bytesOf = (t: Int8Array | Uint8Array | Uint16Array | Float32Array): Uint8Array =>
    new Uint8Array(t.buffer, t.byteOffset, t.byteLength);
  return {
    packed: bytesOf(bits === 8 ? q : nibbles(q, rows, columns, Math.ceil(groups / 2) * group)),
    scales: bytesOf(halves ? halvesOf(scales, toHalf) : scales),
    zeros: zeros && bytesOf(zeros),
  };
}

/** Two elements a byte: those of the row's first half in the low bits. */
function nibbles(q: Int8Array, rows: number, columns: number, half: number): Uint8Array {
  const out = new Uint8Array(rows * half);
  for (let r = 0; r < rows; r++)
    for (let j = 0; j < half; j++) {
      const low = q[r * columns + j]! & 15;
      const high = half + j < columns ? q[r * columns + half + j]! & 15 : 0;
      out[r * half + j] = low | (high << 4);
    }
  return out;
}

const { fround } = Math;

/**
 * Floats as a type that we write; blocks round to the nearest integer of the scale that the largest element sets. Blocks of 32
 * are rounded as ggml's reference does it, so that the files are the same.
 */
export function encode(type: WrittenType, x: Float32Array): Uint8Array {
  const sixteen = (f: (v: number) => number) => new Uint8Array(halvesOf(x, f).buffer);
  switch (type) {
    case "F32":
      return new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
    case "F16":
      return sixteen(toHalf);
    case "BF16":
      return sixteen(toBrain);
    case "Q8_0":
      return blocksOf(type, x, (at, out) => {
        const d = fround(most(x, at, 32) / 127);
        const by = d === 0 ? 0 : fround(1 / d);
        setU16(out, 0, toHalf(d));
        for (let i = 0; i < 32; i++) out[2 + i] = roundAway(fround(x[at + i]! * by));
      });
    case "Q4_0":
      return blocksOf(type, x, (at, out) => {
        // The largest element becomes -8, whatever its sign: one more step than with 7.
        let top = 0;
        for (let i = 0; i < 32; i++) if (Math.abs(x[at + i]!) > Math.abs(top)) top = x[at + i]!;
        const d = top / -8;
        const by = d === 0 ? 0 : fround(1 / d);
        setU16(out, 0, toHalf(d));
        const q = (v: number) => Math.min(15, Math.trunc(fround(fround(v * by) + 8.5)));
        for (let i = 0; i < 16; i++) out[2 + i] = q(x[at + i]!) | (q(x[at + 16 + i]!) << 4);
      });
    case "Q4_K":
      return blocksOf(type, x, (at, out) => superBlockOf(x, at, out));
    default:
      return type satisfies never;
  }
}

/** A loop: `Uint16Array.from` makes a list first, which an embedding of a large vocabulary has no room in. */
function halvesOf(x: Float32Array, f: (v: number) => number): Uint16Array<ArrayBuffer> {
  const out = new Uint16Array(x.length);
  for (let i = 0; i < out.length; i++) out[i] = f(x[i]!);
  return out;
}

/** To the nearest, ties away from 0. */
const roundAway = (v: number): number => Math.sign(v) * Math.round(Math.abs(v));

const most = (x: Float32Array, at: number, n: number): number => {
  let m = 0;
  for (let i = 0; i < n; i++) m = Math.max(m, Math.abs(x[at + i]!));
  return m;
};

const setU16 = (b: Uint8Array, at: number, v: number): void => {
  b[at] = v & 255;
  b[at + 1] = v >> 8;
};

function blocksOf(
  type: BlockType,
  x: Float32Array,
  write: (at: number, out: Uint8Array) => void,
): Uint8Array {
  const { block, bytes } = TYPES[type];
  const out = new Uint8Array((x.length / block) * bytes);
  for (let i = 0; i < x.length / block; i++) write(i * block, out.subarray(i * bytes, (i + 1) * bytes));
  return out;
}

/** One block of Q4_K: groups from their least (0 or below) to their largest element, scales and minima in six bits. */
function superBlockOf(x: Float32Array, at: number, out: Uint8Array): void {
  const scales = new Float64Array(8);
  const leasts = new Float64Array(8);
  for (let j = 0; j < 8; j++) {
    const group = x.subarray(at + 32 * j, at + 32 * j + 32);
    const least = Math.min(0, ...group);
    scales[j] = (Math.max(0, ...group) - least) / 15;
    leasts[j] = -least;
  }
  const dBits = toHalf(Math.max(...scales) / 63);
  const minBits = toHalf(Math.max(...leasts) / 63);
  const [d, dMin] = [half(dBits), half(minBits)];
  setU16(out, 0, dBits);
  setU16(out, 2, minBits);
  const six = (v: number, unit: number) => (unit === 0 ? 0 : Math.min(63, Math.round(v / unit)));
  for (let j = 0; j < 8; j++) {
    const [s, m] = [six(scales[j]!, d), six(leasts[j]!, dMin)];
    if (j < 4) {
      out[4 + j] = out[4 + j]! | s;
      out[8 + j] = out[8 + j]! | m;
    } else {
      out[8 + j] = (s & 15) | ((m & 15) << 4);
      out[j] = out[j]! | ((s >> 4) << 6);
      out[4 + j] = out[4 + j]! | ((m >> 4) << 6);
    }
    for (let i = 0; i < 32; i++) {
      const unit = d * s;
      const q =
        unit === 0 ? 0 : Math.min(15, Math.max(0, Math.round((x[at + 32 * j + i]! + dMin * m) / unit)));
      const to = 16 + 32 * (j >> 1) + i;
      out[to] = out[to]! | (j & 1 ? q << 4 : q);
    }
  }
}
