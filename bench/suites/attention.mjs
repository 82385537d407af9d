// Attention forward and backward, f32, against its matrix products at the rate that a 1024^3 product reaches in the same
// run: OpenBLAS on the cpu if it is there, else our own.

import { normal } from "../harness.mjs";

export const jobs = (cores) => [
  { chip: "cpu", threads: 1 },
  ...(cores > 1 ? [{ chip: "cpu", threads: 2 }] : []),
  { chip: "wasm", threads: Math.min(2, cores) },
];

const [B, H, S, D] = [1, 8, 1024, 64];
const SIDE = 1024;

export async function run(bench) {
  const { vexil, chip } = bench;
  const make = (seed, shape = [B, H, S, D]) =>
    vexil.tensor(normal(shape.reduce((a, b) => a * b), seed), { shape, device: chip }); // biome-ignore format: one line
  const [q, k, v, grad] = [1, 2, 3, 4].map((seed) => make(seed));
  const attention = (a, b, c) => vexil.scaledDotProductAttention(a, b, c);
  const ours = [
    { name: "forward", flops: 4 * B * H * S * S * D, once: () => attention(q, k, v).dispose() },
    backward(vexil, attention, [q, k, v], grad),
  ];
  const blas = chip === "cpu" ? await bench.peer("openblas") : { missing: "not on this chip" };
  const [x, y] = [make(5, [SIDE, SIDE]), make(6, [SIDE, SIDE])];
  const [a, b, c] = [normal(SIDE * SIDE, 5), normal(SIDE * SIDE, 6), new Float32Array(SIDE * SIDE)];
  for (const side of ours) {
    const sides = [side, { name: "our matmul", once: () => vexil.mm(x, y).dispose() }];
    if (!blas.missing) sides.push({ name: "OpenBLAS", once: () => blas.matmul(a, b, c, SIDE, SIDE, SIDE) });
    const got = await bench.compare(sides);
    const rates = sides.slice(1).filter((s) => !got[s.name].error);
    const best = rates.reduce((p, s) => (got[s.name].ms < got[p.name].ms ? s : p));
    const rate = (2 * SIDE ** 3) / got[best.name].ms;
    await bench.row({
      work: `attention ${side.name}`,
      shape: `B${B} H${H} S${S} D${D} f32`,
      flops: side.flops,
      ours: got[side.name],
      floor: {
        name: `its products at ${(rate / 1e6).toFixed(0)} GFLOP/s of ${best.name}`,
        ms: side.flops / rate,
      },
      targets: chip === "cpu" ? [{ floor: 0.6 }] : [],
    });
  }
}

/** The backward pass alone: the graph is kept. Five products of the forward's two. */
function backward(vexil, attention, inputs, grad) {
  const leaves = inputs.map((t) => {
    const leaf = t.clone();
    leaf.requiresGrad = true;
    return leaf;
  });
  const out = attention(...leaves);
  return {
    name: "backward",
    flops: 10 * B * H * S * S * D,
    once: () => {
      for (const g of vexil.grad([out], leaves, [grad], { retainGraph: true })) g.dispose();
    },
  };
}
