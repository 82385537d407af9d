// `&&`, `||`, `??`, `?:`: lazy on scalars, element by element on tiles.

import type { AnyNode, ConditionalExpression } from "acorn";
import { Block, opDef, Value } from "../ir/index.js";
import { adopt, branch, joinPaths, readPath, truth } from "./branch.js";
import { broadcast, commonShape, fitTo, typeOf, unify } from "./coerce.js";
import type { Cell, Context, Scope } from "./context.js";
import { evaluate } from "./expressions.js";
import { describe, isUntyped, type Val } from "./value.js";

/** `a && b`, `a || b`, `a ?? b`, with `a` read already. Lazy on scalars, element-wise on masks. */
export function logical(cx: Context, op: string, a: Val, node: AnyNode, right: () => Val): Val {
  cx.at(node);
  if (op === "??") return a === undefined ? right() : a;
  const and = op === "&&";
  const cond = truth(cx, a, `the left side of \`${op}\``);
  if (typeof cond === "boolean") return cond === and ? right() : a;
  const path = readPath(cx, right);
  const b = path.result;
  cx.at(node);
  if (b === undefined && typeOf(cond).shape.length === 0) {
    const empty = { block: new Block(), result: undefined, after: new Map<Cell, Val>() };
    return and ? joinPaths(cx, cond, path, empty) : joinPaths(cx, cond, empty, path);
  }
  if (path.after.size > 0 && typeOf(cond).shape.length > 0)
    cx.fail(`the right side of \`${op}\` assigns a variable, but its left side is a mask`);
  const rightTruth = (): Value => {
    const t = truth(cx, b, `the right side of \`${op}\``);
    return typeof t === "boolean" ? cx.b.constant(t, "bool") : t;
  };
  const shape = b instanceof Value ? typeOf(b).shape : [];
  if (typeOf(cond).shape.length > 0 || shape.length > 0) {
    adopt(cx, path.block);
    for (const [cell, v] of path.after) cx.write(cell, v);
    const [x, y] = unify(cx, [cond, rightTruth()], `\`${op}\``);
    return cx.b.value(and ? "and" : "or", [x!, y!]);
  }
  const scalar = cx.b.inside(path.block, rightTruth);
  // Pure scalar sides are cheaper computed than branched over.
  if (path.after.size === 0 && path.block.ops.every((o) => opDef(o.opcode).pure)) {
    adopt(cx, path.block);
    return cx.b.value(and ? "and" : "or", [cond, scalar]);
  }
  const known = { block: new Block(), result: !and as Val, after: new Map<Cell, Val>() };
  const other = { ...path, result: scalar as Val };
  return and ? joinPaths(cx, cond, other, known) : joinPaths(cx, cond, known, other);
}

export function conditional(cx: Context, node: ConditionalExpression, scope: Scope): Val {
  const test = evaluate(cx, node.test, scope);
  cx.at(node.test);
  const cond = truth(cx, test, "the condition of `?:`");
  if (typeof cond === "boolean") return evaluate(cx, cond ? node.consequent : node.alternate, scope);
  cx.at(node);
  if (typeOf(cond).shape.length === 0)
    return branch(
      cx,
      cond,
      () => evaluate(cx, node.consequent, scope),
      () => evaluate(cx, node.alternate, scope),
    );
  const a = evaluate(cx, node.consequent, scope);
  const b = evaluate(cx, node.alternate, scope);
  cx.at(node);
  return select(cx, cond, a, b, "`?:`");
}

/** Element by element: `a` where the mask is true, else `b`. */
export function select(cx: Context, cond: Value, a: Val, b: Val, what: string): Value {
  const tiles = [a, b].filter((v): v is Value => v instanceof Value);
  const [x, y] =
    tiles.length > 0 ? unify(cx, [a, b], what) : [fitUntyped(cx, a, b, what), fitUntyped(cx, b, a, what)];
  const shape = commonShape([typeOf(cond).shape, typeOf(x!).shape]);
  if (!shape)
    cx.fail(
      `${what}: the condition ${describe(cond)} and the values ${describe(x!)} do not broadcast to one shape`,
    );
  return cx.b.value("select", [
    broadcast(cx, cond, shape, what),
    broadcast(cx, x!, shape, what),
    broadcast(cx, y!, shape, what),
  ]);
}

function fitUntyped(cx: Context, v: Val, other: Val, what: string): Value {
  const values = [v, other].map((x) => (isUntyped(x) ? x : undefined));
  const fractional = values.some((x) => typeof x === "number" && !Number.isInteger(x));
  const bool = values.every((x) => typeof x === "boolean");
  return fitTo(cx, v, bool ? "bool" : fractional ? "f32" : "i32", [], what);
}
