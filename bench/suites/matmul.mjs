// f32 matrix products against OpenBLAS (cpu), tfjs and jax-js (wasm), and products with narrow weights against what the
// memory gives.

import { reader } from "../floors.mjs";
import { normal, setsFor, worst } from "../harness.mjs";

export const jobs = (cores) =>
  ["cpu", "wasm"].flatMap((chip) => [1, ...(cores > 1 ? [2] : [])].map((threads) => ({ chip, threads })));

const SHAPES = [
  [512, 512, 512],
  [1024, 1024, 1024],
  [2048, 2048, 2048],
  [1, 4096, 4096],
  [16, 4096, 4096],
];

export async function run(bench) {
  const onCpu = bench.chip === "cpu";
  const names = onCpu ? [["openblas", "OpenBLAS"]] : [["tfjs", "tfjs wasm"], ["jax", "jax-js wasm"]]; // biome-ignore format: a table
  const peers = [];
  for (const [file, name] of names) peers.push({ name, ...(await bench.peer(file)) });
  for (const shape of bench.quick ? SHAPES.filter((s) => s[0] < 2048) : SHAPES)
    await product(bench, peers, shape);
  if (onCpu) for (const M of [1, 32]) await narrowWeights(bench, peers[0], M);
}

/** One f32 shape `[M, K] @ [K, N]`. */
async function product(bench, peers, [M, K, N]) {
  const { vexil, chip } = bench;
  // A few rows by a large matrix wait for memory: the matrices take turns, so that no cache holds them.
  const sets = M <= 16 ? setsFor(K * N * 4, bench.cacheBytes) : 1;
  const a = normal(M * K, 1);
  const bs = Array.from({ length: sets }, (_, i) => normal(K * N, i + 2));
  const x = vexil.tensor(a, { shape: [M, K], device: chip });
  const ys = bs.map((b) => vexil.tensor(b, { shape: [K, N], device: chip }));
  const sides = [{ name: "ours", once: (i) => vexil.mm(x, ys[i % sets]).dispose() }];
  const c = new Float32Array(M * N);
  const results = {};
  for (const peer of peers) {
    if (peer.missing) continue;
    if (peer.rowTimesMatrix) {
      const once =
        M === 1
          ? (i) => peer.rowTimesMatrix(a, bs[i % sets], c, N, K)
          : (i) => peer.matmul(a, bs[i % sets], c, M, N, K);
      sides.push({ name: peer.name, once });
      results[peer.name] = () => {
        once(0);
        return c;
      };
    } else {
      const left = peer.tensor(a, [M, K]);
      const rights = bs.map((b) => peer.tensor(b, [K, N]));
      sides.push({ name: peer.name, once: (i) => peer.matmul(left, rights[i % sets]) });
      results[peer.name] = () => peer.data(peer.product(left, rights[0]));
      peer.clean = () => {
        for (const t of [left, ...rights]) t.dispose();
      };
    }
  }
  const got = await bench.compare(sides);
  const z = vexil.mm(x, ys[0]);
  const ours = await z.data();
  for (const [name, result] of Object.entries(results)) {
    if (got[name].error) continue;
    const off = worst(ours, await result());
    if (!(off < 1e-4))
      got.ours = { error: `the result is ${off.toExponential(1)} away from that of ${name}` };
  }
  for (const t of [x, z, ...ys]) t.dispose();
  for (const peer of peers) {
    peer.clean?.();
    peer.clean = undefined;
  }
  vexil.emptyCache(vexil.loadedChip(chip));
  await bench.row({
    work: "f32 matmul",
    shape: `(${M}, ${K}) @ (${K}, ${N})`,
    flops: 2 * M * N * K,
    ours: got.ours,
    peers: peers.map((p) => ({ name: p.name, ...(p.missing ? { error: p.missing } : got[p.name]) })),
    targets: peers.map((p) => ({ peer: p.name, reach: chip === "cpu" ? 0.9 : 1 })),
    note: peers.map((p) => p.note).find(Boolean),
  });
}

const WEIGHTS = [
  { name: "bf16", bits: 16, dtype: "bf16" },
  { name: "int8", bits: 8, quantize: "quantizeInt8" },
  { name: "int4", bits: 4, quantize: "quantizeInt4" },
];
/** Input channels that share a scale. */
const GROUP = 128;

/** f32 activations by narrow weights: at one row the weights' bytes are the floor, at 32 rows OpenBLAS in f32 the peer. */
async function narrowWeights(bench, blas, M) {
  const { vexil, chip, threads } = bench;
  const [K, N] = [4096, 4096];
  const a = normal(M * K, 1);
  for (const w of WEIGHTS) {
    const bytes = (K * N * w.bits) / 8;
    const row = {
      work: `f32 activations by ${w.name} weights`,
      shape: `(${M}, ${K}) @ (${N}, ${K}).T`,
      flops: 2 * M * N * K,
      targets: M === 1 ? [{ floor: 0.8 }] : [{ peer: "OpenBLAS", reach: 1 }],
    };
    const sets = setsFor(bytes, bench.cacheBytes);
    const x = vexil.tensor(a, { shape: [M, K], device: chip });
    const weights = Array.from({ length: sets }, (_, i) =>
      weightsOf(vexil, chip, w, normal(K * N, i + 2), [N, K]),
    );
    const product = ([q, scales]) =>
      scales ? vexil.quantizedLinear(x, q, scales, null, null, { groupSize: GROUP }) : vexil.linear(x, q);
    const sides = [{ name: "ours", once: (i) => product(weights[i % sets]).dispose() }];
    if (M === 1) sides.push({ name: "floor", once: reader(bytes, threads) });
    else if (!blas.missing) {
      const bs = [normal(K * N, 2), normal(K * N, 3), normal(K * N, 4)];
      const c = new Float32Array(M * N);
      sides.push({ name: "OpenBLAS", once: (i) => blas.matmul(a, bs[i % 3], c, M, N, K) });
    }
    const got = await bench.compare(sides);
    for (const t of [x, ...weights.flat()]) t.dispose();
    vexil.emptyCache(vexil.loadedChip(chip));
    const peer = { name: "OpenBLAS", ...(blas.missing ? { error: blas.missing } : got.OpenBLAS) };
    await bench.row({
      ...row,
      ours: got.ours,
      ...(M === 1 ? { floor: { name: "reading the weights", ms: got.floor.ms } } : { peers: [peer] }),
    });
  }
}

/** `[weight]`, or `[integers, scales]`. */
function weightsOf(vexil, chip, w, values, shape) {
  const t = vexil.tensor(values, { shape, dtype: w.dtype ?? "f32", device: chip });
  if (!w.quantize) return [t];
  const parts = vexil[w.quantize](t, GROUP);
  t.dispose();
  return parts;
}
