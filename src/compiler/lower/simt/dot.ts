// `dot` without matrix units: both operands stand in shared memory, each thread keeps a block of the result in registers.

import type { Op, Value } from "../../ir/index.js";
import { DTYPES, type DType, numel } from "../../ir/index.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import { emitCast } from "../simd/cast.js";
import { emitDirectDot } from "./dot-direct.js";
import { emitMatrixDot, matrixFor } from "./dot-matrix.js";
import type { SimtEmitter } from "./emit.js";
import type { Operand, Reg, Stmt } from "./form.js";
import type { Layout } from "./layout.js";
import { unpackWords } from "./pack.js";
import { loadShared, memoryReg, sharedBytes, sharedKind } from "./shared.js";
import { registerSums, threadSum } from "./threads.js";
import { packed, storeTile } from "./tiles.js";
import type { Unit } from "./unit.js";

/** Bytes of the widest access to shared memory. */
const ACCESS = 16;

export function emitDot(unit: Unit, op: Op): void {
  const direct = unit.plan.direct?.dots.get(op);
  if (direct) {
    emitDirectDot(unit, direct);
    return;
  }
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
  // Rows of the left operand end in a gap: neighbouring ones fall into different banks.
  const pitch = k * bytes >= ACCESS ? k * bytes + ACCESS : k * bytes;
  const startB = Math.ceil((la.shape[0]! * pitch) / 16) * 16;
  const [xs, ys] = [unit.get(a, la), unit.get(b, lb)];
  shared.scratch(startB + numel(lb.shape) * bytes);
  storeTile(e, d, xs, la, (bit) => (bit >= k ? (bit / k) * pitch : bit * bytes));
  storeTile(e, d, ys, lb, packed(d), startB);
  shared.barrier();
  shared.touch();
  const rowBit = (bit: number): number => (bit >= n ? bit / n : 0);
  const colBit = (bit: number): number => (bit < n ? bit : 0);
  const rowAt = threadSum(
    e,
    acc.threads.map((w) => rowBit(w) * pitch),
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
    // A row's elements along K, and neighbouring columns, come in one access each.
    const left = new Map<number, Operand[]>();
    for (const row of new Set(rows))
      left.set(
        row,
        pieces(unroll, Math.min(unroll, ACCESS / bytes)).flatMap(([u, n]) =>
          loadRun(e, d, atA, row * pitch + u * bytes, n).map(widen),
        ),
      );
    const wide = neighbours(acc, Math.min(n, ACCESS / bytes));
    for (let u = 0; u < unroll; u++) {
      const right = new Map<number, Operand>();
      for (const col of new Set(cols)) {
        if (right.has(col)) continue;
        const list = loadRun(e, d, atB, startB + (u * n + col) * bytes, wide);
        for (const [i, x] of list.entries()) right.set(col + i, widen(x));
      }
      sums.forEach((sum, r) => {
        const [x, y] = [left.get(rows[r]!)![u]!, right.get(cols[r]!)!];
        if (float) e.push({ s: "op", op: "fma", dst: sum, args: [x, y, sum] });
        else e.push({ s: "op", op: "add", dst: sum, args: [sum, e.op("mul", kind, 1, [x, y])] });
      });
    }
  });
  e.push({ s: "for", iv, lo: 0, hi: k, step: unroll, body: list });
  for (const r of sums) e.settle(r);
  unit.define(op.result, acc, sums);
}

/** `n` elements in pieces of `most`: where each begins, and how long it is. */
const pieces = (n: number, most: number): [number, number][] =>
  Array.from({ length: n / most }, (_, i) => [i * most, most]);

/** How many columns, of a result with at least `most`, one thread holds side by side from a multiple of that on. */
function neighbours(acc: Layout, most: number): number {
  let n = 1;
  while (n < most && acc.registers[Math.log2(n)] === n) n *= 2;
  return n;
}

/** Neighbouring elements out of shared memory in one access. */
function loadRun(e: SimtEmitter, d: DType, at: Operand, plus: number, n: number): Operand[] {
  const { bytes } = DTYPES[d];
  if (n === 1 || n * bytes < 4) return Array.from({ length: n }, (_, i) => loadShared(e, d, at, plus + i * bytes)); // biome-ignore format: one line
  const narrow = bytes < 4;
  const dst = Array.from({ length: narrow ? (n * bytes) / 4 : n }, () => e.value(memoryReg(d)));
  e.push({ s: "load", dst, kind: narrow ? "i32" : sharedKind(d), mem: { shared: 0 }, at, plus });
  return unpackWords(e, d, dst, n);
}
