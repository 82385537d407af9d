// Products of integer weights whose fragments are loaded as they stand (9.0): the form is evaluated thread by thread against sums in f64.

import { expect, it } from "vitest";
import "../index.js";
import { evaluatorChip } from "../../compiler/lower/simt/testing/chip.js";
import { quantizedLinear, tensor } from "../../index.js";
import { buildOptimized } from "../../runtime/compile.js";
import { loadChip, registerChip } from "../../runtime/index.js";
import { observe } from "../../runtime/observe.js";
import { lowerSimt } from "../../compiler/lower/simt/index.js";
import { printPtx } from "./print.js";
import { shapeOf } from "./shape.js";
import { assemble, hasPtxas } from "./testing.js";

const device = "hopper integers";
const shape = shapeOf({ capability: 90, sharedPerBlockOptIn: 232448, registersPerBlock: 65536 });
registerChip({
  name: device,
  summary: "the evaluator of the GPU form, with the matrix units of 9.0",
  probe: () => Promise.resolve({ available: true, found: device }),
  open: () =>
    Promise.resolve(
      evaluatorChip(device, shape, { capabilities: { matrixDtypes: ["bf16", "f16"], threads: 1 } }),
    ),
});
await loadChip(device);

const random = (n: number, seed: number): number[] =>
  Array.from({ length: n }, (_, i) => ((Math.imul(i + 1, seed) >>> 7) % 255) - 127);

it.each([
  [8, "bf16", 384, 128],
  [8, "f16", 208, 0],
  [4, "bf16", 384, 64],
  [4, "f16", 352, 32],
] as const)("int%i, %s, %i by %i", async (bits, dtype, K, group) => {
  const N = 37;
  const size = group || K;
  const groups = Math.ceil(K / size);
  const half = bits === 8 ? K : Math.ceil(groups / 2) * size;
  const bytes = random(N * half, 40503).map((v) => (bits === 8 ? v : v + 128));
  const weight = (n: number, k: number): number => {
    if (bits === 8) return bytes[n * half + k]!;
    const byte = bytes[n * half + (k % half)]!;
    const nibble = k < half ? byte & 15 : byte >> 4;
    return nibble > 7 ? nibble - 16 : nibble;
  };
  const scales = random(N * groups, 7919).map((v) => 2 ** -7 * (1 + v / 1024));
  const q = tensor(bytes, { shape: [N, half], dtype: bits === 8 ? "i8" : "u8", device });
  const s = tensor(scales, { shape: [N, groups], dtype: "f32", device });
  const exact = await s.data();
  const xs = random(20 * K, 2654435761).map((v) => v / 64);
  const run = async (M: number, from: number): Promise<number[]> => {
    const x = tensor(xs.slice(from * K, (from + M) * K), { shape: [M, K], dtype, device });
    return [...(await quantizedLinear(x, q, s, null, null, { groupSize: group }).data())].map(Number);
  };
  const all = await run(20, 0);
  for (const [m, n] of [
    [0, 0],
    [3, 17],
    [7, 31],
    [9, 32],
    [19, 36],
  ] as const) {
    let [want, much] = [0, 0];
    for (let k = 0; k < K; k++) {
      const one = xs[m * K + k]! * weight(n, k) * Number(exact[n * groups + Math.floor(k / size)]);
      want += one;
      much += Math.abs(one);
    }
    expect(Math.abs(all[m * N + n]! - want)).toBeLessThanOrEqual(
      Math.abs(want) * (dtype === "bf16" ? 2 ** -8 : 2 ** -11) + much * 2 ** -20,
    );
  }
  // A row has the same bits whatever stands beside it.
  expect(await run(1, 9)).toEqual(all.slice(9 * N, 10 * N));
  expect(await run(3, 5)).toEqual(all.slice(5 * N, 8 * N));
});

it("widens in registers, without a barrier in the loop", async () => {
  const texts: string[] = [];
  const stop = observe({
    launch(what) {
      texts.push(printPtx(lowerSimt(buildOptimized(what.source, what.specialization()), shape), 90));
    },
  });
  const x = tensor(new Float32Array(512), { shape: [1, 512], dtype: "bf16", device });
  const q = tensor(new Uint8Array(64 * 256), { shape: [64, 256], dtype: "u8", device });
  const s = tensor(new Float32Array(64 * 8), { shape: [64, 8], device });
  try {
    quantizedLinear(x, q, s, null, null, { groupSize: 64 });
  } finally {
    stop();
  }
  const text = texts.find((t) => t.includes("mma.sync"))!;
  const loop = text.slice(text.indexOf("$for"), text.lastIndexOf("bra $for"));
  expect(loop).not.toContain("bar.sync");
  expect(loop).toContain("ld.global.v4.b32");
  expect(loop).toContain("lop3.b32");
  if (hasPtxas) expect(assemble(text, 90).report).toContain(" 0 bytes spill stores");
});
