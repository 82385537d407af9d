// Copies of functions, blocks and ops. Attributes and locations are immutable and shared.

import { Block, Func, Op, type Value } from "./ir.js";

/** A copy of the function that shares no values, ops or blocks with it. */
export function cloneFunc(func: Func): Func {
  const copy = new Func(
    func.name,
    func.body.args.map((v, i) => ({ name: func.paramNames[i]!, type: v.type })),
  );
  copy.sources = func.sources.map((s) => ({ ...s }));
  if (func.paramFacts) copy.paramFacts = func.paramFacts.map((f) => ({ ...f }));
  const map = new Map<Value, Value>();
  func.body.args.forEach((v, i) => {
    map.set(v, copy.body.args[i]!);
    copy.body.args[i]!.name = v.name;
  });
  for (const op of func.body.ops) copy.body.push(cloneOp(op, map));
  return copy;
}

/**
 * A copy of an op and its regions, in no block yet. `map` says what replaces its operands (others stay the
 * same) and receives the results.
 */
export function cloneOp(op: Op, map: Map<Value, Value>): Op {
  const copy = new Op(
    op.opcode,
    op.operands.map((v) => map.get(v) ?? v),
    op.results.map((v) => v.type),
    { ...op.attrs },
    op.regions.map((r) => cloneBlock(r, map)),
    op.loc,
  );
  op.results.forEach((v, i) => {
    copy.results[i]!.name = v.name;
    map.set(v, copy.results[i]!);
  });
  return copy;
}

/** A copy of a region's block; `map` as in {@link cloneOp}. */
export function cloneBlock(block: Block, map: Map<Value, Value>): Block {
  const copy = new Block(block.args.map((v) => v.type));
  block.args.forEach((v, i) => {
    copy.args[i]!.name = v.name;
    map.set(v, copy.args[i]!);
  });
  for (const op of block.ops) copy.push(cloneOp(op, map));
  return copy;
}
