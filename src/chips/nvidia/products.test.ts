// Products that stream to the matrix units of 9.0, with each operand as it stands and turned: the form is evaluated thread by thread
// against sums in f64.

import { afterEach, expect, it } from "vitest";
import "../index.js";
import { bmm, matmul, setFloat32MatmulPrecision, type Tensor, tensor } from "../../index.js";
import { loadChip } from "../../runtime/index.js";
import { HOPPER, registerEvaluated } from "./testing.js";
import { tuning } from "./tuning.js";

const SHAPES = {
  "hopper products": HOPPER,
  // Its threads bring the operands themselves.
  "hopper products without its copy engine": { ...HOPPER, bulkCopy: false },
};
for (const [device, shape] of Object.entries(SHAPES)) {
  registerEvaluated(device, shape, {
    capabilities: { matrixDtypes: ["bf16", "f16"], dotBlock: [128, 128, 32], threads: 1 },
    tuning: { ...tuning, chip: device },
  });
  await loadChip(device);
}
const [engine, threads] = Object.keys(SHAPES) as [string, string];

afterEach(() => setFloat32MatmulPrecision("highest"));

const [M, N, K] = [128, 272, 80];
const small = (n: number, seed: number): number[] =>
  Array.from({ length: n }, (_, i) => ((i * seed) % 17) - 8);

it.each([
  ["tn", engine, "bf16"],
  ["tt", engine, "bf16"],
  ["tt", threads, "bf16"],
  ["nn", engine, "f32"],
  ["nt", engine, "f32"],
] as const)("%s on %s in %s", async (turned, device, dtype) => {
  // f32 as TF32: with integers as small as these nothing is lost.
  setFloat32MatmulPrecision("high");
  const [x, y] = [small(M * K, 7), small(K * N, 11)];
  const make = (list: number[], rows: number, cols: number, turn: boolean): Tensor => {
    const t = tensor(list, { shape: [rows, cols], dtype, device });
    return turn ? (t.t().contiguous() as Tensor).t() : t;
  };
  const a = make(x, M, K, turned[0] === "t");
  const b = make(y, K, N, turned[1] === "t");
  const got = await matmul(a, b).data();
  for (const [i, j] of [
    [0, 0],
    [1, 9],
    [63, 255],
    [64, 256],
    [127, 271],
    [77, 130],
  ] as const) {
    let want = 0;
    for (let k = 0; k < K; k++) want += x[i * K + k]! * y[k * N + j]!;
    expect(Math.abs(Number(got[i * N + j]) - want)).toBeLessThanOrEqual(Math.abs(want) / 128);
  }
});

// One workgroup has a turn more than the other.
it.each([
  [3, 128, 272, 72],
  [1, 256, 256, 72],
] as const)("takes the blocks of a batch one after another: %i of %ix%ix%i", async (batch, m, n, k) => {
  const [x, y] = [small(batch * m * k, 7), small(batch * k * n, 11)];
  const on = { dtype: "bf16", device: engine } as const;
  const got = await bmm(
    tensor(x, { shape: [batch, m, k], ...on }),
    tensor(y, { shape: [batch, k, n], ...on }),
  ).data();
  for (let q = 0; q < 400; q++) {
    const [z, i, j] = [q % batch, (q * 7919) % m, (q * 104729) % n];
    let want = 0;
    for (let p = 0; p < k; p++) want += x[(z * m + i) * k + p]! * y[(z * k + p) * n + j]!;
    expect(Math.abs(Number(got[(z * m + i) * n + j]) - want)).toBeLessThanOrEqual(Math.abs(want) / 128);
  }
});
