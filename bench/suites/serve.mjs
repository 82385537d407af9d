// Generating text with a model of Qwen3-0.6B's shape and random weights, beside llama.cpp on the same GGUF file: decoding for
// one request, a prompt of 512 tokens, 8 requests at once; and how long the second start takes to the first token.
// `--ops` chooses among the rows: formats (bf16, q8_0, q4_0), works (decode, prompt, together), load.

import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { reader } from "../floors.mjs";
import { firstLine, summary } from "../harness.mjs";
import { folder, gguf } from "../random-model.mjs";

export const jobs = (cores) => [{ chip: "cpu", threads: Math.min(2, cores) }];

const ONE = 24;
const PROMPT = 512;
const TOGETHER = 8;
const EACH = 12;
/** What is read to measure the machine's bandwidth, past its caches. */
const READ_BYTES = 256 * 2 ** 20;
/** Prompts of several requests at once. */
const SHORT = 16;

let last = 0;
/** Token ids that no earlier prompt began with. */
function prompt(n) {
  last++;
  return Array.from({ length: n }, (_, i) => (last * 131 + i * 17 + ((i * last) % 7)) % 600);
}

/** Ours as the peer's context looks. */
async function ours(bench, file) {
  const { loadEngine } = await import("../../dist/node/serve/index.js");
  // The peer rounds activations to bytes where weights are integers, in prompts and answers.
  const promptActivations = /q\d_\d/.test(file) ? "int8" : "keep";
  const engine = await loadEngine({
    model: file,
    chip: bench.chip,
    cacheTokens: 2048,
    chunk: PROMPT,
    promptActivations,
  });
  return {
    dispose: () => engine.close(),
    async generate(tokens, count) {
      const request = { prompt: { tokens }, temperature: 0, topP: 1, topK: 0, stop: [], maxTokens: count };
      for await (const event of engine.generate(request))
        if (event.type === "end" && event.usage.completionTokens !== count)
          throw new Error(`${event.usage.completionTokens} tokens instead of ${count}`);
    },
  };
}

const WORKS = [
  {
    key: "decode",
    work: "decode, one request",
    shape: `${ONE} tokens`,
    reach: 1,
    tokens: ONE,
    samples: 5,
    run: (side) => side.generate(prompt(1), ONE),
    readsWeights: true,
  },
  {
    key: "prompt",
    work: "prompt to the first token",
    shape: `${PROMPT} tokens`,
    reach: 0.8,
    tokens: PROMPT,
    samples: 3,
    run: (side) => side.generate(prompt(PROMPT), 1),
  },
  {
    key: "together",
    work: `decode, ${TOGETHER} requests at once`,
    shape: `${SHORT} + ${EACH} tokens each`,
    reach: 1,
    tokens: TOGETHER * EACH,
    samples: 3,
    run: (side) => Promise.all(Array.from({ length: TOGETHER }, () => side.generate(prompt(SHORT), EACH))),
  },
];

export async function run(bench) {
  const wanted = (name) => !bench.only || bench.only.has(name);
  const chosen = WORKS.filter((w) => bench.only?.has(w.key));
  for (const type of ["BF16", "Q8_0", "Q4_0"])
    if (wanted(type.toLowerCase())) await format(bench, type, chosen.length ? chosen : WORKS);
  if (wanted("load")) await loading(bench);
}

async function format(bench, type, works) {
  const sides = [];
  const named = { work: `Qwen3-0.6B shape, ${type}`, shape: "-" };
  try {
    const file = gguf(type);
    sides.push({ name: "ours", ...(await ours(bench, file)) });
    const peer = await bench.peer("llama");
    const missing = peer.missing && { error: peer.missing };
    const loaded = missing ? undefined : await peer.load(file);
    // Its threads wait for each other by spinning: whether as many as there are cores help is the machine's affair.
    const counts = missing ? [] : [...new Set([1, bench.threads])];
    for (const n of counts)
      sides.push({
        name: `llama.cpp, ${n} thread${n > 1 ? "s" : ""}`,
        ...(await loaded.context(n, TOGETHER)),
      });
    const once = reader(READ_BYTES, bench.threads);
    const bandwidth = (READ_BYTES / (await bench.compare([{ name: "read", once }])).read.ms) * 1000;
    const bytes = statSync(file).size;
    for (const w of works) {
      const times = sides.map(() => []);
      // Once each: weights come into memory, kernels are compiled. A long prompt's are those of a short one.
      for (const side of sides) await (w.key === "prompt" ? side.generate(prompt(SHORT), 2) : w.run(side));
      const samples = bench.quick ? 1 : w.samples;
      for (let s = 0; s < samples; s++)
        for (const i of s % 2 ? [...sides.keys()].reverse() : sides.keys()) {
          const start = performance.now();
          await w.run(sides[i]);
          times[i].push((performance.now() - start) / w.tokens);
        }
      const [own, ...others] = times.map(summary);
      const peers = missing
        ? [{ name: "llama.cpp", ...missing }]
        : others.map((m, i) => ({ name: sides[i + 1].name, ...m }));
      const best = [...peers].sort((a, b) => a.ms - b.ms)[0];
      await bench.row({
        work: `${w.work}, ${type}`,
        shape: w.shape,
        ours: own,
        peers,
        ...(w.readsWeights
          ? {
              floor: {
                name: `${(bytes / 1e9).toFixed(2)} GB of weights at ${(bandwidth / 1e9).toFixed(1)} GB/s`,
                ms: (bytes / bandwidth) * 1000,
              },
            }
          : {}),
        targets: [{ peer: best.name, reach: w.reach }],
        note: `times are a token's: ${(1000 / own.ms).toFixed(1)} tokens/s${type === "BF16" ? "" : "; ours with prompt activations in int8"}`,
      });
    }
  } catch (e) {
    await bench.row({ ...named, ours: { error: firstLine(e) } });
  } finally {
    for (const s of sides.reverse()) await s.dispose();
  }
}

/**
 * From the start of a process that generates one token to its end, and a Node process that only reads the file: from the page cache,
 * and from the disk. The note has both without the processes: from loading to the token, and the reading.
 */
async function loading(bench) {
  const path = folder();
  const file = join(path, "model.safetensors");
  const here = (name) => join(import.meta.dirname, name);
  const words = ["generate", path, "a", "--max-tokens", "1", "--chip", bench.chip];
  const run = (...args) => {
    const at = performance.now();
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    if (status !== 0) throw new Error(stderr);
    return { whole: performance.now() - at, own: Number(stdout) };
  };
  const generate = () => run(here("../../dist/node/cli/main.js"), ...words);
  const load = () => run(here("../children/first-token.mjs"), path, bench.chip);
  const read = () => run(here("../children/read.mjs"), file);
  const size = statSync(file).size;
  for (const [where, prepare] of [
    ["the file in the page cache", () => {}],
    ["the file on the disk", () => forget(file)],
  ])
    try {
      // The first start reads the file as the second one finds it.
      forget(file);
      generate();
      load();
      const [generating, inside, reading] = [[], [], []];
      for (let i = 0; i < (bench.quick ? 1 : 5); i++)
        for (const [list, one] of [
          [reading, read],
          [generating, generate],
          [inside, load],
        ]) {
          prepare();
          list.push(one());
        }
      const name = "a Node process that reads the file";
      const [token, once] = [inside, reading].map((list) => summary(list.map((r) => r.own)));
      await bench.row({
        work: `second start to the first token, BF16, ${where}`,
        shape: `${(size / 1e9).toFixed(2)} GB of safetensors`,
        ours: summary(generating.map((r) => r.whole)),
        peers: [{ name, ...summary(reading.map((r) => r.whole)) }],
        targets: [{ peer: name, reach: 0.5 }],
        note: `whole processes; inside them loading to the token takes ${token.ms.toFixed(0)} ms, ${(token.ms / once.ms).toFixed(1)} times the ${once.ms.toFixed(0)} ms of the reading (${(size / once.ms / 1e6).toFixed(1)} GB/s)`,
      });
    } catch (e) {
      await bench.row({
        work: `second start to the first token, BF16, ${where}`,
        shape: "-",
        ours: { error: firstLine(e) },
      });
    }
}

/** Lets the system drop the file's pages from its cache. */
function forget(file) {
  const words = [`of=${file}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"];
  const { status, error, stderr } = spawnSync("dd", words, { encoding: "utf8" });
  if (status !== 0)
    throw new Error(`dd cannot drop the file from the page cache: ${error?.message ?? stderr}`);
}
