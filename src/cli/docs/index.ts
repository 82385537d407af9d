// Everything that is generated from the operator table and committed, as text by path. `npm run docs` writes it, a test
// compares.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import "../../ops/index.js";
import { operators } from "../../tensor/index.js";
import { operatorsMarkdown } from "./markdown.js";
import { declaredMethods, inPlaceTypes } from "./method-types.js";
import type { Support } from "./support.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.ts$/.test(entry.name) && !/\.test\.ts$|in-place\.ts$/.test(entry.name))
      yield readFileSync(path, "utf8");
  }
}

/** What the probing of dtypes found, as the text of `support-table.ts`. */
export function supportTable(found: ReadonlyMap<string, Support | null>): string {
  const reasons: string[] = [];
  const code = (r: string | null): string => {
    if (r === null) return ".";
    if (!reasons.includes(r)) reasons.push(r);
    return String(reasons.indexOf(r));
  };
  const lines = [...found]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([name, support]) =>
        `  ${JSON.stringify(name)}: ${JSON.stringify(support?.map(code).join(" ") ?? "")},`,
    );
  return [
    "// Which dtypes operators take, in the order of TENSOR_DTYPES: `.` or the number of a reason; empty where there was no",
    "// sample to try. Written by `npm run docs`; do not edit.",
    "",
    "export const REASONS: readonly string[] = [",
    ...reasons.map((r) => `  ${JSON.stringify(r)},`),
    "];",
    "",
    "export const SUPPORT: Readonly<Record<string, string>> = {",
    ...lines,
    "};",
    "",
  ].join("\n");
}

/** The files that follow from the table (and from the probing kept in `support-table.ts`) alone. */
export function generated(): Map<string, string> {
  const declared = declaredMethods([...sources(join(root, "src/tensor")), ...sources(join(root, "src/ops"))]);
  return new Map([
    [join(root, "src/ops/in-place.ts"), inPlaceTypes(operators().values(), declared)],
    [join(root, "docs/operators.md"), operatorsMarkdown(operators().values())],
  ]);
}
