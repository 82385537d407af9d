// Chooses the axis that a group is vectorised along: the one along which most accesses are contiguous.

import type { Value } from "../../ir/index.js";
import { isScalarValue, shapeOf } from "./kinds.js";
import { type AxisMap, isView, mapKey, operandMap } from "./maps.js";
import type { Nest } from "./nest.js";
import { defOf, elementOperands } from "./values.js";

const MEMORY = { contiguous: 4, uniform: 3, strided: -8 };
const FRAME = { contiguous: 3, uniform: 2, strided: -5 };
const REDUCED_IN_FRAME = -2;
const TOO_SMALL = -40;
/** An axis of fewer elements than this leaves vector lanes empty. */
const SMALL = 4;

/** Calls `fn` for everything the group computes in place, once per map. */
export function visitTree(
  nest: Nest,
  fn: (v: Value, map: AxisMap) => void,
  from: readonly { readonly value: Value; readonly map: AxisMap }[],
): void {
  const seen = new Set<string>();
  const visit = (v: Value, map: AxisMap): void => {
    if (v.type.kind !== "tile" || isScalarValue(v)) return;
    const key = mapKey(nest.code.unit.ids.of(v), map);
    if (seen.has(key)) return;
    seen.add(key);
    fn(v, map);
    const op = defOf(v);
    if (!op || nest.cellOf(v)) return;
    const inner = isView(op) ? operandMap(op, map) : map;
    for (const x of elementOperands(op)) visit(x, inner);
  };
  for (const { value, map } of from) visit(value, map);
}

export function chooseAxis(nest: Nest): number {
  const { space } = nest;
  if (space.length <= 1) return space.length - 1;
  const scores = space.map((n) => (n < SMALL ? TOO_SMALL : 0));
  const rate = (stride: number | undefined, axis: number, w: typeof MEMORY): void => {
    scores[axis]! += stride === 1 ? w.contiguous : stride === 0 ? w.uniform : w.strided;
  };
  const all = space.map((_, i) => i);
  for (const s of nest.sinks) {
    visitTree(
      nest,
      (v, map) => {
        const cell = nest.cellOf(v);
        if (cell) {
          const strides = nest.cellStrides(cell, shapeOf(v), map);
          for (const a of all) rate(strides[a] ?? 0, a, FRAME);
          return;
        }
        const op = defOf(v);
        if (op?.opcode === "gather")
          for (const a of all) rate(nest.affine.stride(op.operands[1]!, map, a), a, FRAME);
        if (op?.opcode !== "load") return;
        for (const a of all) rate(nest.affine.stride(op.operands[1]!, map, a), a, MEMORY);
      },
      s.reads,
    );
    const map = s.reads[0]!.map;
    if (s.offset) for (const a of all) rate(nest.affine.stride(s.offset, map, a), a, MEMORY);
    if (s.writes && !s.writes.cell.freeLayout) {
      const strides = nest.cellStrides(s.writes.cell, s.writes.shape, map);
      for (const a of all) rate(strides[a] ?? 0, a, FRAME);
    }
    if (s.reduces) for (const a of all) if (!s.reduces.includes(a)) scores[a]! += REDUCED_IN_FRAME;
  }
  let best = space.length - 1;
  for (const a of all) if (scores[a]! > scores[best]!) best = a;
  return best;
}
