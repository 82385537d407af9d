// A tile of narrow elements on its way into the frame as it stands in memory: whole vectors of bytes, run by run. What the mask
// cuts goes the ordinary way, element by element.

import { DTYPES, type Value } from "../../ir/index.js";
import type { Operand } from "./form.js";
import { dtypeOf, memKind } from "./kinds.js";
import { isView, operandMap } from "./maps.js";
import type { Nest } from "./nest.js";
import { fallsOff } from "./turn.js";
import { defOf } from "./values.js";

/** Bytes that a cache brings at once. */
const LINE = 64;

/**
 * Emits the nest if all it does is to bring one loaded tile into a cell of its dtype, and tells whether it has.
 *
 * @param ordinary emits it in the ordinary way, for tiles that the mask cuts
 */
export function emitCopied(nest: Nest, ordinary: () => void): boolean {
  const { e, sinks, space, code, axis } = nest;
  const [sink] = sinks;
  if (sinks.length !== 1 || !sink?.writes?.cell.narrow || space.length > 2 || axis < 0) return false;
  const { cell, shape } = sink.writes;
  let { value, map } = sink.reads[0]!;
  const strides = nest.cellStrides(cell, shape, map);
  let op = defOf(value);
  while (op && isView(op) && !nest.cellOf(value)) {
    map = operandMap(op, map);
    value = op.operands[0]!;
    op = defOf(value);
  }
  if (op?.opcode !== "load" || nest.cellOf(value)) return false;
  const [buffer, offset, mask] = op.operands as [Value, Value, Value?];
  const d = dtypeOf(buffer);
  const outer = nest.outer[0];
  if (d !== cell.narrow || strides[axis] !== 1 || nest.affine.stride(offset, map, axis) !== 1) return false;
  if (mask && !fallsOff(nest, mask, map)) return false;
  const per = 32 / DTYPES[d].bits;
  const words = space[axis]! / per;
  const row = outer === undefined ? 0 : strides[outer]!;
  let lanes = e.vectorBytes / 4;
  while (lanes > words && lanes > 4) lanes /= 2;
  if (words % lanes || row % per) return false;

  const mem = code.unit.bufferOf(buffer);
  nest.levels = [nest.context(0)];
  /** The value at `i` along the outer axis and `j` along the run. */
  const at = (v: Value, i: Operand, j: Operand): Operand => {
    if (outer !== undefined) nest.levels.push(nest.context(i));
    const result = nest.first(v, map, nest.context(j));
    if (outer !== undefined) nest.levels.pop();
    return result;
  };
  const index = (x: Operand): Operand =>
    dtypeOf(offset) === "u32" && !code.unit.shape.address32 && typeof x === "object"
      ? e.op("convertU", "i64", 1, [x])
      : x;
  const int = (name: "add" | "mul", x: Operand, y: Operand): Operand => e.op(name, "i32", 1, [x, y]);
  const rows = outer === undefined ? 1 : space[outer]!;
  const whole = (): void =>
    e.loop(0, rows, 1, (i) => {
      const start = dtypeOf(offset) === "i32" ? at(offset, i, 0) : undefined;
      const to = int("mul", i, row / per);
      e.loop(0, words, lanes, (word) => {
        const j = int("mul", word, per);
        const from = (k: Operand): Operand =>
          start === undefined ? index(at(offset, i, k)) : int("add", start, k);
        const x = e.load("i32", lanes, mem, memKind(d), from(j), { packed: true });
        // What follows on the run belongs to the tile beside, which is likely the next one.
        if (e.prefetches && lanes * 4 === LINE)
          e.out.push({ s: "prefetch", mem, kind: memKind(d), at: from(int("add", j, space[axis]!)) });
        e.store("i32", lanes, code.unit.frame.mem(cell), "i32", int("add", to, word), x);
      });
    });
  if (mask) e.when(at(mask, rows - 1, space[axis]! - 1), whole, ordinary);
  else whole();
  return true;
}
