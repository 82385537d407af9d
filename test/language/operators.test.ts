// The page of operators says what the chips of this machine compile.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { chips, operatorsPage } from "./operators.js";
import { tl } from "../../src/compiler/lang/tl/index.js";
import { closeAll } from "./run.js";
import { TRITON } from "./triton-names.js";

afterAll(closeAll);

// The page is of all built-in chips: a machine that lacks one cannot tell.
it.runIf(chips.length === 3)("docs/operators-of-the-language.md is current", async () => {
  const file = join(import.meta.dirname, "../../docs/operators-of-the-language.md");
  const page = await operatorsPage();
  if (process.env["UPDATE_DOCS"]) writeFileSync(file, page);
  expect(readFileSync(file, "utf8")).toBe(page);
});

it("tl has the functions that the page names, once each", () => {
  const names = tl.names();
  const list = Object.values(TRITON).flat();
  for (const [name, ours] of list)
    if (typeof ours === "string")
      for (const n of ours.split(", ")) expect([name, names.includes(n)]).toEqual([name, true]);
  expect(new Set(list.map(([name]) => name)).size).toBe(list.length);
});
