// The second pass over a block, from its end: who needs each tile, and where it is computed.
// A tile needed by one step is computed there, element by element. A tile needed by several is computed in the
// first of them and kept in the frame; so is one that a step would otherwise compute many times over.

import { DTYPES, type Op, type Value } from "../../ir/index.js";
import { Affine } from "./affine.js";
import { dtypeOf, isScalarValue, shapeOf, squeeze } from "./kinds.js";
import { type AxisMap, identityMap, isIdentity, isView, operandMap } from "./maps.js";
import type { BlockPlan, Demand, Step } from "./plan.js";
import { defOf, elementOperands, isLazy } from "./values.js";

/** Work per element that a group may repeat for a tile that lacks some of its axes. */
const REPEATED_INNER = 2;
const REPEATED_OUTER = 6;
/** Work per element, loads included, up to which a tile is read from memory again rather than kept. */
const RELOADED = 2;

/** Decides the homes of the block's kept tiles and adds their roots to the plan. */
export function settle(plan: BlockPlan, reload = false): Map<Value, number> {
  const homes = new Map<Value, number>();
  for (const op of [...plan.block.ops].reverse()) {
    if (op.results.length !== 1 || isScalarValue(op.result)) continue;
    if (isLazy(op)) settleLazy(plan, op, homes, reload);
    else if (op.opcode === "reshape") {
      // The operand is in the frame as long as somebody reads the reshaped tile.
      for (const d of plan.demands.get(op.result) ?? []) plan.demand(op.operands[0]!, d.at, undefined);
    }
  }
  return homes;
}

function settleLazy(plan: BlockPlan, op: Op, homes: Map<Value, number>, reload: boolean): void {
  const v = op.result;
  const demands = plan.demands.get(v);
  if (!demands?.length) return;
  const forced = plan.forced.has(v);
  const steps = new Set(demands.map((d) => d.at));
  const latest = plan.deadlines.get(v) ?? Number.POSITIVE_INFINITY;
  const first = Math.min(...steps);
  const inFrame = demands.some((d) => !d.map);
  const free =
    isView(op) ||
    (plan.costs.isCheap(v) && op.opcode !== "load") ||
    (reload && steps.size > 1 && readsAgain(plan, v, demands, latest));
  const keep =
    forced || inFrame || (!free && (steps.size > 1 || first > latest || repeats(plan, v, demands)));
  if (!keep) {
    for (const d of demands) spread(plan, op, d.at, d.map!);
    return;
  }
  const identity = identityMap(shapeOf(v));
  const space = squeeze(shapeOf(v));
  const at = Math.min(first, latest);
  const inFirst = demands.some((d) => d.at === at && d.map && isIdentity(d.map, space.length));
  const candidate = plan.steps.find((s) => s.at === at)!;
  const fits = inFirst && candidate.space?.length === space.length;
  const home = fits ? candidate : insertBefore(plan, at, space);
  home.roots.push({ kind: "keep", value: v });
  homes.set(v, home.at);
  plan.demand(v, home.at, identity);
  spread(plan, op, home.at, identity);
  // In its own group the tile is not complete: other views of it there compute it again.
  for (const d of demands)
    if (d.at === home.at && d.map && String(d.map) !== String(identity)) spread(plan, op, d.at, d.map);
}

/** Whether the groups that need the tile may each make it from memory with hardly any work, instead of keeping a copy. */
function readsAgain(plan: BlockPlan, v: Value, demands: readonly Demand[], latest: number): boolean {
  const space = squeeze(shapeOf(v));
  if (space.length === 0 || !demands.every((d) => d.map && isIdentity(d.map, space.length))) return false;
  return demands.every((d) => d.at <= latest) && reloadWork(plan, v) <= RELOADED;
}

/** Operations to make an element from contiguous elements in memory as they are; infinite if it takes more than that. */
function reloadWork(plan: BlockPlan, v: Value): number {
  const op = defOf(v);
  if (isScalarValue(v) || (op?.opcode !== "load" && plan.costs.isCheap(v))) return 0;
  if (!op || !plan.owns(v) || plan.forced.has(v)) return Number.POSITIVE_INFINITY;
  if (op.opcode === "load") {
    const [buffer, offset, ...rest] = op.operands as [Value, Value, ...Value[]];
    const bits = DTYPES[dtypeOf(buffer)].bits;
    const map = identityMap(shapeOf(v));
    const inner = squeeze(shapeOf(v)).length - 1;
    const plain = bits >= 32 && [offset, ...rest].every((x) => isScalarValue(x) || plan.costs.isCheap(x));
    return plain && new Affine(plan.ids, () => false).stride(offset, map, inner) === 1
      ? 1
      : Number.POSITIVE_INFINITY;
  }
  if (!isLazy(op) || op.opcode === "gather") return Number.POSITIVE_INFINITY;
  return elementOperands(op).reduce((n, x) => n + reloadWork(plan, x), isView(op) ? 0 : 1);
}

/** The operands are needed where the value is computed. */
function spread(plan: BlockPlan, op: Op, at: number, map: AxisMap): void {
  const inner = isView(op) ? operandMap(op, map) : map;
  for (const x of elementOperands(op))
    if (x.type.kind === "tile" && !isScalarValue(x)) plan.demand(x, at, inner);
  if (op.opcode === "gather") plan.demand(op.operands[0]!, at, undefined);
}

/** Whether a group with more axes would compute the value again and again, at some cost. */
function repeats(plan: BlockPlan, v: Value, demands: readonly Demand[]): boolean {
  let work: number | undefined;
  for (const d of demands) {
    const space = plan.steps.find((s) => s.at === d.at)!.space;
    const axes = new Set(d.map!.filter((a) => a >= 0));
    if (!space || axes.size >= space.length) continue;
    work ??= plan.costs.work(v, (x) => (plan.demands.get(x)?.length ?? 0) > 0 && plan.forced.has(x));
    if (work > (axes.has(space.length - 1) ? REPEATED_INNER : REPEATED_OUTER)) return true;
  }
  return false;
}

/** A group of the shape just before a step; one that was inserted there already serves again. */
function insertBefore(plan: BlockPlan, at: number, space: readonly number[]): Step {
  const i = plan.steps.findIndex((s) => s.at >= at);
  const index = i < 0 ? plan.steps.length : i;
  const before = plan.steps[index - 1];
  if (before && !Number.isInteger(before.at) && before.space && String(before.space) === String(space))
    return before;
  const low = before?.at ?? -1;
  const high = plan.steps[index]?.at ?? low + 2;
  const step: Step = {
    at: (low + high) / 2,
    space,
    roots: [],
    op: undefined,
    accesses: [],
    tiles: new Set(),
  };
  plan.steps.splice(index, 0, step);
  return step;
}
