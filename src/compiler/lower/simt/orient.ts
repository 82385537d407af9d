// Which way round a product is computed where matrix units take their left operand from registers. In a loop of several products
// (attention) the result of one becomes, element by element, the left operand of another; computed the right way round, the
// registers of the one are those of the other. `a @ b` and `(b.T @ a.T).T` are the same product, and turning a tile costs nothing.

import { type Block, type Func, type Op, opDef, replaceAllUses, type TileType, type Value, walk } from "../../ir/index.js"; // biome-ignore format: one line
import { Builder, Block as IrBlock } from "../../ir/index.js";
import { defOf, loadBehind } from "./stream-plan.js";
import type { SimtShape } from "./shape.js";

/** Turns products in place. */
export function orientDots(func: Func, shape: SimtShape): void {
  if (!shape.asyncCopy || !shape.matrices.some((u) => u.isAsync && u.a.fragment)) return;
  walk(func.body, (op) => {
    if (op.opcode === "for") orient(op.regions[0]!);
  });
}

function orient(body: Block): void {
  const dots = body.ops.filter((op) => op.opcode === "dot" && op.operands[0]!.type.dtype !== "f32");
  if (dots.length < 2) return;
  for (const dot of [...dots]) {
    const [a, b] = dot.operands as [Value, Value];
    const computed = [a, b].map((v) => loadBehind(v) === undefined);
    if (computed[0] === computed[1]) continue;
    const now = computed[1] ? turn(dot) : dot;
    // Rows of the left operand are to be rows of what it was made of.
    for (const [source, turned] of sourcesOf(now.operands[0]!, body)) if (turned) turn(source);
  }
}

/** The products of the body, of operands out of memory, that a tile is made of element by element. */
function sourcesOf(v: Value, body: Block): Map<Op, boolean> {
  const found = new Map<Op, boolean>();
  const seen = new Set<Value>();
  const visit = (x: Value, turned: boolean): void => {
    const op = defOf(x);
    if (!op || seen.has(x) || (x.type as TileType).shape.length !== 2) return;
    seen.add(x);
    if (op.opcode === "dot" && op.parent === body) {
      if (op.operands.slice(0, 2).every((o) => loadBehind(o))) found.set(op, turned);
    } else if (op.opcode === "permute") visit(op.operands[0]!, !turned);
    else if (op.opcode === "if")
      for (const r of op.regions) visit(r.terminator!.operands[op.results.indexOf(x)]!, turned);
    else if (opDef(op.opcode).elementwise) for (const o of op.operands) visit(o, turned);
  };
  visit(v, false);
  return found;
}

/** Puts the turned product in a dot's place. */
function turn(dot: Op): Op {
  const fresh = new IrBlock();
  const b = new Builder(fresh);
  b.loc = dot.loc;
  const turned = (v: Value): Value => {
    const op = defOf(v);
    return op?.opcode === "permute" ? op.operands[0]! : b.value("permute", [v], { order: [1, 0] });
  };
  const [x, y, c] = dot.operands as [Value, Value, Value];
  const operands = [turned(y), turned(x), turned(c)];
  const made = b.create("dot", operands, { ...dot.attrs });
  const back = b.value("permute", [made.result], { order: [1, 0] });
  for (const op of [...fresh.ops]) dot.parent!.insertBefore(dot, op);
  replaceAllUses(dot.result, back);
  dot.erase();
  return made;
}
