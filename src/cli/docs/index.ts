// Everything that is generated from the operator table and committed, as text by path. `npm run docs` writes it, a test
// compares.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import "../../ops/index.js";
import { operators } from "../../tensor/index.js";
import { declaredMethods, inPlaceTypes } from "./method-types.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.ts$/.test(entry.name) && !/\.test\.ts$|in-place\.ts$/.test(entry.name))
      yield readFileSync(path, "utf8");
  }
}

/** The generated files. */
export async function generated(): Promise<Map<string, string>> {
  const declared = declaredMethods([...sources(join(root, "src/tensor")), ...sources(join(root, "src/ops"))]);
  return new Map([[join(root, "src/ops/in-place.ts"), inPlaceTypes(operators().values(), declared)]]);
}
