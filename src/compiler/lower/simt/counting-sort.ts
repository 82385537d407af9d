// `countingSort`: the place of every element is found by counting, then each goes there through shared memory.
//
// Every subgroup counts its elements in bins of its own: lanes with equal keys find each other, take their places from what their bin
// has counted so far, and the last of them counts all. Bins are then summed over subgroups and before one another, which
// says where the first element of each bin of each subgroup goes. (D. Merrill, A. Grimshaw, High performance and scalable radix
// sorting, 2011; A. Adinets, D. Merrill, Onesweep, 2022.) Without values there is nothing to place, and all threads share the bins.

import { DTYPES, numel, type Op, type Value } from "../../ir/index.js";
import { dtypeOf } from "../simd/kinds.js";
import { rankLayout } from "./counting-layout.js";
import type { Operand } from "./form.js";
import { shapeOf } from "./plan.js";
import { loadShared, sharedBytes, storeShared } from "./shared.js";
import { loadTile, packed } from "./tiles.js";
import type { Unit } from "./unit.js";

const aligned = (n: number): number => Math.ceil(n / 16) * 16;

export function emitCountingSort(unit: Unit, op: Op): void {
  const { e, plan, shared } = unit;
  const { threads } = plan;
  const lanes = plan.shape.subgroup!;
  const [keys, ...values] = op.operands;
  const sorted = op.results.slice(2);
  const wanted = sorted.some((v) => v.uses.size > 0);
  const bins = op.attrs["bins"] as number;
  const shape = shapeOf(keys!);
  const l = rankLayout(shape, threads, lanes);
  const key = unit.get(keys!, l);
  const groups = wanted ? threads / lanes : 1;
  const i32 = (o: "add" | "sub" | "and" | "or" | "shl" | "mul", x: Operand, y: Operand): Operand =>
    e.op(o, "i32", 1, [x, y]);
  const at = (n: Operand): Operand => i32("mul", n, 4);

  // Counters of every subgroup, what subgroups sum up for others, then the values.
  const sumsAt = groups * bins * 4;
  let total = aligned(sumsAt + (threads / lanes) * 4);
  const startOf = values.map((v) => {
    const start = total;
    if (wanted) total += aligned(numel(shape) * sharedBytes(dtypeOf(v)));
    return start;
  });
  shared.scratch(total);
  const tid = e.simt("threadId", "i32", []);
  const lane = i32("and", tid, lanes - 1);
  const own = i32("mul", i32("sub", tid, lane), (bins / lanes) * 4);
  for (let n = 0; n < groups * bins; n += threads) {
    const inside = groups * bins - n >= threads ? 1 : e.op("ltS", "mask", 1, [tid, groups * bins - n]);
    storeShared(e, "i32", at(tid), n * 4, 0, inside);
  }
  shared.barrier();

  const ranks = wanted ? rank(unit, key, Math.log2(bins), lane, own) : undefined;
  if (!ranks) count(unit, key);
  shared.barrier();

  // One bin for each thread; where there are more threads, they repeat each other.
  const bin = i32("and", tid, bins - 1);
  const parts = Array.from({ length: groups }, (_, g) => loadShared(e, "i32", at(bin), g * bins * 4));
  const sum = parts.reduce((a, b) => i32("add", a, b));
  const first = before(unit, sum, bin, bins, sumsAt);
  const done: (readonly [Value, readonly Operand[]])[] = [
    [op.results[0]!, [sum]],
    [op.results[1]!, [first]],
  ];
  if (ranks) done.push(...place(first, ranks));
  shared.touch();
  // What is made in other layouts from here on may use the same memory.
  for (const [v, regs] of done) if (v.uses.size) unit.define(v, plan.anchor(v), regs);

  /** Brings the values to their places, where all read their own. */
  function place(first: Operand, ranks: readonly Operand[]): [Value, Operand[]][] {
    let next = first;
    const owner = bins === threads ? 1 : e.op("ltS", "mask", 1, [tid, bins]);
    for (const [g, part] of parts.entries()) {
      storeShared(e, "i32", at(bin), g * bins * 4, next, owner);
      next = i32("add", next, part);
    }
    shared.barrier();
    const places = key.map((k, r) => i32("add", loadShared(e, "i32", i32("add", own, at(k)), 0), ranks[r]!));
    values.forEach((v, i) => {
      const d = dtypeOf(v);
      if (sorted[i]!.uses.size === 0) return;
      const regs = unit.get(v, l);
      places.forEach((p, r) => {
        storeShared(e, d, i32("mul", p, DTYPES[d].bytes), startOf[i]!, regs[r]!);
      });
    });
    shared.barrier();
    return values.flatMap((v, i) => {
      const d = dtypeOf(v);
      const to = sorted[i]!;
      return to.uses.size
        ? [[to, loadTile(e, d, plan.anchor(to), packed(d), startOf[i])] as [Value, Operand[]]]
        : [];
    });
  }
}

/** Counts in the bins of each subgroup; how many of an element's key its subgroup had before it. */
function rank(unit: Unit, keys: readonly Operand[], bits: number, lane: Operand, own: Operand): Operand[] {
  const { e, plan } = unit;
  const lanes = plan.shape.subgroup!;
  const bit = e.op("shl", "i32", 1, [1, lane]);
  const below = e.op("sub", "i32", 1, [bit, 1]);
  const above = e.op("sub", "i32", 1, [0, e.op("add", "i32", 1, [bit, bit])]);
  return keys.map((k) => {
    const peers = e.value("i32");
    e.push({ s: "match", dst: peers, value: k, bits, lanes });
    const at = e.op("add", "i32", 1, [own, e.op("mul", "i32", 1, [k, 4])]);
    const so = loadShared(e, "i32", at, 0);
    const place = e.op("add", "i32", 1, [
      so,
      e.simt("popCount", "i32", [e.op("and", "i32", 1, [peers, below])]),
    ]);
    const last = e.op("eq", "mask", 1, [e.op("and", "i32", 1, [peers, above]), 0]);
    e.push({ s: "barrier", scope: "subgroup" });
    storeShared(e, "i32", at, 0, e.op("add", "i32", 1, [place, 1]), last);
    e.push({ s: "barrier", scope: "subgroup" });
    return place;
  });
}

/** Counts in bins that all threads share. */
function count({ e }: Unit, keys: readonly Operand[]): void {
  for (const k of keys)
    e.push({
      s: "atomic",
      op: "add",
      kind: "i32",
      value: 1,
      order: "relaxed",
      scope: "group",
      mem: { shared: 0 },
      at: e.op("mul", "i32", 1, [k, 4]),
    });
}

/** The sum over all bins before a thread's own. */
function before(unit: Unit, sum: Operand, bin: Operand, bins: number, sumsAt: number): Operand {
  const { e, plan, shared } = unit;
  const lanes = plan.shape.subgroup!;
  const near = Math.min(lanes, bins);
  const place = e.op("and", "i32", 1, [bin, near - 1]);
  let all = sum;
  for (let by = 1; by < near; by *= 2) {
    const other = e.value("i32");
    e.push({ s: "shuffle", how: "up", dst: other, value: all, by });
    const has = e.op("geS", "mask", 1, [place, by]);
    all = e.op("add", "i32", 1, [all, e.op("select", "i32", 1, [has, other, 0])]);
  }
  let first = e.op("sub", "i32", 1, [all, sum]);
  const tid = e.simt("threadId", "i32", []);
  const group = e.op("shrU", "i32", 1, [tid, Math.log2(lanes)]);
  if (bins > lanes) {
    const last = e.op("eq", "mask", 1, [place, lanes - 1]);
    storeShared(e, "i32", e.op("mul", "i32", 1, [group, 4]), sumsAt, all, last);
  }
  // Also where nothing is summed: others may still read the counters.
  shared.barrier();
  const many = bins / lanes;
  if (many > 1) {
    const turn = e.op("and", "i32", 1, [group, many - 1]);
    const start = e.op("mul", "i32", 1, [e.op("sub", "i32", 1, [group, turn]), 4]);
    for (let g = 0; g < many - 1; g++) {
      const x = loadShared(e, "i32", start, sumsAt + g * 4);
      const counts = e.op("gtS", "mask", 1, [turn, g]);
      first = e.op("add", "i32", 1, [first, e.op("select", "i32", 1, [counts, x, 0])]);
    }
  }
  return first;
}
