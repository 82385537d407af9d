// Expressions: every kind of node to a value.

import type { AnyNode, CallExpression, Expression, SpreadElement } from "acorn";
import { Value } from "../ir/index.js";
import { branch, scalarTruth, truth } from "./branch.js";
import type { Cell, Context, Scope } from "./context.js";
import { freeVariable, isBookkeeping, localFunction } from "./functions.js";
import { conditional, logical } from "./logic.js";
import { binary, unary } from "./operators.js";
import { destructure, member, propertyName } from "./patterns.js";
import { Callable, describe, Fields, isList, isUntyped, Soft, Unset, type Val } from "./value.js";

export function evaluate(cx: Context, node: Expression, scope: Scope): Val {
  switch (node.type) {
    case "Literal":
      cx.at(node);
      if (node.value === null) return undefined;
      if (node.value instanceof RegExp)
        return cx.fail("regular expressions are not part of the kernel language");
      return node.value as number | bigint | boolean | string;
    case "Identifier":
      return identifier(cx, node.name, node, scope);
    case "TemplateLiteral":
      return template(cx, node, scope);
    case "ParenthesizedExpression":
      return evaluate(cx, node.expression, scope);
    case "UnaryExpression":
      return unaryExpression(cx, node, scope);
    case "BinaryExpression": {
      if (node.left.type === "PrivateIdentifier") return unsupported(cx, node);
      const a = evaluate(cx, node.left, scope);
      const b = evaluate(cx, node.right, scope);
      cx.at(node);
      return binary(cx, node.operator, a, b);
    }
    case "LogicalExpression":
      return logical(cx, node.operator, evaluate(cx, node.left, scope), node, () =>
        evaluate(cx, node.right, scope),
      );
    case "ConditionalExpression":
      return conditional(cx, node, scope);
    case "CallExpression":
      return call(cx, node, scope);
    case "MemberExpression": {
      if (node.object.type === "Super") return unsupported(cx, node);
      if (isBookkeeping(cx, node, scope)) return undefined;
      // Bundlers write an import as a member of the module: `__vite_import_0__.name`.
      if (
        node.object.type === "Identifier" &&
        /^__\w*import/.test(node.object.name) &&
        !scope.find(node.object.name)
      ) {
        cx.at(node);
        return freeVariable(cx, String(propertyName(cx, node.property, node.computed, scope)));
      }
      const object = evaluate(cx, node.object, scope);
      const name = propertyName(cx, node.property, node.computed, scope);
      cx.at(node);
      return member(cx, object, name);
    }
    case "ArrayExpression":
      return node.elements.flatMap((e) => {
        if (!e) return [undefined];
        return spread(cx, e, scope);
      });
    case "ObjectExpression":
      return object(cx, node, scope);
    case "AssignmentExpression":
      return assignment(cx, node, scope);
    case "UpdateExpression":
      return update(cx, node, scope);
    case "SequenceExpression":
      for (const e of node.expressions.slice(0, -1)) perform(cx, e, scope);
      return evaluate(cx, node.expressions.at(-1)!, scope);
    case "ArrowFunctionExpression":
    case "FunctionExpression":
      return localFunction(cx, node, scope);
    default:
      return unsupported(cx, node);
  }
}

const NAMES: Readonly<Record<string, string>> = {
  AwaitExpression: "await", YieldExpression: "yield", NewExpression: "new", ThisExpression: "this",
  ClassExpression: "a class", TaggedTemplateExpression: "a tagged template", ChainExpression: "optional chaining `?.`",
  ImportExpression: "import()", MetaProperty: "import.meta", BreakStatement: "break", ContinueStatement: "continue",
  ThrowStatement: "throw", TryStatement: "try", SwitchStatement: "switch", ForInStatement: "for … in",
  LabeledStatement: "a label", ClassDeclaration: "a class", WithStatement: "with",
}; // biome-ignore format: a table
const INSTEAD: Readonly<Record<string, string>> = {
  BreakStatement: "Make what ends the loop part of its condition: while (i < n && !done) { … }.",
  ContinueStatement: "Put the rest of the turn into an if.",
  ThrowStatement: "tl.staticAssert(condition, message) checks at compile time.",
  SwitchStatement: "Use if and else.",
  ForInStatement: "Use for (const i of tl.range(…)).",
  ChainExpression: "Everything a kernel names exists; use `.`.",
}; // biome-ignore format: a table

export function unsupported(cx: Context, node: AnyNode, hint?: string): never {
  cx.at(node);
  return cx.fail(
    `${NAMES[node.type] ?? node.type} is not part of the kernel language`,
    hint ?? INSTEAD[node.type],
  );
}

/** An expression whose value nobody reads: conditions in it may guard stores. */
export function perform(cx: Context, node: Expression, scope: Scope): void {
  switch (node.type) {
    case "LogicalExpression": {
      const a = evaluate(cx, node.left, scope);
      cx.at(node.left);
      const right = () => {
        perform(cx, node.right, scope);
        return undefined;
      };
      if (node.operator === "??") {
        if (a === undefined) right();
        return;
      }
      const cond = scalarTruth(cx, a, `the left side of \`${node.operator}\``);
      const and = node.operator === "&&";
      if (typeof cond === "boolean") {
        if (cond === and) right();
        return;
      }
      const nothing = () => undefined;
      branch(cx, cond, and ? right : nothing, and ? nothing : right);
      return;
    }
    case "ConditionalExpression": {
      const test = evaluate(cx, node.test, scope);
      cx.at(node.test);
      const cond = scalarTruth(cx, test, "the condition of `?:`");
      const side = (e: Expression) => () => {
        perform(cx, e, scope);
        return undefined;
      };
      if (typeof cond === "boolean") perform(cx, cond ? node.consequent : node.alternate, scope);
      else branch(cx, cond, side(node.consequent), side(node.alternate));
      return;
    }
    case "SequenceExpression":
      for (const e of node.expressions) perform(cx, e, scope);
      return;
    case "UnaryExpression":
      if (node.operator === "void" || node.operator === "!") {
        perform(cx, node.argument, scope);
        return;
      }
      break;
    case "ParenthesizedExpression":
      perform(cx, node.expression, scope);
      return;
    case "Identifier":
      return;
  }
  evaluate(cx, node, scope);
}

function identifier(cx: Context, name: string, node: AnyNode, scope: Scope): Val {
  const cell = scope.find(name);
  cx.at(node);
  if (cell) return cx.read(cell);
  if (name === "undefined") return undefined;
  if (name === "Infinity") return Number.POSITIVE_INFINITY;
  if (name === "NaN") return Number.NaN;
  return freeVariable(cx, name);
}

function template(cx: Context, node: import("acorn").TemplateLiteral, scope: Scope): string {
  let text = node.quasis[0]!.value.cooked ?? "";
  node.expressions.forEach((e, i) => {
    const v = evaluate(cx, e, scope);
    text += (isUntyped(v) && !(v instanceof Soft)) || typeof v === "string" ? String(v) : describe(v);
    text += node.quasis[i + 1]!.value.cooked ?? "";
  });
  return text;
}

function unaryExpression(cx: Context, node: import("acorn").UnaryExpression, scope: Scope): Val {
  if (node.operator === "void") {
    perform(cx, node.argument, scope);
    return undefined;
  }
  if (node.operator === "typeof" || node.operator === "delete")
    return cx.fail(`${node.operator} is not part of the kernel language`);
  const v = evaluate(cx, node.argument, scope);
  cx.at(node);
  if (node.operator !== "!") return unary(cx, node.operator, v);
  const t = truth(cx, v, "the operand of `!`");
  return t instanceof Value ? cx.b.value("not", [t]) : !t;
}

function spread(cx: Context, e: Expression | SpreadElement, scope: Scope): Val[] {
  if (e.type !== "SpreadElement") return [evaluate(cx, e, scope)];
  const v = evaluate(cx, e.argument, scope);
  cx.at(e);
  if (!isList(v)) cx.fail(`\`...\` needs a list, not ${describe(v)}`);
  return [...v];
}

function object(cx: Context, node: import("acorn").ObjectExpression, scope: Scope): Fields {
  const members = new Map<string, Val>();
  for (const p of node.properties) {
    if (p.type === "SpreadElement") unsupported(cx, p, "Name the members.");
    if (p.kind !== "init") unsupported(cx, p);
    members.set(String(propertyName(cx, p.key, p.computed, scope)), evaluate(cx, p.value, scope));
  }
  return new Fields(
    "an object",
    (name) => members.get(name),
    () => [...members.keys()],
  );
}

function call(cx: Context, node: CallExpression, scope: Scope): Val {
  if (isBookkeeping(cx, node, scope)) return undefined;
  // Name keepers of bundlers: `__name(fn, "name")`, under any name once minified.
  const [first, second] = node.arguments;
  if (
    node.callee.type === "Identifier" &&
    !scope.find(node.callee.name) &&
    node.arguments.length === 2 &&
    second?.type === "Literal" &&
    typeof second.value === "string" &&
    first &&
    first.type !== "SpreadElement"
  )
    return evaluate(cx, first, scope);
  if (node.callee.type === "Super") return unsupported(cx, node);
  const callee = evaluate(cx, node.callee, scope);
  const args = node.arguments.flatMap((a) => spread(cx, a, scope));
  cx.at(node);
  if (!(callee instanceof Callable)) cx.fail(`${describe(callee)} is not a function`);
  for (const a of args)
    if (a instanceof Unset) cx.fail(`an argument of ${callee.name} has no value: ${a.why}`);
  return callee.call(cx, args);
}

/** The variable an assignment goes to. */
export function target(cx: Context, name: string, scope: Scope): Cell {
  const cell = scope.find(name);
  if (!cell) return freeVariable(cx, name);
  if (cell.constant)
    cx.fail(`${name} cannot be assigned: it is declared with const`, "Declare a variable with let.");
  return cell;
}

function store(cx: Context, cell: Cell, value: Val): void {
  if (value instanceof Value) value.name ??= cell.name;
  cx.write(cell, value);
}

function assignment(cx: Context, node: import("acorn").AssignmentExpression, scope: Scope): Val {
  if (isBookkeeping(cx, node.left, scope)) return undefined;
  if (node.operator === "=") {
    const value = evaluate(cx, node.right, scope);
    destructure(cx, node.left, value, scope, (name, v) => store(cx, target(cx, name, scope), v));
    return value;
  }
  cx.at(node);
  if (node.left.type !== "Identifier")
    return cx.fail("only variables can be assigned", "Memory is written with tl.store.");
  const cell = target(cx, node.left.name, scope);
  const old = cx.read(cell);
  const op = node.operator.slice(0, -1);
  let value: Val;
  if (op === "&&" || op === "||" || op === "??")
    value = logical(cx, op, old, node, () => evaluate(cx, node.right, scope));
  else {
    const right = evaluate(cx, node.right, scope);
    cx.at(node);
    value = binary(cx, op, old, right);
  }
  store(cx, cell, value);
  return value;
}

function update(cx: Context, node: import("acorn").UpdateExpression, scope: Scope): Val {
  if (node.argument.type === "MemberExpression" && isBookkeeping(cx, node.argument, scope)) return undefined;
  cx.at(node);
  if (node.argument.type !== "Identifier")
    return cx.fail(
      "only variables can be counted up and down",
      "Memory is written with tl.store or tl.atomicAdd.",
    );
  const cell = target(cx, node.argument.name, scope);
  const old = cx.read(cell);
  const value = binary(cx, node.operator === "++" ? "+" : "-", old, 1);
  store(cx, cell, value);
  return node.prefix ? value : old;
}
