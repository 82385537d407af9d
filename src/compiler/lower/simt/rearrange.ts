// Ops that move no data: what layout an operand needs so that the result has a given one, and the other way round.

import type { Op, TileType } from "../../ir/index.js";
import { numel } from "../../ir/index.js";
import { type Layout, mapLayout, single } from "./layout.js";

const shapeOf = (op: Op): readonly number[] => (op.operands[0]!.type as TileType).shape;
const strides = (shape: readonly number[]): number[] => shape.map((_, d) => numel(shape.slice(d + 1)));

export const isRearranging = (op: Op): boolean =>
  ["reshape", "expandDims", "permute", "broadcast", "splat"].includes(op.opcode);

/** The bit of the operand's element numbers for a bit of the result's; 0 where the operand is repeated. */
function operandBit(op: Op): (bit: number) => number {
  const from = shapeOf(op);
  const to = (op.result.type as TileType).shape;
  if (op.opcode === "splat") return () => 0;
  if (op.opcode === "reshape" || op.opcode === "expandDims") return (bit) => bit;
  const dimOf = (bit: number): number => {
    const s = strides(to);
    return to.findIndex((n, d) => bit >= s[d]! && bit < s[d]! * n);
  };
  if (op.opcode === "broadcast")
    return (bit) => {
      const d = dimOf(bit);
      return from[d] === 1 ? 0 : (bit / strides(to)[d]!) * strides(from)[d]!;
    };
  const order = op.attrs["order"] as readonly number[];
  return (bit) => {
    const d = dimOf(bit);
    return (bit / strides(to)[d]!) * strides(from)[order[d]!]!;
  };
}

/** The operand's layout for a result in `l`; register `r` of the result is register `registerOf[r]` of the operand. */
export const operandLayout = (op: Op, l: Layout): ReturnType<typeof mapLayout> =>
  mapLayout(l, shapeOf(op), operandBit(op));

/** The layout of the result where the operand stays as it is; undefined where elements are repeated. */
export function resultLayout(op: Op, l: Layout): Layout | undefined {
  const to = (op.result.type as TileType).shape;
  if (numel(to) !== numel(l.shape)) return undefined;
  if (numel(to) === 1) return single(to, 2 ** l.threads.length);
  const back = new Map<number, number>();
  const bit = operandBit(op);
  for (let b = 1; b < numel(to); b *= 2) back.set(bit(b), b);
  return mapLayout(l, to, (b) => back.get(b)!).layout;
}
