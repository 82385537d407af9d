// The order in which programs take the tiles of a matrix, in the kernel language.

import type { Tl } from "../tl/index.js";

export function swizzle2d(
  tl: Tl,
  i: number,
  j: number,
  rows: number,
  columns: number,
  group: number,
): readonly [number, number] {
  const place = i * columns + j;
  const each = group * columns;
  const first = tl.floorDiv(place, each) * group;
  const inside = place - tl.floorDiv(place, each) * each;
  // The last group may have fewer rows.
  const height = tl.minimum(rows - first, group);
  const column = tl.floorDiv(inside, height);
  return [first + inside - column * height, column];
}
