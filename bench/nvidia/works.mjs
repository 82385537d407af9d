// What is measured on an NVIDIA GPU: every work by its name, with the operations or bytes that it cannot do without. The same
// names stand in peers.py; report.mjs puts both sides together.

import { decodeBytes, forwardFlops, MODEL_SIZES, SHAPES } from "./model-shapes.mjs";

/** A work: `flops` or `bytes` of one run, what its floor is, and the ratio to the peer that is aimed at. */
const work = (part, name, cost, goal) => ({ part, name, goal, ...cost });

const mm = (dtype, m, n, k, goal) =>
  work(
    "matmul",
    `matmul ${dtype} ${m}x${n}x${k}`,
    m <= 16
      ? { bytes: 2 * (n * k + m * (n + k)), dtype, m, n, k }
      : { flops: 2 * m * n * k, rate: dtype, dtype, m, n, k },
    goal,
  );

const ATTENTION = [1024, 2048, 4096, 8192, 16384];
const [B, H, D] = [4, 32, 128];
/** A causal mask leaves half of the products. */
const attention = (s, factor) => ({ flops: (factor * B * H * s * s * D) / 2, rate: "bf16", B, H, D, S: s });

const ELEMENTS = 2 ** 28;
const [ROWS, COLS] = [65536, 4096];
const memory = (name, dtype, times, more = {}) => {
  const size = dtype === "f32" ? 4 : 2;
  return work("memory", `${name} ${dtype}`, { bytes: times * ELEMENTS * size, dtype, of: name, ...more }, 1);
};

/** Every work. Elements of memory works: 2^28; rows: 65,536 of 4,096. */
export const WORKS = [
  work("tiny", "tiny add, host and device", { of: "eager" }, 1),
  work("tiny", "tiny add in a graph of 100", { of: "graph" }, 1),
  ...["f32", "bf16"].flatMap((d) => [
    memory("add", d, 3),
    memory("gelu", d, 2),
    memory("silu and mul", d, 3),
    memory("copy", d, 2),
    memory("transpose copy", d, 2),
    memory("softmax", d, 2),
    memory("rms norm", d, 2),
    memory("layer norm", d, 2),
    memory("cross entropy", d, 1),
    memory("sum of all", d, 1),
    memory("sum of rows", d, 1),
    memory("argmax", d, 1),
    memory("cumsum", d, 2),
    memory("index select", d, 2),
    memory("embedding", d, 2),
  ]),
  mm("bf16", 4096, 4096, 4096, 0.9),
  mm("f16", 4096, 4096, 4096, 0.9),
  mm("bf16", 8192, 8192, 8192, 0.9),
  mm("f16", 8192, 8192, 8192, 0.9),
  mm("bf16", 4096, 14336, 4096, 0.9),
  mm("bf16", 16, 8192, 8192, 1),
  mm("bf16", 1, 8192, 8192, 1),
  mm("f32", 4096, 4096, 4096, 0.9),
  mm("tf32", 4096, 4096, 4096, 0.9),
  ...ATTENTION.map((s) =>
    work("attention", `causal attention forward bf16 S${s}`, { ...attention(s, 4), of: "forward" }, 0.85),
  ),
  ...[4096].map((s) =>
    work("attention", `causal attention backward bf16 S${s}`, { ...attention(s, 10), of: "backward" }, 0.75),
  ),
  ...[
    [1, 32768],
    [16, 8192],
    [64, 4096],
    [256, 1024],
    [256, 4096],
  ].map(([batch, context]) =>
    work("decode", `paged decode bf16 batch ${batch} context ${context}`, {
      bytes: batch * context * 8 * D * 2 * 2,
      batch,
      context,
    }),
  ),
  ...[20, 23, 26].flatMap((n) => [
    work("sort", `sort f32 2^${n}`, { n: 2 ** n, of: "sort" }, 0.7),
    work("sort", `topk 64 f32 2^${n}`, { n: 2 ** n, of: "topk" }, 0.7),
  ]),
  ...[1, 16].flatMap((m) => [
    work("quantized", `int8 weights ${m}x14336x4096`, { bytes: 14336 * 4096, m, bits: 8 }),
    work("quantized", `int4 weights ${m}x14336x4096`, { bytes: (14336 * 4096) / 2, m, bits: 4 }),
  ]),
];

/** Whole models: `reach` is the share of the floor that is aimed at. */
const sizes = MODEL_SIZES;
const eight = SHAPES[sizes.decoding.model];
const shapeOf = (part) => SHAPES[sizes[part].model];
for (const [bits, name, reach] of [
  [16, "bf16", 0.8],
  [8, "int8", 0.8],
  [4, "int4", 0.8],
])
  WORKS.push(
    work("decoding", `${sizes.decoding.model} decode ${name} batch 1`, { bytes: decodeBytes(eight, bits, sizes.decoding.context), reach }), // biome-ignore format: one line
  );
WORKS.push(
  work("prefill", `${sizes.prefill.model} prefill bf16 ${sizes.prefill.tokens}`, { flops: forwardFlops(eight, 1, sizes.prefill.tokens, { outputs: 1 }), rate: "bf16", reach: 0.6 }), // biome-ignore format: one line
  work("training", `${sizes.training.model} training step bf16 ${sizes.training.rows}x${sizes.training.tokens}`, { flops: 3 * forwardFlops(shapeOf("training"), sizes.training.rows, sizes.training.tokens), rate: "bf16" }, 1), // biome-ignore format: one line
  work("learning", `${sizes.learning.model} training step of ${sizes.learning.steps}`, { flops: 3 * forwardFlops(shapeOf("learning"), sizes.learning.rows, sizes.learning.tokens), rate: "bf16" }, 1), // biome-ignore format: one line
);

export const SIZES = { B, H, D, ELEMENTS, ROWS, COLS };
