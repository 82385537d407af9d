// A loop around a `dot` on units of several subgroups that take the left operand from registers and the right one from shared
// memory: both come by asynchronous copies.
//
// With S stages, turn i starts its products, waits for the copies of turn i + 1, refills the stage that turn i - 1 has read with
// what turn i + S - 1 will need, waits for its products, and reads the fragments of turn i + 1.

import type { Op } from "../../ir/index.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import { assignYield, carry, enter } from "./control.js";
import type { Mem, Operand, Reg, Stmt } from "./form.js";
import { ATOM } from "./panels.js";
import { advance, emitAgain, stable } from "./feed.js";
import { copying } from "./staged-copies.js";
import { type Staged, placeIn } from "./staged-plan.js";
import { depthOf, fragments, offsets, sides } from "./staged-products.js";
import { threadSum } from "./threads.js";
import type { Unit } from "./unit.js";

export function emitGroupStages(unit: Unit, s: Staged, mem: Mem): Reg[][] {
  const { e, shared, plan } = unit;
  const { loop, stages, stageBytes } = s;
  const body = loop.regions[0]!;
  const [lo, hi, step] = loop.operands.slice(0, 3).map((v) => unit.scalar(v)) as [Operand, Operand, Operand];
  const kind = regKind(dtypeOf(loop.operands[0]!)) as "i32" | "i64";
  const regs = carry(unit, loop.results, loop.operands.slice(3));
  const ahead = stages - 1;
  const { issue, later } = copying(unit, s, mem, kind, hi, step);
  for (let i = 0; i < ahead; i++) issue(stable(unit, kind, later(lo, i)), i * stageBytes);
  const [read, next, write] = [e.value("i32"), e.value("i32"), e.value("i32")];
  e.assign(read, 0);
  e.assign(next, stageBytes);
  e.assign(write, ahead * stageBytes);
  const work = productsOf(unit, s, mem);
  arrived(unit, ahead - 1);
  const now = work.left(0).map((x): Reg => {
    const r = e.reg("i32");
    e.assign(r, x);
    return r;
  });
  const iv = e.value(kind);
  const list: Stmt[] = [];
  shared.loop(loop.regions, () =>
    e.inside(list as never[], () => {
      enter(unit, body.args.slice(1), regs);
      const carried = body.terminator!.operands;
      const sum = carried.indexOf(s.dot.result);
      work.start(now, read, regs[sum]!);
      arrived(unit, ahead - 2);
      issue(later(iv, ahead), write);
      e.push({ s: "matrixWait", pending: 0 });
      // Not before the wait: assemblers let no registers of products change while some run.
      const then = work.left(next);
      now.forEach((r, i) => void e.assign(r, then[i]!));
      enter(unit, [body.args[0]!], [[iv]]);
      const done = new Set<Op>([s.dot, s.a.load, s.b.load]);
      for (const op of body.ops) if (!done.has(op) && op !== body.terminator) emitAgain(unit, op);
      unit.define(s.dot.result, plan.anchor(s.dot.result), regs[sum]!);
      assignYield(unit, loop, carried, regs);
      for (const slot of [read, next, write]) advance(unit, slot, s);
    }),
  );
  e.push({ s: "for", iv, lo, hi, step, body: list });
  e.push({ s: "copyWait", pending: 0 });
  return regs;
}

/** All but the last `pending` copies are there, and seen by all threads and by the units. */
function arrived(unit: Unit, pending: number): void {
  unit.e.push({ s: "copyWait", pending });
  unit.e.push({ s: "matrixFence" });
  unit.e.push({ s: "barrier", scope: "group" });
}

function productsOf(
  unit: Unit,
  s: Staged,
  mem: Mem,
): {
  /** The fragments of the left operand in the stage that begins at a byte. */
  left(stage: Operand): Reg[];
  /** Starts the products. */
  start(left: readonly Reg[], stage: Operand, sums: readonly Reg[]): void;
} {
  const { e, plan } = unit;
  const { index, unit: u } = s.matrix!;
  const { turned } = s.group!;
  const [l, r] = turned ? [s.b, s.a] : [s.a, s.b];
  const acc = plan.anchor(s.dot.result);
  const both = sides(acc);
  const [rowOf, colOf] = turned ? [both[1], both[0]] : both;
  const groups = acc.threads.slice(u.c.threads.length);
  const repeats = acc.registers.slice(u.c.registers.length);
  const down = offsets(repeats.map(rowOf).filter((n) => n > 0));
  const right = offsets(repeats.map(colOf).filter((n) => n > 0));
  const place = (bit: number): [number, number] => (bit < u.k ? [bit, 0] : [0, bit / u.k]);
  const read = fragments(unit, l, mem, u.a.fragment!, place, [0, 1], groups.map(rowOf));
  const lanes = u.c.threads.map(() => 0);
  // Columns in steps of eight rows of a panel.
  const atR = threadSum(e, [...lanes, ...groups.map((bit) => placeIn(r, colOf(bit), 0))]);
  const each = 2 ** u.c.registers.length;
  const words = 2 ** u.a.fragment!.registers.length;
  const depth = depthOf(s);
  return {
    left(stage) {
      const from = read(stage);
      const out: Reg[] = [];
      for (let k = 0; k < depth; k += u.k) for (const row of down) out.push(...from(k, row, false)[0]!);
      return out;
    },
    start(left, stage, sums) {
      const at = e.op("add", "i32", 1, [atR, stage]);
      e.push({ s: "matrixFence", registers: true });
      for (let k = 0; k < depth; k += u.k)
        down.forEach((_, i) => {
          right.forEach((col, j) => {
            const first = (i * right.length + j) * each;
            const d = sums.slice(first, first + each);
            const piece = ((k / u.k) * down.length + i) * words;
            e.push({
              s: "matrix",
              matrix: index,
              d,
              a: left.slice(piece, piece + words),
              b: {
                mem,
                at,
                plus: r.start + placeIn(r, col, 0) + placeOfDepth(r, k),
                swizzle: 128,
                strideBytes: ATOM,
                leadingBytes: ATOM,
                major: "k",
              },
              c: d,
              isAsync: true,
            });
          });
        });
      e.push({ s: "matrixCommit" });
    },
  };
}

/** The byte of a place along the sum in the first row. */
function placeOfDepth(r: Staged["a"], k: number): number {
  const perRow = 128 / r.size;
  return placeIn(r, 0, k - (k % perRow)) + (k % perRow) * r.size;
}
