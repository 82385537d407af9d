// `scan` along an axis of a tile in the frame: sequential along the axis, vectorised over what lies inside it. Where nothing
// does, a vector of the axis is scanned in steps of 1, 2, 4, … lanes, and takes on the result of those before it.

import { type Op, numel } from "../../ir/index.js";
import type { Emitter } from "./emit.js";
import type { Mem, Operand } from "./form.js";
import type { Cell, Frame } from "./frame.js";
import { frameKind, is64Kind, shapeOf } from "./kinds.js";
import { type Combiner, combine, combinerOf, finish, neutral } from "./reduce.js";

/** Scans side by side. */
const ROWS = 4;
/** Vectors of fewer lanes are scanned lane by lane: as many additions, and no shuffles. */
const LEAST_LANES = 8;

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
  const full = e.vectorBytes / (is64Kind(kind) ? 8 : 4);
  if (inner === 1 && !isMask && !reverse && full >= LEAST_LANES && length % full === 0) {
    scanVectors(e, frame, c, { outer, length, lanes: full }, from, to);
    return;
  }
  const lanes = inner % full === 0 ? full : 1;
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

interface Lines {
  readonly outer: number;
  readonly length: number;
  readonly lanes: number;
}

/** Scans `outer` lines of `length` elements that follow one another, a vector of each at a time. */
function scanVectors(
  e: Emitter,
  frame: Frame,
  c: Combiner,
  { outer, length, lanes }: Lines,
  from: Cell,
  to: Cell,
): void {
  const { kind } = to;
  const mem = frameKind(kind);
  // What is shifted in changes nothing.
  const edge = e.reg(kind, lanes);
  e.assign(edge, neutral(c));
  const moved = (x: Operand, by: number): Operand =>
    e.op("shuffle", kind, lanes, [x, edge], {
      pick: Array.from({ length: lanes }, (_, k) => (k < by ? lanes + k : k - by)),
    });
  const side = outer % ROWS === 0 ? ROWS : 1;
  e.loop(0, outer, side, (o) => {
    const rows = Array.from({ length: side }, (_, k) => {
      const before = e.reg(kind, lanes);
      e.assign(before, neutral(c));
      const line = e.op("add", "i32", 1, [o, k]);
      return { start: e.op("mul", "i32", 1, [line, length]), before };
    });
    e.loop(0, length, lanes, (i) => {
      for (const { start, before } of rows) {
        const at = e.op("add", "i32", 1, [start, i]);
        let x: Operand = e.load(kind, lanes, frame.mem(from), mem, at);
        for (let by = 1; by < lanes; by *= 2) x = combine(e, c, moved(x, by), x, lanes);
        const all = combine(e, c, before, x, lanes);
        e.store(kind, lanes, frame.mem(to), mem, at, finish(e, c, all, lanes));
        // The last lane in all lanes.
        const last = e.op("shuffle", kind, lanes, [all, all], {
          pick: Array.from({ length: lanes }, () => lanes - 1),
        });
        e.assign(before, last);
      }
    });
  });
}
