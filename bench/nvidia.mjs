// Checks and times the `nvidia` chip's core kernels on a machine with a GPU; needs only `dist/` and Node.
//
//     npm run build && node bench/nvidia.mjs [check] [tiny] [mem] [mm]
//
// `check` compares products with sums in f64 on the host; the others print rates. It is no suite of run.mjs: the machine has
// none of the peers that suites run beside.

import {
  tensor,
  setDefaultChip,
  matmul,
  softmax,
  defaultChip,
  add,
  scope,
  rand,
  randn,
  closeChips,
} from "../dist/index.js";
await setDefaultChip("nvidia");
const chip = defaultChip();
const t = async (g, min = 60) => {
  const f = () => {
    g();
  };
  for (let i = 0; i < 3; i++) scope(f);
  await chip.driver.sync();
  let n = 10;
  for (;;) {
    const a = performance.now();
    for (let i = 0; i < n; i++) scope(f);
    const h = performance.now() - a;
    await chip.driver.sync();
    const d = performance.now() - a;
    if (d > min) return [d / n, h / n];
    n *= 3;
  }
};
const want = process.argv.slice(2);
const on = (x) => !want.length || want.includes(x);
if (on("check"))
  for (const dt of ["bf16", "f16"])
    for (const [M, N, K] of [
      [128, 128, 64],
      [257, 130, 96],
      [64, 64, 200],
      [16, 512, 333],
      [300, 40, 1000],
      [256, 512, 512],
      [384, 1024, 1040],
      [129, 272, 4096],
    ])
      for (const tr of ["nn", "nt", "tn"]) {
        const a0 = randn([M, K]).to(dt),
          b0 = randn([K, N]).to(dt);
        const a = tr[0] === "t" ? a0.t().contiguous().t() : a0,
          b = tr[1] === "t" ? b0.t().contiguous().t() : b0;
        const got = await matmul(a, b).data();
        const A = await a0.data(),
          B = await b0.data();
        let worst = 0;
        for (let q = 0; q < 400; q++) {
          const i = (q * 7919) % M,
            j = (q * 104729) % N;
          let s = 0;
          for (let k = 0; k < K; k++) s += A[i * K + k] * B[k * N + j];
          worst = Math.max(worst, Math.abs(got[i * N + j] - s) / (Math.abs(s) + Math.sqrt(K)));
        }
        console.log(
          worst < (dt === "bf16" ? 0.008 : 0.001) ? "ok" : "WRONG",
          dt,
          M,
          N,
          K,
          tr,
          worst.toExponential(2),
        );
      }
if (on("tiny")) {
  const s = tensor([1, 2, 3, 4], { dtype: "f32" });
  const [a, h] = await t(() => add(s, s));
  console.log("tiny add us total,host", (a * 1e3).toFixed(2), (h * 1e3).toFixed(2));
}
if (on("mem")) {
  for (const n of [1 << 26, 1 << 28]) {
    const x = rand([n]),
      z = rand([n]);
    for (const [nm, f, b] of [
      ["add", () => add(x, z), 3],
      ["gelu", () => x.gelu(), 2],
      ["sum", () => x.sum(), 1],
      ["clone", () => x.clone(), 2],
    ]) {
      const [ms] = await t(f);
      console.log(nm, n, ms.toFixed(3), "ms", ((b * n * 4) / ms / 1e9).toFixed(2), "TB/s");
    }
  }
  const y = rand([65536, 4096]);
  for (const [nm, f, b] of [
    ["softmax", () => softmax(y, -1), 2],
    ["transpose", () => y.t().contiguous(), 2],
    ["cumsum", () => y.cumsum(-1), 2],
    ["argmax", () => y.argmax(-1), 1],
  ]) {
    const [ms] = await t(f);
    console.log(nm, ms.toFixed(3), "ms", ((b * y.numel * 4) / ms / 1e9).toFixed(2), "TB/s");
  }
}
if (on("mm"))
  for (const [dt, n] of [
    ["f32", 4096],
    ["bf16", 4096],
    ["f16", 4096],
    ["bf16", 8192],
  ])
    for (const tr of ["nn", "nt"]) {
      const a = randn([n, n]).to(dt),
        b = randn([n, n]).to(dt);
      const [ms] = await t(() => matmul(a, tr === "nt" ? b.t() : b));
      console.log("matmul", dt, n, tr, ms.toFixed(3), "ms", ((2 * n ** 3) / ms / 1e9).toFixed(1), "TFLOP/s");
    }
closeChips();
