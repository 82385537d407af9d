// `npm run docs`: writes what is generated from the operator table: docs/operators.md and the types of in-place methods.
// Operators that are new, or all with `--probe`, are first tried with every dtype.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import "../src/chips/index.js";
import { probeAll, type Support } from "../src/cli/docs/support.js";
import { supportTable } from "../src/cli/docs/index.js";
import { setDefaultChip } from "../src/runtime/index.js";
import { operators } from "../src/tensor/index.js";
import "../src/ops/index.js";

const file = "src/cli/docs/support-table.ts";
const { REASONS, SUPPORT } = (await import("../src/cli/docs/support-table.js")) as {
  REASONS: readonly string[];
  SUPPORT: Readonly<Record<string, string>>;
};
const all = process.argv.includes("--probe");
await setDefaultChip("interpreter");
const found = new Map<string, Support | null>();
if (!all)
  for (const [name, code] of Object.entries(SUPPORT))
    if (operators().has(name))
      found.set(
        name,
        code === "" ? null : code.split(" ").map((c) => (c === "." ? null : REASONS[Number(c)]!)),
      );
for (const [name, s] of await probeAll("test/fixtures/opinfo/sample", (op) => !found.has(op.name)))
  found.set(name, s);
const text = supportTable(found);
if (text !== readFileSync(file, "utf8")) writeFileSync(file, text);

// In a process of its own, so that it sees what was just written.
execFileSync("npx", ["tsx", "scripts/docs-write.ts"], { stdio: "inherit" });
execFileSync("npx", ["biome", "check", "--write", "src/ops/in-place.ts", file], { stdio: "inherit" });
