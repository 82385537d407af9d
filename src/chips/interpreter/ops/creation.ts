// Constants, ranges, splats and the program's place in the grid.

import { roundTo } from "../../../compiler/ir/index.js";
import { A, specialize } from "../loops.js";
import { fillElements } from "../elements.js";
import { interpret, tileType } from "../emit.js";

interpret("const", (op, e) => {
  const value = op.attrs["value"] as number | bigint;
  fillElements(e.array(op.result), roundTo(tileType(op.result).dtype, value));
  return undefined;
});

interpret("arange", (op, e) => {
  const out = e.array(op.result) as Int32Array;
  const start = op.attrs["start"] as number;
  for (let i = 0; i < out.length; i++) out[i] = start + i;
  return undefined;
});

const fill = (o: A, a: A): void => {
  o.fill(a[0]!);
};

interpret("splat", (op, e) => {
  const out = A(e.array(op.result));
  const from = A(e.array(op.operands[0]!));
  const run = specialize(fill, tileType(op.result).dtype);
  return () => run(out, from);
});

interpret("programId", (op, e) => {
  e.alias(op.result, e.state.programId[op.attrs["axis"] as 0 | 1 | 2]);
  return undefined;
});

interpret("numPrograms", (op, e) => {
  e.alias(op.result, e.state.numPrograms[op.attrs["axis"] as 0 | 1 | 2]);
  return undefined;
});
