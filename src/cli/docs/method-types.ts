// The TypeScript declarations of in-place methods (`x.add_(y)`), written from the operator table: `npm run docs` puts
// them into `src/ops/in-place.ts`. Methods that a family declares by hand are left alone.

import type { OperatorInfo, SchemaArgument } from "../../tensor/index.js";

const SINGLE: Readonly<Record<string, string>> = {
  Tensor: "Tensor",
  Scalar: "Scalar",
  int: "number",
  bool: "boolean",
  float: "number",
  str: "string",
  ScalarType: "DType",
  Generator: "Generator",
  Device: "string",
  Layout: "string",
  MemoryFormat: "string",
  Index: "unknown",
};

function typeOf(arg: SchemaArgument, scalars: boolean): string {
  const { kind, list, elementOptional, optional } = arg.type;
  let type = kind === "Tensor" && scalars && !list ? "Tensor | Scalar" : SINGLE[kind]!;
  if (elementOptional) type = `(${type} | null)`;
  if (list) type = `readonly ${type}[]`;
  return optional ? `${type} | null` : type;
}

function signature(op: OperatorInfo): string {
  const rest = op.schema.args.filter((_, i) => i !== op.selfAt);
  const positional = rest.filter((a) => !a.keywordOnly);
  // A parameter may be left out only if all behind it may.
  let required = positional.length;
  while (required > 0 && positional[required - 1]!.default !== undefined) required--;
  const params = positional.map(
    (a, i) => `${a.property}${i < required ? "" : "?"}: ${typeOf(a, op.scalars)}`,
  );
  const named = [...positional.slice(required), ...rest.filter((a) => a.keywordOnly)];
  if (rest.some((a) => a.keywordOnly)) {
    const must = named.some((a) => a.default === undefined);
    const fields = named.map(
      (a) => `${a.property}${a.default === undefined ? "" : "?"}: ${typeOf(a, op.scalars)}`,
    );
    params.push(`options${must ? "" : "?"}: { ${fields.join("; ")} }`);
  }
  return `(${params.join(", ")}): this;`;
}

/** In-place methods that the sources declare by hand, from the sources' text. */
export function declaredMethods(sources: Iterable<string>): Set<string> {
  const found = new Set<string>();
  for (const text of sources)
    for (const [, body] of text.matchAll(/interface Tensor \{\n([\s\S]*?)\n {2}\}/g))
      for (const [, name] of body!.matchAll(/^ {4}(\w+_)[(:]/gm)) found.add(name!);
  return found;
}

/** The text of `src/ops/in-place.ts`. */
export function inPlaceTypes(operators: Iterable<OperatorInfo>, declared: ReadonlySet<string>): string {
  const lines = new Map<string, string[]>();
  for (const op of operators) {
    if (op.method === null || !op.method.endsWith("_") || declared.has(op.method)) continue;
    const name = op.method;
    const list = lines.get(name) ?? [];
    list.push(`    ${name}${signature(op)}`);
    lines.set(name, list);
  }
  const body = [...lines]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, list]) => [
      `    /** As \`${name.slice(0, -1)}\`, written into this tensor. */`,
      ...new Set(list),
    ]);
  const used = ["DType", "Scalar"].filter((n) => body.some((l) => new RegExp(`\\b${n}\\b`).test(l)));
  const generator = body.some((l) => /\bGenerator\b/.test(l));
  return [
    "// The types of in-place methods that only the operator table declares. Written by `npm run docs`; do not edit.",
    "",
    ...(generator ? ['import type { Generator } from "../runtime/index.js";'] : []),
    `import type { ${used.join(", ")} } from "../tensor/index.js";`,
    "",
    'declare module "../tensor/tensor.js" {',
    "  interface Tensor {",
    ...body,
    "  }",
    "}",
    "",
  ].join("\n");
}
