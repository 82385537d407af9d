// Finds the loops whose `dot` takes its operands out of registers (of threads, or of matrix units with fragments) and can be fed by
// asynchronous copies all the same: both operands are loaded in the loop's body for nothing else, in pieces of 16 bytes.
// Loops for units that read shared memory themselves are pipeline-plan.ts's. Emits nothing; staged.ts does.

import { DTYPES, type Func, numel, type Op, type TileType, type Value, walk } from "../../ir/index.js";
import type { AxisInfo } from "../../passes/index.js";
import { dtypeOf } from "../simd/kinds.js";
import { type Chosen, matrixFor, matrixLayout, turnedLayout, unitDtype } from "./dot-matrix.js";
import { bitsOf, type Layout } from "./layout.js";
import { ATOM, ROW } from "./panels.js";
import { accumulates, source } from "./pipeline-plan.js";
import type { SimtShape } from "./shape.js";

/** Bytes of one asynchronous copy, and of the least. */
export const PIECE = 16;
export const FOUR_BYTES = 4;

/** A loaded operand in a stage's memory: rows with a gap behind each against bank conflicts. */
export interface StagedOperand {
  readonly load: Op;
  /** Rows run along the summed dimension. */
  readonly alongK: boolean;
  /** The dimension of rows of a stage. */
  readonly along: 0 | 1;
  /** Elements are copied one by one: rows may then run across those in memory. */
  readonly single?: true;
  /** Bytes of an element, between rows, and of the whole. */
  readonly size: number;
  readonly pitch: number;
  readonly bytes: number;
  /** The first byte in a stage. */
  readonly start: number;
  /** Rows of 128 bytes whose pieces are permuted, as units of several subgroups read them; longer rows go on in the next panel. */
  readonly panel?: true;
}

/** The byte of an element from its row in memory and its place there, before pieces are permuted. */
export function placeIn(x: StagedOperand, row: number, at: number): number {
  const byte = at * x.size;
  if (!x.panel || byte < ROW) return row * x.pitch + byte;
  const rows = x.bytes / (x.load.result.type as TileType).shape[x.along]! / x.size;
  return (byte / ROW) * rows * ROW + row * x.pitch;
}

export interface Staged {
  readonly loop: Op;
  readonly dot: Op;
  /** Undefined: each thread multiplies. */
  readonly matrix: Chosen | undefined;
  /** The unit is one of several subgroups, and reads one operand out of shared memory: see staged-groups.ts. */
  readonly group: Group | undefined;
  readonly a: StagedOperand;
  readonly b: StagedOperand;
  readonly stages: number;
  /** Workgroups whose stages fit beside each other. */
  readonly sharing: number;
  readonly stageBytes: number;
}

/** Which operand such a unit has in registers, and which in shared memory. */
export interface Group {
  /** `b` is the one in registers: the result is computed turned over. */
  readonly turned: boolean;
}

const MOST_STAGES = 4;
const FEWEST_STAGES = 3;
/** Sums of a product that are worth a thread's while: fewer leave too little to do between two barriers. */
const LEAST_SUMS = 2 ** 12;
/** Threads of a subgroup of such a unit. */
const SUBGROUP = 32;
/** Workgroups that share a multiprocessor's memory, so that one works while another one waits. */
const SHARING = 2;

/** All such loops of a function, by their dot; none where there are several. */
export function findStaged(
  func: Func,
  shape: SimtShape,
  facts: ReadonlyMap<Value, AxisInfo>,
  grouping: boolean,
): Map<Op, Staged> {
  const found = new Map<Op, Staged>();
  if (!shape.asyncCopy) return found;
  walk(func.body, (op) => {
    const s = op.opcode === "for" ? stagedOf(op, shape, facts, grouping) : undefined;
    if (s) found.set(s.dot, s);
  });
  return found.size === 1 ? found : new Map();
}

function stagedOf(
  loop: Op,
  shape: SimtShape,
  facts: ReadonlyMap<Value, AxisInfo>,
  grouping: boolean,
): Staged | undefined {
  const body = loop.regions[0]!;
  const dot = accumulates(loop);
  if (!dot) return undefined;
  const [x, y] = dot.operands.slice(0, 2).map((v) => source(v, body));
  if (!x || !y || x === y) return undefined;
  const [rows, cols] = (dot.result.type as TileType).shape as [number, number];
  const grouped = grouping ? stagedGroup(loop, dot, [x, y], shape, facts) : undefined;
  if (grouped) return grouped;
  const matrix = matrixFor(dot, shape);
  if (!matrix && (dtypeOf(dot.operands[0]!) !== "f32" || rows * cols < LEAST_SUMS)) return undefined;
  const make = (load: Op, kDim: 0 | 1, start: number): StagedOperand | undefined => {
    const whole = operand(load, kDim, start, matrix, facts);
    // Threads read four neighbours across the sum at a time.
    return matrix || whole?.alongK === false ? whole : singles(load, kDim, false, start, matrix);
  };
  const a = make(x, 1, 0);
  const b = a && make(y, 0, Math.ceil(a.bytes / 128) * 128);
  if (!a || !b) return undefined;
  const stageBytes = Math.ceil((b.start + b.bytes) / 128) * 128;
  const room = (share: number): number =>
    Math.min(MOST_STAGES, Math.floor((shape.sharedBytes / share - 2048) / stageBytes));
  const sharing = room(SHARING) >= FEWEST_STAGES ? SHARING : 1;
  const stages = room(sharing);
  return stages < FEWEST_STAGES
    ? undefined
    : { loop, dot, matrix, group: undefined, a, b, stages, stageBytes, sharing };
}

/** The loop for a unit of several subgroups, where one operand's rows run along the sum and fill rows of 128 bytes. */
function stagedGroup(
  loop: Op,
  dot: Op,
  [x, y]: readonly [Op, Op],
  shape: SimtShape,
  facts: ReadonlyMap<Value, AxisInfo>,
): Staged | undefined {
  if (unitDtype(dot, dtypeOf(dot.operands[0]!)) !== "tf32") return undefined;
  const [rows, cols] = (dot.result.type as TileType).shape as [number, number];
  const depth = (dot.operands[0]!.type as TileType).shape[1]!;
  // Rather an operand that already stands by rows along the sum than one that is turned on its way.
  for (const [turned, loose] of [
    [false, false],
    [true, false],
    [false, true],
  ] as const) {
    const [m, n] = turned ? [cols, rows] : [rows, cols];
    const index = shape.matrices.findIndex(
      (u) =>
        u.operands === "tf32" &&
        u.subgroups === 4 &&
        u.accumulator === dtypeOf(dot.result) &&
        m % u.m === 0 &&
        n % u.n === 0,
    );
    if (index < 0) continue;
    const matrix = { index, unit: shape.matrices[index]! };
    const [left, right] = turned ? ([y, x] as const) : ([x, y] as const);
    const [leftDim, rightDim] = turned ? ([0, 1] as const) : ([1, 0] as const);
    if ((depth * FOUR_BYTES) % ROW !== 0) continue;
    const whole = operand(right, rightDim, 0, matrix, facts);
    const r = whole?.alongK ? whole : loose ? singles(right, rightDim, true, 0, matrix) : undefined;
    if (!r) continue;
    // Rows of 128 bytes, permuted in groups of eight.
    const panel = { ...r, panel: true as const, pitch: ROW, bytes: n * depth * r.size };
    const l = operand(left, leftDim, panel.bytes, matrix, facts);
    if (!l) continue;
    const stageBytes = Math.ceil((l.start + l.bytes) / ATOM) * ATOM;
    const stages = Math.min(MOST_STAGES, Math.floor((shape.sharedBytes - ATOM) / stageBytes));
    if (stages < FEWEST_STAGES) continue;
    const [a, b] = turned ? [panel, l] : [l, panel];
    return { loop, dot, matrix, group: { turned }, a, b, stages, stageBytes, sharing: 1 };
  }
  return undefined;
}

/** Where units of several subgroups leave a result. */
export function groupLayout({ dot, matrix, group }: Staged, threads: number, subgroup: number): Layout {
  const layout = group!.turned ? turnedLayout : matrixLayout;
  return layout(dot, matrix!, threads, subgroup * matrix!.unit.subgroups);
}

/** Whether each of the units of several subgroups has sums of its own. */
export function hasWork({ dot, matrix, group }: Staged, threads: number): boolean {
  if (!group) return true;
  const [rows, cols] = (dot.result.type as TileType).shape as [number, number];
  const { m, n, subgroups } = matrix!.unit;
  return threads / (SUBGROUP * subgroups) <= (rows * cols) / (m * n);
}

/** Whether each thread has whole pieces to copy. */
export const copiesWhole = ({ a, b }: Staged, threads: number): boolean =>
  [a, b].every((x) => numel((x.load.result.type as TileType).shape) * x.size >= threads * PIECE);

/** How an operand lies in a stage; undefined where it cannot be copied in pieces, zeros where it is masked. */
function operand(
  load: Op,
  kDim: 0 | 1,
  start: number,
  matrix: Chosen | undefined,
  facts: ReadonlyMap<Value, AxisInfo>,
): StagedOperand | undefined {
  const [buffer, offset, mask, other] = load.operands as [Value, Value, Value?, Value?];
  const { shape } = offset.type as TileType;
  const size = DTYPES[buffer.type.dtype].bytes;
  const info = facts.get(offset);
  if (!info || shape.length !== 2) return undefined;
  if (!orZero(other)) return undefined;
  const along = info.contiguity[0]! > info.contiguity[1]! ? 0 : 1;
  const piece = PIECE / size;
  const aligned = (facts.get(buffer)?.scalarDivisibility ?? 1) % PIECE === 0;
  const whole = Math.min(info.contiguity[along]!, info.divisibility[along]!) >= piece;
  const masked = !mask || (facts.get(mask)?.constancy[along] ?? 1) >= piece;
  if (!aligned || !whole || !masked) return undefined;
  const alongK = along === kDim;
  // Units read single bytes along the sum only.
  if (matrix && !alongK && size === 1) return undefined;
  const [length, rows] = [shape[along]!, shape[1 - along]!];
  const pitch = length * size + gap(alongK, size, matrix);
  return { load, alongK, along, size, pitch, bytes: pitch * rows, start };
}

/** The same copied element by element, each where it is wanted. */
function singles(
  load: Op,
  kDim: 0 | 1,
  alongK: boolean,
  start: number,
  matrix: Chosen | undefined,
): StagedOperand | undefined {
  const [buffer, offset, , other] = load.operands as [Value, Value, Value?, Value?];
  const { shape } = offset.type as TileType;
  const size = DTYPES[buffer.type.dtype].bytes;
  if (size !== FOUR_BYTES || shape.length !== 2 || !orZero(other)) return undefined;
  const along = alongK ? kDim : ((1 - kDim) as 0 | 1);
  const [length, rows] = [shape[along]!, shape[1 - along]!];
  const pitch = length * size + (matrix ? gap(alongK, size, matrix) : PIECE);
  return { load, alongK, along, single: true, size, pitch, bytes: pitch * rows, start };
}

/** Masked elements are zeros. */
function orZero(other: Value | undefined): boolean {
  const op = other?.def && "opcode" in other.def ? other.def : undefined;
  return !other || (op?.opcode === "const" && Number(op.attrs["value"]) === 0);
}

/** Bytes behind each row: what a subgroup reads at once falls into different banks. Threads read neighbours anyway. */
function gap(alongK: boolean, size: number, matrix: Chosen | undefined): number {
  if (!matrix) return 0;
  if (alongK) return PIECE;
  // Four rows of eight elements, or eight of 16 bytes.
  return size === 4 ? 2 * PIECE : PIECE;
}

/**
 * The result's layout where threads multiply: an equal share of rows and columns in each thread, four neighbours at a time, which come
 * in one access.
 */
export function stagedLayout({ dot }: Staged, threads: number): Layout {
  const { shape } = dot.result.type as TileType;
  const [rows, cols] = [bitsOf(shape, 0), bitsOf(shape, 1)];
  const each = rows.length + cols.length - Math.log2(threads);
  const alongN = Math.min(cols.length, Math.max(Math.ceil(each / 2), each - rows.length));
  const [downOwn, downRest] = split(rows, each - alongN);
  const [acrossOwn, acrossRest] = split(cols, alongN);
  // A subgroup of 32 stands as 4 rows of 8 threads.
  const threadBits = [
    ...acrossRest.slice(0, 3),
    ...downRest.slice(0, 2),
    ...acrossRest.slice(3),
    ...downRest.slice(2),
  ];
  const repeats = Array(Math.log2(threads) - threadBits.length).fill(0) as number[];
  return { shape, registers: [...acrossOwn, ...downOwn], threads: [...threadBits, ...repeats] };
}

/** The bits that a thread's own elements have, and the others. */
function split(bits: readonly number[], own: number): [number[], number[]] {
  const near = Math.min(2, own);
  const far = bits.length - (own - near);
  return [[...bits.slice(0, near), ...bits.slice(far)], bits.slice(near, far)];
}
