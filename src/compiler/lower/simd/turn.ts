// A staged tile on its way into the frame: loaded along the axis on which it is contiguous in memory, turned block by block
// in vector registers, stored along the other one. Blocks that the mask cuts are moved element by element.

import { DTYPES, isInt, isNarrowFloat, isSigned, type Op, type Value } from "../../ir/index.js";
import type { Emitter } from "./emit.js";
import type { Operand, RegKind } from "./form.js";
import { panelOf } from "./frame.js";
import { dtypeOf, isScalarValue, memKind, regKind } from "./kinds.js";
import { loadRun, frameStore } from "./memory.js";
import { type AxisMap, isView, operandMap } from "./maps.js";
import type { Nest } from "./nest.js";
import { defOf } from "./values.js";

/** Bytes within which units of a shuffle move freely on every machine. */
const BLOCK = 16;
/** Bytes that a cache brings at once. */
const LINE = 64;

/** Emits the nest if all it does is to bring one staged tile into the frame, and tells whether it has. */
export function emitTurned(nest: Nest): boolean {
  const { e, sinks, space, code } = nest;
  const [sink] = sinks;
  if (sinks.length !== 1 || !sink?.writes || space.length !== 2) return false;
  const { cell, shape } = sink.writes;
  const { value, map } = sink.reads[0]!;
  const op = defOf(value);
  if (op?.opcode !== "load" || !code.plan.staged.has(value) || panelOf(cell)) return false;
  const [buffer, offset, mask] = op.operands as [Value, Value, Value?];
  const run = [0, 1].find((a) => nest.affine.stride(offset, map, a) === 1);
  if (run === undefined) return false;
  const across = 1 - run;
  const d = dtypeOf(buffer);
  const kind = regKind(d);
  if (d === "bool" || isNarrowFloat(d) || memKind(d) !== kind) return false;
  const lanes = e.vectorBytes / (DTYPES[d].bits / 8);
  const strides = nest.cellStrides(cell, shape, map);
  if (strides[across] !== 1 || lanes < 2 || space.some((n) => n % lanes !== 0)) return false;
  if (mask && !fallsOff(nest, mask, map)) return false;

  const mem = code.unit.bufferOf(buffer);
  const frame = (): ReturnType<typeof code.unit.frame.mem> => code.unit.frame.mem(cell);
  nest.levels = [nest.context(0)];
  /** Runs `fn` for the places `i` along the other axis and `j` along the run. */
  const at = <T>(i: Operand, j: Operand, fn: (of: (v: Value) => Operand) => T): T => {
    const indices = run === nest.axis ? [i, j] : [j, i];
    nest.levels.push(nest.context(indices[0]!));
    const ctx = nest.context(indices[1]!);
    const result = fn((v) => nest.first(v, map, ctx));
    nest.levels.pop();
    return result;
  };
  const plus = (x: Operand, k: number): Operand => e.op("add", "i32", 1, [x, k]);
  const index = (v: Operand): Operand =>
    dtypeOf(offset) === "u32" && !code.unit.shape.address32 && typeof v === "object"
      ? e.op("convertU", "i64", 1, [v])
      : v;
  const cellAt = (i: Operand, j: Operand): Operand =>
    e.op("add", "i32", 1, [e.op("mul", "i32", 1, [j, strides[run]!]), i]);

  // Where the run of row `i + k` (`k` below `rows`) from `j` on starts; what is the same for all `j` is computed outside of the loop over them.
  const runs = (i: Operand, rows = lanes): ((k: number, j: Operand) => Operand) => {
    if (dtypeOf(offset) !== "i32") return (k, j) => at(plus(i, k), j, (of) => index(of(offset)));
    const starts = Array.from({ length: rows }, (_, k) => at(plus(i, k), 0, (of) => of(offset)));
    return (k, j) => e.op("add", "i32", 1, [starts[k]!, j]);
  };

  // Turning takes many instructions for each line of memory, too many for a processor to have more than a few lines on
  // their way. Touched one after another first, they come together.
  const touch = (): void =>
    e.loop(0, space[across]!, 1, (i) => {
      const runAt = runs(i, 1);
      for (let j = 0; j < space[run]!; j += LINE / (DTYPES[d].bits / 8))
        e.out.push({ s: "prefetch", mem, kind: memKind(d), at: runAt(0, j), exists: true });
    });
  const whole = (i: Operand, j: Operand, runAt: (k: number, j: Operand) => Operand): void => {
    const rows = Array.from({ length: lanes }, (_, k) => loadRun(e, d, mem, runAt(k, j), lanes));
    // What follows on the runs belongs to the tile beside, which is likely the next one, and the processor's own
    // prefetching does not follow runs that end soon.
    if (e.prefetches)
      for (let k = 0; k < lanes; k++)
        e.out.push({ s: "prefetch", mem, kind: memKind(d), at: runAt(k, plus(j, space[run]!)) });
    const to = cellAt(i, j);
    turn(e, kind, rows).forEach((x, k) => {
      frameStore(e, cell.kind, frame(), plus(to, k * strides[run]!), x, lanes);
    });
  };
  const single = (i: Operand, j: Operand): void =>
    e.loop(0, lanes, 1, (k) => {
      e.loop(0, lanes, 1, (l) => {
        const [x, y] = [e.op("add", "i32", 1, [i, k]), e.op("add", "i32", 1, [j, l])];
        const one = at(x, y, (of) => of(value));
        frameStore(e, cell.kind, frame(), cellAt(x, y), one, 1);
      });
    });
  const blocks = (each: (i: Operand, j: Operand, runAt: ReturnType<typeof runs>) => void): void =>
    e.loop(0, space[across]!, lanes, (i) => {
      const runAt = runs(i);
      e.loop(0, space[run]!, lanes, (j) => each(i, j, runAt));
    });
  /** Whether the mask holds up to this element. */
  const upTo = (i: Operand, j: Operand): Operand => at(i, j, (of) => of(mask!));
  const all = (): void => {
    if (!e.prefetches) touch();
    blocks(whole);
  };
  if (!mask) all();
  else
    e.when(upTo(space[across]! - 1, space[run]! - 1), all, () =>
      blocks((i, j, runAt) =>
        e.when(
          upTo(plus(i, lanes - 1), plus(j, lanes - 1)),
          () => whole(i, j, runAt),
          () => single(i, j),
        ),
      ),
    );
  return true;
}

/** Whether the mask, where it holds, holds at all smaller indices too. */
export function fallsOff(nest: Nest, v: Value, map: AxisMap): boolean {
  if (isScalarValue(v)) return true;
  const op: Op | undefined = defOf(v);
  if (op?.opcode === "const") return true;
  if (!op || nest.cellOf(v)) return false;
  if (isView(op)) return fallsOff(nest, op.operands[0]!, operandMap(op, map));
  if (op.opcode === "and") return op.operands.every((x) => fallsOff(nest, x, map));
  if (op.opcode !== "cmp") return false;
  const [a, b] = op.operands as [Value, Value];
  const d = dtypeOf(a);
  const pred = op.attrs["pred"] as string;
  const swap = pred === "gt" || pred === "ge";
  if (!isInt(d) || !isSigned(d) || (!swap && pred !== "lt" && pred !== "le")) return false;
  const [small, large] = swap ? [b, a] : [a, b];
  return [0, 1].every((axis) => {
    const grows = nest.affine.stride(small, map, axis);
    return grows !== undefined && grows >= 0 && nest.affine.stride(large, map, axis) === 0;
  });
}

/** As many vectors as they have lanes, turned: lane `i` of result `j` is lane `j` of vector `i`. */
export function turn(e: Emitter, kind: RegKind, rows: readonly Operand[]): Operand[] {
  const lanes = rows.length;
  const unit = Math.min(lanes, kind === "i64" || kind === "f64" ? BLOCK / 8 : BLOCK / 4);
  const blocks = lanes / unit;
  const shuffle = (a: Operand, b: Operand, pick: readonly number[]): Operand =>
    e.op("shuffle", kind, lanes, [a, b], { pick });
  // Within blocks of 16 bytes: element `m` of each of `unit` vectors side by side.
  let list = [...rows];
  for (let size = 1; size < unit; size *= 2) {
    // Units of `size` elements of vectors that stand `size` apart are paired.
    const half = (second: number): number[] =>
      Array.from({ length: lanes }, (_, k) => {
        const inBlock = k % unit;
        const pair = Math.floor(inBlock / (2 * size));
        const from = Math.floor(inBlock / size) % 2;
        const source = k - inBlock + second * (unit / 2) + pair * size + (inBlock % size);
        return from * lanes + source;
      });
    const next: Operand[] = [];
    for (let k = 0; k < lanes; k += unit) {
      const group = list.slice(k, k + unit);
      const [low, high] = [half(0), half(1)];
      const joined = group.map((x) => x);
      // Vectors `r` and `r + size` of each run of `2 * size` give the two results that follow one another in memory order.
      let out = 0;
      for (let r = 0; r < unit; r += 2 * size)
        for (let q = 0; q < size; q++) {
          const [a, b] = [group[r + q]!, group[r + q + size]!];
          joined[r + 2 * q] = shuffle(a, b, low);
          joined[r + 2 * q + 1] = shuffle(a, b, high);
          out += 2;
        }
      next.push(...joined.slice(0, out));
    }
    list = next;
  }
  // Across blocks: block `q` of the vectors of one element from all groups.
  const everyOther = (first: number): number[] =>
    Array.from({ length: lanes }, (_, k) => {
      const block = 2 * Math.floor(k / unit) + first;
      return (block < blocks ? block * unit : lanes + (block - blocks) * unit) + (k % unit);
    });
  const split = (vectors: readonly Operand[]): Operand[] => {
    if (vectors.length === 1) return [vectors[0]!];
    const part = (first: number): Operand[] =>
      split(
        Array.from({ length: vectors.length / 2 }, (_, k) =>
          shuffle(vectors[2 * k]!, vectors[2 * k + 1]!, everyOther(first)),
        ),
      );
    const [even, odd] = [part(0), part(1)];
    return even.flatMap((x, i) => [x, odd[i]!]);
  };
  const out: Operand[] = [];
  for (let m = 0; m < unit; m++) {
    const own = Array.from({ length: blocks }, (_, g) => list[g * unit + m]!);
    split(own).forEach((x, q) => {
      out[q * unit + m] = x;
    });
  }
  return out;
}
