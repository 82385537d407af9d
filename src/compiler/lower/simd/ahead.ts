// Fetching ahead across programs: a program that reads its tile first and then computes for long leaves memory idle meanwhile.
// The first loop nest that reads nothing but the frame fetches what the next program will read; programs of neighbouring ids
// run one after another on a thread. A hint without effect on results.
// Where there is no such hint, a load whose result nobody wants does it: of what stands as far behind an element just read as a
// program's tile is long, which is the next program's where tiles follow each other.

import { DTYPES, type Op, type Value } from "../../ir/index.js";
import { visitTree } from "./axis.js";
import { type Emitter, isReg } from "./emit.js";
import type { Mem, MemKind, Operand } from "./form.js";
import { dtypeOf, memKind } from "./kinds.js";
import type { BlockCode } from "./lower.js";
import type { AxisMap } from "./maps.js";
import type { Context, Nest } from "./nest.js";
import { defOf } from "./values.js";

const CACHE_LINE = 64;
/** Bytes of a tile that are worth it, and that the nearest caches have room for beside the current one. */
const LEAST_BYTES = 4096;
const MOST_BYTES = 65536;

/** A load of a whole tile that is contiguous along the innermost loop. */
export interface Streamed {
  readonly op: Op;
  readonly map: AxisMap;
  readonly space: readonly number[];
  readonly axis: number;
}

const touches = ({ unit }: BlockCode): boolean => !unit.e.prefetches && unit.shape.touch === true;
const fetchesAhead = (code: BlockCode): boolean => code.unit.e.prefetches || touches(code);

const loadsOf = (nest: Nest): { op: Op; map: AxisMap }[] => {
  const loads: { op: Op; map: AxisMap }[] = [];
  for (const s of nest.sinks)
    visitTree(
      nest,
      (v, map) => {
        const op = defOf(v);
        if (op?.opcode === "load" && !nest.cellOf(v) && nest.dependsOnInner(v, map)) loads.push({ op, map });
      },
      s.reads,
    );
  return loads;
};

/** The loads of a nest of the function's own block that a later nest may fetch for the next program. */
export function streamedLoads(nest: Nest): Streamed[] {
  const { space, axis, code } = nest;
  const { parent } = code.plan.block;
  if (!fetchesAhead(code) || axis < 0 || (parent !== undefined && "opcode" in parent)) return [];
  const all = (1 << space.length) - 1;
  const count = space.reduce((n, d) => n * d, 1);
  return loadsOf(nest)
    .filter(({ op, map }) => {
      const bytes = count * (DTYPES[dtypeOf(op.operands[0]!)].bits / 8);
      if (bytes < LEAST_BYTES || bytes > MOST_BYTES) return false;
      const offset = op.operands[1]!;
      return nest.affine.axes(offset, map) === all && nest.affine.stride(offset, map, axis) === 1;
    })
    .map((load) => ({ ...load, space, axis }));
}

/** Those of earlier nests that this one should fetch. */
export function comingLoads(nest: Nest): readonly Streamed[] {
  const { streamed } = nest.code;
  if (streamed.length === 0) return [];
  const own = loadsOf(nest);
  const fit = streamed.filter((s) => s.axis === nest.axis && String(s.space) === String(nest.space));
  if (!touches(nest.code)) return own.length > 0 ? [] : fit;
  // What was read before and is read again comes from the caches. Only around what this nest reads itself is there memory.
  if (!own.every(({ op }) => streamed.some((s) => s.op === op))) return [];
  return fit.filter((s) => own.some(({ op, map }) => op === s.op && String(map) === String(s.map)));
}

/** Whether the elements from the `unrolled`-th vector of a turn on start a line. */
export const startsLine = ({ op }: Streamed, lanes: number, unrolled: number): boolean =>
  (unrolled * lanes * (DTYPES[dtypeOf(op.operands[0]!)].bits / 8)) % CACHE_LINE === 0;

/** Fetches the elements of the next program that those of the vector at `iv` are here, where its masks let all through. */
export function fetchAhead(nest: Nest, load: Streamed, iv: Operand): void {
  const { e, code } = nest;
  const [buffer, offset] = load.op.operands as [Value, Value];
  const mem = code.unit.bufferOf(buffer);
  const kind = memKind(dtypeOf(buffer));
  if (touches(code)) {
    // A mask of another kind may keep the load from an element that does not exist.
    const mask = load.op.operands[2];
    if (mask && !nest.splitsAt(mask, load.map)) return;
    const here = nest.addressOf(offset, load.map, nest.levels, nest.context(iv));
    const tile = load.space.reduce((n, d) => n * d, 1);
    const at = e.op("add", isReg(here) ? here.type.kind : "i32", 1, [here, tile]);
    e.out.push({ s: "prefetch", mem, kind, at, exists: true });
    return;
  }
  const { levels, inner } = nextProgram(nest, iv);
  e.out.push({ s: "prefetch", mem, kind, at: nest.addressOf(offset, load.map, levels, inner) });
}

/** The contexts of the same turn of the next program: as much further along the outermost loop as this one's tile is long. */
function nextProgram(nest: Nest, iv: Operand): { levels: Context[]; inner: Context } {
  const { e, space, outer, axis } = nest;
  const beyond = (x: Operand, a: number): Operand => e.op("add", "i32", 1, [x, space[a]!]);
  const first = outer[0];
  const levels = nest.levels.map((l, i) =>
    i === 0 ? l : nest.context(i === 1 && first !== undefined ? beyond(l.iv, first) : l.iv),
  );
  return { levels, inner: nest.context(first === undefined ? beyond(iv, axis) : iv) };
}

/** How far behind what a sum reads its early loads are fetched: what memory gives in the time that it takes to answer. */
const EARLY_BYTES = 4096;

/**
 * The loads that their author calls early of a sum that stands alone, contiguous along it: rows that follow each other in memory, of
 * which one is too short for the processor's own prefetching.
 */
export function earlyLoads(nest: Nest): { readonly op: Op; readonly map: AxisMap }[] {
  const { axis, sinks, jam } = nest;
  if (axis < 0 || jam.count > 1) return [];
  if (!sinks.every((s) => s.reduces?.includes(axis))) return [];
  return loadsOf(nest).filter(
    ({ op, map }) => op.attrs["early"] === true && nest.affine.stride(op.operands[1]!, map, axis) === 1,
  );
}

/** Vectors of so many lanes that fill a line of what is loaded. */
export const perLine = (loads: readonly { readonly op: Op }[], lanes: number): number =>
  Math.max(1, ...loads.map(({ op }) => CACHE_LINE / (lanes * (DTYPES[dtypeOf(op.operands[0]!)].bits / 8))));

/** Fetches what stands behind the vector at the context's index, if that starts a line. */
export function fetchBehind(
  nest: Nest,
  load: { readonly op: Op; readonly map: AxisMap },
  ctx: Context,
  unrolled: number,
): void {
  const [buffer, offset] = load.op.operands as [Value, Value];
  const bytes = DTYPES[dtypeOf(buffer)].bits / 8;
  if (!nest.e.prefetches || (unrolled * nest.lanes * bytes) % CACHE_LINE !== 0) return;
  const here = nest.addressOf(offset, load.map, nest.levels, ctx);
  const mem = nest.code.unit.bufferOf(buffer);
  fetchLater(nest.e, { mem, kind: memKind(dtypeOf(buffer)) }, here, bytes);
}

/** Fetches what stands so far behind an early load's element of so many bytes. */
export function fetchLater(
  e: Emitter,
  from: { readonly mem: Mem; readonly kind: MemKind },
  here: Operand,
  bytes: number,
): void {
  if (!e.prefetches) return;
  const far = EARLY_BYTES / bytes;
  const kind = isReg(here) ? here.type.kind : "i32";
  e.out.push({
    s: "prefetch",
    ...from,
    at: e.op("add", kind, 1, [here, kind === "i64" ? BigInt(far) : far]),
  });
}

/** How many rows ahead of the one that is being copied its tile is fetched, and the rows and tiles that want it. */
const ROWS_AHEAD = 8;
const [LEAST_ROW, MOST_ROW] = [256, 4096];

/**
 * The load of a tile that a nest does nothing with but to bring it into the frame, row by row: each is another place in memory, and
 * ends before the processor's own prefetching has begun to follow it.
 */
export function copiedRows(nest: Nest): { readonly op: Op; readonly map: AxisMap } | undefined {
  const { e, sinks, axis, outer, space, jam } = nest;
  const [sink] = sinks;
  if (!e.prefetches || sinks.length !== 1 || !sink?.writes || outer.length !== 1 || jam.count > 1)
    return undefined;
  const { value, map } = sink.reads[0]!;
  const op = defOf(value);
  if (op?.opcode !== "load" || nest.cellOf(value)) return undefined;
  const offset = op.operands[1]!;
  const row = space[axis]! * (DTYPES[dtypeOf(op.operands[0]!)].bits / 8);
  if (row < LEAST_ROW || row > MOST_ROW || row * space[outer[0]!]! <= MOST_BYTES) return undefined;
  const moves = nest.affine.axes(offset, map) & (1 << outer[0]!);
  return moves && nest.affine.stride(offset, map, axis) === 1 ? { op, map } : undefined;
}

/** Fetches what stands some rows behind the vector at the context's index, if that starts a line. */
export function fetchRow(
  nest: Nest,
  load: { readonly op: Op; readonly map: AxisMap },
  iv: Operand,
  unrolled: number,
): void {
  const [buffer, offset] = load.op.operands as [Value, Value];
  const bytes = DTYPES[dtypeOf(buffer)].bits / 8;
  if ((unrolled * nest.lanes * bytes) % CACHE_LINE !== 0) return;
  const { e } = nest;
  const levels = nest.levels.map((l, i) =>
    i === 1 ? nest.context(e.op("add", "i32", 1, [l.iv, ROWS_AHEAD])) : l,
  );
  const at = nest.addressOf(offset, load.map, levels, nest.context(iv));
  e.out.push({ s: "prefetch", mem: nest.code.unit.bufferOf(buffer), kind: memKind(dtypeOf(buffer)), at });
}
