// Loop-carried tiles of integers that only grow by a scalar each turn (pointers that walk over a matrix) become
// their first value plus a carried scalar. Offsets then stay affine, and no tile is carried. Works in place.

import {
  Block,
  type DType,
  type Func,
  isInt,
  Op,
  replaceAllUses,
  scalar,
  type TileType,
  type Value,
  walk,
} from "../../ir/index.js";
import { isScalarValue } from "./kinds.js";
import { isView } from "./maps.js";
import { defOf } from "./values.js";

/** Rewrites the loops of the function. */
export function scalarizeInduction(func: Func): void {
  const loops: Op[] = [];
  walk(func.body, (op) => {
    if (op.opcode === "for") loops.push(op);
  });
  // Inner loops first: their results may be what an outer loop carries.
  for (const op of loops.reverse()) rewrite(op);
}

/** The scalar that all elements equal, or undefined. */
function uniform(v: Value): Value | undefined {
  if (isScalarValue(v)) return v;
  const op = defOf(v);
  return op && isView(op) ? uniform(op.operands[0]!) : undefined;
}

interface Step {
  readonly add: boolean;
  /** The scalar, or the value of a constant tile. */
  readonly by: Value | number | bigint;
}

/** The steps that lead from `from` to `to`, each a scalar added or subtracted; undefined if something else happens. */
function stepsBetween(from: Value, to: Value): Step[] | undefined {
  const steps: Step[] = [];
  for (let v = to; v !== from; ) {
    const op = defOf(v);
    if (!op || (op.opcode !== "add" && op.opcode !== "sub")) return undefined;
    const [a, b] = op.operands as [Value, Value];
    const by = amount(b);
    if (by !== undefined) {
      steps.push({ add: op.opcode === "add", by });
      v = a;
      continue;
    }
    const other = op.opcode === "add" ? amount(a) : undefined;
    if (other === undefined) return undefined;
    steps.push({ add: true, by: other });
    v = b;
  }
  return steps;
}

function amount(v: Value): Step["by"] | undefined {
  const op = defOf(v);
  if (op?.opcode === "const") return op.attrs["value"] as number | bigint;
  return uniform(v);
}

function rewrite(op: Op): void {
  const body = op.regions[0]!;
  const inits = op.operands.slice(3);
  const yielded = body.terminator!;
  const found = inits.map((init, i) => {
    const t = init.type as TileType;
    if (t.shape.length === 0 || !isInt(t.dtype)) return undefined;
    return stepsBetween(body.args[i + 1]!, yielded.operands[i]!);
  });
  if (!found.some(Boolean)) return;
  const outside = op.parent!;
  const scalars = inits.map((v, i) => (found[i] ? scalar(v.type.dtype) : v.type));
  const block = new Block([body.args[0]!.type, ...scalars]);
  const emit = (at: Block, before: Op, code: string, operands: Value[], type: TileType, attrs = {}): Value =>
    at.insertBefore(before, new Op(code, operands, [type], attrs, [], op.loc)).result;
  const shifted = (at: Block, before: Op, init: Value, by: Value): Value => {
    const t = init.type as TileType;
    const all = emit(at, before, "splat", [by], t, { shape: t.shape });
    return emit(at, before, "add", [init, all], t);
  };
  const zero = (d: DType): Value =>
    emit(outside, op, "const", [], scalar(d), {
      value: d === "i64" || d === "u64" ? 0n : 0,
      dtype: d,
      shape: [],
    });
  const starts = inits.map((v, i) => (found[i] ? zero(v.type.dtype) : v));
  const moved = new Op(
    op.opcode,
    [...op.operands.slice(0, 3), ...starts],
    scalars,
    op.attrs,
    [block],
    op.loc,
  );
  outside.insertBefore(op, moved);
  for (const inner of body.ops.splice(0)) block.push(inner);
  const first = block.ops[0]!;
  body.args.forEach((arg, i) => {
    const next = block.args[i]!;
    next.name = arg.name;
    const steps = i > 0 ? found[i - 1] : undefined;
    if (!steps) {
      replaceAllUses(arg, next);
      return;
    }
    const d = arg.type.dtype;
    let sum = next;
    for (const s of steps) {
      const by =
        typeof s.by === "object"
          ? s.by
          : emit(block, yielded, "const", [], scalar(d), { value: s.by, dtype: d, shape: [] });
      sum = emit(block, yielded, s.add ? "add" : "sub", [sum, by], scalar(d));
    }
    yielded.setOperand(i - 1, sum);
    replaceAllUses(arg, shifted(block, first, inits[i - 1]!, next));
  });
  op.results.forEach((r, i) => {
    if (r.uses.size)
      replaceAllUses(r, found[i] ? shifted(outside, op, inits[i]!, moved.results[i]!) : moved.results[i]!);
  });
  op.erase();
}
