// Compiling a kernel that no cache knows: in a new process, and in one that has compiled before. On `cpu` against the C
// compiler alone on the same text.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { summary } from "../harness.mjs";

export const jobs = (cores) => ["cpu", "wasm"].map((chip) => ({ chip, threads: Math.min(2, cores) }));

const CHILD = fileURLToPath(new URL("../children/compile.mjs", import.meta.url));
const run1 = promisify(execFile);
const WASM_LIMIT_MS = 15;
/** How much longer than the C compiler alone a kernel may take. */
const OVER_CC = 1.5;

export async function run(bench) {
  const folder = mkdtempSync(join(tmpdir(), "vexil-bench-"));
  const env = { ...process.env, VEXIL_CACHE: folder };
  const child = async (kernel, salt) =>
    JSON.parse((await run1(process.execPath, [CHILD, bench.chip, kernel, String(salt)], { env })).stdout);
  try {
    // What the first process writes down about the machine and the chip's own library, the others find.
    await child("pointwise", 0);
    for (const kernel of ["pointwise", "softmax", "matmul"]) {
      const first = [];
      const later = [];
      for (let i = 1; i <= bench.set.samples; i++) {
        const got = await child(kernel, i);
        first.push(got.first);
        later.push(...got.later);
      }
      await bench.row(row(bench, `${kernel} kernel, the first of a process`, first));
      await bench.row(row(bench, `${kernel} kernel, a later one`, later));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function row(bench, work, list) {
  const base = {
    work: `compile and run: ${work}`,
    shape: "64 x 64 f32",
    ours: summary(list.map((s) => s.ours)),
  };
  if (bench.chip !== "cpu") return { ...base, targets: [{ limitMs: WASM_LIMIT_MS }] };
  const peer = { name: "C compiler alone", ...summary(list.map((s) => s.cc)) };
  return { ...base, peers: [peer], targets: [{ peer: peer.name, reach: Number((1 / OVER_CC).toFixed(3)) }] };
}
