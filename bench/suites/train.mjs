// A whole training step (forward, backward, clipping, AdamW) of GPT-2's smallest shape, f32, against PyTorch and against
// its arithmetic, 6 operations a parameter and token, at the rate that a 1024^3 product reaches in the same run.

import { normal } from "../harness.mjs";

export const jobs = (cores) => [{ chip: "cpu", threads: Math.min(2, cores) }];

const SHAPE = { vocab: 50257, width: 768, layers: 12, heads: 12, positions: 1024 };
const SMALL = { vocab: 1000, width: 64, layers: 2, heads: 4, positions: 128 };
const SIDE = 1024;

export async function run(bench) {
  const { vexil, chip, quick } = bench;
  const shape = quick ? SMALL : SHAPE;
  const tokens = quick ? 64 : 256;
  const { AdamW } = await import("../../dist/nn/index.js");
  const { createModel } = await import("../../dist/models/index.js");
  const { makeBatch, trainStep } = await import("../../dist/train/index.js");
  const raw = { model_type: "gpt2", vocab_size: shape.vocab, n_embd: shape.width, n_layer: shape.layers, n_head: shape.heads, n_positions: shape.positions }; // biome-ignore format: one line
  const model = createModel(raw, { device: chip, seed: 1, dtype: "f32" });
  const optimizer = new AdamW(model.namedParameters(), { betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.1 });
  const ids = Array.from({ length: tokens + 1 }, (_, i) => (i * 7919) % shape.vocab);
  const batch = makeBatch([{ tokens: ids, learnFrom: 0 }], tokens, 0);
  const parameters = model.parameters().reduce((n, p) => n + p.numel, 0);
  // The table of positions is only looked up.
  const flops = 6 * (parameters - shape.positions * shape.width) * tokens;

  let loss = Number.NaN;
  const step = async () => {
    ({ loss } = await trainStep(model, optimizer, batch, { learningRate: 1e-5, clipNorm: 1 }));
  };
  const sides = [{ name: "ours", once: step }];
  const torch = await bench.peer("torch");
  if (!torch.missing) {
    const { vocab, width, layers, heads, positions } = shape;
    const count = await torch.ask("gpt2", vocab, width, layers, heads, positions, tokens);
    if (count !== parameters) throw new Error(`PyTorch's model has ${count} parameters, ours ${parameters}`);
    sides.push({ name: "PyTorch CPU", once: () => torch.ask("gpt2_step") });
  }
  const blas = await bench.peer("openblas");
  const [x, y] = [5, 6].map((seed) =>
    vexil.tensor(normal(SIDE * SIDE, seed), { shape: [SIDE, SIDE], device: chip }),
  );
  const [a, b, c] = [normal(SIDE * SIDE, 5), normal(SIDE * SIDE, 6), new Float32Array(SIDE * SIDE)];
  sides.push({ name: "our matmul", once: () => vexil.mm(x, y).dispose() });
  if (!blas.missing) sides.push({ name: "OpenBLAS", once: () => blas.matmul(a, b, c, SIDE, SIDE, SIDE) });
  // A step is long, and so is what its threads do behind it: memory given back, waiting by spinning.
  const got = await bench.compareWith(sides, { ...bench.set, restMs: quick ? 10 : 400 });
  // Weights that are drawn small guess evenly at first.
  if (!got.ours.error && !(loss > 0 && loss < 1.1 * Math.log(shape.vocab)))
    got.ours = { error: `the loss ${loss} is none of a fresh model` };
  const rates = ["our matmul", "OpenBLAS"].filter((name) => got[name] && !got[name].error);
  const best = rates.reduce((p, name) => (got[name].ms < got[p].ms ? name : p));
  const rate = (2 * SIDE ** 3) / got[best].ms;
  await bench.row({
    work: "training step",
    shape: `${quick ? "a small GPT-2" : "GPT-2 124M"}, batch 1 x ${tokens}, f32`,
    flops,
    ours: got.ours,
    peers: [torch.missing ? { name: "PyTorch CPU", error: torch.missing } : { name: "PyTorch CPU", ...got["PyTorch CPU"] }], // biome-ignore format: one line
    floor: { name: `6ND at ${(rate / 1e6).toFixed(0)} GFLOP/s of ${best}`, ms: flops / rate },
    targets: quick ? [] : [{ floor: 0.6 }, { peer: "PyTorch CPU", reach: 1 }],
  });
  if (!torch.missing) torch.close();
}
