// Memory of training: 10,000 steps of a small model hold a flat footprint, on the chip and in the process.

export const jobs = () => ["cpu", "wasm"].map((chip) => ({ chip, threads: 1 }));

const MODEL = [64, 256, 10];
const BATCH = 32;
/** What the process may grow by over the measured steps: garbage that is not collected yet. */
const SLACK_MIB = 48;

export async function run(bench) {
  const { vexil, chip } = bench;
  const { AdamW } = await import("../../dist/nn/index.js");
  const { keep, scope, randn, linear, relu, crossEntropy, randint } = vexil;
  const [n, hidden, classes] = MODEL;
  const weights = keep([[hidden, n], [hidden], [classes, hidden], [classes]].map((s) => scope(() => randn(s, { device: chip }).mul(0.1)))); // biome-ignore format: one line
  for (const w of weights) w.requiresGrad_();
  const x = keep(randn([BATCH, n], { device: chip }));
  const y = keep(randint(classes, [BATCH], { device: chip, dtype: "i64" }));
  const options = { betas: [0.9, 0.99], eps: 1e-8, weightDecay: 0.1 };
  const optimizer = new AdamW(new Map(weights.map((w, i) => [`w${i}`, w])), options);
  const step = () =>
    scope(() => {
      const [w1, b1, w2, b2] = weights;
      crossEntropy(linear(relu(linear(x, w1, b1)), w2, b2), y).backward();
      optimizer.step(1e-3, 1);
      for (const w of weights) w.grad = null;
    });
  const steps = bench.quick ? 1000 : 10000;
  for (let i = 0; i < steps / 10; i++) step();
  const look = () => ({ ...vexil.memoryStats(vexil.loadedChip(chip)), process: process.memoryUsage().rss });
  const before = look();
  const start = performance.now();
  for (let i = 0; i < steps; i++) {
    step();
    if (i % 500 === 499) await new Promise((done) => setImmediate(done));
  }
  const ms = (performance.now() - start) / steps;
  const after = look();
  const flat = after.allocated === before.allocated && after.reserved === before.reserved;
  const grown = (after.process - before.process) / 2 ** 20;
  await bench.row({
    work: `${steps} training steps hold their memory`,
    shape: `${MODEL.join("-")}, ${BATCH} rows`,
    ours: { ms },
    ok: flat && grown < SLACK_MIB,
    note: `chip ${before.allocated} -> ${after.allocated} bytes in use, ${before.reserved} -> ${after.reserved} reserved; process ${grown >= 0 ? "+" : ""}${grown.toFixed(1)} MiB`,
  });
}
