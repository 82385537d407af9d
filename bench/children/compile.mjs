// One process of the compile suite: `node compile.mjs CHIP KERNEL SALT`. Launches kernels that no cache knows, the first in a
// process that compiled none before, and prints the milliseconds as JSON; on `cpu` also what the C compiler alone takes
// for the same text with the same flags.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
// By the package's name, as programs import it.
import { closeChips, loadChip, randn } from "vexil";
import { libraryFlags, openCompiler } from "../../dist/chips/cpu/compiler.js";
import { KERNELS } from "./kernels.mjs";

const [name, which, salt] = process.argv.slice(2);
const chip = await loadChip(name);
const x = randn([64, 64], { device: name });
const y = randn([64, 64], { device: name });
const compiler = name === "cpu" ? openCompiler() : undefined;
const folder = mkdtempSync(join(tmpdir(), "vexil-bench-"));

/** The first launch of a new kernel, and the C compiler on its text. */
function once(SALT) {
  const start = performance.now();
  const { k, grid, args } = KERNELS[which]();
  const all = { x, y, ...args, SALT };
  k.launch(grid, all);
  const ours = performance.now() - start;
  return { ours, cc: compiler ? alone(k.explain(all)) : undefined };
}

function alone(explained) {
  const text = explained.slice(explained.indexOf("\n", explained.indexOf(`// code for ${chip.name}`)) + 1);
  const flags = libraryFlags(compiler, true);
  const libraries = flags.filter((f) => f.startsWith("-l"));
  const rest = flags.filter((f) => !f.startsWith("-l"));
  const start = performance.now();
  const out = join(folder, "kernel.so");
  const args = [...compiler.prefix, ...rest, "-o", out, "-x", "c", "-", ...libraries];
  const { status, stderr } = spawnSync(compiler.path, args, { input: text });
  if (status !== 0) throw new Error(`the C compiler alone does not compile ${which}: ${stderr}`);
  return performance.now() - start;
}

const first = once(1 + Number(salt) / 1024);
const later = [1, 2, 3].map((i) => once(1 + Number(salt) / 1024 + i / 65536));
rmSync(folder, { recursive: true, force: true });
console.log(JSON.stringify({ first, later }));
await closeChips();
