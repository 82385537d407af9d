// The products of one stage of staged.ts: by matrix units on fragments, or by each thread for its own rows and columns.

import type { Mem, Operand, Reg } from "./form.js";
import type { Layout } from "./layout.js";
import type { Fragment } from "./shape.js";
import type { Staged, StagedOperand } from "./staged-plan.js";
import { registerSums, threadSum } from "./threads.js";
import type { Unit } from "./unit.js";

/** Elements of one access to shared memory. */
const FOUR = 4;
const EIGHT = 8;

/** Adds the products of the stage that begins at a byte to the sums. What is the same in all turns is computed here, once. */
export function stagedProducts(
  unit: Unit,
  s: Staged,
  mem: Mem,
): (stage: Operand, sums: readonly Reg[]) => void {
  return s.matrix ? byUnits(unit, s, mem) : byThreads(unit, s, mem);
}

/** The byte of an element of a stage, from its place along the sum and across it. */
export const byteOf = (x: StagedOperand, k: number, other: number): number =>
  x.start + (x.alongK ? other * x.pitch + k * x.size : k * x.pitch + other * x.size);

const offset = (x: StagedOperand, k: number, other: number): number => byteOf(x, k, other) - x.start;

/** The rows and columns of a bit of the result's element numbers. */
export function sides(acc: Layout): readonly [(bit: number) => number, (bit: number) => number] {
  const cols = acc.shape[1]!;
  return [(bit) => (bit >= cols ? bit / cols : 0), (bit) => (bit < cols ? bit : 0)];
}

export const depthOf = (s: Staged): number =>
  (s.a.load.result.type as { shape: readonly number[] }).shape[1]!;

function byThreads(unit: Unit, s: Staged, mem: Mem): (stage: Operand, sums: readonly Reg[]) => void {
  const { e, plan } = unit;
  const acc = plan.anchor(s.dot.result);
  const depth = depthOf(s);
  const parts = ([s.a, s.b] as const).map((x, i) => {
    const part = sides(acc)[i]!;
    const base = threadSum(
      e,
      acc.threads.map((bit) => offset(x, 0, part(bit))),
    );
    const places = registerSums(acc, part);
    return { x, base, places, own: [...new Set(places)].sort((p, q) => p - q) };
  });
  return (stage, sums) => {
    const read = parts.map(({ x, base, own }) =>
      reader(unit, x, mem, e.op("add", "i32", 1, [base, stage]), own),
    );
    for (let k = 0; k < depth; k++) {
      const [left, right] = read.map((f) => f(k));
      sums.forEach((sum, r) => {
        const args = [left!.get(parts[0]!.places[r]!)!, right!.get(parts[1]!.places[r]!)!, sum];
        e.push({ s: "op", op: "fma", dst: sum, args });
      });
    }
  };
}

/** Gives the elements at one place along the sum, by their place across it; reads four at a time. */
function reader(
  unit: Unit,
  x: StagedOperand,
  mem: Mem,
  at: Operand,
  own: readonly number[],
): (k: number) => Map<number, Operand> {
  const { e } = unit;
  return (k) => {
    const out = new Map<number, Operand>();
    for (const o of own) {
      if (out.has(o)) continue;
      const dst = Array.from({ length: FOUR }, () => e.value("f32"));
      e.push({ s: "load", dst, kind: "f32", mem, at, plus: byteOf(x, k, o) });
      dst.forEach((reg, i) => void out.set(o + i, reg));
    }
    return out;
  };
}

function byUnits(unit: Unit, s: Staged, mem: Mem): (stage: Operand, sums: readonly Reg[]) => void {
  const { e, plan } = unit;
  const { index, unit: u } = s.matrix!;
  const acc = plan.anchor(s.dot.result);
  const [rowOf, colOf] = sides(acc);
  const groups = acc.threads.slice(u.c.threads.length);
  // A fragment's bits count row by row: of a[m,k] along the sum first, of b[k,n] across it.
  const placeA = (bit: number): [number, number] => (bit < u.k ? [bit, 0] : [0, bit / u.k]);
  const placeB = (bit: number): [number, number] => (bit < u.n ? [0, bit] : [bit / u.n, 0]);
  const a = fragments(unit, s.a, mem, u.a.fragment!, placeA, [0, 1], groups.map(rowOf));
  const b = fragments(unit, s.b, mem, u.b.fragment!, placeB, [1, 0], groups.map(colOf));
  const repeats = acc.registers.slice(u.c.registers.length);
  const down = offsets(repeats.map(rowOf).filter((n) => n > 0));
  const right = offsets(repeats.map(colOf).filter((n) => n > 0));
  const each = 2 ** u.c.registers.length;
  return (stage, sums) => {
    const [fromA, fromB] = [a(stage), b(stage)];
    for (let step = 0; step < depthOf(s); step += u.k) {
      const left = down.map((row) => fromA(step, row, false)[0]!);
      const top: Reg[][] = [];
      while (top.length < right.length) {
        const [col, next] = [right[top.length]!, right[top.length + 1]];
        top.push(...fromB(step, col, next === col + EIGHT));
      }
      down.forEach((_, i) => {
        right.forEach((_, j) => {
          const first = (i * right.length + j) * each;
          const d = sums.slice(first, first + each);
          e.push({ s: "matrix", matrix: index, d, a: left[i]!, b: top[j]!, c: d });
        });
      });
    }
  };
}

/** Reads fragments: of one place, or with `two` of it and the one eight further across the sum. */
export type Fragments = (stage: Operand) => (k: number, other: number, two: boolean) => Reg[][];

/**
 * @param place the place of a fragment's bit along the sum and across it
 * @param order which of the second and third eight lanes of `loadMatrix` are further along the sum
 */
export function fragments(
  unit: Unit,
  x: StagedOperand,
  mem: Mem,
  fragment: Fragment,
  place: (bit: number) => [number, number],
  order: readonly [number, number],
  groups: readonly number[],
): Fragments {
  const { e } = unit;
  const own = groups.map((other) => offset(x, 0, other));
  const words = 2 ** fragment.registers.length / Math.max(1, 4 / x.size);
  if (x.alongK || x.size === 2) {
    // Lanes 0-7 name the rows of the first 8x8 matrix, 8-15 those of the second, and so on.
    const half = 16 / x.size;
    const eights = order.map((along) => (along ? offset(x, half, 0) : offset(x, 0, EIGHT)));
    const lanes = [1, 2, 4].map((j) => j * x.pitch);
    // Of a unit of several subgroups each has rows of its own.
    const subgroups = fragment.threads.slice(5).map((bit) => offset(x, ...place(bit)));
    const base = threadSum(e, [...lanes, ...eights, ...subgroups, ...own]);
    return (stage) => {
      const at = e.op("add", "i32", 1, [base, stage]);
      return (k, other, two) => {
        const dst = Array.from({ length: two ? 2 * words : words }, () => e.value("i32"));
        const from = { mem, at, plus: byteOf(x, k, other) };
        e.push({ s: "loadMatrix", dst, place: from, transpose: !x.alongK });
        return two ? [dst.slice(0, words), dst.slice(words)] : [dst];
      };
    };
  }
  const base = threadSum(e, [...fragment.threads.map((bit) => offset(x, ...place(bit))), ...own]);
  const places = offsets(fragment.registers.map((bit) => offset(x, ...place(bit))));
  return (stage) => {
    const at = e.op("add", "i32", 1, [base, stage]);
    const one = (k: number, other: number): Reg[] =>
      places.map((p) => {
        const dst = e.value("i32");
        e.push({ s: "load", dst: [dst], kind: "i32", mem, at, plus: byteOf(x, k, other) + p });
        return dst;
      });
    return (k, other, two) => (two ? [one(k, other), one(k, other + EIGHT)] : [one(k, other)]);
  };
}

/** The sums over all subsets, the first varying fastest. */
export function offsets(bits: readonly number[]): number[] {
  let sums = [0];
  for (const bit of bits) sums = [...sums, ...sums.map((n) => n + bit)];
  return sums;
}
