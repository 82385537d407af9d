// Launches so large that they write past the caches, and the same on slices that do not: the results are the same bits.

import { expect, it } from "vitest";
import "../chips/index.js";
import { autoload, loadChip } from "../runtime/index.js";
import { type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { layerNorm } from "./layer-norm.js";
import { rmsNorm } from "./rms-norm.js";
import { cumsum } from "./scan.js";
import { softmax } from "./softmax.js";
import { streams } from "./streaming.js";
import { gelu } from "./unary.js";

const chip = await autoload();
const cacheBytes = chip.capabilities.cacheBytes ?? 0;

// Rows whose length is no multiple of a vector, so that rows begin at any alignment.
const COLS = 1003;
const rows = Math.ceil(cacheBytes / 2 / (COLS * 4)) + 5;
const data = (): Tensor => {
  const values = new Float32Array(rows * COLS);
  for (let i = 0; i < values.length; i++) values[i] = ((i * 2654435761) % 1000) / 125 - 4;
  return tensor(values, { shape: [rows, COLS] });
};
const bits = async (t: Tensor): Promise<Buffer> => Buffer.from(await t.bytes());

it.skipIf(cacheBytes === 0 || cacheBytes > 2 ** 28)(
  "large launches give the bits of small ones",
  async () => {
    const x = data();
    expect(streams(x, [data()])).toBe(true);
    const w = tensor(Float32Array.from({ length: COLS }, (_, i) => 1 + i / COLS));
    const works: [string, (t: Tensor) => Tensor][] = [
      ["gelu", (t) => gelu(t)],
      ["softmax", (t) => softmax(t, -1)],
      ["layer norm", (t) => layerNorm(t, [COLS], w, w)],
      ["RMS norm", (t) => rmsNorm(t, [COLS], w, 1e-5)],
      ["cumsum", (t) => cumsum(t, -1)],
      ["copy of a part", (t) => t.narrow(1, 1, COLS - 2).contiguous()],
    ];
    for (const [name, work] of works) {
      const whole = work(x);
      for (const [at, count] of [
        [0, 4],
        [rows - 3, 3],
        [rows >> 1, 64],
      ] as const) {
        const some = x.narrow(0, at, count).clone();
        expect(streams(some, [x.narrow(0, at, count)])).toBe(false);
        const got = await bits(whole.narrow(0, at, count).clone());
        expect(got.equals(await bits(work(some))), `${name}, rows from ${at}`).toBe(true);
      }
      whole.dispose();
    }
    // Rows in another order.
    const groups = rows >> 3;
    const three = x.narrow(0, 0, 8 * groups).view([groups, 8, COLS]);
    const swapped = three.permute(1, 0, 2).contiguous();
    for (const i of [0, 3, 7])
      for (const at of [0, groups - 40]) {
        const got = await bits(swapped.narrow(0, i, 1).narrow(1, at, 40).clone());
        expect(got.equals(await bits(three.narrow(1, i, 1).narrow(0, at, 40).clone()))).toBe(true);
      }
    swapped.dispose();
    // A transposed copy, element by element.
    const turned = x.t().contiguous();
    const back = turned.t();
    for (const at of [0, 500, rows - 70]) {
      const some = (t: Tensor) => bits(t.narrow(0, at, 70).clone());
      expect((await some(back)).equals(await some(x))).toBe(true);
    }
  },
  60000,
);

it("large copies on wasm, which reads memory in its order, put every element in its place", async () => {
  await loadChip("wasm");
  const [A, B, C] = [65, 130, 160];
  const values = Float32Array.from({ length: A * B * C }, (_, i) => i);
  const x = tensor(values, { shape: [A, B, C], device: "wasm" });
  const swapped = x.permute(1, 0, 2).contiguous();
  const got = (await swapped.data()) as Float32Array;
  let wrong = 0;
  for (let b = 0, i = 0; b < B; b++)
    for (let a = 0; a < A; a++) for (let c = 0; c < C; c++, i++) if (got[i] !== (a * B + b) * C + c) wrong++;
  expect(wrong).toBe(0);
});
