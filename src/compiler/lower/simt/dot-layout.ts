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
  const registers = [...cols.slice(0, alongN), ...rows.slice(0, alongM)];
  const rest = [...cols.slice(alongN), ...rows.slice(alongM)];
  return { shape, registers, threads: [...rest, ...Array(Math.log2(threads) - rest.length).fill(0)] };
}
