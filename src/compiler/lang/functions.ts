// Functions: inlining of helpers and of functions inside a body, and names that a body cannot reach.

import type { AnyNode, Expression } from "acorn";
import { isDType, type Loc } from "../ir/index.js";
import { hoistedNames } from "./analysis.js";
import { type Context, Scope } from "./context.js";
import { evaluate, perform } from "./expressions.js";
import type { FunctionNode, SourceFunction } from "./parse.js";
import { parseFunction } from "./parse.js";
import { destructure } from "./patterns.js";
import { runBody } from "./statements.js";
import { Callable, type Val } from "./value.js";

const MAX_DEPTH = 64;
export const ANONYMOUS = "function";

/** Runs a function's body on argument values; the frame must be set. Returns what it returns. */
export function runFunction(
  cx: Context,
  fn: FunctionNode,
  args: readonly Val[],
  outer: Scope | undefined,
): Val {
  const scope = new Scope(outer);
  fn.params.forEach((p, i) => {
    cx.at(p);
    if (p.type === "RestElement")
      destructure(cx, p.argument, args.slice(i), scope, (n, v) => cx.declare(scope, n, v, false));
    else destructure(cx, p, args[i], scope, (n, v) => cx.declare(scope, n, v, false));
  });
  if (fn.body.type !== "BlockStatement") {
    if (!cx.frame.top) return evaluate(cx, fn.body, scope);
    perform(cx, fn.body, scope);
    return undefined;
  }
  for (const name of hoistedNames(fn.body)) cx.declare(scope, name, undefined, false);
  return runBody(cx, fn.body.body, scope);
}

function checkCount(cx: Context, name: string, fn: FunctionNode, given: number, skip: number): void {
  const params = fn.params.slice(skip);
  const rest = params.at(-1)?.type === "RestElement";
  let least = params.length - (rest ? 1 : 0);
  while (least > 0 && params[least - 1]!.type === "AssignmentPattern") least--;
  if (given < least || (!rest && given > params.length))
    cx.fail(
      `${name} takes ${least === params.length ? least : `${least} to ${rest ? "any number of" : params.length}`} argument${params.length === 1 ? "" : "s"}, but ${given} ${given === 1 ? "is" : "are"} given`,
    );
}

/** A helper: its own text, inlined at each call with `tl` as first argument. */
export function helperFunction(name: string, load: () => SourceFunction, tl: Val): Callable {
  return new Callable(name, (cx, args) => {
    const fn = load();
    checkCount(cx, name, fn.ast, args.length, 1);
    const caller = cx.b.loc;
    let depth = 0;
    for (let f: typeof cx.frame | undefined = cx.frame; f; f = f.parent) {
      if (f.fn === fn || ++depth > MAX_DEPTH)
        cx.fail(
          `the helper ${name} calls itself`,
          "Helpers are inlined, so they cannot recurse; write a loop.",
        );
    }
    return enter(cx, fn, cx.sourceOf(fn), caller, () => runFunction(cx, fn.ast, [tl, ...args], undefined));
  });
}

/** A function of the house that is written in the kernel language. */
export function libraryFunction(name: string, fn: (...args: never[]) => unknown, tl: Val): Callable {
  let parsed: SourceFunction | undefined;
  return helperFunction(name, () => (parsed ??= parseFunction(fn, name)), tl);
}

/** A function declared inside a body: it sees the variables around it. */
export function localFunction(cx: Context, node: FunctionNode, scope: Scope, name = ANONYMOUS): Callable {
  if (node.async || node.generator) {
    cx.at(node);
    cx.fail("async functions and generators are not part of the kernel language");
  }
  const home = cx.frame;
  const self: Callable = new Callable(name, (inner, args) => {
    checkCount(inner, self.name, node, args.length, 0);
    const caller = inner.b.loc;
    let depth = 0;
    for (let f: typeof cx.frame | undefined = inner.frame; f; f = f.parent)
      if (++depth > MAX_DEPTH) inner.fail(`the function ${self.name} calls itself`, "Write a loop.");
    return enter(inner, home.fn, home.source, caller, () => runFunction(inner, node, args, scope));
  });
  return self;
}

function enter(
  cx: Context,
  fn: SourceFunction,
  source: number,
  caller: Loc | undefined,
  run: () => Val,
): Val {
  const before = cx.frame;
  cx.frame = { fn, source, caller, parent: before, top: false };
  const result = run();
  cx.frame = before;
  cx.b.loc = caller;
  return result;
}

const BUILTINS: Readonly<Record<string, string>> = {
  Math: "Use the functions of tl: tl.exp, tl.sqrt, tl.maximum, tl.floor, …",
  Number: "Use tl.cast.",
  BigInt: "Use tl.cast(value, tl.i64), or a literal such as 10n.",
  Array: "Use tl.zeros, tl.full or a list [a, b].",
  console: "tl.staticPrint prints while the kernel is compiled.",
  tl: "tl is the second parameter of the kernel: ({ x, … }, tl) => { … }.",
};

/** The error for a name that is neither a variable nor a parameter. */
export function freeVariable(cx: Context, name: string): never {
  return cx.fail(
    `${name} is not known inside the kernel`,
    BUILTINS[name] ??
      (isDType(name) ? `Dtypes are members of tl: tl.${name}.` : undefined) ??
      `A kernel only sees its own parameters. Declare it beside them: ${name}: constant(value) for a value, ${name}: helper((tl, …) => …) for a function.`,
  );
}

/**
 * Whether this is the work of a tool and not the author's: coverage counters (`cov_x().s[0]++`,
 * `__cov[…].f[1]++`), under any name once minified, and the calls that set them up.
 */
export function isBookkeeping(cx: Context, node: AnyNode, scope: { find(name: string): unknown }): boolean {
  let n: AnyNode = node;
  let depth = 0;
  for (;;) {
    if (n.type === "MemberExpression") n = n.object as Expression;
    else if (n.type === "CallExpression" && n.arguments.length === 0) n = n.callee as Expression;
    else break;
    depth++;
  }
  if (depth === 0 || n.type !== "Identifier" || scope.find(n.name) !== undefined) return false;
  if (/^(cov_|__cov|__coverage__)/.test(n.name)) return true;
  const { text } = cx.frame.fn;
  return [".s[", ".f[", ".b["].some((counter) =>
    text.includes(`${(n as { name: string }).name}()${counter}`),
  );
}
