// From a JavaScript function to its syntax tree, by its own text. Parsed once per text.

import * as acorn from "acorn";
import { CompileError } from "../target.js";

export type FunctionNode = acorn.ArrowFunctionExpression | acorn.FunctionExpression;

/** One function of an author: the kernel or a helper. */
export interface SourceFunction {
  readonly name: string;
  readonly text: string;
  readonly ast: FunctionNode;
  /** What the tree's positions exceed those in `text` by. */
  readonly shift: number;
  /** Holds the stack of the declaration, from which messages find the file. */
  readonly origin: { readonly stack?: string } | undefined;
}

const trees = new Map<string, { ast: FunctionNode; shift: number }>();
const texts = new WeakMap<object, string>();

/** The text of a function, read once. */
export function textOf(fn: object): string {
  let text = texts.get(fn);
  if (text === undefined) {
    text = Function.prototype.toString.call(fn);
    texts.set(fn, text);
  }
  return text;
}

/** Parses a function. Throws CompileError for native, async and generator functions and classes. */
export function parseFunction(
  fn: (...args: never[]) => unknown,
  name: string,
  origin?: { readonly stack?: string },
): SourceFunction {
  const text = textOf(fn);
  let tree = trees.get(text);
  if (!tree) {
    tree = parseText(text, name);
    trees.set(text, tree);
  }
  return { name, text, ...tree, origin };
}

/** What can be said of a body without parsing it. Throws CompileError for native functions. */
export function checkPlain(text: string, name: string): void {
  if (/\{\s*\[native code\]\s*\}\s*$/.test(text))
    throw new CompileError(
      `kernel ${name}: the body cannot be read: it is a native or bound function. Pass the arrow function itself.`,
    );
}

function parseText(text: string, name: string): { ast: FunctionNode; shift: number } {
  checkPlain(text, name);
  const options: acorn.Options = { ecmaVersion: "latest" };
  let node: acorn.AnyNode;
  let shift = 0;
  try {
    node = acorn.parseExpressionAt(text, 0, options);
    if (!isFunction(node)) throw new SyntaxError("not a function");
  } catch (first) {
    // A method's text (`body(args, tl) { … }`) is only valid inside an object.
    try {
      shift = 2;
      const object = acorn.parseExpressionAt(`({${text}})`, 0, options) as acorn.Expression;
      const property = object.type === "ObjectExpression" ? object.properties[0] : undefined;
      if (property?.type !== "Property" || !isFunction(property.value)) throw first;
      node = property.value;
    } catch {
      throw new CompileError(
        `kernel ${name}: the body is no plain function that can be read (${(first as Error).message}): ${text.slice(0, 60)}`,
      );
    }
  }
  const ast = node as FunctionNode;
  if (ast.async || ast.generator)
    throw new CompileError(
      `kernel ${name}: the body is ${ast.async ? "async" : "a generator"}; a kernel is a plain function.`,
    );
  return { ast, shift };
}

const isFunction = (n: acorn.AnyNode): n is FunctionNode =>
  n.type === "ArrowFunctionExpression" || n.type === "FunctionExpression";
