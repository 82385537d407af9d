// The soak: a real server process under mixed load for minutes or hours, through the npm `openai` client.
//
//   npm run soak -- --minutes 60 [--chip NAME] [--clients 20] [--patience 60]
//
// It fails when a request is lost (neither a result nor the right error within the seconds of --patience), when a seeded request
// gives something else than alone, when the process' or the chip's memory grows, or when a slot or a page of the cache stays taken.

import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import OpenAI from "openai";
import { abortedWorks, badWorks, seededWorks } from "./soak/work.mjs";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    clients: { type: "string", default: "20" },
    chip: { type: "string", default: "wasm" },
    seed: { type: "string", default: "1" },
    patience: { type: "string", default: "60" },
  },
});
const minutes = Number(values.minutes);
const clients = Number(values.clients);
/** A request that takes longer is lost: a machine that does other work beside this needs more. */
const LOST_MS = 1000 * Number(values.patience);
if (!(minutes > 0) || !(clients > 0) || !(LOST_MS > 0)) {
  console.error(
    "usage: npm run soak -- --minutes 60 [--chip NAME] [--clients 20] [--seed 1] [--patience 60]",
  );
  process.exit(2);
}
/** What the process may grow by after warming up: garbage that is not collected yet. */
const SLACK_MIB = 48;
const root = join(import.meta.dirname, "..");
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

let state = Number(values.seed) | 1;
/** Which request comes next is random, and the same for the same seed (xorshift). */
function random() {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 2 ** 32;
}
const pick = (list) => list[Math.floor(random() * list.length)];

// ---- the server

const folder = mkdtempSync(join(tmpdir(), "vexil-soak-"));
const model = join(folder, "soaked");
cpSync(join(root, "test/fixtures/models/qwen3"), model, { recursive: true });
writeFileSync(
  join(model, "chat_template.jinja"),
  `{% if tools %}<|im_start|>system
You may call:{% for t in tools %} {{ t.function.name }}{% endfor %} as <tool_call></tool_call><|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}<|im_start|>assistant
`,
);
const limits = ["--max-sequences", "8", "--cache-tokens", "640", "--max-requests", "16", "--chunk", "64"];
const server = spawn(
  process.execPath,
  [join(root, "dist/node/cli/main.js"), "serve", model, "--port", "0", "--chip", values.chip, ...limits],
  { stdio: ["ignore", "ignore", "pipe"] },
);
let said = "";
let gone = false;
server.on("exit", () => {
  gone = true;
});
const url = await new Promise((found, lost) => {
  server.stderr.setEncoding("utf8").on("data", (d) => {
    said = (said + d).slice(-4000);
    const match = /listening on (http:\S+)/.exec(said);
    if (match) found(match[1]);
  });
  server.on("exit", () => lost(new Error(`the server did not start: ${said}`)));
});
process.on("exit", () => {
  server.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** The server's own figures, by name. */
async function metrics() {
  // A connection of its own: a kept one may be closed just as it is used again.
  const body = await (await fetch(`${url}/metrics`, { headers: { connection: "close" } })).text();
  const found = {};
  for (const [, name, value] of body.matchAll(/^vexil_(\w+) ([\d.e+-]+)$/gm)) found[name] = Number(value);
  return found;
}
/** Bytes of the server's process that are in memory. */
function resident() {
  try {
    return Number(readFileSync(`/proc/${server.pid}/statm`, "utf8").split(" ")[1]) * 4096;
  } catch {
    return undefined;
  }
}
async function idle() {
  for (let i = 0; i < 100; i++) {
    const m = await metrics();
    if (m.requests_running === 0 && m.requests_waiting === 0 && m.cache_usage_ratio === 0) return m;
    await sleep(100);
  }
  return metrics();
}

// ---- the load

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, timeout: LOST_MS });
const name = "soaked";
const seeded = seededWorks(client, name);
const bad = badWorks(client, name);
const aborted = abortedWorks(client, name, random);
const problems = [];
/** Said at once, too: an hour is long to wait for the first sign of trouble. */
const problem = (text) => {
  problems.push(text);
  console.error(`PROBLEM ${text.slice(0, 400)}`);
};
const counts = new Map();
const count = (kind) => counts.set(kind, (counts.get(kind) ?? 0) + 1);
let refused = 0;

/** What each seeded request gives alone, asked twice: the second time its prompt is in the cache. */
for (const work of seeded) {
  work.alone = await work.run();
  const again = await work.run();
  if (again !== work.alone) problem(`${work.kind}: alone, twice: ${again} instead of ${work.alone}`);
}

async function one() {
  const r = random();
  const work = r < 0.72 ? pick(seeded) : r < 0.86 ? pick(aborted) : pick(bad);
  let timer;
  const lost = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`lost: no end within ${LOST_MS / 1000} s`)), LOST_MS + 5000);
  });
  try {
    const got = await Promise.race([work.run(), lost]);
    if (work.alone !== undefined && got !== work.alone)
      problem(`${work.kind}: ${JSON.stringify(got)} instead of ${JSON.stringify(work.alone)}`);
    count(work.kind);
  } catch (e) {
    if (e?.status !== 429) problem(`${work.kind}: ${e?.message ?? e}`);
    else if (e.headers?.get("retry-after") == null) problem(`${work.kind}: 429 without Retry-After`);
    else {
      refused++;
      await sleep(20 + random() * 100);
    }
  } finally {
    clearTimeout(timer);
  }
}

const start = Date.now();
const end = start + minutes * 60_000;
const samples = [];
let stopped = false;
process.once("SIGINT", () => {
  stopped = true;
});
const running = () => !stopped && !gone && Date.now() < end && problems.length < 20;
const load = Array.from({ length: clients }, async () => {
  while (running()) await one();
});
const every = Math.min(10_000, (minutes * 60_000) / 40);
const watch = (async () => {
  let shown = 0;
  while (running()) {
    await sleep(every);
    if (gone) break;
    const m = await metrics();
    samples.push({ at: (Date.now() - start) / 1000, rss: resident(), reserved: m.memory_reserved_bytes });
    if (Date.now() - shown < 60_000) continue;
    shown = Date.now();
    const total = [...counts.values()].reduce((a, b) => a + b, 0);
    const { rss, at } = samples.at(-1);
    console.error(
      `${at.toFixed(0)} s: ${total} requests, ${refused} refused with 429, ${problems.length} problems, ${m.requests_running} running, ${m.requests_waiting} waiting${rss ? `, ${(rss / 2 ** 20).toFixed(0)} MiB` : ""}`,
    );
  }
})();
await Promise.all([...load, watch]);

// ---- the verdict

if (gone) problems.push(`the server ended: ${said.trim().split("\n").at(-1)}`);
const seconds = (Date.now() - start) / 1000;
const total = [...counts.values()].reduce((a, b) => a + b, 0);
const mib = (bytes) => (bytes / 2 ** 20).toFixed(1);
console.log(
  `${total} requests in ${seconds.toFixed(0)} s on ${values.chip} with ${clients} clients; ${refused} more got 429`,
);
for (const [kind, n] of [...counts].sort()) console.log(`  ${String(n).padStart(7)} ${kind}`);

/** Least squares: what `pick` gains over the samples, from the line through them. */
function drift(list, pick) {
  const n = list.length;
  const mx = list.reduce((a, s) => a + s.at, 0) / n;
  const my = list.reduce((a, s) => a + pick(s), 0) / n;
  const slope =
    list.reduce((a, s) => a + (s.at - mx) * (pick(s) - my), 0) /
    list.reduce((a, s) => a + (s.at - mx) ** 2, 0);
  return slope * (list.at(-1).at - list[0].at);
}
// Warming up: code is compiled, heaps grow to their size.
const warm = samples.slice(Math.floor(samples.length / 3)).filter((s) => s.rss !== undefined);
if (warm.length >= 8) {
  const grown = drift(warm, (s) => s.rss);
  const [from, to] = [warm[0], warm.at(-1)];
  console.log(
    `process: ${mib(from.rss)} MiB after ${from.at.toFixed(0)} s, ${mib(to.rss)} MiB at the end; the line through ${warm.length} samples gains ${mib(grown)} MiB`,
  );
  // Garbage makes a saw of it: memory that is lost lifts its lowest points, too.
  const lowest = (list) => Math.min(...list.map((x) => x.rss));
  const middle = warm.length >> 1;
  const lifted = lowest(warm.slice(middle)) - lowest(warm.slice(0, middle));
  console.log(`process: the lowest point of the second half is ${mib(lifted)} MiB above that of the first`);
  if (Math.min(grown, lifted) > SLACK_MIB * 2 ** 20)
    problems.push(`the process grew by ${mib(grown)} MiB after it was warm`);
  const held = to.reserved - from.reserved;
  console.log(`chip: ${mib(to.reserved)} MiB held by the pool, ${mib(held)} MiB more than then`);
} else console.log("process: too few samples to judge its memory");
if (!gone) {
  const after = await idle();
  const { requests_running: r, requests_waiting: w, cache_usage_ratio: used } = after;
  console.log(
    `idle: ${r} running, ${w} waiting, ${(100 * used).toFixed(1)} % of the cache's pages taken, ${mib(after.memory_allocated_bytes)} MiB of the chip in use`,
  );
  console.log(
    `cache: ${after.prefix_hit_tokens_total} of ${after.prefix_lookup_tokens_total} prompt tokens found; ${after.preemptions_total} preemptions`,
  );
  if (r !== 0 || w !== 0) problems.push(`a slot is stuck: ${r} running, ${w} waiting`);
  if (used !== 0) problems.push(`pages are stuck: ${(100 * used).toFixed(1)} %`);
  // An idle engine holds its weights, its cache and the last few steps that it recorded: which those are may differ by some bytes
  // from one round of the same requests to the next, where what is lost adds up with every round.
  const alone = async () => {
    for (const work of seeded.slice(0, 9))
      if ((await work.run()) !== work.alone) problems.push(`${work.kind}: differs after the load`);
    return (await idle()).memory_allocated_bytes;
  };
  const rounds = [await alone()];
  while (rounds.length < 6 && rounds.every((bytes, i) => i === 0 || bytes > rounds[i - 1]))
    rounds.push(await alone());
  if (rounds.length === 6 && rounds[5] > rounds[4])
    problems.push(`the chip's memory in use grows with every round: ${rounds.join(", ")} bytes`);
  server.kill("SIGTERM");
  await Promise.race([new Promise((r) => server.once("exit", r)), sleep(45_000)]);
  if (!gone) problems.push("the server did not end at SIGTERM");
}
for (const p of problems.slice(0, 20)) console.log(`PROBLEM ${p.slice(0, 400)}`);
console.log(JSON.stringify({ minutes: seconds / 60, requests: total, refused, problems: problems.length }));
process.exit(problems.length ? 1 : 0);
