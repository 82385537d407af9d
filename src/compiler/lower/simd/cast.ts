// `cast` on registers.

import { DTYPES, type DType, isFloat, isSigned } from "../../ir/index.js";
import type { Emitter } from "./emit.js";
import type { Operand, RegKind } from "./form.js";
import { roundTo } from "./narrow.js";
import { wrapSmall } from "./integer.js";
import { regKind } from "./kinds.js";

/** Whether every value of integer dtype `from` is a value of `to`. */
function fits(from: DType, to: DType): boolean {
  const [f, t] = [DTYPES[from], DTYPES[to]];
  if (isSigned(from)) return isSigned(to) && t.bits >= f.bits;
  return isSigned(to) ? t.bits > f.bits : t.bits >= f.bits;
}

/** The value of register `x` of dtype `from` in dtype `to`. */
export function emitCast(e: Emitter, from: DType, to: DType, x: Operand, lanes: number): Operand {
  if (from === to) return x;
  const [a, b]: [RegKind, RegKind] = [regKind(from), regKind(to)];
  const op = (name: "convertS" | "convertU", kind: RegKind, v: Operand): Operand =>
    e.op(name, kind, lanes, [v]);
  if (from === "bool") {
    if (isFloat(to)) return op("convertS", b, e.op("fromMask", "i32", lanes, [x]));
    return e.op("fromMask", b, lanes, [x]);
  }
  if (to === "bool") return e.op("ne", "mask", lanes, [x, a === "i64" ? 0n : 0]);
  if (isFloat(from)) {
    if (isFloat(to)) return roundTo(e, to, a === b ? x : op("convertS", b, x), lanes);
    const unsigned = to === "u32" || to === "u64";
    return wrapSmall(e, to, op(unsigned ? "convertU" : "convertS", b, x), lanes);
  }
  const extend = isSigned(from) ? "convertS" : "convertU";
  if (isFloat(to)) {
    return roundTo(e, to, op(extend, b, x), lanes);
  }
  if (a !== b) x = op(a === "i64" ? "convertS" : extend, b, x);
  return fits(from, to) ? x : wrapSmall(e, to, x, lanes);
}
