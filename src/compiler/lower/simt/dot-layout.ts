// The layout of a `dot`'s accumulator: a block of rows and columns in each thread.

import { numel, type Op, type TileType } from "../../ir/index.js";
import { matrixFor, matrixLayout } from "./dot-matrix.js";
import { bitsOf, type Layout } from "./layout.js";
import type { SimtShape } from "./shape.js";

/** Without matrix units: up to 8 x 8 elements in each thread, nearly square, neighbours along N. */
export function dotLayout(op: Op, threads: number, chip: SimtShape): Layout {
  const { shape } = op.result.type as TileType;
  const matrix = matrixFor(op, chip);
  if (matrix) return matrixLayout(op, matrix, threads, chip.subgroup!);
  const [rows, cols] = [bitsOf(shape, 0), bitsOf(shape, 1)];
  const each = Math.max(0, Math.log2(numel(shape)) - Math.log2(threads));
  // Half of the elements of a thread along N, first those that are neighbours.
  const alongN = Math.min(cols.length, Math.max(Math.ceil(each / 2), each - rows.length));
  const alongM = Math.min(rows.length, each - alongN);
  // Four neighbours, then those half a row away: the accesses of a subgroup to a row of shared memory follow one another.
  const near = Math.min(2, alongN);
  const far = cols.slice(cols.length - (alongN - near));
  const registers = [...cols.slice(0, near), ...far, ...rows.slice(0, alongM)];
  const rest = [...cols.slice(near, cols.length - far.length), ...rows.slice(alongM)];
  return { shape, registers, threads: [...rest, ...Array(Math.log2(threads) - rest.length).fill(0)] };
}
