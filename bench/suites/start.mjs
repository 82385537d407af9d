// The second start of a program that used 50 kernels: from the start of the process to its end. Nothing may be lowered and
// the compiler may not be called; both are counted.

import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { firstLine, summary } from "../harness.mjs";

export const jobs = (cores) => ["cpu", "wasm"].map((chip) => ({ chip, threads: Math.min(2, cores) }));

const CHILD = fileURLToPath(new URL("../children/start.mjs", import.meta.url));
const LIMIT_MS = 500;

export async function run(bench) {
  const folder = mkdtempSync(join(tmpdir(), "vexil-bench-"));
  const log = join(folder, "compiler.log");
  // A compiler that writes down that it was called.
  const compiler = join(folder, "cc");
  writeFileSync(compiler, `#!/bin/sh\necho called >> '${log}'\nexec cc "$@"\n`);
  chmodSync(compiler, 0o755);
  const env = { ...process.env, VEXIL_CACHE: join(folder, "cache"), VEXIL_CC: compiler };
  const calls = () => (existsSync(log) ? readFileSync(log, "utf8").split("\n").length - 1 : 0);
  const timed = (args) => {
    const start = performance.now();
    const out = execFileSync(process.execPath, args, { env, encoding: "utf8" });
    return { ms: performance.now() - start, out };
  };
  try {
    const cold = timed([CHILD]);
    const before = calls();
    const starts = [];
    const bare = [];
    let stats = { built: 0, compiled: 0, used: 0 };
    for (let i = 0; i < bench.set.samples; i++) {
      bare.push(timed(["-e", "0"]).ms);
      const { ms, out } = timed([CHILD]);
      starts.push(ms);
      stats = JSON.parse(out);
    }
    const called = calls() - before;
    await bench.row({
      work: "second start of a process that uses 50 kernels",
      shape: `${stats.used} kernels`,
      ours: summary(starts),
      floor: { name: "Node alone", ms: summary(bare).ms },
      targets: [{ limitMs: LIMIT_MS }],
      ok: stats.built === 0 && stats.compiled === 0 && called === 0,
      note: `${stats.built} lowered, ${stats.compiled} compiled, the C compiler called ${called} times; the first start took ${(cold.ms / 1000).toFixed(1)} s`,
    });
  } catch (e) {
    await bench.row({ work: "second start", shape: "50 kernels", ours: { error: firstLine(e) } });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
