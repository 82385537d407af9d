// `gather`: the source stands in shared memory, every thread picks its elements there.

import type { Op, Value } from "../../ir/index.js";
import { numel } from "../../ir/index.js";
import { dtypeOf } from "../simd/kinds.js";
import { loadShared, sharedBytes } from "./shared.js";
import { packed, storeTile } from "./tiles.js";
import type { Unit } from "./unit.js";

export function emitGather(unit: Unit, op: Op): void {
  const { e, plan, shared } = unit;
  const [source, index] = op.operands as [Value, Value];
  const d = dtypeOf(source);
  const bytes = sharedBytes(d);
  const from = plan.anchor(source);
  const to = plan.anchor(op.result);
  const values = unit.get(source, from);
  const indices = unit.get(index, to);
  shared.scratch(numel(from.shape) * bytes);
  storeTile(e, d, values, from, packed(d));
  shared.barrier();
  shared.touch();
  const out = indices.map((i) => {
    const { base, plus } = e.split(e.op("mul", "i32", 1, [i, bytes]));
    return loadShared(e, d, base ?? 0, Number(plus));
  });
  unit.define(op.result, to, out);
}
