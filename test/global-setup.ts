// Builds dist/ before the tests when a selected one runs from there (workers and the command do), and the sources
// are newer. Type errors do not stop it: `npm run typecheck` reports them, and the tests show what works.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

const root = join(import.meta.dirname, "..");
const stamp = join(root, "dist/.tested");

/** Whether a file says that it runs from dist/, by importing the helper for that. */
const usesBuild = (file: string): boolean => /from "[^"]*\/built\.js"/.test(readFileSync(file, "utf8"));

function newest(folder: string): number {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const sources = files.filter((f) => /\.(ts|js|css|html|svg)$/.test(f) && !f.endsWith(".test.ts"));
  return Math.max(...sources.map((f) => statSync(join(folder, f)).mtimeMs));
}

export default async function setup(project: TestProject): Promise<void> {
  // The words of `vitest run WORDS`: what is not a flag filters the files.
  const words = process.argv.slice(2).filter((w) => !w.startsWith("-") && w !== "run");
  const { testFiles } = await project.globTestFiles(words);
  if (!(testFiles.length ? testFiles : (await project.globTestFiles()).testFiles).some(usesBuild)) return;
  const changed = Math.max(newest(join(root, "src")), newest(join(root, "web")));
  if (existsSync(stamp) && Number(readFileSync(stamp, "utf8")) >= changed) return;
  const run = spawnSync(process.execPath, [join(root, "scripts/build.mjs")], { cwd: root, encoding: "utf8" });
  if (!existsSync(join(root, "dist/node/cli/main.js")))
    throw new Error(`dist/ could not be built:\n${run.stdout}${run.stderr}`);
  if (run.status !== 0) console.error(`dist/ was built in spite of type errors:\n${run.stdout}`);
  writeFileSync(stamp, String(changed));
}
