// One run, twice: a Llama-shaped model of 10 M parameters learns the project's own documentation, in Vexil's trainer and in plain
// PyTorch, from the same weights, on the same batches, with the same learning rates.
//
//   npm run build && node bench/training/curve.mjs                          2,000 steps on the default chip, 10 minutes on two cores
//   node bench/training/curve.mjs --chip nvidia --peer-device cuda           on a GPU
//   node bench/training/curve.mjs --steps 50 --print                         does it run? changes no page
//   node bench/training/curve.mjs … --results FILE                           keeps what was found in a file
//   node bench/training/curve.mjs --from FILE                                writes the page from such a file, made elsewhere
//
// --python PATH   an interpreter that has torch (python3)      --out FOLDER   for what the two sides share (a temporary one)
// --threads N     threads of both sides on a CPU (all cores)
// Writes docs/training-curves.json, docs/training-curves.svg and the table in docs/training.md; leaves with an error where the curves differ by 1 %.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { writePage } from "./page.mjs";

const root = resolve(import.meta.dirname, "../..");
const { values: flags } = parseArgs({
  options: {
    steps: { type: "string", default: "2000" },
    chip: { type: "string" },
    "peer-device": { type: "string", default: "cpu" },
    python: { type: "string", default: "python3" },
    threads: { type: "string" },
    out: { type: "string" },
    print: { type: "boolean", default: false },
    results: { type: "string" },
    from: { type: "string" },
  },
});
if (flags.from) {
  const { result, losses } = JSON.parse(readFileSync(flags.from, "utf8"));
  writePage(root, result, losses);
  process.exit(0);
}
if (flags.threads) process.env.VEXIL_THREADS = flags.threads;
// Vexil's own kernels, not a vendor's library.
process.env.VEXIL_VENDOR ??= "off";
const { saveModel } = await import("../../dist/node/models/index.js");
const { learningRate, parseConfig, setUp, train, trainBpe } = await import("../../dist/node/train/index.js");

const out = flags.out ? resolve(flags.out) : mkdtempSync(join(tmpdir(), "vexil-curve-"));
mkdirSync(join(out, "tokenizer"), { recursive: true });
const docs = readdirSync(join(root, "docs")).filter((f) => f.endsWith(".md"));
const texts = ["README.md", ...docs.sort().map((f) => `docs/${f}`)].map((f) =>
  readFileSync(join(root, f), "utf8"),
);
const corpus = texts.join("\n");
writeFileSync(join(out, "corpus.txt"), corpus);
const tokenizer = trainBpe([corpus], { vocabSize: 4096 });
writeFileSync(join(out, "tokenizer/tokenizer.json"), JSON.stringify(tokenizer.files.tokenizer));
writeFileSync(join(out, "tokenizer/tokenizer_config.json"), JSON.stringify(tokenizer.files.config));

const steps = Number(flags.steps);
const model = {
  model_type: "llama", vocab_size: 4096, hidden_size: 384, intermediate_size: 1152, num_hidden_layers: 5, num_attention_heads: 6,
  num_key_value_heads: 2, max_position_embeddings: 128, rms_norm_eps: 1e-5, rope_theta: 10000, tie_word_embeddings: true,
}; // biome-ignore format: one thought
const config = parseConfig(
  {
    model: { config: model },
    tokenizer: { folder: "tokenizer" },
    data: { train: "corpus.txt" },
    output: "ours",
    steps,
    batch_size: 4,
    sequence_length: 64,
    learning_rate: 3e-4,
    min_learning_rate: 3e-5,
    warmup_steps: Math.min(100, Math.ceil(steps / 10)),
    clip_grad_norm: 1,
    seed: 1,
    ...(flags.chip ? { chip: flags.chip } : {}),
  },
  "curve",
  out,
);

// What both sides start from.
const setup = await setUp(config, undefined);
const parameters = setup.model.parameters().reduce((n, p) => n + p.numel, 0);
await saveModel(join(out, "initial"), setup.model, setup.tokenizer);
const { rows, columns } = setup.batches.at(0)[0];
const words = new Int32Array(steps * 2 * rows * columns);
let at = 0;
for (let step = 0; step < steps; step++)
  for (const { inputs, targets } of setup.batches.at(step))
    for (const part of [inputs, targets]) for (const token of part) words[at++] = Number(token);
writeFileSync(join(out, "batches.i32"), words);
const { betas, eps, weight_decay, clip_grad_norm } = config;
const learning_rates = Array.from({ length: steps }, (_, step) => learningRate(config, step));
const plan = { config: model, rows, columns, betas, eps, weight_decay, clip_grad_norm, learning_rates };
writeFileSync(join(out, "plan.json"), JSON.stringify(plan));
const chip = setup.chip.name;
setup.optimizer.dispose();
setup.model.dispose();
console.log(
  `${parameters.toLocaleString("en")} parameters, ${corpus.length.toLocaleString("en")} characters, ${steps} steps of ${rows} x ${columns} tokens, chip ${chip}`,
);

const ours = [];
const started = performance.now();
await train(
  { config },
  (event) => {
    if (event.type !== "progress") return;
    ours.push(event.progress.loss);
    if (ours.length % 100 === 0)
      console.log(
        `step ${ours.length}  loss ${event.progress.loss.toFixed(4)}  ${((performance.now() - started) / 1000).toFixed(0)} s`,
      );
  },
  new AbortController().signal,
);
const seconds = (performance.now() - started) / 1000;
writeFileSync(join(out, "ours.json"), JSON.stringify({ losses: ours, seconds }));
console.log(
  `vexil on ${chip}: ${steps} steps in ${seconds.toFixed(0)} s, last loss ${ours.at(-1).toFixed(4)}`,
);
execFileSync(
  flags.python,
  [
    join(import.meta.dirname, "peer.py"),
    out,
    flags["peer-device"],
    ...(flags.threads ? [flags.threads] : []),
  ],
  { stdio: "inherit" },
);
const peer = JSON.parse(readFileSync(join(out, "torch.json"), "utf8"));

const span = Math.min(100, steps);
const mean = (xs, i) => xs.slice(i, i + span).reduce((a, b) => a + b, 0) / Math.min(span, xs.length - i);
const table = [];
for (let i = 0; i < steps; i += span) {
  const [a, b] = [mean(ours, i), mean(peer.losses, i)];
  table.push({ steps: [i + 1, Math.min(i + span, steps)], ours: a, torch: b, off: Math.abs(a - b) / b });
}
const worst = Math.max(...table.map((r) => r.off));
for (const r of table)
  console.log(
    `steps ${r.steps.join(" to ").padEnd(13)} vexil ${r.ours.toFixed(4)}  torch ${r.torch.toFixed(4)}  ${(100 * r.off).toFixed(4)} %`,
  );
const first = ours.findIndex((x, i) => Math.abs(x - peer.losses[i]) > 1e-3 * peer.losses[i]);
console.log(
  `largest deviation of the means: ${(100 * worst).toFixed(4)} %; single losses are within 0.1 % for ${first < 0 ? "all" : `the first ${first}`} steps`,
);
const gpu = () =>
  execFileSync("nvidia-smi", ["--query-gpu=name", "--format=csv,noheader"], { encoding: "utf8" }).trim();
const machine = flags["peer-device"] === "cuda" ? gpu() : `${cpus()[0].model}, ${cpus().length} cores`;
const result = {
  date: new Date().toISOString().slice(0, 10),
  machine, chip, node: process.version, torch: peer.torch, parameters, steps, rows, columns,
  seconds: { ours: Math.round(seconds), torch: Math.round(peer.seconds) },
  worst, withinPerMille: first < 0 ? steps : first, table,
}; // biome-ignore format: one thought
const losses = { ours, torch: peer.losses };
if (flags.results) writeFileSync(flags.results, JSON.stringify({ result, losses }));
else if (!flags.print) writePage(root, result, losses);
if (!(worst < 0.01)) process.exitCode = 1;
