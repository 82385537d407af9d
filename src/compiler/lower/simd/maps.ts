// Where a tile's dimensions lie in the iteration space of a group of loops.

import type { Op, Value } from "../../ir/index.js";
import { shapeOf } from "./kinds.js";

/** For each dimension of a tile the axis of the space that indexes it, or -1 where the index is always 0. */
export type AxisMap = readonly number[];

/** The map of a tile whose dimensions that are not 1 are the space's axes, in order. */
export function identityMap(shape: readonly number[]): AxisMap {
  let axis = 0;
  return shape.map((d) => (d === 1 ? -1 : axis++));
}

/** Whether the map goes through all axes of a space of `rank` axes in order. */
export function isIdentity(map: AxisMap, rank: number): boolean {
  let next = 0;
  for (const a of map) if (a >= 0 && a !== next++) return false;
  return next === rank;
}

/** A reshape that only adds or drops dimensions of 1. */
function keepsOrder(op: Op): boolean {
  const from = shapeOf(op.operands[0]!).filter((d) => d !== 1);
  const to = shapeOf(op.result).filter((d) => d !== 1);
  return from.length === to.length && from.every((d, i) => d === to[i]);
}

/** Ops whose result is their operand seen through another map: no element is computed. */
export function isView(op: Op): boolean {
  switch (op.opcode) {
    case "expandDims":
    case "broadcast":
    case "permute":
    case "splat":
      return true;
    case "reshape":
      return keepsOrder(op);
    default:
      return false;
  }
}

/** The map of a view's operand, given that of its result. */
export function operandMap(op: Op, map: AxisMap): AxisMap {
  const source = op.operands[0]!;
  switch (op.opcode) {
    case "splat":
      return [];
    case "expandDims": {
      const axis = op.attrs["axis"] as number;
      return map.filter((_, i) => i !== axis);
    }
    case "broadcast":
      return shapeOf(source).map((d, i) => (d === 1 ? -1 : map[i]!));
    case "permute": {
      const order = op.attrs["order"] as readonly number[];
      const out: number[] = [];
      order.forEach((from, i) => {
        out[from] = map[i]!;
      });
      return out;
    }
    default: {
      const to = shapeOf(op.result);
      const axes = map.filter((_, i) => to[i] !== 1);
      let next = 0;
      return shapeOf(source).map((d) => (d === 1 ? -1 : axes[next++]!));
    }
  }
}

/** A key for memory of a value under a map. */
export const mapKey = (id: number, map: AxisMap): string => `${id}|${map.join(",")}`;

/** Row-major strides in elements. */
export function rowMajor(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let n = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = n;
    n *= shape[i]!;
  }
  return strides;
}

/** Numbers for values, for keys. */
export class Ids {
  private readonly ids = new Map<Value, number>();
  of(v: Value): number {
    let id = this.ids.get(v);
    if (id === undefined) {
      id = this.ids.size;
      this.ids.set(v, id);
    }
    return id;
  }
}
