// Sorting against Float32Array.prototype.sort, and topk against reading its input once.

import { reader } from "../floors.mjs";
import { normal, setsFor } from "../harness.mjs";

export const jobs = (cores) => ["cpu", "wasm"].map((chip) => ({ chip, threads: Math.min(2, cores) }));

export async function run(bench) {
  await sorting(bench);
  await top(bench);
}

const disposeAll = (result) => {
  for (const t of Array.isArray(result) ? result : [result]) t.dispose();
};

async function sorting(bench) {
  const { vexil, chip } = bench;
  const count = bench.quick ? 2 ** 18 : 2 ** 22;
  const row = { work: "sort", shape: `${count} f32`, targets: [{ peer: "Float32Array.sort", reach: 3 }] };
  if (!vexil.sort) return bench.row({ ...row, ours: { error: "there is no operator `sort`" } });
  const data = normal(count, 1);
  const x = vexil.tensor(data, { shape: [count], device: chip });
  const got = await bench.compare([
    { name: "ours", once: () => disposeAll(vexil.sort(x)) },
    { name: "Float32Array.sort", once: () => void data.slice().sort() },
  ]);
  x.dispose();
  return bench.row({
    ...row,
    ours: got.ours,
    peers: [{ name: "Float32Array.sort", ...got["Float32Array.sort"] }],
  });
}

async function top(bench) {
  const { vexil, chip, threads } = bench;
  const [K, count] = [50, 128 * 1024];
  const row = { work: `topk ${K}`, shape: `${count} f32`, targets: [{ floor: 0.3 }] };
  if (!vexil.topk) return bench.row({ ...row, ours: { error: "there is no operator `topk`" } });
  const bytes = count * 4;
  const sets = setsFor(bytes, bench.cacheBytes);
  const all = vexil.tensor(normal(count * sets, 1), { shape: [sets, count], device: chip });
  const rows = Array.from({ length: sets }, (_, i) => all.select(0, i));
  const got = await bench.compare([
    { name: "ours", once: (i) => disposeAll(vexil.topk(rows[i % sets], K)) },
    { name: "read", once: reader(bytes, threads) },
  ]);
  return bench.row({ ...row, bytes, ours: got.ours, floor: { name: "a full read", ms: got.read.ms } });
}
