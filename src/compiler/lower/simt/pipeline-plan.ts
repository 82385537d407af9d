// Finds the loops whose `dot` can be fed by asynchronous copies: both operands are loaded in the loop's body for nothing else,
// in pieces of 16 bytes. Decides the matrix unit, the layout of the operands in shared memory and the number of stages.
// Emits nothing; pipeline.ts does.

import { type Block, type Func, type Op, opDef, type TileType, type Value, walk } from "../../ir/index.js";
import type { AxisInfo } from "../../passes/index.js";
import { dtypeOf } from "../simd/kinds.js";
import { ATOM, type Panels, panels } from "./panels.js";
import { unitDtype } from "./dot-matrix.js";
import type { Streaming } from "./produce-plan.js";
import type { MatrixShape, SimtShape } from "./shape.js";
import type { PanelOperand } from "./stream-plan.js";

export interface Pipeline extends Streaming {
  readonly dot: Op;
  readonly index: number;
  readonly unit: MatrixShape;
  /** The unit's operands. */
  readonly left: PanelOperand;
  readonly right: PanelOperand;
  /** The result is computed turned over: the left operand is the product's right one. */
  readonly turned: boolean;
  /** The left operand goes on to registers (pipeline-fragments.ts). */
  readonly fragments: boolean;
}

const defOf = (v: Value): Op | undefined => (v.def && "opcode" in v.def ? v.def : undefined);

/** The stages that hide memory's latency; fewer where shared memory is short. */
const MOST_STAGES = 4;
const FEWEST_STAGES = 3;

/** All loops of a function that can be pipelined, by their dot. */
export function findPipelines(
  func: Func,
  shape: SimtShape,
  facts: ReadonlyMap<Value, AxisInfo>,
): Map<Op, Pipeline> {
  const found = new Map<Op, Pipeline>();
  if (!shape.asyncCopy) return found;
  const loops: Op[] = [];
  walk(func.body, (op) => {
    if (op.opcode === "for") loops.push(op);
  });
  for (const loop of loops) {
    const p = pipelineOf(loop, func, shape, facts);
    if (p) found.set(p.dot, p);
  }
  // Stages of several loops would need shared memory each.
  return found.size === 1 ? found : new Map();
}

function pipelineOf(
  loop: Op,
  func: Func,
  shape: SimtShape,
  facts: ReadonlyMap<Value, AxisInfo>,
): Pipeline | undefined {
  const body = loop.regions[0]!;
  const dot = accumulates(loop);
  if (!dot) return undefined;
  const [x, y] = [dot.operands[0]!, dot.operands[1]!].map((v) => source(v, body)) as [
    Op | undefined,
    Op | undefined,
  ];
  if (!x || !y || x === y) return undefined;
  const engine = shape.bulkCopy ? func : undefined;
  const a = panels(x, 0, facts, engine);
  const b = a && panels(y, a.bytes, facts, engine);
  if (!a || !b) return undefined;
  const way = wayOf(dot, a, b);
  const index = way ? shape.matrices.findIndex((u) => fits(u, dot, way)) : -1;
  if (!way || index < 0) return undefined;
  const stageBytes = a.bytes + b.bytes;
  const stages = Math.min(MOST_STAGES, Math.floor((shape.sharedBytes - 2 * ATOM) / stageBytes));
  if (stages < FEWEST_STAGES) return undefined;
  const unit = shape.matrices[index]!;
  const both = [
    { panels: a, kDim: 1 },
    { panels: b, kDim: 0 },
  ] as const;
  const [left, right] = way.turned ? ([both[1], both[0]] as const) : both;
  return { loop, dot, index, unit, left, right, ...way, tiles: [a, b], kept: [], stages, stageBytes, keptBytes: 0, ahead: way.fragments }; // biome-ignore format: one line
}

/** The product of a loop that has one and writes nothing: its sum is a variable of the loop that only the product changes. */
export function accumulates(loop: Op): Op | undefined {
  const body = loop.regions[0]!;
  const dots = body.ops.filter((op) => op.opcode === "dot");
  const dot = dots[0];
  if (dots.length !== 1 || !dot || writes(body)) return undefined;
  const carried = body.args.indexOf(dot.operands[2]!);
  if (carried < 1 || body.terminator!.operands[carried - 1] !== dot.result) return undefined;
  return dot.result.uses.size === 1 && dot.operands[2]!.uses.size === 1 ? dot : undefined;
}

/** Which operand is a unit's left one, and whether that comes through registers; undefined where neither way is open. */
function wayOf(dot: Op, a: Panels, b: Panels): Pick<Pipeline, "turned" | "fragments"> | undefined {
  if (a.size === 2) return { turned: false, fragments: false };
  if (unitDtype(dot, dtypeOf(dot.operands[0]!)) !== "tf32" || !a.bulk || !b.bulk) return undefined;
  // Units read 32 bits along the sum only; registers may hold them turned.
  const [left, right] = [a.along === 1, b.along === 0];
  return left || right ? { turned: !right, fragments: !(left && right) } : undefined;
}

/** A unit that reads both operands out of shared memory, or the left one out of registers. */
function fits(
  u: MatrixShape,
  dot: Op,
  { turned, fragments }: Pick<Pipeline, "turned" | "fragments">,
): boolean {
  const { shape } = dot.result.type as TileType;
  const [m, n] = (turned ? [shape[1], shape[0]] : shape) as [number, number];
  const k = (dot.operands[0]!.type as TileType).shape[1]!;
  return (
    (fragments ? u.a.fragment !== undefined : u.a.shared === true) &&
    u.b.shared === true &&
    u.isAsync === true &&
    dot.operands.slice(0, 2).every((v) => unitDtype(dot, dtypeOf(v)) === u.operands) &&
    dtypeOf(dot.result) === u.accumulator &&
    m % u.m === 0 &&
    n % u.n === 0 &&
    k % u.k === 0
  );
}

/** Something in the loop writes to memory, or runs loops of its own. */
function writes(body: Block): boolean {
  let found = false;
  walk(body, (op) => {
    const { memory } = opDef(op.opcode);
    found ||= (memory !== undefined && memory !== "read") || op.regions.length > 0;
  });
  return found;
}

/** The load that an operand is, if that is used for nothing else. */
export function source(v: Value, body: Block): Op | undefined {
  const op = defOf(v);
  return op?.opcode === "load" && op.parent === body && v.uses.size === 1 ? op : undefined;
}
