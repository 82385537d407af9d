// The page of operators says what the chips of this machine compile.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { chips, operatorsPage } from "./operators.js";
import { closeAll } from "./run.js";

afterAll(closeAll);

// The page is of all built-in chips: a machine that lacks one cannot tell.
it.runIf(chips.length === 3)("docs/operators-of-the-language.md is current", async () => {
  const file = join(import.meta.dirname, "../../docs/operators-of-the-language.md");
  const page = await operatorsPage();
  if (process.env["UPDATE_DOCS"]) writeFileSync(file, page);
  expect(readFileSync(file, "utf8")).toBe(page);
});
