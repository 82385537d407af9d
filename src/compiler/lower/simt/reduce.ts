// Reductions: first the registers of each thread, then lanes by shuffles, then what is left through shared memory.

import type { Op, Value } from "../../ir/index.js";
import { isArg as isArgKind, better, combine, combinerOf, finish, type Combiner } from "../simd/reduce.js";
import { regKind } from "../simd/kinds.js";
import type { DType } from "../../ir/index.js";
import type { Operand, RegKind } from "./form.js";
import { alongOf, mapLayout, withoutOf } from "./layout.js";
import { shapeOf } from "./plan.js";
import { loadShared, storeShared } from "./shared.js";
import { elementSums, threadSum } from "./threads.js";
import type { Unit } from "./unit.js";

/** A partial result: a value, and for argmax and argmin its index. */
type Part = readonly Operand[];

/** At most so many partial results of a group of threads are combined between two barriers. */
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
  const rest = threads.filter((x) => x.i >= lanes).map((x) => x.i);
  while (rest.length) {
    const step = rest.splice(0, Math.ceil(rest.length / Math.ceil(rest.length / RADIX_BITS)));
    parts = acrossThreads(unit, c, parts, step);
  }
  const done = parts.map((p) => [finish(e, c, p[0]!, 1), p[1]!]);
  op.results.forEach((v: Value, i) => {
    const home = mapLayout(l, shapeOf(v), withoutOf(l.shape, axis)).layout;
    unit.define(
      v,
      home,
      done.map((p) => p[i]!),
    );
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

/** Combines the parts of threads that differ in the bits `step` of their number. */
function acrossThreads(unit: Unit, c: Combiner, parts: readonly Part[], step: readonly number[]): Part[] {
  const { e, shared, plan } = unit;
  const kinds = parts[0]!.map((_, i) => kindOf(c, i));
  const bytes = kinds.map((k) => (k === "i64" || k === "f64" ? 8 : k === "mask" ? 1 : 4));
  // One slot for each thread and part.
  const { threads } = plan;
  const starts: number[] = [];
  let total = 0;
  kinds.forEach((_, i) => {
    starts[i] = Math.ceil(total / bytes[i]!) * bytes[i]!;
    total = starts[i]! + bytes[i]! * threads * parts.length;
  });
  shared.scratch(total);
  const count = Math.log2(threads);
  const own = bytes.map((b) =>
    threadSum(
      e,
      Array.from({ length: count }, (_, i) => b * 2 ** i),
    ),
  );
  const first = bytes.map((b) =>
    threadSum(
      e,
      Array.from({ length: count }, (_, i) => (step.includes(i) ? 0 : b * 2 ** i)),
    ),
  );
  for (const [r, p] of parts.entries())
    for (const [i, x] of p.entries())
      storeShared(e, storageOf(kinds[i]!), own[i]!, starts[i]! + r * threads * bytes[i]!, x);
  shared.barrier();
  shared.touch();
  return parts.map((_, r) => {
    let sum: Part | undefined;
    for (let n = 0; n < 2 ** step.length; n++) {
      const thread = step.reduce((t, bit, k) => ((n >> k) & 1 ? t + 2 ** bit : t), 0);
      const other = kinds.map((k, i) =>
        loadShared(e, storageOf(k), first[i]!, starts[i]! + (r * threads + thread) * bytes[i]!),
      );
      sum = sum ? join(unit, c, sum, other) : other;
    }
    return sum!;
  });
}
