// Runs the programs of the documentation and compares what they print with what stands under them.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import * as vexil from "../src/index.js";

const docs = join(import.meta.dirname, "../docs");
const PROGRAM = /```ts run\n([\s\S]*?)```\n\n```text\n([\s\S]*?)```/g;

/** Runs a program with `import … from "vexil"` and returns what it printed. */
async function run(source: string): Promise<string> {
  const printed: string[] = [];
  const log = (...values: unknown[]) => {
    printed.push(values.map((v) => (typeof v === "string" ? v : inspect(v, { depth: 8 }))).join(" "));
  };
  const body = source.replace(/import \{([^}]*)\} from "vexil";/, "const {$1} = vexil;");
  // The kernels' text stays as it is printed: types are removed, nothing else changes.
  const { outputText } = ts.transpileModule(body, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
  const original = console.log;
  console.log = log;
  try {
    await new AsyncFunction("vexil", outputText)(vexil);
  } finally {
    console.log = original;
  }
  return `${printed.join("\n")}\n`;
}

for (const file of readdirSync(docs).filter((f) => f.endsWith(".md"))) {
  const programs = [...readFileSync(join(docs, file), "utf8").matchAll(PROGRAM)];
  if (programs.length === 0) continue;
  describe(file, () => {
    it.each(programs.map((m, i) => [i + 1, m[1]!, m[2]!] as const))(
      "program %i prints what it says",
      async (_i, source, expected) => {
        expect(await run(source)).toBe(expected);
      },
    );
  });
}

it("there are programs to run", () => {
  expect(readFileSync(join(docs, "language.md"), "utf8").match(PROGRAM)?.length).toBeGreaterThanOrEqual(7);
});
