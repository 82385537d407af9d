// The benchmarks: `npm run bench [-- SUITE…] [--chip NAME] [--threads N] [--quick] [--out FOLDER]`.
//
// Each suite runs in processes of its own, one per chip and number of threads, because the thread pools are opened once per
// process. The rows go into docs/performance.json and docs/performance.md; a quick run only prints, unless it is given a
// folder.

import { fork } from "node:child_process";
import { availableParallelism, loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { machine } from "./floors.mjs";
import { save } from "./report.mjs";
import { makeRow, operatorSummary, showRow } from "./rows.mjs";

const SUITES = [
  "matmul",
  "memory",
  "attention",
  "train",
  "sort",
  "tiny",
  "host",
  "compile",
  "start",
  "launch",
  "ops",
  "footprint",
  "serve",
];
/** The suite of every operator compiles and measures hundreds of kernels. */
const limitOf = (suite) => (suite === "ops" ? 30 : 8) * 60_000;
const here = fileURLToPath(new URL(".", import.meta.url));

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    chip: { type: "string" },
    threads: { type: "string" },
    quick: { type: "boolean", default: false },
    out: { type: "string" },
    ops: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

if (options.help) {
  console.log(`npm run bench [-- SUITE...] [--chip NAME] [--threads N] [--quick] [--out FOLDER]
suites: ${SUITES.join(", ")} (default: all but ops and serve)
--quick   fewer and shorter samples, to see that everything runs; writes no files unless --out is given
--ops     of the suite ops: only these operators, with commas (add,mm); of the suite serve: bf16,q8_0,q4_0,decode,prompt,together,load
--out     folder for performance.json and performance.md (default: docs)`);
  process.exit(0);
}
for (const name of positionals)
  if (!SUITES.includes(name)) {
    console.error(`no suite ${name}; there are ${SUITES.join(", ")}`);
    process.exit(2);
  }

/** Runs one job in a process of its own; what goes wrong becomes a row. */
function runJob(job) {
  return new Promise((done) => {
    const env = { ...process.env, VEXIL_THREADS: String(job.threads), VEXIL_CHIP: job.chip };
    // What is measured is the project's own kernels, not the peer under another name.
    env.VEXIL_VENDOR = "off";
    env.OPENBLAS_NUM_THREADS = String(job.threads);
    // Some systems pin it to old kernels; the peer shall choose its best.
    delete env.OPENBLAS_CORETYPE;
    const rows = [];
    const peers = {};
    let stderr = "";
    let over = false;
    const child = fork(join(here, "worker.mjs"), [JSON.stringify(job)], {
      env,
      stdio: ["ignore", 2, "pipe", "ipc"],
    });
    const timer = setTimeout(() => {
      over = true;
      child.kill("SIGKILL");
    }, limitOf(job.suite));
    child.stderr.on("data", (d) => {
      stderr = (stderr + d).slice(-4000);
    });
    child.on("message", (m) => {
      if (m.row) {
        rows.push(m.row);
        console.log(showRow(m.row));
      } else Object.assign(peers, m.peer);
    });
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      if (code !== 0) {
        const last =
          stderr
            .trim()
            .split("\n")
            .find((l) => /Error|error/.test(l)) ?? stderr.trim().split("\n").at(-1);
        const error = over
          ? `did not end within ${limitOf(job.suite) / 60_000} minutes`
          : last || `ended with ${signal ?? code}`;
        const { suite, chip, threads } = job;
        const row = makeRow({
          suite,
          chip,
          threads,
          work: `the suite ${suite}`,
          shape: "-",
          ours: { error },
        });
        rows.push(row);
        console.log(showRow(row));
      }
      done({ rows, peers });
    });
  });
}

const named = machine();
const load = loadavg()[0];
console.log(`${named.processor}, ${named.cores} cores, Node ${named.node}, load ${load.toFixed(2)}`);
if (load > named.cores / 2) console.log("the machine is busy: these numbers say little");

const started = Date.now();
const run = {
  date: new Date().toISOString(),
  machine: named,
  load,
  quick: options.quick,
  rows: [],
  peers: {},
};
const cores = availableParallelism();
/** They take their time, or write files of gigabytes: only when asked for. */
const LONG = ["ops", "serve"];
for (const suite of positionals.length ? positionals : SUITES.filter((s) => !LONG.includes(s))) {
  const { jobs } = await import(`./suites/${suite}.mjs`);
  for (const job of jobs(cores)) {
    if (options.chip && job.chip !== options.chip) continue;
    if (options.threads && job.threads !== Number(options.threads)) continue;
    console.log(`\n# ${suite}, ${job.chip}, ${job.threads} thread${job.threads === 1 ? "" : "s"}`);
    const { rows, peers } = await runJob({
      suite,
      ...job,
      quick: options.quick,
      ...(options.ops ? { only: options.ops.split(",") } : {}),
    });
    run.rows.push(...rows);
    Object.assign(run.peers, peers);
  }
}
for (const chip of new Set(run.rows.filter((r) => r.suite === "ops").map((r) => r.chip)))
  console.log(`\n${operatorSummary(run.rows.filter((r) => r.suite === "ops" && r.chip === chip))}`);
const count = (v) => run.rows.filter((r) => r.verdict === v).length;
console.log(
  `\n${run.rows.length} rows in ${((Date.now() - started) / 1000).toFixed(0)} s: ${count("passes")} pass, ${count("loses")} lose, ${count("fails")} fail, ${count("open")} open, ${count("-")} without a target`,
);
if (!options.quick || options.out) {
  const folder = options.out ?? join(here, "..", "docs");
  save(folder, run);
  console.log(`written: ${join(folder, "performance.json")}, ${join(folder, "performance.md")}`);
}
