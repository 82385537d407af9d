// Rows of the two commonest blocks, Q8_0 and Q4_0, straight to the layout of `ops/quantized.ts`: a file of them is read in a second, where
// taking blocks apart element by element takes ten. Both have 32 elements and a scale of 16 bits before them, so that two bytes are one
// step here. Other types: `blocks.ts`.

import { roomFor, type Room } from "./room.js";

export type QuickType = "Q8_0" | "Q4_0";
export const isQuick = (type: string): type is QuickType => type === "Q8_0" || type === "Q4_0";

const GROUP = 32;
/** Pairs of bytes in a block: its scale, then its elements. */
const PAIRS = { Q8_0: 1 + GROUP / 2, Q4_0: 1 + GROUP / 4 } as const;
/** Four elements that stand for 0, as the file has them and as we do: 8 and 0, both of which this turns into each other. */
const MIDDLES = 0x8888;

/** Bytes as pairs, in the order of the file. */
function pairsOf(data: Uint8Array): Uint16Array {
  const whole = data.byteOffset % 2 === 0 ? data : data.slice();
  return new Uint16Array(whole.buffer, whole.byteOffset, whole.length / 2);
}

/** Integers and scales (f16) of rows; in `room` until it is used again. */
export function quickRows(
  type: QuickType,
  data: Uint8Array,
  rows: number,
  columns: number,
  room: Room = {},
): { packed: Uint8Array; scales: Uint8Array } {
  const from = pairsOf(data);
  const groups = columns / GROUP;
  const ahead = Math.ceil(groups / 2);
  const packed = roomFor(room, "packed", rows * (type === "Q8_0" ? columns : ahead * GROUP));
  const scales = roomFor(room, "scales", rows * groups * 2);
  const [to, s] = [pairsOf(packed), pairsOf(scales)];
  const pairs = PAIRS[type];
  for (let b = 0; b < s.length; b++) s[b] = from[b * pairs]!;
  if (type === "Q8_0") {
    for (let b = 0, at = 0; b < s.length; b++)
      for (let i = 1, p = b * pairs; i < pairs; i++) to[at++] = from[p + i]!;
    return { packed, scales };
  }
  // A byte of ours holds an element of the row's first half and one of its second half.
  for (let r = 0, at = 0; r < rows; r++)
    for (let g = 0; g < ahead; g++, at += GROUP / 2) {
      const low = (r * groups + g) * pairs + 1;
      const high = low + ahead * pairs;
      const both = g + ahead < groups;
      for (let i = 0; i < GROUP / 4; i++) {
        const x = from[low + i]!;
        const y = both ? from[high + i]! : MIDDLES;
        to[at + i] = ((x & 0x0f0f) | ((y & 0x0f0f) << 4)) ^ MIDDLES;
        to[at + GROUP / 4 + i] = (((x >> 4) & 0x0f0f) | (y & 0xf0f0)) ^ MIDDLES;
      }
    }
  return { packed, scales };
}
