// Replaces ops by constants, by values that exist already, and by simpler ops. The rules of single ops stand
// beside them (`fold`, `simplify` in ir/ops); here are the rules that make a new op.

import { isInt, isFloat, type DType } from "../ir/dtype.js";
import { type Block, type ConstValue, type Func, Op, replaceAllUses, type Value } from "../ir/ir.js";
import { isLossless } from "../ir/ops/arith-fold.js";
import { constantOf, madeBy, opDef } from "../ir/ops/index.js";
import type { TileType } from "../ir/type.js";

/** Folds and simplifies in place, one walk from top to bottom. Returns whether anything changed. */
export function simplify(func: Func): boolean {
  return simplifyBlock(func.body);
}

function simplifyBlock(block: Block): boolean {
  let changed = false;
  // Rebuilt into a fresh list: inserting and erasing in the middle would be quadratic.
  const old = block.ops.splice(0);
  for (const op of old) {
    if (simplifyOp(op, block)) {
      changed = true;
      // A memory op without effect has no result to replace.
      if (op.parent === undefined) continue;
    }
    block.ops.push(op);
    for (const region of op.regions) if (simplifyBlock(region)) changed = true;
  }
  return changed;
}

/** New ops are pushed onto `block`; `op` comes after them. An op that is replaced is erased (its parent undefined). */
function simplifyOp(op: Op, block: Block): boolean {
  const def = opDef(op.opcode);
  let changed = canonical(op);
  if (op.results.length === 1 && def.pure && op.opcode !== "const") {
    const constant = foldedTo(op);
    if (constant !== undefined) return replace(op, constantOp(block, op.result, constant, op).result);
    const same = def.simplify?.(op);
    if (same) return replace(op, same);
    const rewritten = rewrite(op, block);
    if (rewritten) return replace(op, rewritten);
  } else if (def.memory) {
    const dropped = simplifyMemory(op, block);
    if (dropped !== "kept") changed = true;
  }
  return changed;
}

function replace(op: Op, by: Value): boolean {
  by.name ??= op.result.name;
  replaceAllUses(op.result, by);
  op.erase();
  return true;
}

function foldedTo(op: Op): ConstValue | undefined {
  const def = opDef(op.opcode);
  if (def.fold && op.operands.length > 0) {
    const args: ConstValue[] = [];
    for (const v of op.operands) {
      const c = constantOf(v);
      if (c === undefined) break;
      args.push(c);
    }
    if (args.length === op.operands.length) {
      const folded = def.fold(args, op);
      if (folded !== undefined) return folded;
    }
  }
  return def.simplifyToConst?.(op);
}

function constantOp(block: Block, like: Value, value: ConstValue, at: Op): Op {
  const { dtype, shape } = like.type as TileType;
  return block.push(new Op("const", [], [like.type], { value, dtype, shape }, [], at.loc));
}

/** Constants of commutative ops go to the right. */
function canonical(op: Op): boolean {
  if (!opDef(op.opcode).commutative || op.operands.length !== 2) return false;
  const [a, b] = op.operands as [Value, Value];
  if (constantOf(a) === undefined || constantOf(b) !== undefined) return false;
  op.operands[0] = b;
  op.operands[1] = a;
  return true;
}

type Rule = (op: Op, make: Make) => Value | undefined;
type Make = (opcode: string, operands: Value[], attrs?: Op["attrs"]) => Value;

function rewrite(op: Op, block: Block): Value | undefined {
  const rule = RULES[op.opcode];
  if (!rule) return undefined;
  return rule(op, (opcode, operands, attrs = {}) => {
    const types = opDef(opcode).infer(
      operands.map((v) => v.type),
      attrs,
      [],
    );
    return block.push(new Op(opcode, operands, types, attrs, [], op.loc)).result;
  });
}

const shapeOf = (v: Value): readonly number[] => (v.type as TileType).shape;

/** `(x op c1) op c2` becomes `x op (c1 op c2)`: on integers only, where it is exact. */
const reassociate: Rule = (op, make) => {
  const inner = madeBy(op.operands[0], op.opcode);
  const [c1, c2] = [constantOf(inner?.operands[1]), constantOf(op.operands[1])];
  if (!inner || c1 === undefined || c2 === undefined || !isInt(op.result.type.dtype)) return undefined;
  const { dtype, shape } = op.result.type as TileType;
  const value = opDef(op.opcode).fold!([c1, c2], op)!;
  return make(op.opcode, [inner.operands[0]!, make("const", [], { value, dtype, shape })]);
};

const INVERSE: Readonly<Record<string, string>> = {
  eq: "ne",
  ne: "eq",
  lt: "ge",
  le: "gt",
  gt: "le",
  ge: "lt",
};

/** Value-preserving first cast, then another: one cast does both. */
function castsTo(from: DType, middle: DType, to: DType): boolean {
  if (isInt(from) && isInt(middle) && isInt(to)) return isLossless(from, middle) || isLossless(to, middle);
  if (!isLossless(from, middle)) return false;
  // Integers reach f16 and bf16 through f32, and floats reach integers by saturating: not the same in one step.
  if (isInt(from) && isFloat(middle)) return to === "f32" || to === "f64" || to === "bool";
  return true;
}

const RULES: Readonly<Record<string, Rule>> = {
  add: reassociate,
  mul: reassociate,
  and: reassociate,
  or: reassociate,
  xor: reassociate,
  cast: (op, make) => {
    const inner = madeBy(op.operands[0], "cast");
    const from = inner?.operands[0];
    const to = op.attrs["dtype"] as DType;
    return from && castsTo(from.type.dtype, inner.result.type.dtype, to)
      ? make("cast", [from], { dtype: to })
      : undefined;
  },
  not: (op, make) => {
    const cmp = madeBy(op.operands[0], "cmp");
    if (!cmp || isFloat(cmp.operands[0]!.type.dtype)) return undefined;
    return make("cmp", [...cmp.operands], { pred: INVERSE[cmp.attrs["pred"] as string]! });
  },
  select: (op, make) => {
    const [c, a, b] = op.operands as [Value, Value, Value];
    const negated = madeBy(c, "not");
    if (negated) return make("select", [negated.operands[0]!, b, a]);
    return a.type.dtype === "bool" && constantOf(a) === 0 && constantOf(b) === 1
      ? make("not", [c])
      : undefined;
  },
  broadcast: (op, make) => {
    const shape = op.attrs["shape"] as readonly number[];
    const splat = madeBy(op.operands[0], "splat");
    if (splat) return make("splat", [splat.operands[0]!], { shape });
    const inner = madeBy(op.operands[0], "broadcast");
    return inner && make("broadcast", [inner.operands[0]!], { shape });
  },
  expandDims: (op, make) => {
    const splat = madeBy(op.operands[0], "splat");
    return splat && make("splat", [splat.operands[0]!], { shape: shapeOf(op.result) });
  },
  reshape: (op, make) => {
    const shape = op.attrs["shape"] as readonly number[];
    const splat = madeBy(op.operands[0], "splat");
    if (splat && shape.length > 0) return make("splat", [splat.operands[0]!], { shape });
    const inner = madeBy(op.operands[0], "reshape") ?? madeBy(op.operands[0], "expandDims");
    return inner && make("reshape", [inner.operands[0]!], { shape });
  },
  permute: (op, make) => {
    const order = op.attrs["order"] as readonly number[];
    const splat = madeBy(op.operands[0], "splat");
    if (splat) return make("splat", [splat.operands[0]!], { shape: shapeOf(op.result) });
    const inner = madeBy(op.operands[0], "permute");
    const first = inner?.attrs["order"] as readonly number[] | undefined;
    return first && make("permute", [inner!.operands[0]!], { order: order.map((d) => first[d]!) });
  },
  reduce: (op, make) => {
    const axis = op.attrs["axis"] as number;
    // One element along the axis: nothing to combine.
    if (shapeOf(op.operands[0]!)[axis] !== 1) return undefined;
    return make("reshape", [op.operands[0]!], { shape: shapeOf(op.result) });
  },
  scan: (op) => (shapeOf(op.operands[0]!)[op.attrs["axis"] as number] === 1 ? op.operands[0] : undefined),
};

/** A mask that is constant: all true goes away, all false takes the op away. */
function simplifyMemory(op: Op, block: Block): "kept" | "changed" {
  const maskAt = op.opcode === "load" ? 2 : op.opcode === "store" || op.opcode === "atomic" ? 3 : -1;
  const mask = maskAt >= 0 ? constantOf(op.operands[maskAt]) : undefined;
  if (mask === undefined) return "kept";
  if (mask) {
    const dropped = op.operands.splice(maskAt);
    for (const v of dropped) if (!op.operands.includes(v)) v.uses.delete(op);
    return "changed";
  }
  if (op.results.length === 1) {
    const { dtype } = op.result.type;
    const zero =
      op.operands[3] && op.opcode === "load" ? undefined : dtype === "i64" || dtype === "u64" ? 0n : 0;
    const by = zero === undefined ? op.operands[3]! : constantOp(block, op.result, zero, op).result;
    replace(op, by);
  } else op.erase();
  return "changed";
}
