// `dot` on matrix units whose operands come from memory straight into the registers of their fragments: a matrix that is read once,
// times few columns. Threads load 16 bytes along K; which element of K a register of a fragment stands for is free as long as both
// operands agree, so the fragments are what the loads left, and there is neither shared memory nor a barrier. For loops whose author
// says that their turns may be shared out (`split` of `tl.range`); dot-matrix.ts is for operands that several subgroups share.

import {
  type Block,
  DTYPES,
  type Func,
  numel,
  type Op,
  opDef,
  type TileType,
  type Value,
  walk,
} from "../../ir/index.js";
import type { AxisInfo } from "../../passes/index.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import { type Chosen, matrixFor } from "./dot-matrix.js";
import type { Operand, Reg } from "./form.js";
import { bitsOf, type Layout } from "./layout.js";
import { packWords } from "./pack.js";
import { isRearranging, operandLayout } from "./rearrange.js";
import type { SimtShape } from "./shape.js";
import { sharesOf } from "./split.js";
import type { Unit } from "./unit.js";
import { termsOf } from "./widen-bytes.js";

/** A `dot` and the layouts of its operands and its result. */
export interface DirectDot extends Chosen {
  readonly dot: Op;
  readonly a: Layout;
  readonly b: Layout;
  readonly sum: Layout;
  /** The place along K, as a bit, of the second element in a register of a fragment. */
  readonly pair: number;
}

export interface Direct {
  readonly threads: number;
  /** The loops they stand in, and into how many shares the turns of each are cut. */
  readonly loops: ReadonlySet<Op>;
  readonly shares: number;
  readonly dots: ReadonlyMap<Op, DirectDot>;
  /** Loads that come in the layout of what they are used for. */
  readonly loads: ReadonlyMap<Op, Layout>;
}

/** The most columns: each subgroup loads all of the right operand. */
const COLUMNS = 64;
/** So few that the registers of a turn's operands can all be under way at once. */
const FEW_COLUMNS = 16;
/** Registers of a thread for all that a turn loads, if that is to be under way at once. */
const MOST_LOADED = 128;
/** The most subgroups that have rows of their own. */
const MOST_SUBGROUPS = 4;

const shapeOf = (v: Value): readonly number[] => (v.type as TileType).shape;
const loopOf = (dot: Op): Op | undefined => {
  const op = dot.parent?.parent;
  return op && "opcode" in op && op.opcode === "for" ? op : undefined;
};
const defOf = (v: Value): Op | undefined => (v.def && "opcode" in v.def ? v.def : undefined);

/** The products of a function, if all of them can be computed so. */
export function findDirect(
  func: Func,
  shape: SimtShape,
  facts: ReadonlyMap<Value, AxisInfo>,
  splitting: boolean,
): Direct | undefined {
  if (!shape.halfPairs || shape.subgroup === undefined) return undefined;
  const dots: Op[] = [];
  walk(func.body, (op) => {
    if (op.opcode === "dot") dots.push(op);
  });
  const found = new Map<Op, DirectDot>();
  const loads = new Map<Op, Layout>();
  let threads = 0;
  const loops = new Set(dots.map(loopOf).filter((op) => op !== undefined));
  const cuts = [...loops].map(sharesOf);
  const shares = splitting && cuts.every((n) => n === cuts[0]) ? (cuts[0] ?? 1) : 1;
  for (const dot of dots) {
    const d = directOf(dot, shape, facts, loads, shares);
    if (!d || (threads && threads !== d.sum.threads.length)) return undefined;
    threads = d.sum.threads.length;
    found.set(dot, d);
  }
  if (found.size === 0) return undefined;
  wantLists(found, loads);
  const few = [...found.values()].every((d) => d.sum.shape[1]! <= FEW_COLUMNS);
  const bodies = new Set(few ? dots.map((dot) => dot.parent!) : []);
  for (const body of bodies) if (loadedWords(body, loads) <= MOST_LOADED) loadFirst(body, found);
  return { threads: 2 ** threads, loops, shares, dots: found, loads };
}

const loadedWords = (body: Block, loads: ReadonlyMap<Op, Layout>): number =>
  body.ops.reduce((n, op) => {
    const l = loads.get(op);
    return n + (l ? (2 ** l.registers.length * DTYPES[op.operands[0]!.type.dtype].bytes) / 4 : 0);
  }, 0);

/**
 * In the loops of such products everything that is loaded comes first, with nothing between: as much as the registers hold is
 * under way at once. Changes the order of ops in place.
 */
function loadFirst(body: Block, dots: ReadonlyMap<Op, DirectDot>): void {
  const late = new Set<Op>();
  for (const op of body.ops) {
    const { memory } = opDef(op.opcode);
    if ((memory !== undefined && memory !== "read") || op.regions.length > 0) return;
    const behind = op.operands.some((v) => {
      const from = defOf(v);
      return from !== undefined && late.has(from);
    });
    if (dots.has(op) || behind || opDef(op.opcode).terminator) late.add(op);
  }
  const early = body.ops.filter((op) => !late.has(op));
  body.ops.splice(0, body.ops.length, ...early, ...body.ops.filter((op) => late.has(op)));
}

function directOf(
  dot: Op,
  shape: SimtShape,
  facts: ReadonlyMap<Value, AxisInfo>,
  loads: Map<Op, Layout>,
  shares: number,
): DirectDot | undefined {
  const chosen = matrixFor(dot, shape);
  if (!chosen || loopOf(dot)?.attrs["split"] === undefined || chosen.unit.subgroups !== 1) return undefined;
  const { unit } = chosen;
  const [x, y] = [loadBehind(dot.operands[0]!), defOf(dot.operands[1]!)];
  if (!x || y?.opcode !== "load" || y === x) return undefined;
  const [m, n] = shapeOf(dot.result) as [number, number];
  const k = shapeOf(dot.operands[0]!)[1]!;
  const { bytes } = DTYPES[x.operands[0]!.type.dtype];
  if (n > COLUMNS) return undefined;
  const near = neighbours(x, 1, shape, facts);
  if (near < 4 || neighbours(y, 0, shape, facts) < 4 || k < 4 * near) return undefined;
  // Shares of the turns are subgroups with all rows.
  const subgroups = shares > 1 ? 1 : Math.min(m / unit.m, MOST_SUBGROUPS);
  const repeats: number[] = Array(Math.log2(shares)).fill(0);
  const groups = [...Array.from({ length: Math.log2(subgroups) }, (_, i) => unit.m << i), ...repeats];
  const rest = bitsOf([m], 0).filter((bit) => bit >= unit.m * subgroups);
  // Along K: neighbours in a thread, then the four threads of a row, then further registers.
  const inThread = bitsOf([k], 0).filter((bit) => bit < near || bit >= 4 * near);
  const inRow = [near, 2 * near];
  const a: Layout = {
    shape: [m, k],
    registers: [...inThread, ...[unit.m / 2, ...rest].map((row) => row * k)],
    threads: [...inRow, ...[1, 2, 4, ...groups].map((row) => row * k)],
  };
  const b: Layout = {
    shape: [k, n],
    registers: [...inThread.map((bit) => bit * n), ...bitsOf([n], 0).filter((bit) => bit >= unit.n)],
    threads: [...inRow.map((bit) => bit * n), 1, 2, 4, ...groups.map(() => 0)],
  };
  const inTile = (bit: number): number => (bit >= unit.n ? (bit / unit.n) * n : bit);
  const sum: Layout = {
    shape: [m, n],
    registers: [
      ...unit.c.registers.map(inTile),
      ...bitsOf([n], 0).filter((bit) => bit >= unit.n),
      ...rest.map((row) => row * n),
    ],
    threads: [...unit.c.threads.map(inTile), ...groups.map((row) => row * n)],
  };
  // One load may serve several products, in one layout.
  for (const [load, l] of [
    [x, a],
    [y, b],
  ] as const) {
    const known = loads.get(load);
    if (known && known.registers.join() !== l.registers.join()) return undefined;
    loads.set(load, l);
  }
  return { ...chosen, dot, a, b, sum, pair: bytes === 1 ? 2 : 1 };
}

/** The one load that a tile is made of element by element. */
function loadBehind(v: Value): Op | undefined {
  const op = defOf(v);
  if (!op) return undefined;
  if (op.opcode === "load") return op;
  if (opDef(op.opcode).elementwise !== true) return undefined;
  const behind = op.operands.filter((x) => !isConstant(x)).map(loadBehind);
  return behind.length > 0 && behind.every((x) => x !== undefined && x === behind[0]) ? behind[0] : undefined;
}

const isConstant = (v: Value): boolean => {
  const op = defOf(v);
  return op?.opcode === "const" || ((op?.opcode === "splat" || op?.opcode === "broadcast") && isConstant(op.operands[0]!)); // biome-ignore format: one line
};

/** How many neighbours along a dimension one access of a load takes. */
function neighbours(load: Op, dim: 0 | 1, shape: SimtShape, facts: ReadonlyMap<Value, AxisInfo>): number {
  const [buffer, offset] = load.operands as [Value, Value];
  const { bytes } = DTYPES[buffer.type.dtype];
  const info = facts.get(offset);
  if (!info) return 1;
  const aligned = Math.max(1, (facts.get(buffer)?.scalarDivisibility ?? 1) / bytes);
  return Math.max(1, Math.min(shape.accessBytes / bytes, info.contiguity[dim]!, info.divisibility[dim]!, aligned)); // biome-ignore format: one line
}

/** Lists that are spread over a result come as its threads use them. */
function wantLists(dots: ReadonlyMap<Op, DirectDot>, loads: Map<Op, Layout>): void {
  for (const { dot, sum } of dots.values()) {
    const at = (v: Value, depth: number): Layout | undefined => {
      if (shapeOf(v).join() === sum.shape.join()) return sum;
      if (depth === 0) return undefined;
      for (const use of v.uses) {
        const to = use.results[0];
        if (!to || !(isRearranging(use) || opDef(use.opcode).elementwise)) continue;
        const l = at(to, depth - 1);
        if (l) return isRearranging(use) ? operandLayout(use, l).layout : l;
      }
      return undefined;
    };
    for (const op of dot.parent!.ops) {
      if (op.opcode !== "load" || loads.has(op) || numel(shapeOf(op.result)) !== sum.shape[0]) continue;
      const l = at(op.result, 6);
      if (l) loads.set(op, l);
    }
  }
}

/** The sums over all subsets, the first varying fastest. */
function subsets(bits: readonly number[]): number[] {
  let sums = [0];
  for (const bit of bits) sums = [...sums, ...sums.map((s) => s + bit)];
  return sums;
}

export function emitDirectDot(unit: Unit, d: DirectDot): void {
  const { e } = unit;
  const { dot, unit: u, a, b, sum, pair } = d;
  const [x, y, c] = dot.operands as [Value, Value, Value];
  const [k, n] = b.shape as [number, number];
  const ys = unit.get(y, b);
  const terms = (isAlone(dot) && termsOf(unit, x, a)) || [unit.get(x, a)];
  const start = unit.get(c, sum);
  // Terms have sums each of their own: a product waits for the one before it only where both add to the same.
  const sums = terms.map((_, i) =>
    start.map((v): Reg => {
      const r = e.reg(regKind(dtypeOf(dot.result)));
      e.assign(r, i === 0 ? v : 0);
      return r;
    }),
  );
  // The registers' bits of K: the pair in a register, its neighbour register, and the steps.
  const along = b.registers.filter((bit) => bit >= n && bit !== pair * n).map((bit) => bit / n);
  const [second, ...steps] = along as [number, ...number[]];
  const registerOf = (l: Layout, bits: readonly number[]): number =>
    bits.reduce((r, bit) => r + (bit === 0 ? 0 : 1 << l.registers.indexOf(bit)), 0);
  /** The words of a fragment: `bitOf` turns a bit of its own into one of the tile, `base` is the register of its first element. */
  const words = (l: Layout, regs: readonly Operand[], own: readonly number[], base: number): Operand[] => {
    const at = subsets(own.map((bit) => registerOf(l, [bit]))).map((r) => regs[base + r]!);
    return Array.from(
      { length: at.length / 2 },
      (_, i) => packWords(e, dtypeOf(x), at.slice(2 * i, 2 * i + 2))[0]!,
    );
  };
  const ownA = u.a.fragment!.registers.map((bit) =>
    bit >= u.k ? (bit / u.k) * k : bit === 1 ? pair : second,
  );
  const ownB = u.b.fragment!.registers.map((bit) => (bit === u.n ? pair : second) * n);
  const down = a.registers.filter((bit) => bit >= u.m * k);
  const right = b.registers.filter((bit) => bit < n);
  const size = 2 ** u.c.registers.length;
  for (const step of stepsOf(steps)) {
    const top = subsets(right.map((bit) => registerOf(b, [bit]))).map((col) => words(b, ys, ownB, col + registerOf(b, step.map((bit) => bit * n)))); // biome-ignore format: one line
    terms.forEach((xs, term) => {
      const left = subsets(down.map((bit) => registerOf(a, [bit]))).map((row) => words(a, xs, ownA, row + registerOf(a, step))); // biome-ignore format: one line
      left.forEach((l, i) => {
        top.forEach((t, j) => {
          const first = (i * top.length + j) * size;
          const part = sums[term]!.slice(first, first + size);
          e.push({ s: "matrix", matrix: d.index, d: part, a: l, b: t, c: part });
        });
      });
    });
  }
  for (const r of sums.flat()) e.settle(r);
  const all = start.map((_, i) => sums.map((list): Operand => list[i]!).reduce((p, q) => e.op("add", "f32", 1, [p, q]))); // biome-ignore format: one line
  unit.define(dot.result, sum, all);
}

/** Whether a loop has this product alone: several take more registers as it is. */
const isAlone = (dot: Op): boolean => dot.parent!.ops.every((op) => op.opcode !== "dot" || op === dot);

/** Every choice of bits. */
function stepsOf(bits: readonly number[]): number[][] {
  let all: number[][] = [[]];
  for (const bit of bits) all = all.concat(all.map((s) => [...s, bit]));
  return all;
}
