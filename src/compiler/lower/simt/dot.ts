// `dot` without matrix units: both operands stand in shared memory, each thread keeps a block of the result in registers.

import type { Op, Value } from "../../ir/index.js";
import { DTYPES, numel } from "../../ir/index.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import { emitCast } from "../simd/cast.js";
import { emitMatrixDot, matrixFor } from "./dot-matrix.js";
import type { Operand, Reg, Stmt } from "./form.js";
import { loadShared, sharedBytes } from "./shared.js";
import { registerSums, threadSum } from "./threads.js";
import { packed, storeTile } from "./tiles.js";
import type { Unit } from "./unit.js";

export function emitDot(unit: Unit, op: Op): void {
  const matrix = matrixFor(op, unit.shape);
  if (matrix) {
    emitMatrixDot(unit, op, matrix);
    return;
  }
  const { e, plan, shared } = unit;
  const [a, b, c] = op.operands as [Value, Value, Value];
  const d = dtypeOf(a);
  const bytes = sharedBytes(d);
  const acc = plan.anchor(op.result);
  const [la, lb] = [plan.anchor(a), plan.anchor(b)];
  const [, k] = la.shape as [number, number];
  const n = lb.shape[1]!;
  const out = dtypeOf(op.result);
  const kind = regKind(out);
  const float = DTYPES[out].kind === "float";
  const startB = Math.ceil((numel(la.shape) * bytes) / 16) * 16;
  const [xs, ys] = [unit.get(a, la), unit.get(b, lb)];
  shared.scratch(startB + numel(lb.shape) * bytes);
  storeTile(e, d, xs, la, packed(d));
  storeTile(e, d, ys, lb, packed(d), startB);
  shared.barrier();
  shared.touch();
  const rowBit = (bit: number): number => (bit >= n ? bit / n : 0);
  const colBit = (bit: number): number => (bit < n ? bit : 0);
  const rowAt = threadSum(
    e,
    acc.threads.map((w) => rowBit(w) * k * bytes),
  );
  const colAt = threadSum(
    e,
    acc.threads.map((w) => colBit(w) * bytes),
  );
  const rows = registerSums(acc, rowBit);
  const cols = registerSums(acc, colBit);
  const sums = unit.get(c, acc).map((x): Reg => {
    const r = e.reg(kind);
    e.assign(r, x);
    return r;
  });
  const widen = (x: Operand): Operand => emitCast(e, d, out, x, 1);
  const list: Stmt[] = [];
  const iv = e.value("i32");
  const unroll = Math.min(4, k);
  e.inside(list as never[], () => {
    const atA = e.op("add", "i32", 1, [rowAt, e.op("mul", "i32", 1, [iv, bytes])]);
    const atB = e.op("add", "i32", 1, [colAt, e.op("mul", "i32", 1, [iv, n * bytes])]);
    for (let u = 0; u < unroll; u++) {
      const left = new Map<number, Operand>();
      const right = new Map<number, Operand>();
      for (const row of rows)
        if (!left.has(row)) left.set(row, widen(loadShared(e, d, atA, (row * k + u) * bytes)));
      for (const col of cols)
        if (!right.has(col)) right.set(col, widen(loadShared(e, d, atB, startB + (u * n + col) * bytes)));
      sums.forEach((sum, r) => {
        const [x, y] = [left.get(rows[r]!)!, right.get(cols[r]!)!];
        if (float) e.push({ s: "op", op: "fma", dst: sum, args: [x, y, sum] });
        else e.push({ s: "op", op: "add", dst: sum, args: [sum, e.op("mul", kind, 1, [x, y])] });
      });
    }
  });
  e.push({ s: "for", iv, lo: 0, hi: k, step: unroll, body: list });
  for (const r of sums) e.settle(r);
  unit.define(op.result, acc, sums);
}
