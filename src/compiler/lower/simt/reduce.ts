// Reductions: first the registers of each thread, then lanes by shuffles, then what is left through shared memory.

import type { Op, Value } from "../../ir/index.js";
import { isArg as isArgKind, better, combine, combinerOf, finish, type Combiner } from "../simd/reduce.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import type { DType } from "../../ir/index.js";
import type { Operand, RegKind } from "./form.js";
import { convert } from "./convert.js";
import { alongOf, type Layout, mapLayout, withoutOf } from "./layout.js";
import { shapeOf } from "./plan.js";
import { sharedBytes } from "./shared.js";
import { elementSums } from "./threads.js";
import { loadTile, storeTile } from "./tiles.js";
import type { Unit } from "./unit.js";

/** A partial result: a value, and for argmax and argmin its index. */
type Part = readonly Operand[];

/** At least so many bits of the axis are combined between two barriers, if there are so many. */
const RADIX_BITS = 4;

export function emitReduce(unit: Unit, op: Op): void {
  const { e, plan } = unit;
  const c = combinerOf(op);
  const withIndex = isArgKind(c);
  const source = op.operands[0]!;
  const l = plan.anchor(source);
  const axis = op.attrs["axis"] as number;
  const along = alongOf(l.shape, axis);
  const values = unit.get(source, l);
  const index = withIndex ? elementSums(e, l, along) : [];
  let parts: Part[] = values.map((v, r) => (withIndex ? [v, index[r]!] : [v]));
  // Registers: neighbours along the axis first.
  let bits = [...l.registers];
  const order = bits.filter((b) => along(b) !== 0).sort((a, b) => a - b);
  for (const bit of order) {
    const at = bits.indexOf(bit);
    const next: Part[] = [];
    parts.forEach((p, r) => {
      if ((r >> at) & 1) return;
      next.push(join(unit, c, p, parts[r + (1 << at)]!));
    });
    parts = next;
    bits = bits.filter((b) => b !== bit);
  }
  const lanes = plan.shape.subgroup ? Math.log2(plan.shape.subgroup) : 0;
  const threads = l.threads.map((b, i) => ({ i, along: along(b) })).filter((t) => t.along !== 0);
  threads.sort((a, b) => a.along - b.along);
  for (const t of threads.filter((x) => x.i < lanes))
    parts = parts.map((p) =>
      join(
        unit,
        c,
        p,
        p.map((x) => shuffle(unit, x, kindOf(c, p.indexOf(x)), 1 << t.i)),
      ),
    );
  // What is left: the bits of the axis that other threads hold.
  const left = new Set(threads.filter((x) => x.i >= lanes).map((x) => x.i));
  let now: Layout = {
    shape: l.shape,
    registers: bits,
    threads: l.threads.map((b, i) => (along(b) !== 0 && !left.has(i) ? 0 : b)),
  };
  while (now.threads.some((b) => along(b) !== 0)) [parts, now] = throughShared(unit, c, parts, now, along);
  const without = withoutOf(l.shape, axis);
  op.results.forEach((v: Value, i) => {
    const from = mapLayout(now, shapeOf(v), without).layout;
    const home = mapLayout(l, shapeOf(v), without).layout;
    const regs = parts.map((p) => (i === 0 ? finish(e, c, p[0]!, 1) : p[i]!));
    unit.define(v, home, convert(unit, dtypeOf(v), regs, from, home));
  });
}

const kindOf = (c: Combiner, i: number): RegKind => (i === 0 ? regKind(c.dtype) : "i32");

function join({ e }: Unit, c: Combiner, a: Part, b: Part): Part {
  if (a.length === 1) return [combine(e, c, a[0]!, b[0]!, 1)];
  const best = better(e, c, { value: a[0]!, index: a[1]! }, { value: b[0]!, index: b[1]! }, 1, true);
  return [best.value, best.index];
}

/** The value of the lane whose number differs in one bit. */
export function shuffle(unit: Unit, x: Operand, kind: RegKind, by: number): Operand {
  const { e } = unit;
  const one = (v: Operand, k: "i32" | "f32"): Operand => {
    const dst = e.value(k);
    e.push({ s: "shuffle", how: "xor", dst, value: v, by });
    return dst;
  };
  if (typeof x !== "object") return x;
  if (kind === "i32" || kind === "f32") return one(x, kind);
  if (kind === "mask") return e.op("ne", "mask", 1, [one(e.op("fromMask", "i32", 1, [x]), "i32"), 0]);
  const word = kind === "f64" ? e.op("bitcast", "i64", 1, [x]) : x;
  const low = one(e.op("convertS", "i32", 1, [word]), "i32");
  const high = one(e.op("convertS", "i32", 1, [e.op("shrU", "i64", 1, [word, 32n])]), "i32");
  const wide = e.op("or", "i64", 1, [
    e.op("convertU", "i64", 1, [low]),
    e.op("shl", "i64", 1, [e.op("convertU", "i64", 1, [high]), 32n]),
  ]);
  return kind === "f64" ? e.op("bitcast", "f64", 1, [wide]) : wide;
}

/** Accumulators of halves are f32 in shared memory: they are rounded at the end only. */
const storageOf = (k: RegKind): DType => (k === "mask" ? "bool" : k);

/**
 * One step through shared memory: bits of the axis that threads hold go into registers, where they are combined, and as many
 * other bits from registers to those threads; where there are none, threads repeat each other.
 */
function throughShared(
  unit: Unit,
  c: Combiner,
  parts: readonly Part[],
  l: Layout,
  along: (bit: number) => number,
): [Part[], Layout] {
  const { e, shared } = unit;
  const rows = [...l.registers];
  const open = l.threads.flatMap((b, i) => (along(b) !== 0 ? [i] : []));
  // Balanced steps of at most so many bits, more where registers become free.
  const most = Math.max(RADIX_BITS, rows.length);
  const step = open.slice(0, Math.ceil(open.length / Math.ceil(open.length / most)));
  const taken = step.map((i) => l.threads[i]!);
  const threads = [...l.threads];
  for (const i of step) threads[i] = rows.pop() ?? 0;
  const to: Layout = { shape: l.shape, registers: [...taken, ...rows], threads };
  // The bits that still tell parts apart, numbered without gaps.
  const live = [...l.registers, ...l.threads].filter((b) => b !== 0).sort((a, b) => a - b);
  const kinds = parts[0]!.map((_, i) => storageOf(kindOf(c, i)));
  const starts: number[] = [];
  let total = 0;
  for (const k of kinds) {
    starts.push(total);
    total += Math.ceil((2 ** live.length * sharedBytes(k)) / 16) * 16;
  }
  const weight = (k: DType) => (bit: number) => 2 ** live.indexOf(bit) * sharedBytes(k);
  shared.scratch(total);
  kinds.forEach((k, i) => {
    storeTile(
      e,
      k,
      parts.map((p) => p[i]!),
      l,
      weight(k),
      starts[i]!,
    );
  });
  shared.barrier();
  shared.touch();
  const read = kinds.map((k, i) => loadTile(e, k, to, weight(k), starts[i]!));
  let next: Part[] = read[0]!.map((_, r) => read.map((list) => list[r]!));
  // The taken bits are the lowest of the register's number.
  for (let n = 0; n < taken.length; n++)
    next = next.flatMap((p, r) => (r % 2 === 0 ? [join(unit, c, p, next[r + 1]!)] : []));
  return [next, { ...to, registers: rows }];
}
