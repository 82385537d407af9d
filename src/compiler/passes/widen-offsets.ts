// Computes the offsets of memory ops in 64 bits, for launches with buffers of 2^31 elements or more.

import { isInt } from "../ir/dtype.js";
import { Block, type Func, Op, Value, walk } from "../ir/ir.js";
import { opDef } from "../ir/ops/index.js";
import { tile, type TileType } from "../ir/type.js";
import { dce } from "./dce.js";

/** Ops that give the same number in i64, unless i32 overflows. */
const WIDENED = new Set([
  "add", "sub", "mul", "neg", "abs", "min", "max", "div", "rem", "shl", "shr", "and", "or", "xor", "not",
  "splat", "broadcast", "expandDims", "reshape", "permute", "hint",
]); // biome-ignore format: one line reads better

/**
 * Gives every memory op i64 offsets, in place. The arithmetic that leads to them (through loops and branches
 * too) is done in i64 and does not wrap; values that are used elsewhere as well keep their i32 version.
 */
export function widenOffsets(func: Func): void {
  const widening = new Widening();
  walk(func.body, (op) => {
    if (!opDef(op.opcode).memory) return;
    const at = op.operands[1]!;
    if (isInt(at.type.dtype) && at.type.dtype !== "i64" && at.type.dtype !== "u64")
      op.setOperand(1, widening.wide(at));
  });
  dce(func);
}

class Widening {
  private readonly known = new Map<Value, Value>();

  /** `v` in i64, defined right after `v`. */
  wide(v: Value): Value {
    if (v.type.dtype === "i64") return v;
    let w = this.known.get(v);
    if (w) return w;
    const def = v.def;
    if (def instanceof Op && v.type.dtype === "i32") {
      if (def.regions.length > 0) return this.carried(def, def.results.indexOf(v), "result");
      if (def.opcode === "const")
        w = after(
          def,
          new Op(
            "const",
            [],
            [wideType(v)],
            { ...def.attrs, value: BigInt(def.attrs["value"] as number), dtype: "i64" },
            [],
            def.loc,
          ),
        );
      else if (WIDENED.has(def.opcode)) {
        const operands = def.operands.map((o) => this.wide(o));
        w = after(def, new Op(def.opcode, operands, [wideType(v)], { ...def.attrs }, [], def.loc));
      } else if (def.opcode === "select") {
        const operands = [def.operands[0]!, this.wide(def.operands[1]!), this.wide(def.operands[2]!)];
        w = after(def, new Op("select", operands, [wideType(v)], {}, [], def.loc));
      }
    } else if (def instanceof Block && def.parent instanceof Op && v.type.dtype === "i32") {
      const loop = def.parent;
      const at = def.args.indexOf(v) - (loop.opcode === "for" ? 1 : 0);
      if (at >= 0) return this.carried(loop, at, def);
    }
    if (!w) {
      const cast = new Op(
        "cast",
        [v],
        [wideType(v)],
        { dtype: "i64" },
        [],
        def instanceof Op ? def.loc : undefined,
      );
      if (def instanceof Op) after(def, cast);
      else (def as Block).ops.unshift(cast);
      cast.parent = def instanceof Op ? def.parent : (def as Block);
      w = cast.result;
    }
    w.name = v.name && `${v.name}_wide`;
    this.known.set(v, w);
    return w;
  }

  /** A second, wide version of the carried (or yielded) value `at`; returns what stands for it where asked. */
  private carried(op: Op, at: number, where: Block | "result"): Value {
    const narrow = op.results[at]!;
    const skip = op.opcode === "for" ? 1 : 0;
    const make = (old: Value, def: Op | Block): Value => {
      const v = new Value(wideType(old));
      v.def = def;
      v.name = old.name && `${old.name}_wide`;
      this.known.set(old, v);
      return v;
    };
    // All lists grow together before anything else is widened: a cycle may lead back here.
    const result = make(narrow, op);
    op.results.push(result);
    const toWiden: [Op, number][] = [];
    const append = (user: Op, v: Value) => {
      toWiden.push([user, user.operands.length]);
      user.operands.push(v);
      v.uses.add(user);
    };
    let asked = result;
    if (op.opcode !== "if") {
      append(op, op.operands[at + (op.opcode === "for" ? 3 : 0)]!);
      for (const region of op.regions) {
        const arg = make(region.args[at + skip]!, region);
        region.args.push(arg);
        if (region === where) asked = arg;
      }
    }
    for (const region of op.regions) {
      const end = region.terminator!;
      if (end.opcode === "yield") append(end, end.operands[at]!);
    }
    for (const [user, i] of toWiden) user.setOperand(i, this.wide(user.operands[i]!));
    return asked;
  }
}

const wideType = (v: Value): TileType => tile("i64", (v.type as TileType).shape);

function after(anchor: Op, op: Op): Value {
  const block = anchor.parent!;
  op.parent = block;
  block.ops.splice(block.ops.indexOf(anchor) + 1, 0, op);
  return op.result;
}
