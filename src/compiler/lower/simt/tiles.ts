// Tiles in shared memory: every element at the sum of weights over the bits of its number, neighbours in one access.

import { DTYPES, type DType } from "../../ir/index.js";
import type { SimtEmitter } from "./emit.js";
import type { Operand } from "./form.js";
import type { Layout } from "./layout.js";
import { memoryReg, sharedKind } from "./shared.js";
import { packWords, unpackWords } from "./pack.js";
import { isOwner, registerSums, threadSum } from "./threads.js";

/** The byte at which an element stands, for each bit of its number. */
export type Weight = (bit: number) => number;

/** Elements one after the other. */
export const packed =
  (d: DType): Weight =>
  (bit) =>
    bit * DTYPES[d].bytes;

/** How many registers from a multiple of that on are neighbours in memory and aligned together, up to 16 bytes. */
function run(l: Layout, d: DType, weight: Weight): number {
  const { bytes } = DTYPES[d];
  let n = 1;
  while (n * bytes < 16) {
    const bit = l.registers[Math.log2(n)];
    if (bit === undefined || weight(bit) !== n * bytes) break;
    // Every other bit must keep the alignment.
    const others = [...l.registers.slice(Math.log2(n) + 1), ...l.threads].filter((b) => b !== 0);
    if (others.some((b) => weight(b) % (2 * n * bytes) !== 0)) break;
    n *= 2;
  }
  return n * bytes < 4 ? 1 : n;
}

const access = (d: DType, n: number) => (DTYPES[d].bytes < 4 && n > 1 ? ("i32" as const) : sharedKind(d));

/** Writes a tile from byte `start` on (a multiple of 16). Elements that several threads hold are written by one. */
export function storeTile(
  e: SimtEmitter,
  d: DType,
  regs: readonly Operand[],
  l: Layout,
  weight: Weight,
  start = 0,
): void {
  const at = threadSum(
    e,
    l.threads.map((b) => (b === 0 ? 0 : weight(b))),
  );
  const mask = isOwner(e, l);
  const sums = registerSums(l, weight);
  const n = run(l, d, weight);
  for (let r = 0; r < regs.length; r += n)
    e.push({
      s: "store",
      values: packWords(e, d, regs.slice(r, r + n)),
      type: { kind: memoryReg(d), lanes: 1 },
      kind: access(d, n),
      mem: { shared: 0 },
      at,
      plus: start + sums[r]!,
      ...(mask === 1 ? {} : { mask }),
    });
}

/** Reads a tile that {@link storeTile} wrote with the same weights. */
export function loadTile(e: SimtEmitter, d: DType, l: Layout, weight: Weight, start = 0): Operand[] {
  const at = threadSum(
    e,
    l.threads.map((b) => (b === 0 ? 0 : weight(b))),
  );
  const sums = registerSums(l, weight);
  const n = run(l, d, weight);
  const words = Math.max(1, (n * DTYPES[d].bytes) / 4);
  const count = DTYPES[d].bytes >= 4 ? n : words;
  const out: Operand[] = [];
  for (let r = 0; r < sums.length; r += n) {
    const dst = Array.from({ length: n === 1 ? 1 : count }, () => e.value(memoryReg(d)));
    e.push({ s: "load", dst, kind: access(d, n), mem: { shared: 0 }, at, plus: start + sums[r]! });
    out.push(...unpackWords(e, d, dst, n));
  }
  return out;
}
