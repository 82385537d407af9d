// `dot` on packed tiles in the frame: C[M,N] += A[M,K] @ B[K,N], in place, with a block of C in registers.

import { dtypeOf, frameKind, is64Kind, KIND_BYTES, regKind, shapeOf } from "./kinds.js";
import type { Op } from "../../ir/index.js";
import type { Emitter } from "./emit.js";
import type { Mem, Operand, Reg, RegKind, VectorShape } from "./form.js";
import { type Cell, type Frame, NO_PANELS, panelOf, type Panels } from "./frame.js";

/** Steps of k in one turn of the inner loop. */
const UNROLL_K = 4;
/** Rows of a left side that stands column by column in one panel, at least: a vector of them never lies in two panels. */
const LEFT_PANEL = 8;

interface Block {
  readonly rows: number;
  readonly vectors: number;
}

/** The register block: rows of C times vectors along N. Half of the registers hold C, the others A and B. */
export function registerBlock(registers: number, m: number, vectorsInRow: number): Block {
  const room = registers >= 32 ? 16 : 8;
  const rows = Math.min(m, 4);
  const vectors = Math.min(vectorsInRow, Math.max(1, room / rows));
  return { rows: Math.min(m, Math.max(rows, Math.min(8, room / vectors))), vectors };
}

/** How a `dot` is cut for the vector unit. */
interface Cut extends Block {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly kind: RegKind;
  readonly lanes: number;
  /** The chip's own code for the inner loop serves: floats in whole vectors. */
  readonly own: boolean;
}

function cutOf(op: Op, shape: VectorShape): Cut {
  const [m, k] = shapeOf(op.operands[0]!) as [number, number];
  const n = shapeOf(op.operands[1]!)[1]!;
  const kind = regKind(dtypeOf(op.result));
  const full = Math.max(1, shape.bytes / (is64Kind(kind) ? 8 : 4));
  let lanes = full;
  while (lanes > n && lanes * KIND_BYTES[kind] > 16) lanes /= 2;
  if (lanes > n) lanes = 1;
  const most = shape.outerProducts;
  const own = most !== undefined && (kind === "f32" || kind === "f64") && lanes === full && m >= 4;
  const vectorsInRow = n / lanes;
  const block = own
    ? { rows: Math.min(m, most.rows), vectors: Math.min(vectorsInRow, most.vectors) }
    : registerBlock(shape.registers, m, vectorsInRow);
  return { m, n, k, kind, lanes, own, ...block };
}

/** The right side of a product of several rows is read by the register block's columns. */
export function panelsOfRight(op: Op, shape: VectorShape): Panels {
  const { m, n, lanes, vectors } = cutOf(op, shape);
  const width = vectors * lanes;
  return m > 1 && n > width && Number.isInteger(Math.log2(width)) ? { rows: width, columns: 0 } : NO_PANELS;
}

export function panelsOfLeft(op: Op, shape: VectorShape): Panels {
  const { m } = cutOf(op, shape);
  const columns = Math.max(LEFT_PANEL, shape.bytes / 4);
  return m > columns ? { rows: 0, columns } : NO_PANELS;
}

/**
 * Cuts `m` rows, a power of two, into blocks of up to `most`: pairs of a number of rows and how many such blocks. Blocks
 * of four make up what blocks of six leave, since a block of two would take as long.
 */
export function rowBlocks(m: number, most: number): (readonly [rows: number, blocks: number])[] {
  if (m % most === 0) return [[most, m / most]];
  for (let fours = 1; fours * 4 <= m; fours++)
    if (most > 4 && (m - fours * 4) % most === 0)
      return [[most, (m - fours * 4) / most] as const, [4, fours] as const].filter(([, n]) => n > 0);
  const rest = m % most;
  return [[most, (m - rest) / most] as const, [rest, 1] as const].filter(([, n]) => n > 0);
}

export function emitDot(
  e: Emitter,
  frame: Frame,
  shape: VectorShape,
  op: Op,
  a: Cell,
  b: Cell,
  c: Cell,
): void {
  const cut = cutOf(op, shape);
  const { m, n, k, kind, lanes, vectors } = cut;
  if (b.columns) {
    emitRow(e, frame, shape, kind, [n, k], a, b, c);
    return;
  }
  // Rows of a column-wise panel are read together: a power of two of them.
  const most = panelOf(a) ? 2 ** Math.floor(Math.log2(cut.rows)) : cut.rows;
  e.loop(0, n, vectors * lanes, (column) => {
    let first = 0;
    for (const [rows, blocks] of rowBlocks(m, most)) {
      const end = first + rows * blocks;
      e.loop(first, end, rows, (row) => emitBlock(e, frame, cut, rows, row, column, a, b, c));
      first = end;
    }
  });
}

/** One block of C in registers, over all of k. */
function emitBlock(
  e: Emitter,
  frame: Frame,
  cut: Cut,
  rows: number,
  row: Operand,
  column: Operand,
  a: Cell,
  b: Cell,
  c: Cell,
): void {
  const { m, n, k, kind, lanes, vectors } = cut;
  const bytes = KIND_BYTES[kind];
  const mem = frameKind(kind);
  const isFloat = kind === "f32" || kind === "f64";
  const i32 = (o: "add" | "mul" | "and" | "sub", x: Operand, y: Operand): Operand =>
    e.op(o, "i32", 1, [x, y]);
  const multiplyAdd = (acc: Reg, x: Operand, y: Operand): void => {
    if (isFloat) e.out.push({ s: "op", op: "fma", dst: acc, args: [x, y, acc] });
    else e.out.push({ s: "op", op: "add", dst: acc, args: [acc, e.op("mul", kind, lanes, [x, y])] });
  };
  const at = i32("add", i32("mul", row, n), column);
  const place = (r: number, v: number): Mem => frame.mem(c, (r * n + v * lanes) * bytes);
  // The chip's own code has sums of its own, which are added to C afterwards.
  const start = (r: number, v: number): Reg => {
    if (!cut.own) return e.load(kind, lanes, place(r, v), mem, at);
    const sum = e.reg(kind, lanes);
    e.assign(sum, 0);
    return sum;
  };
  const sums = Array.from({ length: rows }, (_, r) => Array.from({ length: vectors }, (_, v) => start(r, v)));
  const leftPanel = panelOf(a);
  const [stepM, stepK] = a.columns ? [1, leftPanel || m] : [k, 1];
  let left: Operand = a.columns ? row : i32("mul", row, k);
  if (leftPanel) {
    // The panel's start, and the row in it.
    const inside = i32("and", row, leftPanel - 1);
    left = i32("add", i32("mul", i32("sub", row, inside), k), inside);
  }
  const rightPanel = panelOf(b);
  const right = rightPanel ? i32("mul", column, k) : column;
  const stepB = rightPanel || n;
  let unroll = UNROLL_K;
  while (k % unroll) unroll /= 2;
  const turn = (kk: Operand): void => {
    const atA = i32("add", left, i32("mul", kk, stepK));
    const atB = i32("add", right, i32("mul", kk, stepB));
    for (let u = 0; u < unroll; u++) {
      const ys = Array.from({ length: vectors }, (_, v) =>
        e.load(kind, lanes, frame.mem(b, (u * stepB + v * lanes) * bytes), mem, atB),
      );
      for (let r = 0; r < rows; r++) {
        const x = e.load(kind, 1, frame.mem(a, (r * stepM + u * stepK) * bytes), mem, atA);
        const spread = e.splat(x, lanes);
        for (let v = 0; v < vectors; v++) multiplyAdd(sums[r]![v]!, spread, ys[v]!);
      }
    }
  };
  const products = cut.own
    ? {
        sums,
        left: { mem: frame.mem(a), kind: kind as "f32" | "f64", at: left, row: stepM, step: stepK },
        right: { mem: frame.mem(b), kind: kind as "f32" | "f64", at: right, row: lanes, step: stepB },
        steps: k,
      }
    : undefined;
  e.loop(0, k, unroll, turn, products && { products });
  sums.forEach((list, r) => {
    list.forEach((sum, v) => {
      const all = cut.own ? e.op("add", kind, lanes, [e.load(kind, lanes, place(r, v), mem, at), sum]) : sum;
      e.store(kind, lanes, place(r, v), mem, at, all);
    });
  });
}

/** Columns of B in one turn of {@link emitRow}. */
const COLUMNS = 4;

/** One row times a matrix that stands column by column: vectors lie along k, and each result is the sum of one. */
function emitRow(
  e: Emitter,
  frame: Frame,
  shape: VectorShape,
  kind: RegKind,
  [n, k]: readonly [number, number],
  a: Cell,
  b: Cell,
  c: Cell,
): void {
  const bytes = KIND_BYTES[kind];
  const mem = frameKind(kind);
  const full = shape.bytes / bytes;
  const lanes = k % full === 0 ? full : 1;
  const columns = Math.min(COLUMNS, n);
  const unroll = Math.min(2, k / lanes);
  const isFloat = kind === "f32" || kind === "f64";
  const zero = kind === "i64" ? 0n : 0;
  const add = (x: Operand, y: Operand, width: number): Operand => e.op("add", kind, width, [x, y]);
  e.loop(0, n, columns, (column) => {
    const start = e.op("mul", "i32", 1, [column, k]);
    const sums = Array.from({ length: columns * unroll }, () => {
      const r = e.reg(kind, lanes);
      e.assign(r, zero);
      return r;
    });
    e.loop(0, k, lanes * unroll, (kk) => {
      const atB = e.op("add", "i32", 1, [start, kk]);
      for (let u = 0; u < unroll; u++) {
        const left = e.load(kind, lanes, frame.mem(a, u * lanes * bytes), mem, kk);
        for (let j = 0; j < columns; j++) {
          const right = e.load(kind, lanes, frame.mem(b, (j * k + u * lanes) * bytes), mem, atB);
          const sum = sums[j * unroll + u]!;
          if (isFloat) e.out.push({ s: "op", op: "fma", dst: sum, args: [left, right, sum] });
          else e.assign(sum, add(sum, e.op("mul", kind, lanes, [left, right]), lanes));
        }
      }
    });
    for (let j = 0; j < columns; j++) {
      const own: Operand[] = sums.slice(j * unroll, (j + 1) * unroll);
      const vector = own.reduce((x, y) => add(x, y, lanes));
      let parts = Array.from({ length: lanes }, (_, i) => e.extract(vector, kind, i));
      while (parts.length > 1) {
        const half = parts.length / 2;
        parts = parts.slice(0, half).map((x, i) => add(x, parts[i + half]!, 1));
      }
      const place = frame.mem(c, j * bytes);
      e.store(kind, 1, place, mem, column, add(e.load(kind, 1, place, mem, column), parts[0]!, 1));
    }
  });
}
