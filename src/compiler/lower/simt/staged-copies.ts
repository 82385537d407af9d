// Asynchronous copies of the operands of a staged loop (staged-plan.ts) into their stages: whose turn, where to, and under which mask.

import type { Value } from "../../ir/index.js";
import { enter } from "./control.js";
import type { Mem, Operand, Reg } from "./form.js";
import { maskOf, masksOf, placeOf } from "./memory.js";
import { ATOM, permuted, ROW } from "./panels.js";
import { emitAgain, sliceOf, stable } from "./feed.js";
import { FOUR_BYTES, PIECE, placeIn, type Staged, type StagedOperand } from "./staged-plan.js";
import { registerSums, threadSum } from "./threads.js";
import type { Unit } from "./unit.js";

/** Starts the copies of a turn, and tells the variable of a later one. */
export function copying(
  unit: Unit,
  s: Staged,
  mem: Mem,
  kind: "i32" | "i64",
  hi: Operand,
  step: Operand,
): { issue(iv: Operand, at: Operand): void; later(iv: Operand, turns: number): Operand } {
  const { e } = unit;
  const body = s.loop.regions[0]!;
  const slice = sliceOf(s.loop, [s.a.load, s.b.load]);
  const copies = [s.a, s.b].map((x) => copier(unit, x, mem));
  return {
    issue(iv, at) {
      enter(unit, [body.args[0]!], [[iv as Reg]]);
      const live = e.op("ltS", "mask", 1, [iv, hi]);
      for (const op of slice) emitAgain(unit, op);
      for (const copy of copies) copy(at, live);
      e.push({ s: "copyCommit" });
    },
    later(iv, turns) {
      const count = kind === "i64" ? BigInt(turns) : turns;
      return stable(unit, kind, e.op("add", kind, 1, [iv, e.op("mul", kind, 1, [step, count])]));
    },
  };
}

/** What copies an operand into the stage that begins at a byte. What is the same in all turns is computed here, once. */
function copier(unit: Unit, x: StagedOperand, mem: Mem): (at: Operand, live: Operand) => void {
  const { e, plan } = unit;
  const [buffer, offset, mask] = x.load.operands as [Value, Value, Value?];
  const l = plan.memoryLayout(x.load);
  const cols = l.shape[1]!;
  const raw = (bit: number): number => {
    const [row, col] = bit >= cols ? [bit / cols, 0] : [0, bit];
    const [c, r] = x.along === 1 ? [col, row] : [row, col];
    return placeIn(x, r, c);
  };
  const plain = threadSum(
    e,
    l.threads.map((b) => (b === 0 ? 0 : raw(b))),
  );
  // In a panel the pieces of a row are permuted; bits of the thread's part and of the registers' are disjoint, so that splits.
  const thread = x.panel ? permuted(unit, plain) : plain;
  const bytes = registerSums(l, raw).map((byte) => (x.panel ? byte ^ (((byte / ROW) & 7) * PIECE) : byte));
  const count = x.single ? 1 : PIECE / x.size;
  return (at, live) => {
    const offsets = unit.get(offset, l);
    const masks = masksOf(unit, mask, x.load, l);
    const whole = e.op("add", "i32", 1, [thread, at]);
    for (let r = 0; r < bytes.length; r += count) {
      const low = x.panel ? bytes[r]! % ATOM : 0;
      const here = low === 0 ? whole : e.op("add", "i32", 1, [e.op("xor", "i32", 1, [thread, low]), at]);
      const { all } = maskOf(unit, masks, { first: r, count });
      const enabled = e.op("and", "mask", 1, [live, all]);
      e.push({
        s: "copyAsync",
        to: { mem, at: here, plus: x.start + bytes[r]! - low },
        from: placeOf(unit, buffer, offset, offsets[r]!),
        bytes: x.single ? FOUR_BYTES : PIECE,
        ...(enabled === 1 ? {} : { mask: enabled }),
      });
    }
  };
}
