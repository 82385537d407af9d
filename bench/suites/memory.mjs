// Work that waits for memory: element-wise operators, norms, reductions, scans and copies of 16 M f32 elements, against the
// best copy that the machine does (cpu), and against cpu in the same run (wasm).

import { bestCopy } from "../floors.mjs";
import { normal, setsFor } from "../harness.mjs";

export const jobs = (cores) => ["cpu", "wasm"].map((chip) => ({ chip, threads: Math.min(2, cores) }));

/**
 * `moves`: how many times the bytes of the input are read and written; `reach`: the share of the floor to reach; `narrow`: what bounds
 * it where a vector holds four elements.
 */
const WORK = (v, n) => [
  { name: "add", moves: 3, inputs: 2, run: (x, y) => v.add(x, y) },
  { name: "gelu", moves: 2, narrow: "11 multiplies a vector of 4: 5.5 cycles where two ports multiply", run: (x) => v.gelu(x) },
  { name: "softmax of rows", moves: 2, run: (x) => v.softmax(x, -1) },
  { name: "layer norm of rows", moves: 2, run: (x, _, p) => v.layerNorm(x, [n], p.weight, p.bias) },
  { name: "RMS norm of rows", moves: 2, run: (x, _, p) => v.rmsNorm(x, [n], p.weight) },
  { name: "sum of all", moves: 1, run: (x) => v.sum(x) },
  { name: "sum of rows", moves: 1, run: (x) => v.sum(x, -1) },
  { name: "argmax of all", moves: 1, run: (x) => v.argmax(x) },
  { name: "cumsum of rows", moves: 2, reach: 0.6, run: (x) => v.cumsum(x, -1) },
  { name: "transpose copy", moves: 2, reach: 0.6, run: (x) => x.t().contiguous() },
  { name: "swap of the first of three dimensions, copied", moves: 2, reach: 0.6,
    run: (x) => x.view([n / 4, n / 16, 64]).permute(1, 0, 2).contiguous() },
  { name: "strided copy: 7/8 of each row", moves: 2 * (7 / 8), run: (x) => x.narrow(1, 0, n - n / 8).contiguous() },
]; // biome-ignore format: a table

export async function run(bench) {
  const { vexil, chip, threads } = bench;
  const n = bench.quick ? 2048 : 4096;
  const bytes = n * n * 4;
  const copy = chip === "cpu" ? await bestCopy(bytes, threads, bench.set) : undefined;
  if (copy) await bench.row(floorRow(copy, n));
  for (const work of WORK(vexil, n)) {
    const sides = [{ ...(await side(bench, chip, work, n)), name: "ours" }];
    if (copy) sides.push({ name: "copy", once: copy.once });
    else sides.push({ ...(await side(bench, await otherChip(vexil), work, n)), name: "cpu" });
    const got = await bench.compare(sides);
    for (const s of sides) s.clean?.();
    const moved = work.moves * bytes;
    const row = { work: work.name, shape: `${n} x ${n} f32`, bytes: moved, ours: got.ours };
    if (copy) {
      const ms = (got.copy.ms * moved) / copy.bytesMoved;
      await bench.row({ ...row, floor: { name: `the same bytes by ${copy.kind}`, ms }, targets: [{ floor: work.reach ?? 0.8 }] }); // biome-ignore format: one line
    } else
      await bench.row({
        ...row,
        ...(work.narrow ? { note: work.narrow } : {}),
        peers: [{ name: "cpu", ...got.cpu }],
        targets: [{ peer: "cpu", reach: 0.5 }],
      });
  }
}

const otherChip = async (vexil) => (await vexil.loadChip("cpu")).name;

const floorRow = (copy, n) => ({
  work: "floor: the best plain copy",
  shape: `${n} x ${n} f32`,
  bytes: copy.bytesMoved,
  ours: { ms: copy.bytesMoved / copy.gbps / 1e6 },
  note: Object.entries(copy.all)
    .map(([kind, gbps]) => `${kind} ${gbps.toFixed(1)} GB/s`)
    .join(", "),
});

/** A work with its own operands on a chip, as many sets as it takes to be out of the caches. */
async function side(bench, device, work, n) {
  const { vexil } = bench;
  const inputs = work.inputs ?? 1;
  const sets = setsFor(inputs * n * n * 4, bench.cacheBytes);
  const make = (shape, seed) =>
    vexil.tensor(normal(shape.reduce((a, b) => a * b), seed), { shape, device }); // biome-ignore format: one line
  const list = Array.from({ length: sets * inputs }, (_, i) => make([n, n], i + 1));
  const params = { weight: make([n], 91), bias: make([n], 92) };
  return {
    once: (i) => {
      const at = (i % sets) * inputs;
      work.run(list[at], list[at + inputs - 1], params).dispose();
    },
    clean: () => {
      for (const t of [...list, params.weight, params.bias]) t.dispose();
      vexil.emptyCache(vexil.loadedChip(device));
    },
  };
}
