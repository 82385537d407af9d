// `dot` on packed tiles in the frame: C[M,N] += A[M,K] @ B[K,N], in place, with a block of C in registers.

import { dtypeOf, frameKind, is64Kind, KIND_BYTES, regKind, shapeOf } from "./kinds.js";
import type { Op } from "../../ir/index.js";
import type { Emitter } from "./emit.js";
import type { Operand, Reg, RegKind, VectorShape } from "./form.js";
import type { Cell, Frame } from "./frame.js";

/** Steps of k in one turn of the inner loop. */
const UNROLL_K = 4;

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

export function emitDot(
  e: Emitter,
  frame: Frame,
  shape: VectorShape,
  op: Op,
  a: Cell,
  b: Cell,
  c: Cell,
): void {
  const [m, k] = shapeOf(op.operands[0]!) as [number, number];
  const n = shapeOf(op.operands[1]!)[1]!;
  const kind = regKind(dtypeOf(op.result));
  const bytes = KIND_BYTES[kind];
  if (b.columns) {
    emitRow(e, frame, shape, kind, [n, k], a, b, c);
    return;
  }
  let lanes = Math.max(1, shape.bytes / (is64Kind(kind) ? 8 : 4));
  while (lanes > n && lanes * bytes > 16) lanes /= 2;
  if (lanes > n) lanes = 1;
  const { rows, vectors } = registerBlock(shape.registers, m, n / lanes);
  const unroll = Math.min(UNROLL_K, k);
  const mem = frameKind(kind);
  const isFloat = kind === "f32" || kind === "f64";
  const i32 = (o: "add" | "mul", x: Operand, y: Operand): Operand => e.op(o, "i32", 1, [x, y]);
  const multiplyAdd = (acc: Reg, x: Operand, y: Operand): void => {
    if (isFloat) e.out.push({ s: "op", op: "fma", dst: acc, args: [x, y, acc] });
    else e.out.push({ s: "op", op: "add", dst: acc, args: [acc, e.op("mul", kind, lanes, [x, y])] });
  };
  e.loop(0, n, vectors * lanes, (column) => {
    e.loop(0, m, rows, (row) => {
      const at = i32("add", i32("mul", row, n), column);
      const place = (r: number, v: number) => frame.mem(c, (r * n + v * lanes) * bytes);
      const sums = Array.from({ length: rows }, (_, r) =>
        Array.from({ length: vectors }, (_, v) => e.load(kind, lanes, place(r, v), mem, at)),
      );
      const rowOfA = a.columns ? row : i32("mul", row, k);
      const [stepM, stepK] = a.columns ? [1, m] : [k, 1];
      e.loop(0, k, unroll, (kk) => {
        const atA = i32("add", rowOfA, i32("mul", kk, stepK));
        const atB = i32("add", i32("mul", kk, n), column);
        for (let u = 0; u < unroll; u++) {
          const right = Array.from({ length: vectors }, (_, v) =>
            e.load(kind, lanes, frame.mem(b, (u * n + v * lanes) * bytes), mem, atB),
          );
          for (let r = 0; r < rows; r++) {
            const left = e.splat(
              e.load(kind, 1, frame.mem(a, (r * stepM + u * stepK) * bytes), mem, atA),
              lanes,
            );
            for (let v = 0; v < vectors; v++) multiplyAdd(sums[r]![v]!, left, right[v]!);
          }
        }
      });
      sums.forEach((list, r) => {
        list.forEach((sum, v) => {
          e.store(kind, lanes, place(r, v), mem, at, sum);
        });
      });
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
