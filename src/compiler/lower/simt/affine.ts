// Tiles whose elements are a scalar plus steps along each dimension: what the copy of a whole block must know of its offsets and its
// mask. Finds them in the IR, and computes their first elements as scalars of the form.

import type { Func, Op, TileType, Value } from "../../ir/index.js";
import { elementwise } from "../simd/elementwise.js";
import { dtypeOf, literal } from "../simd/kinds.js";
import type { Operand } from "./form.js";
import type { Unit } from "./unit.js";

/** A step from one element to the next: `times`, or `times` the scalar parameter `param` of the function. */
export interface Step {
  readonly times: number;
  readonly param?: number;
}

/** Elements count while `first` (the first element of a tile that grows by 1 along `dim`) and what follows it is below `bound`. */
export interface Limit {
  readonly dim: number;
  readonly first: Value;
  readonly bound: Value;
  readonly orEqual: boolean;
}

const NONE: Step = { times: 0 };
const defOf = (v: Value): Op | undefined => (v.def && "opcode" in v.def ? v.def : undefined);
const shapeOf = (v: Value): readonly number[] => (v.type as TileType).shape;

/** What an op that only rearranges makes of what is known per dimension; undefined for other ops. */
function rearranged<T>(op: Op, inner: readonly T[], none: T): readonly T[] | undefined {
  switch (op.opcode) {
    case "expandDims": {
      const axis = op.attrs["axis"] as number;
      return [...inner.slice(0, axis), none, ...inner.slice(axis)];
    }
    case "broadcast": {
      const from = shapeOf(op.operands[0]!);
      return inner.map((x, i) => (from[i] === 1 ? none : x));
    }
    case "permute":
      return (op.attrs["order"] as readonly number[]).map((d) => inner[d]!);
  }
  return undefined;
}

/** The steps of an integer tile along its dimensions; undefined where there are none that a launch knows. */
export function stepsOf(v: Value, func: Func): readonly Step[] | undefined {
  const shape = shapeOf(v);
  if (scalarOf(v)) return shape.map(() => NONE);
  const op = defOf(v);
  if (!op) return undefined;
  if (op.opcode === "const") return shape.map(() => NONE);
  if (op.opcode === "arange") return [{ times: 1 }];
  if (op.opcode === "add" || op.opcode === "sub") {
    const [a, b] = op.operands.map((x) => stepsOf(x, func));
    if (!a || !b) return undefined;
    const sums = a.map((s, i) => sum(s, b[i]!, op.opcode === "sub" ? -1 : 1));
    return sums.every((s) => s !== undefined) ? (sums as Step[]) : undefined;
  }
  if (op.opcode === "mul") {
    const [x, y] = op.operands as [Value, Value];
    const factor = scalarOf(y) ?? scalarOf(x);
    const steps = factor && stepsOf(scalarOf(y) ? x : y, func);
    const scaled = steps?.map((s) => product(s, factor!, func));
    return scaled?.every((s) => s !== undefined) ? (scaled as Step[]) : undefined;
  }
  if (!["expandDims", "broadcast", "permute"].includes(op.opcode)) return undefined;
  const inner = stepsOf(op.operands[0]!, func);
  return inner && rearranged(op, inner, NONE);
}

function sum(a: Step, b: Step, sign: number): Step | undefined {
  if (b.times === 0) return a;
  if (a.times !== 0 && a.param !== b.param) return undefined;
  const times = a.times + sign * b.times;
  return times === 0 ? NONE : { ...b, times };
}

function product(s: Step, factor: Value, func: Func): Step | undefined {
  if (s.times === 0) return NONE;
  const op = defOf(factor);
  if (op?.opcode === "const") return { ...s, times: s.times * Number(op.attrs["value"]) };
  const param = func.body.args.indexOf(factor);
  return param < 0 || s.param !== undefined ? undefined : { times: s.times, param };
}

/** The scalar that a tile repeats. */
function scalarOf(v: Value): Value | undefined {
  if (shapeOf(v).length === 0) return v;
  const op = defOf(v);
  return op && ["splat", "broadcast", "expandDims", "reshape"].includes(op.opcode)
    ? scalarOf(op.operands[0]!)
    : undefined;
}

/** What a mask is made of: limits along one dimension each, and scalar conditions; undefined where there is more to it. */
export function limitsOf(mask: Value, func: Func): readonly (Limit | Value)[] | undefined {
  const scalar = scalarOf(mask);
  if (scalar) return [scalar];
  const op = defOf(mask);
  if (op?.opcode === "and") {
    const parts = op.operands.map((v) => limitsOf(v, func));
    return parts.every((p) => p !== undefined) ? parts.flatMap((p) => p!) : undefined;
  }
  if (op?.opcode === "cmp") {
    const [x, limit] = op.operands as [Value, Value];
    const pred = op.attrs["pred"];
    const bound = scalarOf(limit);
    const steps = stepsOf(x, func);
    if ((pred !== "lt" && pred !== "le") || dtypeOf(x) !== "i32" || !bound || !steps) return undefined;
    const dims = steps.flatMap((s, d) => (s.times === 0 ? [] : [d]));
    const [dim] = dims;
    if (dim === undefined || dims.length > 1 || steps[dim]!.times !== 1 || steps[dim]!.param !== undefined)
      return undefined;
    return [{ dim, first: x, bound, orEqual: pred === "le" }];
  }
  if (!op || !["expandDims", "broadcast", "permute"].includes(op.opcode)) return undefined;
  const from = shapeOf(op.operands[0]!);
  // Where each dimension of the operand goes.
  const to = rearranged(op, from.map((_, d) => d), -1)!; // biome-ignore format: one line
  return limitsOf(op.operands[0]!, func)?.map((part) =>
    "dim" in part ? { ...part, dim: to.indexOf(part.dim) } : part,
  );
}

/** The scalars from which {@link firstOf} computes. */
export function scalarsOf(v: Value): readonly Value[] {
  const scalar = scalarOf(v);
  if (scalar) return [scalar];
  return defOf(v)?.operands.flatMap(scalarsOf) ?? [];
}

/** The first element of a tile that {@link stepsOf} knows, the same in all threads. */
export function firstOf(unit: Unit, v: Value): Operand {
  const scalar = scalarOf(v);
  if (scalar) return unit.scalar(scalar);
  const op = defOf(v)!;
  if (op.opcode === "const") return literal(op.attrs["value"] as number | bigint, dtypeOf(v));
  if (op.opcode === "arange") return op.attrs["start"] as number;
  const args = op.operands.map((x) => firstOf(unit, x));
  if (args.length === 1) return args[0]!;
  const what = { opcode: op.opcode, attrs: op.attrs, dtype: dtypeOf(op.operands[0]!), to: dtypeOf(v) };
  return elementwise(unit.e, what, args, 1);
}
