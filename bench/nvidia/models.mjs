// Whole models, our side: `node models.mjs OUT PART`. decoding: a token of a batch of one, replayed as a graph; prefill: a prompt;
// training: a step with AdamW; learning: thousands of steps on generated tokens, whose weights, tokens and losses stand in files for
// the other side; losses compares those. `PROFILE=1` shows a step's kernels instead of timing, `LAYERS=n` shortens models.

import { readFileSync, writeFileSync } from "node:fs";
import * as vexil from "../../dist/index.js";
import { createModel, DecodeGraph } from "../../dist/models/index.js";
import { AdamW } from "../../dist/nn/index.js";
import { kernelTimes } from "./kernel-times.mjs";
import { MODEL_SIZES, OUTPUT_BITS, SHAPES } from "./model-shapes.mjs";
import { rates, tokenStream } from "./stream.mjs";
import { blockingWait } from "./wait.mjs";

const [out, part] = process.argv.slice(2);
const device = "nvidia";
const files = process.env["FILES"] ?? "/tmp";
const { scope, tensor, noGrad } = vexil;
await vexil.setDefaultChip(device);
const chip = vexil.defaultChip();
const settle = blockingWait(chip);
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
    settle();
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
    const integers = bits < 16 ? { bits, groupSize: 128, outputBits: OUTPUT_BITS } : undefined;
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
        settle();
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

/** A step of training, captured: inputs, targets and rates are read from tensors, the loss is added to `sum` on the chip. */
function trainer(model, options, [rows, tokens]) {
  const optimizer = new AdamW(model.namedParameters(), { ...options, decays: () => true });
  const room = (shape, dtype) => vexil.zeros(shape, { dtype, device });
  const made = { inputs: room([rows, tokens], "i64"), targets: room([rows * tokens], "i64"), rates: room([3], "f32"), sum: room([], "f32") }; // biome-ignore format: one line
  const once = () => {
    const logits = model.forward(made.inputs);
    const loss = vexil.crossEntropy(logits.view([-1, raw.vocab_size]), made.targets);
    loss.backward();
    optimizer.step(made.rates);
    model.zeroGrad();
    noGrad(() => made.sum.add_(loss.detach()));
  };
  const write = (to, list) =>
    scope(() => noGrad(() => to.copy_(tensor(list, { shape: [...to.shape], device }))));
  return { ...made, once, write, rates: (rate, step) => write(made.rates, optimizer.rates(rate, step)) };
}

async function training() {
  const model = createModel(raw, { device, seed: 1, dtype: "bf16" });
  const t = trainer(model, { betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.1 }, [size.rows, size.tokens]);
  const list = (seed) => BigInt64Array.from(tokenStream({ vocab: raw.vocab_size, count: size.rows * size.tokens, seed, successors: 97 }), BigInt); // biome-ignore format: one line
  t.write(t.inputs, list(1));
  t.write(t.targets, list(2));
  t.rates(1e-4, 1);
  const run = () => scope(t.once);
  if (process.env["PROFILE"]) return await profiled(run);
  const name = `${size.model} training step bf16 ${size.rows}x${size.tokens}`;
  const eager = await time(run, { n: 2, samples: 3 });
  console.log(name, "without a graph", eager.map((x) => x.toFixed(2)).join(" "), "ms");
  const graph = vexil.capture(t.once);
  say(name, await time(() => graph.replay(), { n: 2, samples: steps }));
  console.log("loss", (await t.sum.item()) / (2 * steps + 8), "peak GB", vexil.memoryStats(chip).peak / 2 ** 30); // biome-ignore format: one line
}

async function learning() {
  const { rows: batch, tokens, every, betas, eps, decay } = size;
  const model = createModel(raw, { device, seed: 1, dtype: "bf16" });
  // The other side starts from the same weights and sees the same tokens.
  const names = [];
  for (const [name, p] of model.namedParameters()) {
    names.push([name, p.shape]);
    writeFileSync(`${files}/learning-${names.length - 1}.f32`, await noGrad(() => p.to("f32")).bytes());
  }
  writeFileSync(`${files}/learning.json`, JSON.stringify({ names, raw, size: { ...size, steps } }));
  const stream = tokenStream({ vocab: size.symbols, count: steps * batch * tokens + 1, seed: 7, successors: size.successors, spread: size.spread, skew: size.skew }); // biome-ignore format: one line
  writeFileSync(`${files}/learning-tokens.i32`, stream);
  const t = trainer(model, { betas, eps, weightDecay: decay, masterWeights: true }, [batch, tokens]);
  const prepare = (i) => {
    const at = i * batch * tokens;
    const ids = BigInt64Array.from(stream.subarray(at, at + batch * tokens + 1), BigInt);
    t.write(t.inputs, ids.subarray(0, -1));
    t.write(t.targets, ids.subarray(1));
    t.rates(rates(size, steps, i), i + 1);
  };
  prepare(0);
  if (process.env["PROFILE"]) return await profiled(() => scope(t.once));
  scope(t.once);
  const graph = vexil.capture(t.once);
  const losses = [];
  const ms = [];
  let from = performance.now();
  for (let i = 0; i < steps; i++) {
    // The first was run to compile it.
    if (i > 0) {
      prepare(i);
      graph.replay();
    }
    if ((i + 1) % every > 0) continue;
    losses.push((await t.sum.item()) / every);
    noGrad(() => t.sum.zero_());
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
  if (ours.length !== theirs.length) console.log(`WRONG: ${ours.length} means here, ${theirs.length} there`);
  ours.slice(0, theirs.length).forEach((x, i) => {
    const off = Math.abs(x - theirs[i]) / theirs[i];
    worst = Math.max(worst, off);
    console.log(off <= 0.01 ? "ok" : "WRONG", `steps to ${(i + 1) * MODEL_SIZES.learning.every}: ${x.toFixed(4)}, torch ${theirs[i].toFixed(4)}, ${(100 * off).toFixed(3)} %`); // biome-ignore format: one line
  });
  console.log(`${ours.length} means, the furthest ${(100 * worst).toFixed(3)} % apart`);
  if (worst > 0.01 || ours.length === 0 || ours.length !== theirs.length) process.exitCode = 1;
}

await { decoding, prefill, training, learning, losses }[part]();
vexil.closeChips();
