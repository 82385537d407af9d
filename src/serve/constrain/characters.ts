// Characters as bytes of UTF-8, and as they stand inside a JSON string.

import { bytes, choice, type Part, sequence, text } from "./grammar.js";

/** Inclusive ranges of code points. */
export type Ranges = readonly (readonly [low: number, high: number])[];

/** The last code point of one, two, three and four bytes. */
const LAST = [0x7f, 0x7ff, 0xffff, 0x10ffff];

const encode = (c: number): number[] => [...new TextEncoder().encode(String.fromCodePoint(c))];

/** Sequences of bytes between two of equal length, each byte after the first being a continuation byte. */
function between(low: readonly number[], high: readonly number[]): Part {
  const [a, b] = [low[0]!, high[0]!];
  if (low.length === 1) return bytes([a, b]);
  const [restLow, restHigh] = [low.slice(1), high.slice(1)];
  if (a === b) return sequence(bytes([a, a]), between(restLow, restHigh));
  const least = restLow.map(() => 0x80);
  const most = restLow.map(() => 0xbf);
  const isLeast = restLow.every((x) => x === 0x80);
  const isMost = restHigh.every((x) => x === 0xbf);
  const from = isLeast ? a : a + 1;
  const to = isMost ? b : b - 1;
  const list: Part[] = [];
  if (!isLeast) list.push(sequence(bytes([a, a]), between(restLow, most)));
  if (from <= to) list.push(sequence(bytes([from, to]), between(least, most)));
  if (!isMost) list.push(sequence(bytes([b, b]), between(least, restHigh)));
  return choice(...list);
}

/** Ranges in order, joined, without the surrogates, which UTF-8 does not have. */
function tidy(ranges: Ranges): [number, number][] {
  const sorted = ranges
    .flatMap(([low, high]): [number, number][] => [
      [low, Math.min(high, 0xd7ff)],
      [Math.max(low, 0xe000), high],
    ])
    .filter(([low, high]) => low <= high)
    .sort((a, b) => a[0] - b[0]);
  const out: [number, number][] = [];
  for (const [low, high] of sorted) {
    const last = out.at(-1);
    if (last && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else out.push([low, high]);
  }
  return out;
}

/** All code points that are in none of the ranges. */
export function complement(ranges: Ranges): Ranges {
  const out: [number, number][] = [];
  let from = 0;
  for (const [low, high] of tidy(ranges)) {
    if (low > from) out.push([from, low - 1]);
    from = high + 1;
  }
  if (from <= 0x10ffff) out.push([from, 0x10ffff]);
  return out;
}

/** One character out of the ranges, in UTF-8. */
export function characters(ranges: Ranges): Part {
  const list: Part[] = [];
  for (const [low, high] of tidy(ranges)) {
    let from = low;
    for (const last of LAST) {
      if (from > high) break;
      if (from > last) continue;
      const to = Math.min(high, last);
      list.push(between(encode(from), encode(to)));
      from = to + 1;
    }
  }
  return choice(...list);
}

/** What must be escaped inside a JSON string. */
const ESCAPED: Ranges = [
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
];

/** One character out of the ranges as it stands in a JSON string: as itself, or escaped where it must be. */
export function jsonCharacters(ranges: Ranges): Part {
  const wanted = tidy(ranges);
  const plain: [number, number][] = [];
  const escaped: Part[] = [];
  for (const [low, high] of wanted) {
    for (const [a, b] of complement(ESCAPED))
      if (Math.max(a, low) <= Math.min(b, high)) plain.push([Math.max(a, low), Math.min(b, high)]);
    for (const [a, b] of ESCAPED)
      for (let c = Math.max(a, low); c <= Math.min(b, high); c++)
        escaped.push(text(JSON.stringify(String.fromCharCode(c)).slice(1, -1)));
  }
  return choice(...(plain.length ? [characters(plain)] : []), ...escaped);
}

const HEX = bytes([0x30, 0x39], [0x41, 0x46], [0x61, 0x66]);

/** Any character of a JSON string, with every escape that JSON has. */
export const anyJsonCharacter: Part = choice(
  characters(complement(ESCAPED)),
  sequence(
    text("\\"),
    choice(...Array.from('"\\/bfnrt', (c) => text(c)), sequence(text("u"), HEX, HEX, HEX, HEX)),
  ),
);
