// Whole models, our side: `node models.mjs OUT PART`. decoding: a token of a batch of one, replayed as a graph; prefill: a prompt;
// training: a step with AdamW; learning: thousands of steps on generated tokens, whose weights, tokens and losses stand in files for
// the other side; losses compares those. `PROFILE=1` shows a step's kernels instead of timing, `LAYERS=n` shortens models.

import { readFileSync, writeFileSync } from "node:fs";
import * as vexil from "../../dist/index.js";
import { createModel, DecodeGraph } from "../../dist/models/index.js";
import { AdamW } from "../../dist/nn/index.js";
import { kernelTimes } from "./kernel-times.mjs";
import { MODEL_SIZES, SHAPES } from "./model-shapes.mjs";
import { rates, tokenStream } from "./stream.mjs";

const [out, part] = process.argv.slice(2);
const device = "nvidia";
const files = process.env["FILES"] ?? "/tmp";
const { scope, tensor, noGrad } = vexil;
await vexil.setDefaultChip(device);
const chip = vexil.defaultChip();
const size = MODEL_SIZES[part];
const steps = Number(process.env["STEPS"] ?? size?.steps ?? 0);
const layers = process.env["LAYERS"];
const raw = size && { ...SHAPES[size.model], ...(layers ? { num_hidden_layers: Number(layers) } : {}) };

const rows = [];
function say(name, samples) {
  const all = samples.toSorted((a, b) => a - b);
  rows.push({ name, ms: all[all.length >> 1], least: all[0], most: all.at(-1) });
  console.log(name, rows.at(-1).ms.toFixed(3), "ms");
  writeFileSync(`${out}/ours-${part}.json`, JSON.stringify(rows));
}

/** Milliseconds of one of `n` calls, several times. */
async function time(run, { n, samples = 5 }) {
  await run();
  await chip.driver.sync();
  const all = [];
  for (let i = 0; i < samples; i++) {
    const start = performance.now();
    for (let k = 0; k < n; k++) await run();
    await chip.driver.sync();
    all.push((performance.now() - start) / n);
  }
  return all;
}

async function profiled(run) {
  await run();
  await chip.driver.sync();
  kernelTimes(chip, run);
}

const randomIds = (shape, seed = 1) => {
  const n = shape.reduce((a, b) => a * b, 1);
  const list = tokenStream({ vocab: raw.vocab_size, count: n, seed, successors: 97 });
  return tensor(BigInt64Array.from(list, BigInt), { shape, device });
};

async function decoding() {
  const { context, tokens } = size;
  for (const bits of (process.env["BITS"] ?? "16,8,4").split(",").map(Number)) {
    const integers = bits < 16 ? { bits, groupSize: 128 } : undefined;
    const model = createModel(raw, { device, seed: 1, dtype: "bf16", requiresGrad: false, integers });
    const room = context + tokens;
    const page = 16;
    const cache = model.newPagedCache(room / page, page);
    for (let i = 0; i < raw.num_hidden_layers; i++)
      for (const t of Object.values(cache.layer(i))) noGrad(() => t.normal_(0, 1));
    const start = [{ pages: Array.from({ length: room / page }, (_, i) => i), past: context - 1, token: 1 }];
    const decode = new DecodeGraph(model, cache, start, { room });
    if (process.env["PROFILE"])
      await profiled(() => void scope(() => noGrad(() => model.forwardStep(decode))));
    else {
      const all = [];
      for (let i = 0; i < 5; i++) {
        decode.set(start);
        await chip.driver.sync();
        const from = performance.now();
        for (let k = 0; k < tokens; k++) decode.step();
        await chip.driver.sync();
        all.push((performance.now() - from) / tokens);
      }
      say(`${size.model} decode ${bits === 16 ? "bf16" : `int${bits}`} batch 1`, all);
      console.log("tokens", (await decode.tokens())[0].slice(0, 8).join(" "));
    }
    decode.dispose();
    cache.dispose();
    model.dispose();
    vexil.emptyCache(chip);
  }
}

async function prefill() {
  const model = createModel(raw, { device, seed: 1, dtype: "bf16", requiresGrad: false });
  const ids = randomIds([1, size.tokens]);
  const run = () => void scope(() => noGrad(() => model.forward(ids, { lastOnly: true })));
  if (process.env["PROFILE"]) await profiled(run);
  else say(`${size.model} prefill bf16 ${size.tokens}`, await time(run, { n: 3 }));
}

/** One step of training; the loss is added to `sum` on the chip. */
function trainer(model, options) {
  const optimizer = new AdamW(model.namedParameters(), { ...options, decays: () => true });
  return (inputs, targets, rate, sum) =>
    scope(() => {
      const logits = model.forward(inputs);
      const loss = vexil.crossEntropy(logits.view([-1, raw.vocab_size]), targets);
      loss.backward();
      optimizer.step(rate);
      model.zeroGrad();
      noGrad(() => sum.add_(loss.detach()));
    });
}

async function training() {
  const model = createModel(raw, { device, seed: 1, dtype: "bf16" });
  const step = trainer(model, { betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.1 });
  const inputs = randomIds([size.rows, size.tokens]);
  const targets = randomIds([size.rows * size.tokens], 2);
  const sum = tensor(new Float32Array(1), { shape: [], device });
  const run = () => void step(inputs, targets, 1e-4, sum);
  if (process.env["PROFILE"]) return await profiled(run);
  say(
    `${size.model} training step bf16 ${size.rows}x${size.tokens}`,
    await time(run, { n: 2, samples: steps }),
  );
  console.log(
    "loss",
    (await sum.item()) / (2 * steps + 1),
    "peak GB",
    vexil.memoryStats(chip).peak / 2 ** 30,
  );
}

async function learning() {
  const { rows: batch, tokens, every, betas, eps, decay } = size;
  const model = createModel(raw, { device, seed: 1, dtype: "f32", activations: "bf16" });
  // The other side starts from the same weights and sees the same tokens.
  const names = [];
  for (const [name, p] of model.namedParameters()) {
    names.push([name, p.shape]);
    writeFileSync(`${files}/learning-${names.length - 1}.f32`, await p.bytes());
  }
  writeFileSync(`${files}/learning.json`, JSON.stringify({ names, raw, size: { ...size, steps } }));
  const stream = tokenStream({ vocab: raw.vocab_size, count: steps * batch * tokens + 1, seed: 7, successors: size.successors }); // biome-ignore format: one line
  writeFileSync(`${files}/learning-tokens.i32`, stream);
  const step = trainer(model, { betas, eps, weightDecay: decay });
  const sum = tensor(new Float32Array(1), { shape: [], device });
  const run = (i) => {
    const at = i * batch * tokens;
    const ids = BigInt64Array.from(stream.subarray(at, at + batch * tokens + 1), BigInt);
    const all = tensor(ids, { shape: [batch * tokens + 1], device });
    step(all.narrow(0, 0, batch * tokens).view([batch, tokens]), all.narrow(0, 1, batch * tokens), rates(size, steps, i), sum); // biome-ignore format: one line
  };
  if (process.env["PROFILE"]) return await profiled(() => scope(() => run(0)));
  const losses = [];
  const ms = [];
  let from = performance.now();
  for (let i = 0; i < steps; i++) {
    scope(() => run(i));
    if ((i + 1) % every > 0) continue;
    losses.push((await sum.item()) / every);
    noGrad(() => sum.zero_());
    ms.push((performance.now() - from) / every);
    from = performance.now();
    writeFileSync(`${files}/learning-ours.json`, JSON.stringify(losses));
  }
  say(`${size.model} training step of ${steps}`, ms.slice(1));
  console.log("losses", losses.map((x) => x.toFixed(4)).join(" "));
}

/** Every mean against the other side's. */
function losses() {
  const [ours, theirs] = ["ours", "torch"].map((who) =>
    JSON.parse(readFileSync(`${files}/learning-${who}.json`)),
  );
  let worst = 0;
  ours.forEach((x, i) => {
    const off = Math.abs(x - theirs[i]) / theirs[i];
    worst = Math.max(worst, off);
    console.log(off <= 0.01 ? "ok" : "WRONG", `steps to ${(i + 1) * MODEL_SIZES.learning.every}: ${x.toFixed(4)}, torch ${theirs[i].toFixed(4)}, ${(100 * off).toFixed(3)} %`); // biome-ignore format: one line
  });
  console.log(`${ours.length} means, the furthest ${(100 * worst).toFixed(3)} % apart`);
  if (worst > 0.01 || ours.length === 0) process.exitCode = 1;
}

await { decoding, prefill, training, learning, losses }[part]();
vexil.closeChips();
