// What only one branch of a condition needs is computed there: in the body of a loop it would otherwise be computed in every turn, also
// in those that do not take the branch (the places of a mask that few blocks need). Works on the tile IR before layouts are chosen.

import { type Block, cloneOp, type Func, numel, type Op, opDef, type TileType, walk } from "../../ir/index.js"; // biome-ignore format: one line

/** Moves ops of loops' bodies into the branches behind them. Changes the function in place. */
export function sinkIntoBranches(func: Func): void {
  walk(func.body, (op) => {
    if (op.opcode !== "for") return;
    for (const inner of [...op.regions[0]!.ops]) if (inner.opcode === "if") sink(inner);
  });
}

function sink(branch: Op): void {
  const block = branch.parent!;
  for (const op of block.ops.slice(0, block.ops.indexOf(branch)).reverse()) {
    const { pure, elementwise, memory } = opDef(op.opcode);
    if (!pure || memory !== undefined || op.regions.length > 0 || op.results.length !== 1) continue;
    for (const region of branch.regions) {
      const uses = [...op.result.uses].filter((use) => within(use, region));
      if (uses.length === 0) continue;
      if (uses.length === op.result.uses.size) {
        block.ops.splice(block.ops.indexOf(op), 1);
        region.insertBefore(region.ops[0]!, op);
        break;
      }
      // What costs little is made anew in the branch, where it may be wanted in another layout: lists, and what only spreads them.
      const { shape } = op.result.type as TileType;
      const list = elementwise && numel(shape) > 1 && numel(shape) === Math.max(...shape);
      if (!list && !["expandDims", "broadcast", "splat"].includes(op.opcode)) continue;
      const copy = region.insertBefore(region.ops[0]!, cloneOp(op, new Map()));
      for (const use of uses)
        use.operands.forEach((v, i) => {
          if (v === op.result) use.setOperand(i, copy.result);
        });
    }
  }
}

function within(op: Op, region: Block): boolean {
  for (let at: Op | undefined = op; at; ) {
    if (at.parent === region) return true;
    const up: Op | Func | undefined = at.parent?.parent;
    at = up && "opcode" in up ? up : undefined;
  }
  return false;
}
