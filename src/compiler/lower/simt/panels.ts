// Operands of matrix units in shared memory: panels of rows of 128 bytes whose 16-byte pieces are permuted against bank conflicts.
// How a loaded tile lies in them, its copy from memory, and the description that a unit takes.

import { DTYPES, type Func, type Op, type TileType, type Value } from "../../ir/index.js";
import type { AxisInfo } from "../../passes/index.js";
import { type Bulk, bulkOf } from "./bulk.js";
import type { Mem, Operand, SharedMatrix } from "./form.js";
import { maskOf, masksOf, placeOf } from "./memory.js";
import { registerSums, threadSum } from "./threads.js";
import type { Unit } from "./unit.js";

/** Bytes of one asynchronous copy. */
export const PIECE = 16;
/** Bytes of a row of a panel, and of the 8 rows after which the pattern repeats. */
export const ROW = 128;
export const ATOM = 8 * ROW;

/** A loaded tile in shared memory: panels of 128-byte rows along its contiguous dimension. */
export interface Panels {
  readonly load: Op;
  /** The dimension along which elements are neighbours in memory. */
  readonly along: 0 | 1;
  /** Elements along it, and across it: the rows of each panel. */
  readonly length: number;
  readonly rows: number;
  /** Bytes of an element. */
  readonly size: number;
  /** Where it begins in a stage's memory, and how much it takes. */
  readonly start: number;
  readonly bytes: number;
  /** How the chip's copy engine may bring it. */
  readonly bulk?: Bulk | undefined;
}

/**
 * The panels of a load; undefined where it cannot be copied in pieces of 16 bytes, zeros where it is masked.
 *
 * @param func the function, where the chip has a copy engine
 */
export function panels(
  load: Op,
  start: number,
  facts: ReadonlyMap<Value, AxisInfo>,
  func?: Func,
): Panels | undefined {
  const [buffer, offset, mask, other] = load.operands as [Value, Value, Value?, Value?];
  const { shape } = offset.type as TileType;
  const { bytes: size } = DTYPES[buffer.type.dtype];
  const info = facts.get(offset);
  if (!info || shape.length !== 2 || (size !== 2 && size !== 4)) return undefined;
  const zero = other?.def && "opcode" in other.def ? other.def : undefined;
  if (other && !(zero?.opcode === "const" && Number(zero.attrs["value"]) === 0)) return undefined;
  const along = info.contiguity[0]! > info.contiguity[1]! ? 0 : 1;
  const [length, rows] = [shape[along]!, shape[1 - along]!];
  const piece = PIECE / size;
  const aligned = (facts.get(buffer)?.scalarDivisibility ?? 1) % PIECE === 0;
  const whole = Math.min(info.contiguity[along]!, info.divisibility[along]!) >= piece;
  const masked = !mask || (facts.get(mask)?.constancy[along] ?? 1) >= piece;
  if (!aligned || !whole || !masked || (length * size) % ROW !== 0 || rows % 8 !== 0) return undefined;
  const p = { load, along, length, rows, size, start, bytes: length * rows * size } as const;
  return { ...p, bulk: func && bulkOf(p, func) };
}

/** The byte of a bit of a tile's element numbers, before pieces are permuted. */
export function rawByte(p: Panels, cols: number): (bit: number) => number {
  const perRow = ROW / p.size;
  return (bit) => {
    const [row, col] = bit >= cols ? [bit / cols, 0] : [0, bit];
    const [c, r] = p.along === 1 ? [col, row] : [row, col];
    return c >= perRow ? (c / perRow) * p.rows * ROW : c * p.size + r * ROW;
  };
}

/** Piece `p` of row `r` stands at `p ^ (r % 8)`. */
export const swizzled = (byte: number): number => byte ^ (((byte / ROW) & 7) * PIECE);

/** The same of a thread's part, whose bits are none of the registers': so the permutation splits into both. */
export function permuted({ e }: Unit, byte: Operand): Operand {
  const row = e.op("and", "i32", 1, [e.op("shrU", "i32", 1, [byte, 3]), 7 * PIECE]);
  return e.op("xor", "i32", 1, [byte, row]);
}

/** Copies a tile into its panels: `at` is the first byte of its stage in the region. */
export function copyPanels(unit: Unit, x: Panels, mem: Mem, at: Operand, live: Operand): void {
  const { e, plan } = unit;
  const [buffer, offset, mask] = x.load.operands as [Value, Value, Value?];
  const l = plan.memoryLayout(x.load);
  const offsets = unit.get(offset, l);
  const masks = masksOf(unit, mask, x.load, l);
  const count = PIECE / DTYPES[buffer.type.dtype].bytes;
  const raw = rawByte(x, l.shape[1]!);
  const thread = threadSum(
    e,
    l.threads.map((b) => (b === 0 ? 0 : raw(b))),
  );
  const base = permuted(unit, thread);
  const bytes = registerSums(l, raw).map(swizzled);
  for (let r = 0; r < bytes.length; r += count) {
    const low = bytes[r]! % ATOM;
    const here = low === 0 ? base : e.op("xor", "i32", 1, [base, low]);
    const { all } = maskOf(unit, masks, { first: r, count });
    const enabled = e.op("and", "mask", 1, [live, all]);
    e.push({
      s: "copyAsync",
      to: { mem, at: e.op("add", "i32", 1, [here, at]), plus: x.start + bytes[r]! - low },
      from: placeOf(unit, buffer, offset, offsets[r]!),
      bytes: PIECE,
      ...(enabled === 1 ? {} : { mask: enabled }),
    });
  }
}

/** The byte of an element in its panels, from its place along K and across it; rows in steps of 8 only. */
export function offsetOf(x: Panels, kDim: 0 | 1, k: number, other: number): number {
  const perRow = ROW / x.size;
  const [c, r] = x.along === kDim ? [k, other] : [other, k];
  return Math.floor(c / perRow) * x.rows * ROW + (c % perRow) * x.size + r * ROW;
}

/** What a matrix unit is told of an operand: `at` is the first byte of its stage. */
export function matrixAt(
  x: Panels,
  mem: Mem,
  at: Operand,
  kDim: 0 | 1,
  k: number,
  other: number,
): SharedMatrix {
  return {
    mem,
    at,
    plus: x.start + offsetOf(x, kDim, k, other),
    swizzle: 128,
    strideBytes: ATOM,
    leadingBytes: x.rows * ROW,
    major: x.along === kDim ? "k" : "mn",
  };
}
