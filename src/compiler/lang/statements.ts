// Statements, in order. A function may return early: a list of statements therefore knows what follows it, so
// that an `if` with a return can carry the rest of the function into its branches.

import type { IfStatement, Statement, VariableDeclaration } from "acorn";
import { Value } from "../ir/index.js";
import { containsReturn } from "./analysis.js";
import { branch, scalarTruth } from "./branch.js";
import { type Context, Scope } from "./context.js";
import { evaluate, perform, target, unsupported } from "./expressions.js";
import { ANONYMOUS, localFunction } from "./functions.js";
import { forLoop, forOfLoop, whileLoop } from "./loops.js";
import { destructure } from "./patterns.js";
import { Callable, type Val } from "./value.js";

/** What a function still does after a list of statements. */
interface Rest {
  readonly list: readonly Statement[];
  readonly at: number;
  readonly scope: Scope;
  readonly next: Rest | undefined;
}

/** Runs a function's statements; returns what it returns. */
export function runBody(cx: Context, list: readonly Statement[], scope: Scope): Val {
  hoistFunctions(cx, list, scope);
  return follow(cx, { list, at: 0, scope, next: undefined });
}

function follow(cx: Context, rest: Rest | undefined): Val {
  for (let r = rest; r; r = r.next)
    for (let i = r.at; i < r.list.length; i++) {
      const s = r.list[i]!;
      if (containsReturn(s) && s.type !== "FunctionDeclaration")
        return leave(cx, s, r.scope, { ...r, at: i + 1 });
      run(cx, s, r.scope);
    }
  return undefined;
}

/** A statement that contains a return, and all that follows it. */
function leave(cx: Context, s: Statement, scope: Scope, rest: Rest): Val {
  switch (s.type) {
    case "ReturnStatement":
      if (!s.argument) return undefined;
      if (!cx.frame.top) return evaluate(cx, s.argument, scope);
      perform(cx, s.argument, scope);
      return undefined;
    case "BlockStatement": {
      const inner = new Scope(scope);
      hoistFunctions(cx, s.body, inner);
      return follow(cx, { list: s.body, at: 0, scope: inner, next: rest });
    }
    case "IfStatement": {
      const cond = condition(cx, s, scope);
      const side = (t: Statement | null | undefined) => () =>
        t ? follow(cx, { list: [t], at: 0, scope, next: rest }) : follow(cx, rest);
      if (typeof cond === "boolean") return side(cond ? s.consequent : s.alternate)();
      return branch(cx, cond, side(s.consequent), side(s.alternate));
    }
    default:
      if (/^(For|While|DoWhile)/.test(s.type)) {
        cx.at(s);
        cx.fail(
          "a return inside a loop is not part of the kernel language",
          "Make what ends the loop part of its condition, and return after it.",
        );
      }
      return unsupported(cx, s);
  }
}

export function run(cx: Context, s: Statement, scope: Scope): void {
  switch (s.type) {
    case "ExpressionStatement":
      perform(cx, s.expression, scope);
      return;
    case "VariableDeclaration":
      declare(cx, s, scope);
      return;
    case "BlockStatement": {
      const inner = new Scope(scope);
      hoistFunctions(cx, s.body, inner);
      for (const t of s.body) run(cx, t, inner);
      return;
    }
    case "IfStatement": {
      const cond = condition(cx, s, scope);
      const side = (t: Statement | null | undefined) => () => {
        if (t) run(cx, t, scope);
        return undefined;
      };
      if (typeof cond === "boolean") side(cond ? s.consequent : s.alternate)();
      else branch(cx, cond, side(s.consequent), side(s.alternate));
      return;
    }
    case "ForStatement":
      forLoop(cx, s, scope);
      return;
    case "ForOfStatement":
      forOfLoop(cx, s, scope);
      return;
    case "WhileStatement":
      whileLoop(cx, s, s.test, s.body, undefined, scope);
      return;
    case "DoWhileStatement":
      run(cx, s.body, scope);
      whileLoop(cx, s, s.test, s.body, undefined, scope);
      return;
    case "EmptyStatement":
    case "FunctionDeclaration":
    case "DebuggerStatement":
      return;
    default:
      unsupported(cx, s);
  }
}

function condition(cx: Context, s: IfStatement, scope: Scope): boolean | Value {
  const v = evaluate(cx, s.test, scope);
  cx.at(s.test);
  return scalarTruth(cx, v, "the condition of `if`");
}

export function declare(cx: Context, s: VariableDeclaration, scope: Scope): void {
  for (const d of s.declarations) {
    if (s.kind === "var") {
      if (d.init) {
        const value = evaluate(cx, d.init, scope);
        destructure(cx, d.id, value, scope, (name, v) => cx.write(target(cx, name, scope), named(v, name)));
      }
      continue;
    }
    const value = d.init ? evaluate(cx, d.init, scope) : undefined;
    cx.at(d);
    destructure(cx, d.id, value, scope, (name, v) =>
      cx.declare(scope, name, named(v, name), s.kind === "const"),
    );
  }
}

function named(v: Val, name: string): Val {
  if (v instanceof Value) v.name ??= name;
  else if (v instanceof Callable && v.name === ANONYMOUS) v.name = name;
  return v;
}

/** Function declarations are there from the start of their block. */
function hoistFunctions(cx: Context, list: readonly Statement[], scope: Scope): void {
  for (const s of list)
    if (s.type === "FunctionDeclaration")
      cx.declare(
        scope,
        s.id.name,
        localFunction(cx, s as unknown as import("acorn").FunctionExpression, scope, s.id.name),
        true,
      );
}
