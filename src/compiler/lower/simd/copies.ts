// How often the inner loop's body of a nest that only moves elements and computes them one by one is written, where nobody
// behind the printer unrolls: what a turn costs beside its work (the loop, the sums of addresses) is then paid once for
// several vectors. Sums in registers know for themselves how many accumulators they want.

import { visitTree } from "./axis.js";
import type { Nest } from "./nest.js";
import { defOf } from "./values.js";

/** Vector operations of one turn worth writing side by side; longer ones do not care for what a turn costs. */
const BODY = 40;
const MOST = 4;
/** Vectors of a row of a block that are moved without a loop: so short a loop's end is mispredicted, which costs more than they do. */
const ROW = 16;

/** The same for products that are added to rows of the frame: more of them gain nothing. */
const SUMS = 2;

/** Whether all that the nest does is to add jammed products to rows of results in the frame. */
export const addsInFrame = ({ sinks, axis, jam }: Nest): boolean =>
  axis >= 0 && jam.count > 1 && sinks.every((s) => s.jams === true && !s.reduces!.includes(axis));

export function copiesOf(nest: Nest): number {
  const { sinks, code } = nest;
  if (code.unit.shape.unroll && addsInFrame(nest)) return SUMS;
  if (!code.unit.shape.unroll || nest.axis < 0 || sinks.some((s) => s.reduces || (!s.offset && !s.writes)))
    return 1;
  const { costs, cells } = code.unit;
  const seen = new Set<Parameters<typeof costs.work>[0]>();
  let work = 0;
  for (const s of sinks) {
    for (const { value } of s.reads)
      if (value !== s.offset && value !== s.mask) work += costs.work(value, (v) => cells.has(v), seen);
    if (!movesVectors(nest, s)) return 1;
  }
  const row = nest.space[nest.axis]! / nest.lanes;
  if (work <= 1 && nest.outer.length > 0 && row <= ROW) return ROW;
  let copies = MOST;
  while (copies > 1 && copies * work > BODY) copies /= 2;
  return copies;
}

/** Whether all that is loaded and written is contiguous along the axis, or the same. */
function movesVectors(nest: Nest, { reads, offset, writes }: Nest["sinks"][number]): boolean {
  const contiguous = (stride: number | undefined): boolean => stride === 0 || stride === 1;
  const { map } = reads[0]!;
  let all = offset
    ? contiguous(nest.affine.stride(offset, map, nest.axis))
    : nest.cellStrides(writes!.cell, writes!.shape, map)[nest.axis] === 1;
  visitTree(
    nest,
    (v, map) => {
      const op = defOf(v);
      if (nest.cellOf(v) || (op?.opcode !== "load" && op?.opcode !== "gather")) return;
      all &&= op.opcode === "load" && contiguous(nest.affine.stride(op.operands[1]!, map, nest.axis));
    },
    reads,
  );
  return all;
}
