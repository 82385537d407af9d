// Checks the house rules that no type checker sees:
// - imports point down the list of layers (docs/architecture.md);
// - what a browser's bundle reaches from src/index.ts imports no `node:` module;
// - no file outside src/chips/ names a chip in a comparison.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const src = join(root, "src");
/** From the roof to the floor. A layer imports itself and what stands after it. */
const LAYERS = [
  "cli",
  "release",
  "serve",
  "train",
  "tune",
  "models",
  "nn",
  "comm",
  "ops",
  "tensor",
  "chips",
  "runtime",
  "compiler",
];
/** Inside the compiler: the IR and its interfaces carry everything, the three parts do not know each other. */
const COMPILER_PARTS = { lang: ["ir"], passes: ["ir"], lower: ["ir", "passes"], ir: [] };

const problems = [];
const files = readdirSync(src, { recursive: true, withFileTypes: true })
  .filter((f) => f.isFile() && f.name.endsWith(".ts"))
  .map((f) => join(f.parentPath ?? f.path, f.name));
const isTest = (f) => f.endsWith(".test.ts") || f.includes("/testing/");

/** Every module specifier of a file, with whether it is only for types or loaded lazily. */
function importsOf(file) {
  const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true);
  const found = [];
  const visit = (node) => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
      const clause = node.importClause;
      const typeOnly =
        node.isTypeOnly ||
        clause?.isTypeOnly ||
        (clause &&
          !clause.name &&
          clause.namedBindings &&
          ts.isNamedImports(clause.namedBindings) &&
          clause.namedBindings.elements.length > 0 &&
          clause.namedBindings.elements.every((e) => e.isTypeOnly));
      found.push({ to: node.moduleSpecifier.text, typeOnly: Boolean(typeOnly), lazy: false, node });
    }
    if (
      ts.isCallExpression(node) &&
      node.expression.kind === ts.SyntaxKind.ImportKeyword &&
      ts.isStringLiteral(node.arguments[0])
    )
      found.push({ to: node.arguments[0].text, typeOnly: false, lazy: true, node });
    if (
      ts.isBinaryExpression(node) &&
      /^[!=]==?$/.test(node.operatorToken.getText()) &&
      !file.startsWith(join(src, "chips")) &&
      !isTest(file)
    )
      for (const side of [node.left, node.right])
        if (
          ts.isStringLiteral(side) &&
          CHIPS.has(side.text) &&
          /chip|device|target|driver/i.test(node.getText())
        )
          problems.push(
            `${relative(root, file)}: branches on the chip "${side.text}": ask for a capability instead`,
          );
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const CHIPS = new Set(
  readdirSync(join(src, "chips"), { withFileTypes: true })
    .filter((d) => d.isDirectory())
    .map((d) => d.name),
);
const layerOf = (file) => relative(src, file).split("/")[0];
const graph = new Map();
for (const file of files) {
  const imports = importsOf(file);
  graph.set(file, imports);
  if (isTest(file)) continue;
  const from = layerOf(file);
  for (const { to, typeOnly } of imports) {
    if (!to.startsWith(".")) continue;
    const target = resolve(dirname(file), to).replace(/\.js$/, ".ts");
    const layer = layerOf(target);
    const [a, b] = [LAYERS.indexOf(from), LAYERS.indexOf(layer)];
    if (a >= 0 && b >= 0 && b < a)
      problems.push(`${relative(root, file)}: ${from}/ may not import ${layer}/ (${to}): imports point down`);
    if (from === "chips" && layer === "chips" && !typeOnly) {
      const [mine, theirs] = [file, target].map((f) => relative(join(src, "chips"), f).split("/"));
      if (mine.length > 1 && theirs.length > 1 && mine[0] !== theirs[0])
        problems.push(`${relative(root, file)}: the chip ${mine[0]} may not import the chip ${theirs[0]}`);
    }
    if (from === "compiler" && layer === "compiler") {
      const [mine, theirs] = [file, target].map((f) => relative(join(src, "compiler"), f).split("/")[0]);
      if (
        COMPILER_PARTS[mine] &&
        COMPILER_PARTS[theirs] &&
        mine !== theirs &&
        !COMPILER_PARTS[mine].includes(theirs)
      )
        problems.push(`${relative(root, file)}: compiler/${mine} may not import compiler/${theirs}`);
    }
  }
}

// What a browser bundle of the main entry reaches, lazily or not.
const seen = new Set();
const queue = [join(src, "index.ts")];
while (queue.length) {
  const file = queue.pop();
  if (seen.has(file) || !graph.has(file)) continue;
  seen.add(file);
  for (const { to, typeOnly } of graph.get(file)) {
    if (typeOnly) continue;
    if (to.startsWith("node:"))
      problems.push(`${relative(root, file)}: imports ${to}, but browsers reach this file from src/index.ts`);
    if (to.startsWith(".")) queue.push(resolve(dirname(file), to).replace(/\.js$/, ".ts"));
  }
}

for (const p of problems) console.error(p);
console.log(`${files.length} files checked, ${problems.length} problems`);
process.exit(problems.length ? 1 : 0);
