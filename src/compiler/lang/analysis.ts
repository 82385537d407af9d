// Facts about a piece of syntax that hold in every run over it, kept per node: which outer variables it
// assigns and whether it returns. It knows nothing of values.

import type { AnyNode, Pattern } from "acorn";

const assignedMemo = new WeakMap<AnyNode, readonly string[]>();
const returnMemo = new WeakMap<AnyNode, boolean>();
const hoistMemo = new WeakMap<AnyNode, readonly string[]>();

/** The child nodes of a node, in source order. */
export function children(node: AnyNode): AnyNode[] {
  const out: AnyNode[] = [];
  for (const [key, v] of Object.entries(node)) {
    if (key === "type" || v === null || typeof v !== "object") continue;
    if (Array.isArray(v)) {
      for (const c of v) if (c && typeof c.type === "string") out.push(c as AnyNode);
    } else if (typeof (v as AnyNode).type === "string") out.push(v as AnyNode);
  }
  return out;
}

/** The names that a pattern binds, in order. */
export function boundNames(p: Pattern, out: string[] = []): string[] {
  switch (p.type) {
    case "Identifier":
      out.push(p.name);
      break;
    case "ArrayPattern":
      for (const e of p.elements) if (e) boundNames(e, out);
      break;
    case "ObjectPattern":
      for (const q of p.properties) boundNames(q.type === "Property" ? q.value : q.argument, out);
      break;
    case "AssignmentPattern":
      boundNames(p.left, out);
      break;
    case "RestElement":
      boundNames(p.argument, out);
      break;
  }
  return out;
}

/** Names declared by `let` and `const` (and functions) directly in a list of statements. */
function declaredIn(list: readonly AnyNode[]): string[] {
  return list.flatMap((s) =>
    s.type === "VariableDeclaration" && s.kind !== "var"
      ? s.declarations.flatMap((d) => boundNames(d.id))
      : s.type === "FunctionDeclaration"
        ? [s.id!.name]
        : [],
  );
}

/** The variables from outside of `node` that it assigns, in the order of their first assignment. */
export function assignedNames(node: AnyNode): readonly string[] {
  let names = assignedMemo.get(node);
  if (!names) {
    const found = new Set<string>();
    collect(node, new Set(), found);
    names = [...found];
    assignedMemo.set(node, names);
  }
  return names;
}

function collect(node: AnyNode, bound: ReadonlySet<string>, found: Set<string>): void {
  let inner = bound;
  const bind = (names: readonly string[]) => {
    if (names.length > 0) inner = new Set([...bound, ...names]);
  };
  switch (node.type) {
    case "BlockStatement":
      bind(declaredIn(node.body));
      break;
    case "ForStatement":
      if (node.init?.type === "VariableDeclaration") bind(declaredIn([node.init]));
      break;
    case "ForOfStatement":
      if (node.left.type === "VariableDeclaration") bind(declaredIn([node.left]));
      break;
    case "ArrowFunctionExpression":
    case "FunctionExpression":
    case "FunctionDeclaration":
      bind(node.params.flatMap((p) => boundNames(p)));
      break;
    case "VariableDeclaration":
      if (node.kind === "var")
        for (const d of node.declarations)
          if (d.init) for (const n of boundNames(d.id)) if (!inner.has(n)) found.add(n);
      break;
    case "AssignmentExpression":
      for (const n of boundNames(node.left)) if (!inner.has(n)) found.add(n);
      break;
    case "UpdateExpression":
      if (node.argument.type === "Identifier" && !inner.has(node.argument.name))
        found.add(node.argument.name);
      break;
  }
  for (const c of children(node)) collect(c, inner, found);
}

const isFunctionNode = (n: AnyNode): boolean =>
  n.type === "ArrowFunctionExpression" || n.type === "FunctionExpression" || n.type === "FunctionDeclaration";

/** Whether a statement contains a `return` of the function it stands in. */
export function containsReturn(node: AnyNode): boolean {
  let r = returnMemo.get(node);
  if (r === undefined) {
    r =
      node.type === "ReturnStatement" || children(node).some((c) => !isFunctionNode(c) && containsReturn(c));
    returnMemo.set(node, r);
  }
  return r;
}

/** The names that a function body declares with `var`, anywhere. */
export function hoistedNames(body: AnyNode): readonly string[] {
  let names = hoistMemo.get(body);
  if (!names) {
    const out = new Set<string>();
    const visit = (n: AnyNode): void => {
      if (isFunctionNode(n)) return;
      if (n.type === "VariableDeclaration" && n.kind === "var")
        for (const d of n.declarations) for (const name of boundNames(d.id)) out.add(name);
      for (const c of children(n)) visit(c);
    };
    for (const c of children(body)) visit(c);
    names = [...out];
    hoistMemo.set(body, names);
  }
  return names;
}
