// What one operator on a few elements costs, host and all, once it has run before: ours against tfjs, jax-js and PyTorch.

import { normal } from "../harness.mjs";

export const jobs = () => ["cpu", "wasm"].map((chip) => ({ chip, threads: 1 }));

const BATCH = 1000;
const LIMIT_MS = 0.003;

export async function run(bench) {
  const { vexil, chip } = bench;
  const data = [normal(256, 1), normal(256, 2)];
  const [x, y] = data.map((d) => vexil.tensor(d, { shape: [16, 16], device: chip }));
  const ours = {
    add: () => vexil.add(x, y).dispose(),
    relu: () => vexil.relu(x).dispose(),
    mm: () => vexil.mm(x, y).dispose(),
  };
  const web = [];
  for (const [file, name] of [
    ["tfjs", "tfjs wasm"],
    ["jax", "jax-js wasm"],
  ]) {
    const peer = await bench.peer(file);
    const tensors = peer.missing ? [] : data.map((d) => peer.tensor(d, [16, 16]));
    web.push({ name, peer, tensors });
  }
  const torch = await bench.peer("torch");
  for (const [op, once] of Object.entries(ours)) {
    const sides = [{ name: "ours", once }];
    for (const { name, peer, tensors } of web)
      if (!peer.missing) {
        const call = op === "mm" ? peer.matmul : peer[op];
        sides.push({
          name,
          once: op === "relu" ? () => call(tensors[0]) : () => call(tensors[0], tensors[1]),
        });
      }
    // A line to its process and back costs as much as ten operators: a thousand at a time.
    if (!torch.missing)
      sides.push({ name: "PyTorch CPU", each: BATCH, once: () => torch.seconds(op, BATCH) });
    const got = await bench.compare(sides, { rest: false });
    const peers = [
      ...web.map(({ name, peer }) => ({ name, ...(peer.missing ? { error: peer.missing } : got[name]) })),
      { name: "PyTorch CPU", ...(torch.missing ? { error: torch.missing } : got["PyTorch CPU"]) },
    ];
    // A peer that cannot be had here decides nothing; the row shows that it is missing.
    const there = peers.filter((p) => !p.error).map((p) => ({ peer: p.name, reach: 1 }));
    await bench.row({ work: `tiny ${op}`, shape: "16 x 16 f32", ours: got.ours, peers, targets: [...there, { limitMs: LIMIT_MS }] }); // biome-ignore format: one line
  }
  torch.close?.();
}
