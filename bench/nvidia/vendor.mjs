// cuBLAS beside Vexil's own products: the same values in every dtype and layout, and what the policy chooses. Without a cuBLAS it
// says so and passes: nothing needs one.

import * as vexil from "../../dist/index.js";

const { bmm, mm, setVendorPolicy, setFloat32MatmulPrecision, tensor, randn, useOps } = vexil;
await vexil.setDefaultChip("nvidia");
const chip = vexil.defaultChip();
const library = chip.vendor.matmul;
if (!library) {
  setVendorPolicy("on");
  const x = randn([64, 64]);
  await mm(x, x).data();
  console.log(`skipped: ${chip.vendor.missing}`);
  process.exit(0);
}
console.log(library.name, library.description);
const whole = (shape, dtype) =>
  tensor(
    Array.from({ length: shape.reduce((x, y) => x * y, 1) }, (_, i) => ((i * 7) % 17) - 8),
    { shape, dtype },
  );
let wrong = 0;
const used = (fn) => {
  const record = [];
  useOps({ record }, fn);
  return record.filter((r) => /^b?mm/.test(r.operator)).map((r) => r.implementation);
};
const both = async (what, fn) => {
  setVendorPolicy("off");
  const own = await fn().to("f32").tolist();
  setVendorPolicy("on");
  const who = used(fn).join();
  const theirs = await fn().to("f32").tolist();
  const same = who === "vendor" && JSON.stringify(own) === JSON.stringify(theirs);
  if (!same) wrong++;
  console.log(same ? "ok" : `WRONG (${who})`, what);
};
for (const d of ["f32", "f64", "f16", "bf16"])
  for (const [M, K, N] of [
    [1, 1, 1],
    [33, 40, 17],
    [128, 64, 256],
  ]) {
    const [a, b] = [whole([M, K], d), whole([K, N], d)];
    const [at, bt] = [whole([K, M], d).t(), whole([N, K], d).t()];
    for (const [x, y, how] of [
      [a, b, "nn"],
      [at, b, "tn"],
      [a, bt, "nt"],
      [at, bt, "tt"],
    ])
      await both(`${d} ${M}x${N}x${K} ${how}`, () => mm(x, y));
  }
await both("parts of matrices", () => mm(whole([20, 30], "f32").slice(1, 3, 28), whole([40, 50], "f32").slice(0, 5, 30).slice(1, 2, 12))); // biome-ignore format: one line
await both("a batch", () => bmm(whole([3, 4, 5], "f32"), whole([3, 6, 5], "f32").transpose(1, 2)));
await both("in the order of launches", () =>
  mm(whole([64, 64], "f32").add(1), whole([64, 64], "f32")).mul(2),
);

async function time(fn, n) {
  for (let i = 0; i < 3; i++) vexil.scope(() => void fn());
  await chip.driver.sync();
  const start = performance.now();
  for (let i = 0; i < n; i++) vexil.scope(() => void fn());
  await chip.driver.sync();
  return (performance.now() - start) / n;
}
for (const [d, n, tf32] of [
  ["f32", 4096, false],
  ["f32", 4096, true],
  ["bf16", 4096, false],
  ["bf16", 8192, false],
]) {
  const [a, b] = [randn([n, n]).to(d), randn([n, n]).to(d)];
  setFloat32MatmulPrecision(tf32 ? "high" : "highest");
  const rate = {};
  for (const policy of ["off", "on"]) {
    setVendorPolicy(policy);
    const ms = await time(() => mm(a, b), 20);
    rate[policy] = (2 * n ** 3) / ms / 1e9;
  }
  setVendorPolicy("measured");
  const choice = used(() => mm(a, b)).join();
  console.log(`${d}${tf32 ? " tf32" : ""} ${n}: vexil ${rate.off.toFixed(1)}, cublas ${rate.on.toFixed(1)} TFLOP/s (${(rate.off / rate.on).toFixed(3)}); by measurement: ${choice}`); // biome-ignore format: one line
}
process.exitCode = wrong ? 1 : 0;
vexil.closeChips();
