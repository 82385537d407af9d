// Pipelined loops whose left operand goes on from shared memory to registers, as units want one that does not stand along the sum.
//
// The registers of a step along the sum are free when its products have ended, which is when those of the next step run. They are
// filled then, for the next turn; only those of the last step wait until the next turn has begun. So units always have work.

import type { Feed } from "./feed.js";
import type { Mem, Operand, Reg } from "./form.js";
import { ATOM, permuted, rawByte, swizzled } from "./panels.js";
import type { Pipeline } from "./pipeline-plan.js";
import { depthOf, type Products, unitSides } from "./pipeline-products.js";
import { registerSums, threadSum } from "./threads.js";
import type { Unit } from "./unit.js";

export interface Fragments {
  /** Before the first turn: what is read ahead of it. */
  first(stage: Operand): void;
  /** A turn; `free` when the products of the turn before have ended. */
  turn(feed: Feed, products: Products, free: () => void): void;
}

export function leftFragments(unit: Unit, p: Pipeline, mem: Mem): Fragments {
  const { e, plan } = unit;
  const { unit: u, left } = p;
  const acc = plan.anchor(p.dot.result);
  const [rowOf] = unitSides(unit, p);
  const { shape } = left.panels.load.result.type as { shape: readonly number[] };
  const cols = shape[1]!;
  const rawBit = rawByte(left.panels, cols);
  /** The byte of a place along the sum and across it, before pieces are permuted. */
  const raw = (k: number, row: number): number => {
    const n = left.kDim === 0 ? k * cols + row : row * cols + k;
    let sum = 0;
    for (let bit = 1; bit <= n; bit *= 2) if (n & bit) sum += rawBit(bit);
    return sum;
  };
  // Bits of a fragment count along the sum first.
  const ofBit = (bit: number): number => (bit < u.k ? raw(bit, 0) : raw(0, bit / u.k));
  const { registers, threads } = u.a.fragment!;
  const groups = acc.threads.slice(u.c.threads.length);
  const base = permuted(
    unit,
    threadSum(e, [...threads.map(ofBit), ...groups.map((bit) => raw(0, rowOf(bit)))]),
  );
  const words = registerSums({ shape, registers, threads }, ofBit);
  const rest = { ...acc, registers: acc.registers.slice(u.c.registers.length) };
  const rows = [...new Set(registerSums(rest, rowOf))];
  const steps = Array.from({ length: depthOf(p) / u.k }, () => rows.map(() => words.map(() => e.reg("i32"))));
  const read = (step: number, stage: Operand): void =>
    rows.forEach((row, i) => {
      words.forEach((word, r) => {
        const byte = swizzled(raw(step * u.k, row) + word);
        const low = byte % ATOM;
        const here = e.op("add", "i32", 1, [e.op("xor", "i32", 1, [base, low]), stage]);
        e.push({
          s: "load",
          dst: [steps[step]![i]![r]!],
          kind: "i32",
          mem,
          at: here,
          plus: left.panels.start + byte - low,
        });
      });
    });
  const last = steps.length - 1;
  return {
    first(stage) {
      // No register of the loop: sums with those are made in each turn.
      const at = e.reg("i32");
      e.push({ s: "op", op: "copy", dst: at, args: [stage] });
      for (let step = 0; step < last; step++) read(step, at);
    },
    turn(feed, products, free) {
      let after: Operand = 0;
      for (let step = 0; step <= last; step++) {
        e.push({ s: "matrixFence", registers: true });
        const from = (row: number): readonly Reg[] => steps[step]![rows.indexOf(row)]!;
        products(feed.read.at, { k: step * u.k, from });
        e.push({ s: "matrixCommit" });
        e.push({ s: "matrixWait", pending: 1 });
        if (step === 0) {
          free();
          read(last, feed.read.at);
          continue;
        }
        if (step === 1) {
          const slot = feed.after();
          feed.wait(slot, true);
          after = slot.at;
        }
        read(step - 1, after);
      }
    },
  };
}
