// `sort` along an axis: a bitonic network over lines in shared memory, as loops, so that the code is as long for long lines as
// for short ones. Equal keys keep their order: the places of the elements are carried along and decide between them.
// The network: K. E. Batcher, Sorting networks and their applications (AFIPS 1968).

import { isSigned, numel, type Op } from "../../ir/index.js";
import { dtypeOf } from "../simd/kinds.js";
import type { SimtEmitter } from "./emit.js";
import type { Operand, Stmt } from "./form.js";
import { bitsOf } from "./layout.js";
import { loadShared, sharedBytes, storeShared } from "./shared.js";
import { elementSums } from "./threads.js";
import { loadTile, storeTile } from "./tiles.js";
import type { Unit } from "./unit.js";

const aligned = (n: number): number => Math.ceil(n / 16) * 16;

export function emitSort(unit: Unit, op: Op): void {
  const { e, plan, shared } = unit;
  const [keys, ...values] = op.operands;
  const axis = op.attrs["axis"] as number;
  const l = plan.anchor(keys!);
  const { shape } = l;
  const length = shape[axis]!;
  const d = dtypeOf(keys!);
  const stable = values.length > 0;
  const size = numel(shape);
  // Lines one after the other: the number of an element in its line, then the number of the line.
  const place = lineMajor(shape, axis, length);
  const keyBytes = sharedBytes(d);
  const startAt = aligned(size * keyBytes);
  const startOf: number[] = [];
  let total = startAt + (stable ? aligned(size * 4) : 0);
  for (const v of values) {
    startOf.push(total);
    total += aligned(size * sharedBytes(dtypeOf(v)));
  }
  shared.scratch(total);
  storeTile(e, d, unit.get(keys!, l), l, (b) => place(b) * keyBytes);
  if (stable) {
    const inLine = elementSums(e, l, (b) => place(b) % length);
    storeTile(e, "i32", inLine, l, (b) => place(b) * 4, startAt);
  }
  values.forEach((v, i) => {
    const dv = dtypeOf(v);
    storeTile(e, dv, unit.get(v, l), l, (b) => place(b) * sharedBytes(dv), startOf[i]);
  });
  shared.barrier();
  shared.touch();
  network(unit, op, size, length, stable ? startAt : undefined);
  const home = plan.anchor(op.results[0]!);
  const placeOf = lineMajor(home.shape, axis, length);
  const sorted = loadTile(e, d, home, (b) => placeOf(b) * keyBytes);
  // Where the elements of the results stood.
  const from = stable ? loadTile(e, "i32", home, (b) => placeOf(b) * 4, startAt) : [];
  const line = stable ? elementSums(e, home, (b) => placeOf(b) - (placeOf(b) % length)) : [];
  const picked = values.map((v, i) => {
    const dv = dtypeOf(v);
    return from.map((n, r) => {
      const element = e.op("add", "i32", 1, [line[r]!, n]);
      return loadShared(e, dv, e.op("mul", "i32", 1, [element, sharedBytes(dv)]), startOf[i]!);
    });
  });
  [sorted, ...picked].forEach((regs, i) => {
    unit.define(op.results[i]!, home, regs);
  });
}

/** The number of an element's bit when lines of `length` along the axis follow one another. */
function lineMajor(shape: readonly number[], axis: number, length: number): (bit: number) => number {
  const along = bitsOf(shape, axis);
  const others = shape.flatMap((_, dim) => (dim === axis ? [] : bitsOf(shape, dim))).sort((a, b) => a - b);
  const numbers = new Map<number, number>([
    ...along.map((b, i): [number, number] => [b, 2 ** i]),
    ...others.map((b, i): [number, number] => [b, length * 2 ** i]),
  ]);
  return (bit) => numbers.get(bit)!;
}

/** Compares and exchanges in place, each thread some of the pairs. */
function network(
  { e, plan, shared }: Unit,
  op: Op,
  size: number,
  length: number,
  startAt: number | undefined,
): void {
  const d = dtypeOf(op.operands[0]!);
  const bytes = sharedBytes(d);
  const levels = Math.log2(length);
  if (levels === 0) return;
  const i32 = (o: "add" | "sub" | "mul" | "and" | "or" | "shl" | "shrU", x: Operand, y: Operand): Operand =>
    e.op(o, "i32", 1, [x, y]);
  const order = op.attrs["descending"] === true ? "gt" : "lt";
  const suffix = isSigned(d) ? "S" : "U";
  loop(e, 1, levels + 1, 1, (level) =>
    loop(e, 0, level, 1, (step) => {
      const distance = i32("sub", i32("sub", level, 1), step);
      const apart = i32("shl", 1, distance);
      const body = (pair: Operand): void => {
        // Pairs of all lines in turn: the low bits of the pair's number choose within a line.
        const low = i32("and", pair, i32("sub", apart, 1));
        const first = i32("or", i32("shl", i32("shrU", pair, distance), i32("add", distance, 1)), low);
        const second = i32("or", first, apart);
        const at = (n: Operand): Operand => i32("mul", n, bytes);
        const [x, y] = [loadShared(e, d, at(first), 0), loadShared(e, d, at(second), 0)];
        const inLine = i32("and", first, length - 1);
        const up = e.op("eq", "mask", 1, [i32("and", i32("shrU", inLine, level), 1), 0]);
        let behind = e.op(`${order}${suffix}` as "ltS", "mask", 1, [y, x]);
        const places =
          startAt === undefined
            ? []
            : [first, second].map((n) => loadShared(e, "i32", i32("mul", n, 4), startAt));
        if (places.length) {
          const later = e.op("ltS", "mask", 1, [places[1]!, places[0]!]);
          const equal = e.op("eq", "mask", 1, [x, y]);
          behind = e.op("or", "mask", 1, [behind, e.op("and", "mask", 1, [equal, later])]);
        }
        // Exchanged where `behind` and `up` agree; equal keys without places are the same either way.
        const swap = e.op("not", "mask", 1, [e.op("xor", "mask", 1, [behind, up])]);
        e.when(swap, () => {
          storeShared(e, d, at(first), 0, y);
          storeShared(e, d, at(second), 0, x);
          if (places.length) {
            storeShared(e, "i32", i32("mul", first, 4), startAt!, places[1]!);
            storeShared(e, "i32", i32("mul", second, 4), startAt!, places[0]!);
          }
        });
      };
      const tid = e.simt("threadId", "i32", []);
      const pairs = size / 2;
      if (pairs <= plan.threads) {
        const active = pairs === plan.threads ? 1 : e.op("ltS", "mask", 1, [tid, pairs]);
        e.when(active, () => body(tid));
      } else loop(e, 0, pairs, plan.threads, (base) => body(i32("add", base, tid)));
      shared.barrier();
      shared.touch();
    }),
  );
}

/** A counting loop that stays one. */
function loop(e: SimtEmitter, lo: Operand, hi: Operand, step: number, body: (iv: Operand) => void): void {
  const iv = e.value("i32");
  const list: Stmt[] = [];
  e.inside(list as never[], () => body(iv));
  e.push({ s: "for", iv, lo, hi, step, body: list });
}
