// Every operator of the table on its benchmark shapes, against the floor of the machine: the bytes that it reads and writes
// at the speed of the best copy, or its arithmetic at the speed of a measured matrix product; and ONNX Runtime where it
// has the operator.

import { bestCopy } from "../floors.mjs";
import { candidates, operands, operations } from "../op-shapes.mjs";

export const jobs = (cores) => ["cpu", "wasm"].map((chip) => ({ chip, threads: Math.min(2, cores) }));

const isTensor = (vexil, x) => x instanceof vexil.Tensor;
const tensorsOf = (vexil, v) =>
  isTensor(vexil, v) ? [v] : Array.isArray(v) ? v.flatMap((x) => tensorsOf(vexil, x)) : [];

export async function run(bench) {
  const { vexil, chip, threads } = bench;
  // Hundreds of rows: short samples, no rests.
  const set = { ...bench.set, samples: bench.quick ? 3 : 5, sampleMs: bench.quick ? 2 : 10, restMs: 0 };
  const copy = await bestCopy(16 * 2 ** 20, threads, set);
  const make = operands(vexil, chip);
  const [a, b] = [make.square(0), make.square(1)];
  const product = await bench.compareWith([{ name: "mm", once: () => vexil.mm(a, b).dispose() }], set);
  const rate = (2 * 1024 ** 3) / product.mm.low;
  await bench.row({
    work: "floors",
    shape: "-",
    ours: { ms: product.mm.ms },
    flops: 2 * 1024 ** 3,
    note: `copies ${copy.gbps.toFixed(1)} GB/s (${copy.kind}), products ${(rate / 1e6).toFixed(0)} GFLOP/s`,
  });
  const onnx = chip === "cpu" ? await bench.peer("onnx") : { missing: "compared on cpu" };
  const without = [];
  for (const op of vexil.operators().values()) {
    if (bench.only && !bench.only.has(op.schema.base)) continue;
    // A view moves nothing.
    if (op.viewOf >= 0) continue;
    const found = await take(bench, op, make);
    if (!found) {
      without.push(op.name);
      continue;
    }
    const { args, kind, inputs, shape } = found;
    const call = () => vexil.callOperator(op.name, ...args);
    const once = found.isAsync
      ? async () => vexil.scope(async () => void (await call()))
      : () => vexil.scope(() => void call());
    const sides = [{ name: "ours", once }];
    const peer = onnx.missing ? undefined : await onnx.operator(op.name, inputs);
    if (peer) sides.push({ name: "ONNX Runtime", once: peer.once });
    // Beside a peer, its idle threads must have stopped waiting by spinning before ours work, and the other way round.
    const got = await bench.compareWith(sides, peer ? { ...set, restMs: bench.set.restMs } : set);
    peer?.close();
    const byBytes = found.bytes / copy.gbps / 1e6;
    const byWork = (found.flops ?? 0) / rate;
    await bench.row({
      work: op.name,
      shape: `${shape} (${kind})`,
      ours: got.ours,
      ...(found.flops ? { flops: found.flops } : { bytes: found.bytes }),
      peers: peer ? [{ name: "ONNX Runtime", ...got["ONNX Runtime"] }] : [],
      floor: { name: byWork > byBytes ? "its arithmetic" : "its bytes", ms: Math.max(byBytes, byWork) },
    });
    for (const t of found.own) t.dispose();
  }
  if (!bench.only)
    await bench.row({ work: "operators without arguments to time them with", shape: String(without.length), ours: { ms: Number.NaN }, note: without.join(", ") }); // biome-ignore format: one line
}

/** The first argument list that the operator takes, and what it moves. */
async function take(bench, op, make) {
  const { vexil } = bench;
  for (const { kind, args: list } of candidates(op, make)) {
    const own = [];
    try {
      const args = list.slice();
      for (const at of op.writes) {
        const copyOf = (t) => {
          const c = vexil.keep(t.clone());
          own.push(c);
          return c;
        };
        if (isTensor(vexil, args[at])) args[at] = copyOf(args[at]);
        else if (Array.isArray(args[at])) args[at] = args[at].map(copyOf);
      }
      const inputs = tensorsOf(vexil, args);
      let isAsync = false;
      let results = [];
      await vexil.scope(async () => {
        let out = vexil.callOperator(op.name, ...args);
        isAsync = out instanceof Promise;
        out = await out;
        results = tensorsOf(vexil, out).map((t) => ({
          shape: t.shape,
          numel: t.numel,
          itemSize: t.itemSize,
        }));
      });
      if (results.length === 0 && op.writes.length === 0) throw new Error("no tensors");
      const size = (t) => t.numel * t.itemSize;
      const bytes =
        [...new Set(inputs)].reduce((n, t) => n + size(t), 0) + results.reduce((n, t) => n + size(t), 0);
      const shape =
        inputs.map((t) => `${t.dtype} ${t.shape.join("x")}`).join(", ") || results[0].shape.join("x");
      return { args, kind, inputs, isAsync, bytes, flops: operations(op, inputs, results), shape, own };
    } catch {
      for (const t of own) t.dispose();
    }
  }
  return undefined;
}
