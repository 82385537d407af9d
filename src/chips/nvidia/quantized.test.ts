// Products of integer weights whose fragments are loaded as they stand (9.0): the form is evaluated thread by thread against sums in f64.

import { expect, it } from "vitest";
import "../index.js";
import { gatedLinear, linear, linearEach, quantizedLinear, quantizeInt4, quantizeInt8, siluMul, type Tensor, tensor } from "../../index.js"; // biome-ignore format: one line
import { buildOptimized } from "../../runtime/compile.js";
import { loadChip } from "../../runtime/index.js";
import { observe } from "../../runtime/observe.js";
import { lowerSimt } from "../../compiler/lower/simt/index.js";
import { printPtx } from "./print.js";
import { assemble, HOPPER, hasPtxas, registerEvaluated } from "./testing.js";

const device = "hopper integers";
registerEvaluated(device, HOPPER, { capabilities: { matrixDtypes: ["bf16", "f16"], threads: 1 } });
await loadChip(device);
// With so many processors the launches below are few programs, which take two blocks a turn.
const many = "hopper integers, many processors";
registerEvaluated(many, HOPPER, { capabilities: { matrixDtypes: ["bf16", "f16"], threads: 132 } });
await loadChip(many);

const random = (n: number, seed: number): number[] =>
  Array.from({ length: n }, (_, i) => ((Math.imul(i + 1, seed) >>> 7) % 255) - 127);

it.each([
  [8, "bf16", 384, 128, device],
  [8, "f16", 208, 0, device],
  [4, "bf16", 384, 64, device],
  [4, "f16", 352, 32, device],
  [8, "bf16", 1536, 128, many],
  [4, "bf16", 1536, 128, many],
] as const)("int%i, %s, %i by %i on %s", async (bits, dtype, K, group, device) => {
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
  expect(await run(9, 6)).toEqual(all.slice(6 * N, 15 * N));
});

it("widens in registers, without a barrier in the loop", async () => {
  const texts: string[] = [];
  const stop = observe({
    launch(what) {
      texts.push(printPtx(lowerSimt(buildOptimized(what.source, what.specialization()), HOPPER), 90));
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
  expect(loop).toContain("lop3.b32");
  // Weights are read once: what else is in the nearest cache stays there.
  expect(loop.match(/ld\.global\.L1::evict_first\.v4/g)).toHaveLength(2);
  // The first turn's weights are fetched while the launch before still runs, the input is not.
  const [early, late] = text.split("griddepcontrol.wait;") as [string, string];
  expect(early.match(/ld\.global\.L1::evict_first\.v4/g)).toHaveLength(2);
  expect(late).toContain("ld.global.v4");
  if (hasPtxas) expect(assemble(text, 90).report).toContain(" 0 bytes spill stores");
});

it.each([16, 4])(
  "products side by side and gated ones, %i bits, are products each for itself",
  async (bits) => {
    const [M, K] = [1, 256];
    const groupSize = bits === 16 ? 0 : 64;
    const x = tensor(
      random(M * K, 48271).map((v) => v / 64),
      { shape: [M, K], dtype: "bf16", device },
    );
    const made = [17, 16, 16].map((N, i) => {
      const list = random(N * K, 69621 + i).map((v) => v / 512);
      if (bits === 16)
        return { w: tensor(list, { shape: [N, K], dtype: "bf16", device }), scales: undefined };
      const f = tensor(list, { shape: [N, K], device });
      const [w, scales] = bits === 8 ? quantizeInt8(f, groupSize) : quantizeInt4(f, groupSize);
      return { w, scales };
    });
    const one = (i: number): Tensor => {
      const { w, scales } = made[i]!;
      return scales ? quantizedLinear(x, w, scales, null, null, { groupSize }) : linear(x, w);
    };
    const numbers = async (t: Tensor): Promise<number[]> => [...(await t.data())].map(Number);
    const scales = made.flatMap((m) => m.scales ?? []);
    const each = linearEach(x, made.map((m) => m.w), scales, groupSize); // biome-ignore format: one line
    const [a, b, c] = made as [(typeof made)[0], (typeof made)[0], (typeof made)[0]];
    const both = gatedLinear(x, b.w, c.w, b.scales ?? null, c.scales ?? null, groupSize);
    expect(a.w.shape[0]).toBe(17);
    for (const i of [0, 1, 2]) {
      const [got, want] = [await numbers(each[i]!), await numbers(one(i))];
      const most = Math.max(...want.map(Math.abs));
      // Together they may share their sums out otherwise.
      got.forEach((v, j) => void expect(Math.abs(v - want[j]!)).toBeLessThanOrEqual(most * 2 ** -8));
    }
    const [got, want] = [await numbers(both), await numbers(siluMul(each[1]!, each[2]!))];
    const most = Math.max(...want.map(Math.abs));
    got.forEach((v, j) => void expect(Math.abs(v - want[j]!)).toBeLessThanOrEqual(most * 2 ** -7));
  },
);

it("names weights and groups that do not fit, before anything runs", () => {
  const make = (shape: number[], dtype: "bf16" | "i8" | "f32"): Tensor => tensor(random(shape[0]! * shape[1]!, 3), { shape, dtype, device }); // biome-ignore format: one line
  const x = make([2, 64], "bf16");
  const [q, s] = [make([16, 64], "i8"), make([16, 2], "f32")];
  const short = make([16, 32], "bf16");
  expect(() => linearEach(x, [short, short])).toThrow(
    "linear_each: a weight must be [out, 64], not [16, 32]",
  );
  expect(() => linearEach(x, [q, q], [s, s], 48)).toThrow(
    /linear_each: group_size must be 0 or a power of two/,
  );
  expect(() => gatedLinear(x, q, q, s, s, 16)).toThrow("gated_linear: scales must be [16, 4], not [16, 2]");
});
