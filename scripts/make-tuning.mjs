// Writes src/chips/*/tuning.ts from tuning/*.yaml: browsers get the shipped tuning tables without reading files.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The text of the module for a table. */
export const moduleOf = (
  name,
  table,
) => `// Made from tuning/${name}.yaml by scripts/make-tuning.mjs: change that file, not this one.

import type { TuningTable } from "../../runtime/tuning-table.js";

// biome-ignore format: generated
export const tuning: TuningTable = ${JSON.stringify(table, null, 2)};
`;

for (const file of readdirSync(join(root, "tuning")).filter((f) => f.endsWith(".yaml"))) {
  const name = file.slice(0, -".yaml".length);
  const table = parse(readFileSync(join(root, "tuning", file), "utf8"));
  writeFileSync(join(root, "src/chips", name, "tuning.ts"), moduleOf(name, table));
}
