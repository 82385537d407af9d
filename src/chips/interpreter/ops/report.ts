// What a running kernel tells its author: claims that do not hold, and printed values.

import { interpret, tileType } from "../emit.js";
import { fault } from "../fault.js";

interpret(["assert", "assume"], (op, e) => {
  const a = e.array(op.operands[0]!);
  const message = String(op.attrs["message"] ?? "");
  const scalar = tileType(op.operands[0]!).shape.length === 0;
  return () => {
    const wrong = (a as Uint8Array).indexOf(0);
    if (wrong < 0) return;
    const where = scalar ? "" : ` at element ${wrong}`;
    throw fault(e.func, e.state, op, `does not hold${where}${message ? `: ${message}` : ""}`);
  };
});

interpret("print", (op, e) => {
  const arrays = op.operands.map((v) => [e.array(v), tileType(v)] as const);
  const label = String(op.attrs["label"] ?? "");
  return () => {
    const id = e.state.programId.map((a) => a[0]).join(", ");
    const values = arrays.map(([a, t]) => {
      const list = Array.from(a as Float64Array, (x) => (t.dtype === "bool" ? x !== 0 : x));
      return t.shape.length === 0 ? list[0] : list;
    });
    console.log(`kernel ${e.func.name} (${id})${label ? ` ${label}` : ""}`, ...values);
  };
});
