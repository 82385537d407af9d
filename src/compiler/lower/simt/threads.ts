// Where a thread stands in a tile: element numbers and addresses as sums over the bits of the thread's number.

import type { SimtEmitter } from "./emit.js";
import type { Operand } from "./form.js";
import type { Layout } from "./layout.js";

/** The sum of `weights[i]` over the bits `i` set in the thread's number, as an i32. */
export function threadSum(e: SimtEmitter, weights: readonly number[]): Operand {
  let sum: Operand = 0;
  for (let i = 0; i < weights.length; ) {
    const w = weights[i]!;
    let n = 1;
    // A run of doubling weights is one field of the number.
    while (w !== 0 && i + n < weights.length && weights[i + n] === w * 2 ** n) n++;
    if (w !== 0) {
      const tid = e.simt("threadId", "i32", []);
      const shifted = i === 0 ? tid : e.op("shrU", "i32", 1, [tid, i]);
      const field = i + n === weights.length ? shifted : e.op("and", "i32", 1, [shifted, 2 ** n - 1]);
      sum = e.op("add", "i32", 1, [sum, e.op("mul", "i32", 1, [field, w])]);
    }
    i += n;
  }
  return sum;
}

/** The sums of `weight` over the bits of each register's number. */
export function registerSums(l: Layout, weight: (bit: number) => number): number[] {
  let sums = [0];
  for (const bit of l.registers) sums = [...sums, ...sums.map((s) => s + weight(bit))];
  return sums;
}

/** For each register of a layout the sum of `weight` over the bits of its element's number. */
export function elementSums(e: SimtEmitter, l: Layout, weight: (bit: number) => number): Operand[] {
  const base = threadSum(
    e,
    l.threads.map((b) => (b === 0 ? 0 : weight(b))),
  );
  return registerSums(l, weight).map((n) => e.op("add", "i32", 1, [base, n]));
}

/** True in one of the threads that hold the same elements; 1 where there is only one. */
export function isOwner(e: SimtEmitter, l: Layout): Operand {
  const repeats = l.threads.reduce((mask, b, i) => (b === 0 ? mask | (1 << i) : mask), 0);
  if (repeats === 0) return 1;
  const tid = e.simt("threadId", "i32", []);
  const all = repeats === 2 ** l.threads.length - 1;
  return e.op("eq", "mask", 1, [all ? tid : e.op("and", "i32", 1, [tid, repeats]), 0]);
}
