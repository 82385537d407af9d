// Several GPUs in one process: every one computes what the first does, memory and streams are each one's own, and tensors move
// between them with their gradients. With one GPU it says that it is skipped.

import * as vexil from "../../dist/index.js";

const { listChips, loadChip, matmul, scope, tensor } = vexil;
const found = (
  await listChips()
    .find((c) => c.name === "nvidia")
    .probe()
).found;
const count = 1 + Number(/and (\d+) more/.exec(found)?.[1] ?? 0);
console.log(found);
let wrong = 0;
const check = (what, ok) => {
  if (!ok) wrong++;
  console.log(ok ? "ok" : "WRONG", what);
};
const fails = async (fn) => {
  try {
    await fn();
    return "no error";
  } catch (e) {
    return e.message;
  }
};
await vexil.setDefaultChip("nvidia");
check("nvidia:0 is the chip itself", (await loadChip("nvidia:0")) === (await loadChip("nvidia")));
const missing = await fails(() => loadChip(`nvidia:${count}`));
check(`a GPU that is not there: ${missing}`, missing.includes(`no GPU has the number ${count}`));
if (count === 1) {
  console.log("skipped: copies between GPUs (missing: a second GPU)");
  process.exitCode = wrong ? 1 : 0;
  vexil.closeChips();
} else await several();

async function several() {
  const names = ["nvidia", ...Array.from({ length: count - 1 }, (_, i) => `nvidia:${i + 1}`)];
  for (const n of names) await loadChip(n);
  const [M, N, K] = [300, 500, 700];
  const list = (n, seed) => Float32Array.from({ length: n }, (_, i) => (((i * seed) % 17) - 8) / 8);
  const make = (device) => [
    tensor(list(M * K, 7), { shape: [M, K], device }),
    tensor(list(K * N, 11), { shape: [K, N], device }),
  ];
  const want = await matmul(...make("nvidia")).data();
  const same = (x, y) => x.length === y.length && x.every((v, i) => v === y[i]);
  for (const device of names) {
    const [a, b] = make(device);
    const c = matmul(a, b);
    check(`values on ${device}`, c.device === device && same(await c.data(), want));
    for (const other of names) {
      if (other === device) continue;
      // Much work first: a copy that did not wait would come too early.
      const [x, y] = make(device);
      let busy = x;
      for (let i = 0; i < 50; i++) busy = busy.mul(1);
      const moved = matmul(busy, y).to(other);
      check(`${device} to ${other}`, moved.device === other && same(await moved.data(), want));
      check(`turned, ${device} to ${other}`, same(await matmul(a.t().contiguous().t().to(other), b.to(other)).data(), want)); // biome-ignore format: one line
      // What was copied may change at once.
      const source = tensor(new Float32Array(1 << 20).fill(1), { device });
      const copy = source.to(other);
      source.fill_(2);
      const got = await copy.data();
      check(
        `later writes on ${device} do not reach ${other}`,
        got.every((v) => v === 1),
      );
    }
  }
  const x = tensor([1, 2, 3], { dtype: "f32", requiresGrad: true });
  x.to(names[1]).mul(2).to("nvidia").sum().backward();
  check("gradients come back", JSON.stringify(await x.grad.tolist()) === "[2,2,2]");
  const mixed = await fails(() => tensor([1]).add(tensor([1], { device: names[1] })));
  check(`tensors of two GPUs do not mix: ${mixed}`, mixed !== "no error");
  const big = scope(() => tensor(new Float32Array(64 << 20), { device: names[1] }));
  const start = performance.now();
  for (let i = 0; i < 10; i++) big.to("nvidia").dispose();
  await (await loadChip("nvidia")).driver.sync();
  console.log(
    `copies of 256 MB: ${((10 * 0.268435456) / ((performance.now() - start) / 1e3)).toFixed(1)} GB/s`,
  );
  process.exitCode = wrong ? 1 : 0;
  vexil.closeChips();
}
