// The interpreter's run-time error: which kernel, program and op, and the author's line where it is known.

import { excerpt } from "../../compiler/excerpt.js";
import type { Func, Op } from "../../compiler/ir/index.js";
import { KernelFault } from "../../runtime/reports.js";
import type { State } from "./emit.js";

export { KernelFault };

export function fault(func: Func, state: State, op: Op, what: string): KernelFault {
  const id = state.programId.map((a) => a[0]).join(", ");
  const grid = state.numPrograms.map((a) => a[0]).join(", ");
  const where = excerpt(func.sources, op.loc);
  return new KernelFault(`kernel ${func.name}, program (${id}) of (${grid}): ${op.opcode} ${what}${where}`);
}
