// `dot` on matrix units whose operands are fragments in registers: both operands stand in shared memory, each subgroup owns a
// block of the result and reads its fragments with `loadMatrix`.

import type { DType, Op, TileType, Value } from "../../ir/index.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import type { Operand, Reg } from "./form.js";
import { bitsOf, type Layout } from "./layout.js";
import type { MatrixShape, SimtShape } from "./shape.js";
import { threadSum } from "./threads.js";
import { storeTile, type Weight } from "./tiles.js";
import type { Unit } from "./unit.js";

/** Bytes of an element as a unit takes it. */
const BYTES: Readonly<Record<MatrixShape["operands"], number>> = {
  f16: 2,
  bf16: 2,
  tf32: 4,
  i8: 1,
  u8: 1,
  f64: 8,
};
/** Rows of an 8x8 matrix that `loadMatrix` reads, and bytes of each: eight elements of two bytes, or as many bytes of others. */
const EIGHT = 8;
const ROW = 16;
/** Bytes between the ends of rows in shared memory: the rows of an 8x8 matrix then fall into different banks. */
const PAD = 16;

/** A unit that can do a `dot`, with its place in the table. */
export interface Chosen {
  readonly index: number;
  readonly unit: MatrixShape;
}

/** What a unit must take for operands of a dtype: f32 loses bits only where the product allows it. */
export const unitDtype = (op: Op, d: DType): string =>
  d === "f32" && op.attrs["precision"] === "tf32" ? "tf32" : d;

/** The first matrix unit that fits; undefined where there is none. */
export function matrixFor(op: Op, shape: SimtShape): Chosen | undefined {
  if (!shape.loadMatrix) return undefined;
  const [a, b] = op.operands as [Value, Value];
  const [m, k] = (a.type as TileType).shape as [number, number];
  const n = (b.type as TileType).shape[1]!;
  const out = dtypeOf(op.result);
  const index = shape.matrices.findIndex(
    (u) =>
      u.operands === unitDtype(op, dtypeOf(a)) &&
      u.operands === unitDtype(op, dtypeOf(b)) &&
      u.accumulator === out &&
      u.subgroups === 1 &&
      u.a.fragment !== undefined &&
      u.b.fragment !== undefined &&
      u.operands !== "f64" &&
      m % u.m === 0 &&
      n % u.n === 0 &&
      k % u.k === 0,
  );
  return index < 0 ? undefined : { index, unit: shape.matrices[index]! };
}

/** The result's layout: fragments, repeated along N and M in each subgroup; the subgroups' blocks are nearly square. */
export function matrixLayout(
  op: Op,
  { unit }: Pick<Chosen, "unit">,
  threads: number,
  subgroup: number,
): Layout {
  return fragmentLayout((op.result.type as TileType).shape, unit, threads, subgroup);
}

/** The same where units compute the result turned over. */
export function turnedLayout(
  op: Op,
  { unit }: Pick<Chosen, "unit">,
  threads: number,
  subgroup: number,
): Layout {
  const { shape } = op.result.type as TileType;
  const [rows, cols] = shape as [number, number];
  const l = fragmentLayout([cols, rows], unit, threads, subgroup);
  const back = (bit: number): number => (bit === 0 ? 0 : bit < rows ? bit * cols : bit / rows);
  return { shape, registers: l.registers.map(back), threads: l.threads.map(back) };
}

/** The layout of a result of a shape. */
export function fragmentLayout(
  shape: readonly number[],
  unit: MatrixShape,
  threads: number,
  subgroup: number,
): Layout {
  const [rows, cols] = shape as [number, number];
  const inTile = (bit: number): number => (bit >= unit.n ? (bit / unit.n) * cols : bit);
  let [height, width] = [rows, cols];
  const groups: number[] = [];
  for (let n = threads / subgroup; n > 1; n /= 2) {
    const tall = height > unit.m && (height >= width || width <= unit.n);
    if (tall) height /= 2;
    else if (width > unit.n) width /= 2;
    groups.push(tall ? height * cols : width < cols && !groups.includes(width) ? width : 0);
  }
  const rest = [
    ...bitsOf(shape, 1).filter((bit) => bit >= unit.n && bit < width),
    ...bitsOf(shape, 0).filter((bit) => bit / cols >= unit.m && bit / cols < height),
  ];
  return {
    shape,
    registers: [...unit.c.registers.map(inTile), ...rest],
    threads: [...unit.c.threads.map(inTile), ...groups],
  };
}

/** How an operand stands in shared memory: rows along the summed dimension K, or across it. */
interface Panel {
  /** K is the direction of a row. */
  readonly alongK: boolean;
  /** Bytes of an element. */
  readonly size: number;
  readonly pitch: number;
  readonly start: number;
  readonly bytes: number;
}

function panel(l: Layout, kDim: 0 | 1, start: number, size: number): Panel {
  const [rows, cols] = l.shape as [number, number];
  // The direction in which threads hold neighbours stays the direction of rows, where matrices can be turned as they are read.
  const along =
    size !== 2
      ? kDim
      : l.registers[0] === cols || (l.registers.length === 0 && l.threads[0] === cols)
        ? 0
        : 1;
  const length = l.shape[along]! * size + PAD;
  return { alongK: along === kDim, size, pitch: length, start, bytes: length * (along === 1 ? rows : cols) };
}

/** The byte of each bit of an operand's element numbers. */
function weightOf(l: Layout, kDim: 0 | 1, p: Panel): Weight {
  const cols = l.shape[1]!;
  const alongRow = (p.alongK ? kDim : 1 - kDim) === 1;
  return (bit) => {
    const [row, col] = bit >= cols ? [bit / cols, 0] : [0, bit];
    return alongRow ? row * p.pitch + col * p.size : col * p.pitch + row * p.size;
  };
}

/** The byte of an element from its coordinates along K and across it. */
const byteOf = (p: Panel, k: number, other: number): number =>
  p.alongK ? other * p.pitch + k * p.size : k * p.pitch + other * p.size;

export function emitMatrixDot(unit: Unit, op: Op, { index, unit: u }: Chosen): void {
  const { e, plan, shared } = unit;
  const [a, b, c] = op.operands as [Value, Value, Value];
  const acc = plan.anchor(op.result);
  const [la, lb] = [plan.anchor(a), plan.anchor(b)];
  const k = la.shape[1]!;
  const size = BYTES[u.operands];
  const half = ROW / size;
  const pa = panel(la, 1, 0, size);
  const pb = panel(lb, 0, Math.ceil(pa.bytes / 128) * 128, size);
  const [xs, ys] = [unit.get(a, la), unit.get(b, lb)];
  shared.scratch(pb.start + pb.bytes);
  storeTile(e, dtypeOf(a), xs, la, weightOf(la, 1, pa), pa.start);
  storeTile(e, dtypeOf(b), ys, lb, weightOf(lb, 0, pb), pb.start);
  shared.barrier();
  shared.touch();
  const sums = unit.get(c, acc).map((x): Reg => {
    const r = e.reg(regKind(dtypeOf(op.result)));
    e.assign(r, x);
    return r;
  });
  const cols = acc.shape[1]!;
  const rowOf = (bit: number): number => (bit >= cols ? bit / cols : 0);
  const colOf = (bit: number): number => (bit < cols ? bit : 0);
  const groups = acc.threads.slice(u.c.threads.length);
  // Lanes 0-7 name the rows of the first 8x8 matrix, 8-15 those of the second, and so on.
  const lanes = [1, 2, 4];
  const atA = threadSum(e, [
    ...lanes.map((j) => j * pa.pitch),
    byteOf(pa, 0, EIGHT),
    byteOf(pa, half, 0),
    ...groups.map((bit) => byteOf(pa, 0, rowOf(bit))),
  ]);
  const atB = threadSum(e, [
    ...lanes.map((j) => j * pb.pitch),
    byteOf(pb, half, 0),
    byteOf(pb, 0, EIGHT),
    ...groups.map((bit) => byteOf(pb, 0, colOf(bit))),
  ]);
  const fragment = (p: Panel, at: Operand, count: number, plus: number): Reg[] => {
    const dst = Array.from({ length: count }, () => e.value("i32"));
    const place = { mem: { shared: 0 }, at, plus: p.start + plus };
    e.push({ s: "loadMatrix", dst, place, transpose: !p.alongK });
    return dst;
  };
  const repeats = acc.registers.slice(u.c.registers.length);
  const right = offsets(repeats.map(colOf).filter((n) => n > 0));
  const down = offsets(repeats.map(rowOf).filter((n) => n > 0));
  const each = 2 ** u.c.registers.length;
  for (let step = 0; step < k; step += u.k) {
    const left = down.map((row) => fragment(pa, atA, 4, byteOf(pa, step, row)));
    const top = pairs(right).flatMap(([col, two]) => {
      const regs = fragment(pb, atB, two ? 4 : 2, byteOf(pb, step, col));
      return two ? [regs.slice(0, 2), regs.slice(2)] : [regs];
    });
    down.forEach((_, i) => {
      right.forEach((_, j) => {
        const first = (i * right.length + j) * each;
        const d = sums.slice(first, first + each);
        e.push({ s: "matrix", matrix: index, d, a: left[i]!, b: top[j]!, c: d });
      });
    });
  }
  for (const r of sums) e.settle(r);
  unit.define(op.result, acc, sums);
}

/** The sums over all subsets, the first varying fastest. */
function offsets(bits: readonly number[]): number[] {
  let sums = [0];
  for (const bit of bits) sums = [...sums, ...sums.map((s) => s + bit)];
  return sums;
}

/** Neighbouring column blocks two by two, as far as they are neighbours. */
function pairs(columns: readonly number[]): [number, boolean][] {
  const out: [number, boolean][] = [];
  for (let i = 0; i < columns.length; i++) {
    const two = columns[i + 1] === columns[i]! + EIGHT;
    out.push([columns[i]!, two]);
    if (two) i++;
  }
  return out;
}
