// Times our side of the works in works.mjs and writes rows as JSON: `node measure.mjs OUT PART...`. Each work runs back to back until
// a sample takes 40 ms; the median of seven samples counts. `check` compares products with sums in f64 instead.

import { writeFileSync } from "node:fs";
import * as vexil from "../../dist/index.js";
import { check } from "./check.mjs";
import { blockingWait } from "./wait.mjs";
import { SIZES, WORKS } from "./works.mjs";

const [out, ...parts] = process.argv.slice(2);
const { B, H, ROWS, COLS } = SIZES;
const { randn, scope, tensor } = vexil;
await vexil.setDefaultChip("nvidia");
const chip = vexil.defaultChip();

const SAMPLES = 7;
const LEAST_MS = 40;
const WARM_MS = 400;

const settle = blockingWait(chip);

/** Milliseconds of one run: median, least and most of the samples. */
async function time(once) {
  const run = () => void once();
  const sample = async (n) => {
    const start = performance.now();
    for (let i = 0; i < n; i++) scope(run);
    settle();
    return performance.now() - start;
  };
  // The first run compiles the kernels, which may take longer than all that warms the host's code.
  await sample(1);
  let n = 2;
  const start = performance.now();
  for (let ms = 0; ms < LEAST_MS || performance.now() - start < WARM_MS; ) {
    ms = await sample(n);
    if (ms < LEAST_MS) n = Math.max(n + 1, Math.ceil(n * Math.min(8, (1.2 * LEAST_MS) / ms)));
  }
  const all = [];
  for (let i = 0; i < SAMPLES; i++) all.push((await sample(n)) / n);
  all.sort((a, b) => a - b);
  return { ms: all[SAMPLES >> 1], least: all[0], most: all.at(-1) };
}

/** `tf32` is f32 whose products may round it. */
const half = (shape, dtype) =>
  dtype === "f32" || dtype === "tf32" ? randn(shape) : scope(() => randn(shape).to(dtype));

const MEMORY = {
  add: (x, y) => () => x.add(y),
  gelu: (x) => () => x.gelu(),
  "silu and mul": (x, y) => () => x.silu().mul(y),
  copy: (x) => () => x.clone(),
  "transpose copy": (x) => () => x.t().contiguous(),
  softmax: (x) => () => vexil.softmax(x, -1),
  "rms norm": (x, _, w) => () => vexil.rmsNorm(x, [COLS], w),
  "layer norm": (x, _, w) => () => vexil.layerNorm(x, [COLS], w, w),
  "cross entropy": (x, _, __, rows) => () => vexil.crossEntropy(x, rows),
  "sum of all": (x) => () => x.sum(),
  "sum of rows": (x) => () => x.sum(-1),
  argmax: (x) => () => x.argmax(-1),
  cumsum: (x) => () => x.cumsum(-1),
  "index select": (x, _, __, rows) => () => vexil.indexSelect(x, 0, rows),
  embedding: (x, _, __, rows) => () => vexil.embedding(x, rows),
};

/** Makes the operands of a work; the function it returns is what is timed. */
const MAKE = {
  tiny: (w) => {
    const s = tensor([1, 2, 3, 4], { dtype: "f32" });
    if (w.of === "eager") return { once: () => vexil.add(s, s), per: 1 };
    const graph = vexil.capture(() => {
      let x = s;
      for (let i = 0; i < 100; i++) x = x.add(1);
      return x;
    });
    return { once: () => graph.replay(), per: 100 };
  },
  memory: (w) => {
    const x = half([ROWS, COLS], w.dtype);
    const y = w.of === "add" || w.of.startsWith("silu") ? half([ROWS, COLS], w.dtype) : x;
    const weight = half([COLS], w.dtype);
    const rows = vexil.randint(0, w.of === "cross entropy" ? COLS : ROWS, [ROWS], { dtype: "i64" });
    return { once: MEMORY[w.of](x, y, weight, rows) };
  },
  matmul: (w) => {
    vexil.setFloat32MatmulPrecision(w.dtype === "tf32" ? "high" : "highest");
    const a = half([w.m, w.k], w.dtype);
    // Weights stand as [out, in], as a linear layer has them.
    const b = w.m <= 16 ? half([w.n, w.k], w.dtype).t() : half([w.k, w.n], w.dtype);
    return { once: () => vexil.matmul(a, b) };
  },
  attention: (w) => {
    const leaf = () => half([B, H, w.S, w.D], "bf16");
    const [q, k, v] = [leaf(), leaf(), leaf()];
    const options = { isCausal: true };
    if (w.of === "forward") return { once: () => vexil.scaledDotProductAttention(q, k, v, options) };
    for (const t of [q, k, v]) t.requiresGrad = true;
    const o = vexil.scaledDotProductAttention(q, k, v, options);
    const grad = leaf();
    return { once: () => vexil.grad([o], [q, k, v], [grad], { retainGraph: true }) };
  },
  decode: (w) => {
    const [page, heads, keyHeads, D] = [16, 64, 8, SIZES.D];
    const pages = w.context / page;
    const cache = () => half([w.batch * pages, page, keyHeads, D], "bf16");
    const [k, v, q] = [cache(), cache(), half([w.batch, heads, D], "bf16")];
    const list = (n, f) =>
      tensor(
        Int32Array.from({ length: n }, (_, i) => f(i)),
        { shape: [n], dtype: "i32" },
      );
    const table = list(w.batch * pages, (i) => i).view([w.batch, pages]);
    const [starts, lengths] = [list(w.batch + 1, (i) => i), list(w.batch, () => w.context)];
    return {
      once: () => vexil.pagedAttention(q, k, v, table, starts, lengths, 1, w.context, { isCausal: true }),
    };
  },
  sort: (w) => {
    const x = randn([w.n]);
    return { once: () => (w.of === "sort" ? vexil.sort(x) : vexil.topk(x, 64)) };
  },
  quantized: (w) => {
    const weight = half([14336, 4096], "bf16");
    const made = w.bits === 8 ? vexil.quantizeInt8(weight, 128) : vexil.quantizeInt4(weight, 128);
    const x = half([w.m, 4096], "bf16");
    return { once: () => vexil.quantizedLinear(x, ...made, { groupSize: 128 }) };
  },
};

const rows = [];
const keep = () => out && writeFileSync(`${out}/ours-${parts.join("-")}.json`, JSON.stringify(rows));
if (parts[0] === "check") process.exitCode = (await check(vexil, SIZES)) ? 0 : 1;
else
  for (const w of WORKS.filter((x) => parts.includes(x.part))) {
    try {
      const { once, per = 1 } = MAKE[w.part](w);
      const t = await time(once);
      const row = { name: w.name, ms: t.ms / per, least: t.least / per, most: t.most / per };
      rows.push(row);
      const rate = w.flops ? `${(w.flops / row.ms / 1e9).toFixed(0)} TFLOP/s` : w.bytes ? `${(w.bytes / row.ms / 1e9).toFixed(2)} TB/s` : `${(row.ms * 1e3).toFixed(2)} us`; // biome-ignore format: one line
      console.log(w.name, row.ms.toFixed(4), "ms", rate);
    } catch (e) {
      rows.push({ name: w.name, error: String(e.message ?? e).slice(0, 300) });
      console.log(w.name, "FAILED", String(e.stack ?? e).slice(0, 600));
    }
    keep();
    vexil.emptyCache(chip);
  }
vexil.closeChips();
