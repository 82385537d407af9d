// `scan` along an axis of a tile in the frame: sequential along the axis, vectorised over what lies inside it.

import { type Op, numel } from "../../ir/index.js";
import type { Emitter } from "./emit.js";
import type { Mem, Operand } from "./form.js";
import type { Cell, Frame } from "./frame.js";
import { frameKind, is64Kind, shapeOf } from "./kinds.js";
import { combine, combinerOf, finish, neutral } from "./reduce.js";

/** Scans side by side. */
const ROWS = 4;

export function emitScan(e: Emitter, frame: Frame, op: Op, from: Cell, to: Cell): void {
  const c = combinerOf(op);
  const shape = shapeOf(op.result);
  const axis = op.attrs["axis"] as number;
  const reverse = op.attrs["reverse"] === true;
  const outer = numel(shape.slice(0, axis));
  const length = shape[axis]!;
  const inner = numel(shape.slice(axis + 1));
  const { kind } = to;
  const isMask = kind === "mask";
  let lanes = e.vectorBytes / (is64Kind(kind) ? 8 : 4);
  if (inner % lanes !== 0) lanes = 1;
  const i32 = (o: "add" | "sub" | "mul", x: Operand, y: Operand): Operand => e.op(o, "i32", 1, [x, y]);
  const read = (mem: Mem, at: Operand): Operand =>
    isMask
      ? e.op("ne", "mask", lanes, [e.load("i32", lanes, mem, "u8", at), 0])
      : e.load(kind, lanes, mem, frameKind(kind), at);
  const write = (mem: Mem, at: Operand, x: Operand): void => {
    if (isMask) e.store("i32", lanes, mem, "u8", at, e.op("fromMask", "i32", lanes, [x]));
    else e.store(kind, lanes, mem, frameKind(kind), at, x);
  };
  // Each scan waits for its last sum: several run side by side.
  const side = outer % ROWS === 0 ? ROWS : 1;
  e.loop(0, outer, side, (o) => {
    e.loop(0, inner, lanes, (j) => {
      const rows = Array.from({ length: side }, (_, k) => {
        const start = i32("add", i32("mul", i32("add", o, k), length * inner), j);
        const sum = e.reg(kind, lanes);
        e.assign(sum, neutral(c));
        return { start, sum };
      });
      e.loop(0, length, 1, (i) => {
        const step = i32("mul", reverse ? i32("sub", length - 1, i) : i, inner);
        for (const { start, sum } of rows) {
          const at = i32("add", start, step);
          e.assign(sum, combine(e, c, sum, read(frame.mem(from), at), lanes));
          write(frame.mem(to), at, finish(e, c, sum, lanes));
        }
      });
    });
  });
}
