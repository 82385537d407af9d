// Integers within bounds as a grammar of their decimal digits.

import { bytes, choice, type Part, repeat, sequence, text } from "./grammar.js";

const digit = (low: string, high: string): Part => bytes([low.charCodeAt(0), high.charCodeAt(0)]);
const ANY_DIGIT = digit("0", "9");

/** Numbers between two of as many digits, leading zeros included. */
function sameLength(low: string, high: string): Part {
  if (low === "") return sequence();
  const [a, b] = [low[0]!, high[0]!];
  const [lowRest, highRest] = [low.slice(1), high.slice(1)];
  if (a === b) return sequence(text(a), sameLength(lowRest, highRest));
  const zeros = "0".repeat(lowRest.length);
  const nines = "9".repeat(lowRest.length);
  const list = [
    sequence(text(a), sameLength(lowRest, nines)),
    sequence(text(b), sameLength(zeros, highRest)),
  ];
  const [from, to] = [String.fromCharCode(a.charCodeAt(0) + 1), String.fromCharCode(b.charCodeAt(0) - 1)];
  if (from <= to) list.push(sequence(digit(from, to), repeat(ANY_DIGIT, lowRest.length, lowRest.length)));
  return choice(...list);
}

/** Whole numbers from `low`, which is 0 or more, to `high`; without `high` all above. */
function natural(low: number, high: number | undefined): Part {
  const list: Part[] = [];
  const last = high === undefined ? String(low).length : String(high).length;
  for (let length = String(low).length; length <= last; length++) {
    const least = length === 1 ? 0 : 10 ** (length - 1);
    const most = 10 ** length - 1;
    const [a, b] = [Math.max(low, least), high === undefined ? most : Math.min(high, most)];
    if (a <= b) list.push(sameLength(String(a), String(b)));
  }
  if (high === undefined) list.push(sequence(digit("1", "9"), repeat(ANY_DIGIT, last)));
  return choice(...list);
}

/** Integers from `low` to `high`; a missing bound is none. `low` is at most `high`. */
export function integerBetween(low: number | undefined, high: number | undefined): Part {
  const list: Part[] = [];
  if (high === undefined || high >= 0) list.push(natural(Math.max(low ?? 0, 0), high));
  if (low === undefined || low < 0) {
    const nearest = Math.max(1, high === undefined ? 1 : -high);
    list.push(sequence(text("-"), natural(nearest, low === undefined ? undefined : -low)));
  }
  return choice(...list);
}
