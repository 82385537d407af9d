// What a group is for: stores, atomics, reductions and tiles written to the frame, as parts of a loop nest.
// In each turn all values are computed before anything is written, so that a turn may write what it has read.

import type { Value } from "../../ir/index.js";
import { atomicSink } from "./atomic.js";
import type { Cell } from "./frame.js";
import { dtypeOf, memKind, regKind, shapeOf } from "./kinds.js";
import { type AxisMap, identityMap } from "./maps.js";
import type { Jam } from "./jam.js";
import { storeMasked, storePrefix } from "./memory.js";
import type { Context, Nest } from "./nest.js";
import { reduceSink } from "./nest-reduce.js";
import type { Root } from "./plan.js";

/** Writes what a turn has computed. */
export type Commit = () => void;

export interface Sink {
  /** The tiles that are computed, each under its map. */
  readonly reads: readonly { readonly value: Value; readonly map: AxisMap }[];
  /** The offsets of a store. */
  readonly offset?: Value;
  /** Nothing happens where this is false. */
  readonly mask?: Value;
  /** A tile that is written to the frame. */
  readonly writes?: { readonly cell: Cell; readonly shape: readonly number[] };
  /** Axes whose elements are combined, the innermost last; none in a space of one element. */
  readonly reduces?: readonly number[];
  /** Nothing but elements of these axes combined: neighbouring turns of the other axes may be jammed. */
  readonly jams?: boolean;
  /** Copies of the inner body that are worth while. */
  readonly unroll?: number;
  /** Before the whole nest, before the loops over what is combined (see {@link Nest.sums}), after them, after the nest. */
  before?(): void;
  start?(unroll: number): void;
  finish?(): void;
  after?(): void;
  /** Computes in one inner turn; what it returns writes. */
  turn(ctx: Context, unrolled: number): Commit | undefined;
}

/** Emits a turn for each context; `unrolled` of them, one after another, have accumulators of their own. */
export function emitRoots(
  sinks: readonly Sink[],
  jam: Jam,
  contexts: readonly Context[],
  unrolled: number = contexts.length,
): void {
  contexts.forEach((ctx, u) => {
    const commits: (Commit | undefined)[] = [];
    jam.each(() => {
      for (const s of sinks) commits.push(s.turn(ctx, u % unrolled));
    });
    for (const commit of commits) commit?.();
  });
}

export function sinksOf(nest: Nest): Sink[] {
  const sinks: Sink[] = [];
  for (const root of nest.step.roots) {
    const sink = sinkOf(nest, root);
    if (sink) sinks.push(sink);
  }
  return sinks;
}

function sinkOf(nest: Nest, root: Root): Sink | undefined {
  const { unit } = nest.code;
  switch (root.kind) {
    case "keep":
      return cellSink(nest, root.value, unit.cells.get(root.value)!);
    case "copy": {
      const cell = nest.code.copies.get(root) ?? unit.cells.get(root.target!)!;
      return nest.cellOf(root.value) === cell ? undefined : cellSink(nest, root.value, cell);
    }
    case "reduce":
      return reduceSink(nest, root.op);
    case "pick": {
      const value = root.op.operands[0]!;
      const map = shapeOf(value).map(() => -1);
      return {
        reads: [{ value, map }],
        turn: (ctx) => {
          unit.scalars.set(root.op.result, nest.first(value, map, ctx));
          return undefined;
        },
      };
    }
    case "effect":
      return root.op.opcode === "store" ? storeSink(nest, root) : atomicSink(nest, root);
  }
}

function cellSink(nest: Nest, value: Value, cell: Cell): Sink {
  const shape = shapeOf(value);
  const map = identityMap(shape);
  return {
    reads: [{ value, map }],
    writes: { cell, shape },
    turn: (ctx) => {
      const x = nest.vector(value, map, ctx);
      return () => nest.writeCell(cell, shape, map, ctx, x, nest.lanes);
    },
  };
}

function storeSink(nest: Nest, { op }: Extract<Root, { kind: "effect" }>): Sink {
  const [buffer, offset, value, mask] = op.operands as [Value, Value, Value, Value?];
  const stream = op.attrs["cache"] === "streaming";
  const map = identityMap(shapeOf(offset));
  return {
    reads: [offset, value, ...(mask ? [mask] : [])].map((v) => ({ value: v, map })),
    offset,
    ...(mask ? { mask } : {}),
    turn: (ctx) => {
      const { e, lanes } = nest;
      const place = nest.placeOf(offset, map, ctx, lanes);
      const d = dtypeOf(buffer);
      const mem = nest.code.unit.bufferOf(buffer);
      const x = nest.vector(value, map, ctx);
      const count = mask && lanes > 1 && place.kind === "run" ? nest.prefix(mask, map, ctx) : undefined;
      if (count !== undefined && place.kind === "run") {
        if (e.canMask(memKind(d))) {
          const masked = { mask: nest.firstLanes(count, ctx) };
          return () => e.store(regKind(d), lanes, mem, memKind(d), place.at, x, masked);
        }
        const spare = nest.code.unit.frame.mem(nest.spare(regKind(d)));
        return () => storePrefix(e, d, mem, place.at, count, x, lanes, spare, stream);
      }
      const m = mask ? nest.vector(mask, map, ctx) : 1;
      return () => storeMasked(e, d, mem, place, m, x, lanes, stream);
    },
  };
}
