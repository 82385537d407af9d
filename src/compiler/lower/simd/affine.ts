// What can be said of a value's elements along the axes of a space: on which axes they depend, and whether they
// grow by a constant along one.

import { DTYPES, type Value, isInt, isSigned } from "../../ir/index.js";
import { isScalarValue } from "./kinds.js";
import { type AxisMap, type Ids, isView, mapKey, operandMap } from "./maps.js";
import { defOf, elementOperands } from "./values.js";

/** `times` alone, or times a value that is the same along the axis. */
export interface Growth {
  readonly times: number;
  readonly by?: Value;
  readonly map?: AxisMap;
}

export class Affine {
  private readonly masks = new Map<string, number>();
  private readonly strides = new Map<string, number | undefined>();

  /** `inFrame` tells which tiles are read from the frame. */
  constructor(
    private readonly ids: Ids,
    private readonly inFrame: (v: Value) => boolean,
  ) {}

  /** The axes that the value depends on, one bit each. */
  axes(v: Value, map: AxisMap): number {
    const op = defOf(v);
    if (isScalarValue(v) || op?.opcode === "const") return 0;
    const key = mapKey(this.ids.of(v), map);
    let mask = this.masks.get(key);
    if (mask !== undefined) return mask;
    mask = 0;
    if (!op || this.inFrame(v) || op.opcode === "arange") {
      for (const a of map) if (a >= 0) mask |= 1 << a;
    } else {
      const inner = isView(op) ? operandMap(op, map) : map;
      for (const x of elementOperands(op)) if (x.type.kind === "tile") mask |= this.axes(x, inner);
    }
    this.masks.set(key, mask);
    return mask;
  }

  /** By how much the value grows with each step along the axis, if that is the same constant everywhere. */
  stride(v: Value, map: AxisMap, axis: number): number | undefined {
    if (axis < 0 || !(this.axes(v, map) & (1 << axis))) return 0;
    const key = `${axis}:${mapKey(this.ids.of(v), map)}`;
    if (this.strides.has(key)) return this.strides.get(key);
    const stride = this.computeStride(v, map, axis);
    this.strides.set(key, stride);
    return stride;
  }

  /**
   * By how much an i32 value grows with each step along the axis, as a sum of scalars that do not depend on it, each
   * times a constant; undefined if it may grow otherwise.
   */
  growth(v: Value, map: AxisMap, axis: number): readonly Growth[] | undefined {
    const constant = this.stride(v, map, axis);
    if (constant !== undefined) return constant === 0 ? [] : [{ times: constant }];
    const op = defOf(v);
    if (!op || this.inFrame(v) || v.type.dtype !== "i32") return undefined;
    if (isView(op)) return this.growth(op.operands[0]!, operandMap(op, map), axis);
    const [a, b] = op.operands as [Value, Value];
    switch (op.opcode) {
      case "add":
      case "sub": {
        const [x, y] = [this.growth(a, map, axis), this.growth(b, map, axis)];
        if (!x || !y) return undefined;
        return [...x, ...(op.opcode === "add" ? y : y.map((g) => ({ ...g, times: -g.times })))];
      }
      case "mul": {
        const [x, y] = [this.stride(a, map, axis), this.stride(b, map, axis)];
        if (x !== undefined && y === 0) return [{ times: x, by: b, map }];
        return y !== undefined && x === 0 ? [{ times: y, by: a, map }] : undefined;
      }
      default:
        return undefined;
    }
  }

  private computeStride(v: Value, map: AxisMap, axis: number): number | undefined {
    const op = defOf(v);
    if (!op || this.inFrame(v)) return undefined;
    if (op.opcode === "arange") return 1;
    if (isView(op)) return this.stride(op.operands[0]!, operandMap(op, map), axis);
    if (!isInt(v.type.dtype) || DTYPES[v.type.dtype].bits < 32) return undefined;
    const of = (i: number): number | undefined => this.stride(op.operands[i]!, map, axis);
    switch (op.opcode) {
      case "add":
      case "sub": {
        const [a, b] = [of(0), of(1)];
        return a === undefined || b === undefined ? undefined : op.opcode === "add" ? a + b : a - b;
      }
      case "mul": {
        const [a, b] = [of(0), of(1)];
        const [ca, cb] = [constantOf(op.operands[0]!), constantOf(op.operands[1]!)];
        if (a !== undefined && cb !== undefined) return a * cb;
        return b !== undefined && ca !== undefined ? b * ca : undefined;
      }
      case "shl": {
        const [a, c] = [of(0), constantOf(op.operands[1]!)];
        return a !== undefined && c !== undefined && c >= 0 && c < 31 ? a * 2 ** c : undefined;
      }
      case "cast": {
        const from = op.operands[0]!.type.dtype;
        return isInt(from) && isSigned(from) && DTYPES[from].bits >= 32 ? of(0) : undefined;
      }
      default:
        return undefined;
    }
  }
}

/** The value of a constant, or of a tile that repeats one. */
export function constantOf(v: Value): number | undefined {
  const op = defOf(v);
  if (!op) return undefined;
  if (op.opcode === "const") {
    const c = Number(op.attrs["value"]);
    return Number.isSafeInteger(c) ? c : undefined;
  }
  return isView(op) || op.opcode === "cast" ? constantOf(op.operands[0]!) : undefined;
}
