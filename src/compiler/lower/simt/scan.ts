// Inclusive scans: each thread scans a run of its own in shared memory layout order, and adds what comes before it.

import type { Op } from "../../ir/index.js";
import { numel } from "../../ir/index.js";
import { combine, combinerOf, finish, neutral } from "../simd/reduce.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import type { Operand } from "./form.js";
import { bitsOf, type Layout, sameLayout } from "./layout.js";
import { convert } from "./convert.js";
import { loadShared, storeShared } from "./shared.js";
import { threadSum } from "./threads.js";
import type { Unit } from "./unit.js";

/** The layout of a scan: runs along the axis in registers, then threads along the axis, then the rest. */
export function scanLayout(shape: readonly number[], axis: number, threads: number): Layout {
  const along = bitsOf(shape, axis);
  const others = shape.flatMap((_, d) => (d === axis ? [] : bitsOf(shape, d)));
  const bits = Math.log2(numel(shape));
  const perThread = Math.max(0, bits - Math.log2(threads));
  // What does not fit the threads is run by run along the axis, then other rows.
  const run = Math.min(along.length, perThread);
  const rows = perThread - run;
  const inThreads = [...along.slice(run), ...others.slice(0, others.length - rows)];
  return {
    shape,
    registers: [...along.slice(0, run), ...others.slice(others.length - rows)],
    threads: [...inThreads, ...Array(Math.log2(threads) - inThreads.length).fill(0)],
  };
}

export function emitScan(unit: Unit, op: Op): void {
  const { e, plan, shared } = unit;
  const c = combinerOf(op);
  const d = dtypeOf(op.result);
  const kind = regKind(d);
  const axis = op.attrs["axis"] as number;
  const reverse = op.attrs["reverse"] === true;
  const home = plan.anchor(op.operands[0]!);
  const { shape } = home;
  const l = scanLayout(shape, axis, plan.threads);
  const given = unit.get(op.operands[0]!, home);
  const regs = sameLayout(home, l) ? given : convert(unit, d, given, home, l);
  const along = bitsOf(shape, axis);
  const runBits = l.registers.filter((b) => along.includes(b)).length;
  const run = 2 ** runBits;
  const rows = regs.length / run;
  const out: Operand[] = [...regs];
  const totals: Operand[] = [];
  for (let row = 0; row < rows; row++) {
    let sum: Operand | undefined;
    for (let k = 0; k < run; k++) {
      const r = row * run + (reverse ? run - 1 - k : k);
      sum = sum === undefined ? out[r]! : combine(e, c, sum, out[r]!, 1);
      out[r] = sum;
    }
    totals[row] = sum!;
  }
  const threadBits = l.threads.flatMap((b, i) => (b !== 0 && along.includes(b) ? [i] : []));
  if (threadBits.length) {
    // Doubling: after step k every total holds those of the 2^k threads up to it.
    const bytes = kind === "i64" || kind === "f64" ? 8 : kind === "mask" ? 1 : 4;
    const store = kind === "mask" ? "bool" : kind;
    const { threads } = plan;
    const first = threadBits[0]!;
    const position = threadSum(
      e,
      l.threads.map((_, i) => (threadBits.includes(i) ? 2 ** (i - first) : 0)),
    );
    const own = threadSum(
      e,
      l.threads.map((_, i) => bytes * 2 ** i),
    );
    const count = 2 ** threadBits.length;
    const before: (Operand | undefined)[] = [];
    let sums = totals;
    const size = threads * bytes * rows;
    const exchange = (values: readonly Operand[], distance: number): Operand[] => {
      shared.scratch(size);
      for (const [row, x] of values.entries()) storeShared(e, store, own, row * threads * bytes, x);
      shared.barrier();
      shared.touch();
      const shift = (reverse ? distance : -distance) * 2 ** first * bytes;
      const has = reverse
        ? e.op("ltS", "mask", 1, [position, count - distance])
        : e.op("geS", "mask", 1, [position, distance]);
      // Threads without one read their own and ignore it.
      const at = e.op("select", "i32", 1, [has, e.op("add", "i32", 1, [own, shift]), own]);
      return values.map((_, row) => {
        const x = loadShared(e, store, at, row * threads * bytes);
        return pick(unit, kind, has, x, neutral(c));
      });
    };
    for (let distance = 1; distance < count; distance *= 2) {
      const other = exchange(sums, distance);
      sums = sums.map((s, row) => combine(e, c, other[row]!, s, 1));
    }
    // What comes before this thread's run.
    const previous = exchange(sums, 1);
    for (let row = 0; row < rows; row++) before[row] = previous[row]!;
    for (let r = 0; r < out.length; r++) out[r] = combine(e, c, before[Math.floor(r / run)]!, out[r]!, 1);
  }
  const done = out.map((x) => finish(e, c, x, 1));
  unit.define(op.result, home, sameLayout(home, l) ? done : convert(unit, d, done, l, home));
}

function pick({ e }: Unit, kind: string, has: Operand, a: Operand, b: Operand): Operand {
  if (kind !== "mask") return e.op("select", kind as "i32", 1, [has, a, b]);
  const left = e.op("and", "mask", 1, [has, a]);
  return e.op("or", "mask", 1, [left, e.op("and", "mask", 1, [e.op("not", "mask", 1, [has]), b])]);
}
