// Which cell of the frame each kept tile has. Ops that work in place (dot, for, while) get the cell of the value
// they start from where that value is dead afterwards, and loop-carried tiles are computed straight into the cell
// that carries them where nobody still reads the old tile.

import type { Op, Value } from "../../ir/index.js";
import { type DType, numel } from "../../ir/index.js";
import { narrowOf } from "./dot-packed.js";
import { panelsOfLeft, panelsOfRight } from "./dot.js";
import type { VectorShape } from "./form.js";
import { type Cell, type Frame, NO_PANELS, type Panels } from "./frame.js";
import { dtypeOf, isScalarValue, regKind, shapeOf, squeeze } from "./kinds.js";
import { isIdentity } from "./maps.js";
import type { BlockPlan } from "./plan.js";
import { defOf, isLazy } from "./values.js";

/** What happens at the end of the block: a yielded tile that could not be written in place moves to its cell. */
export interface Move {
  readonly from: Cell;
  readonly to: Cell;
}

const IN_PLACE = new Set(["dot", "for", "while"]);

/** Gives cells to the block's tiles; `carried` are the block arguments that the yields replace, by position. */
export function assignCells(
  plan: BlockPlan,
  homes: ReadonlyMap<Value, number>,
  cells: Map<Value, Cell>,
  frame: Frame,
  carried: readonly (Value | undefined)[],
  vectors: VectorShape,
): { moves: Move[]; copies: Map<object, Cell> } {
  const moves: Move[] = [];
  const copies = new Map<object, Cell>();
  const fresh = (v: Value, narrow?: DType): Cell =>
    frame.cell(
      regKind(dtypeOf(v)),
      numel(shapeOf(v)),
      hasFreeLayout(plan, v, narrow !== undefined),
      narrow ? NO_PANELS : panelsFor(plan, v, homes.get(v), vectors),
      narrow,
    );

  for (const [i, { step, root }] of plan.yields) {
    const cell = cells.get(root.target!)!;
    const arg = carried[i];
    const chain = inPlaceChain(plan, root.value, arg, cells);
    if (chain && freeBefore(plan, arg, chain.firstWrite, chain.firstSpace)) {
      for (const v of chain.values) cells.set(v, cell);
      copies.set(root, cell);
    } else if (root.value === arg || freeBefore(plan, arg, step.at, step.space)) copies.set(root, cell);
    else {
      const temporary = fresh(root.value);
      copies.set(root, temporary);
      moves.push({ from: temporary, to: cell });
    }
  }

  for (const op of plan.block.ops)
    for (const v of op.results) {
      if (v.type.kind !== "tile" || isScalarValue(v) || cells.has(v)) continue;
      if (isLazy(op) ? homes.has(v) : op.opcode !== "reshape")
        cells.set(v, shared(plan, op, v, cells) ?? fresh(v, narrowOf(v, vectors)));
      else if (op.opcode === "reshape" && !isLazy(op) && plan.demands.has(v)) {
        const source = cells.get(op.operands[0]!);
        if (source) cells.set(v, source);
      }
    }
  return { moves, copies };
}

/** Whether whole-tile readers of a matrix are all `dot`s that take it in either layout. */
function hasFreeLayout(plan: BlockPlan, v: Value, narrow: boolean): boolean {
  const op = defOf(v);
  // A staged tile is turned while it is written, and then read along its rows.
  if (plan.staged.has(v)) return false;
  if (!op || !isLazy(op) || squeeze(shapeOf(v)).length !== 2 || shapeOf(v).length !== 2) return false;
  return (plan.demands.get(v) ?? []).every((d) => {
    if (d.map) return true;
    const reader = plan.steps.find((s) => s.at === d.at)?.op;
    if (reader?.opcode !== "dot") return false;
    const [a, b] = reader.operands;
    // Of packed operands the right side is brought into another order anyway, and rows of the left side are read along k.
    if (narrow) return b === v && a !== v;
    // The right side of a product of one row is walked along its columns.
    return b === v ? a !== v && shapeOf(a!)[0] === 1 : a === v;
  });
}

/** The panels that suit the only reader of a matrix, a `dot`. */
function panelsFor(plan: BlockPlan, v: Value, home: number | undefined, vectors: VectorShape): Panels {
  const op = defOf(v);
  if (!op || !isLazy(op) || shapeOf(v).length !== 2 || squeeze(shapeOf(v)).length !== 2) return NO_PANELS;
  const readers = (plan.demands.get(v) ?? []).filter((d) => !(d.map && d.at === home));
  const reader = readers.length === 1 ? plan.steps.find((s) => s.at === readers[0]!.at)?.op : undefined;
  if (reader?.opcode !== "dot" || readers[0]!.map) return NO_PANELS;
  const [a, b] = reader.operands;
  if (a === b) return NO_PANELS;
  return b === v ? panelsOfRight(reader, vectors) : a === v ? panelsOfLeft(reader, vectors) : NO_PANELS;
}

interface Chain {
  readonly values: Value[];
  readonly firstWrite: number;
  readonly firstSpace: readonly number[] | undefined;
}

/** The results, each started from the one before it, that end in `value` and may all stand in one cell. */
function inPlaceChain(
  plan: BlockPlan,
  value: Value,
  arg: Value | undefined,
  cells: ReadonlyMap<Value, Cell>,
): Chain | undefined {
  const values: Value[] = [];
  let [firstWrite, firstSpace]: [number, readonly number[] | undefined] = [0, undefined];
  for (let v = value; ; ) {
    const op = defOf(v);
    const init = plan.inits.get(v);
    if (!op || !init || !plan.owns(v) || !IN_PLACE.has(op.opcode) || cells.has(v)) break;
    values.push(v);
    if (init.value === arg) {
      firstWrite = plan.steps.find((s) => s.op === op)!.at;
      firstSpace = undefined;
      break;
    }
    [firstWrite, firstSpace] = [init.step.at, init.step.space];
    if (!onlyNeededAt(plan, init.value, init.step.at)) break;
    v = init.value;
  }
  return values.length ? { values, firstWrite, firstSpace } : undefined;
}

const onlyNeededAt = (plan: BlockPlan, v: Value, at: number): boolean =>
  (plan.demands.get(v) ?? []).every((d) => d.at === at);

/** Whether the old tile is not needed once its cell is first written. */
function freeBefore(
  plan: BlockPlan,
  arg: Value | undefined,
  at: number,
  space: readonly number[] | undefined,
): boolean {
  if (!arg) return true;
  const same = space && space.length === squeeze(shapeOf(arg)).length;
  return (plan.demands.get(arg) ?? []).every(
    (d) => d.at < at || (d.at === at && same && d.map !== undefined && isIdentity(d.map, space.length)),
  );
}

/** The cell of the value that the op starts from, if that value is dead afterwards. */
function shared(plan: BlockPlan, op: Op, v: Value, cells: ReadonlyMap<Value, Cell>): Cell | undefined {
  const init = plan.inits.get(v);
  if (!init || !plan.owns(init.value)) return undefined;
  const from = defOf(init.value);
  if (!from || isLazy(from) || from.opcode === "reshape" || from === op) return undefined;
  if (!onlyNeededAt(plan, init.value, init.step.at)) return undefined;
  const claims = [...plan.inits.values()].filter((x) => x.value === init.value).length;
  return claims === 1 ? cells.get(init.value) : undefined;
}
