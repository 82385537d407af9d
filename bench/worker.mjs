// One job of the benchmarks in its own process: a suite on a chip with a number of threads. Sends rows to the parent.

import { cacheBytes } from "./floors.mjs";
import { compare, firstLine, settings } from "./harness.mjs";
import { makeRow } from "./rows.mjs";

const job = JSON.parse(process.argv[2]);
const { suite, chip, threads, quick } = job;
const send = (message) => new Promise((done) => process.send(message, done));

const vexil = await import("../dist/index.js");
const set = settings({ quick });

/** What a suite's `run` gets. */
const bench = {
  vexil,
  suite,
  chip,
  threads,
  quick,
  set,
  cacheBytes: cacheBytes(),
  compare: (sides, options) => compare(sides, set, options),
  /** As `compare`, with settings of one's own; rests only if they have any. */
  compareWith: (sides, own) => compare(sides, own, { rest: own.restMs > 0 }),
  /** The operators to measure; undefined for all. */
  only: job.only ? new Set(job.only) : undefined,
  /** Sends one row; `suite`, `chip` and `threads` are filled in. */
  row: (r) => send({ row: makeRow({ suite, chip, threads, ...r }) }),
  /** Opens a peer of bench/peers; `{ missing }` with the reason when it is not there. */
  async peer(name) {
    try {
      const { open } = await import(`./peers/${name}.mjs`);
      const peer = await open(threads);
      await send({ peer: { [peer.name]: peer.version } });
      return peer;
    } catch (e) {
      return { missing: firstLine(e) };
    }
  },
  firstLine,
};

const { run } = await import(`./suites/${suite}.mjs`);
await run(bench);
process.exit(0);
