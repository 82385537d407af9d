// Builds IR: one method per way of making ops. Types are inferred by the op definitions.

import type { DType } from "./dtype.js";
import { is64, isInt } from "./dtype.js";
import { type Attr, type Block, type ConstValue, type Loc, Op, type Value } from "./ir.js";
import { opDef } from "./ops/index.js";
import type { TileType } from "./type.js";

export class Builder {
  /** Where the next ops come from. */
  loc: Loc | undefined;
  /** What is built is rounded to 16 bits or fewer: functions that have a faster form that exact may take it. */
  rounds = false;
  constructor(public block: Block) {}

  /** Appends an op to the current block. Throws IrTypeError when the operands do not fit. */
  create(
    opcode: string,
    operands: Value[] = [],
    attrs: Record<string, Attr> = {},
    regions: Block[] = [],
  ): Op {
    const types = opDef(opcode).infer(
      operands.map((v) => v.type),
      attrs,
      regions,
    );
    return this.block.push(new Op(opcode, operands, types, attrs, regions, this.loc));
  }

  /** {@link create} for ops with one result. */
  value(
    opcode: string,
    operands: Value[] = [],
    attrs: Record<string, Attr> = {},
    regions: Block[] = [],
  ): Value {
    return this.create(opcode, operands, attrs, regions).result;
  }

  constant(value: ConstValue | boolean, dtype: DType, shape: readonly number[] = []): Value {
    const v = isInt(dtype) && is64(dtype) ? BigInt(value) : Number(value);
    return this.value("const", [], { value: v, dtype, shape });
  }

  /** Runs `fn` with new ops going into `block`. */
  inside<T>(block: Block, fn: () => T): T {
    const outer = this.block;
    this.block = block;
    try {
      return fn();
    } finally {
      this.block = outer;
    }
  }

  cast(v: Value, dtype: DType): Value {
    return v.type.dtype === dtype ? v : this.value("cast", [v], { dtype });
  }

  splat(v: Value, shape: readonly number[]): Value {
    const t = v.type as TileType;
    return t.shape.length === 0 && shape.length > 0 ? this.value("splat", [v], { shape }) : v;
  }
}
