// Every case of the oracle sets in several processes at once: `node bench/nvidia/opinfo.mjs CHIP SHARED [--sample=N]`. Each takes a
// part of the operators; a line of JSON for each set sums it up, as `vexil conformance opinfo --json` does. Not a test of its own.

import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

const [chip, shared, ...more] = process.argv.slice(2);
if (!chip || !shared) throw new Error("usage: node bench/nvidia/opinfo.mjs CHIP SHARED [--sample=N]");
const main = join(import.meta.dirname, "../../dist/cli/main.js");
const PARTS = Math.max(1, Math.min(4, availableParallelism() >> 2));
const COUNTS = ["cases", "passed", "failed", "declined", "unsupported"];

/** The closing line of one process, which prints what failed. */
function part(set, names) {
  const args = ["conformance", "opinfo", set, "--chip", chip, "--failures-only", "--ops", names.join(","), ...more]; // biome-ignore format: one line
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let [out, err] = ["", ""];
  child.stdout.on("data", (d) => {
    out += d;
  });
  child.stderr.on("data", (d) => {
    err = (err + d).slice(-2000);
  });
  return new Promise((done) => {
    child.on("close", (code) => {
      const lines = out.trim().split("\n");
      try {
        const counts = JSON.parse(lines.at(-1));
        if (counts.failed > 0) console.log(lines.slice(0, -1).join("\n"));
        done(counts);
      } catch {
        console.log(`FAILED ${set}: a process ended with ${code}: ${err}`);
        done({ failed: 1 });
      }
    });
  });
}

let failed = 0;
const sets = ["public", "half", "wide"].map((name) => join(shared, "opinfo", name));
const runs = sets
  .filter((set) => existsSync(`${set}.jsonl`))
  .map((set) => {
    const cases = readFileSync(`${set}.jsonl`, "utf8").trim().split("\n");
    const names = [...new Set(cases.map((l) => JSON.parse(l).op))].sort();
    // Neighbours in the alphabet are alike, and cost alike.
    const parts = Array.from({ length: PARTS }, (_, i) => names.filter((_, j) => j % PARTS === i));
    return { set, parts: parts.map((p) => part(set, p)) };
  });
for (const { set, parts } of runs) {
  const all = await Promise.all(parts);
  const sums = Object.fromEntries(COUNTS.map((c) => [c, all.reduce((n, p) => n + (p[c] ?? 0), 0)]));
  failed += sums.failed;
  console.log(JSON.stringify({ suite: "opinfo", set: set.split("/").at(-1), chip, ...sums }));
}
process.exit(failed ? 1 : 0);
