// Products on AMX: the compiler accepts the text anywhere; values where the processor has the unit and the system grants it.

import { describe, expect, it } from "vitest";
import { constexpr, ptr } from "../../compiler/lang/index.js";
import { build, kernel } from "../../compiler/lang/testing/build.js";
import { lowerSimd } from "../../compiler/lower/simd/index.js";
import { optimize } from "../../compiler/passes/index.js";
import { compileLibrary } from "./compiler.js";
import { loadNative } from "./native.js";
import { printC } from "./print.js";
import { CpuTarget } from "./target.js";
import { download, loadForm, openDriver, STRICT, testCompiler, upload, zeros } from "./testing.js";
import type { Features } from "./unit.js";

const product = kernel(
  { a: ptr, b: ptr, c: ptr, M: constexpr, N: constexpr, K: constexpr, ACC: constexpr.dtype },
  ({ a, b, c, M, N, K, ACC }, tl) => {
    const [m, n] = [tl.arange(0, M), tl.arange(0, N)];
    let acc = tl.zeros([M, N], ACC);
    for (let k = 0; k < 2 * K; k += K) {
      const ks = k + tl.arange(0, K);
      const y = tl.load(b + tl.row(n) * 2 * K + tl.col(ks));
      acc = tl.dot(tl.load(a + tl.col(m) * 2 * K + tl.row(ks)), y, acc);
    }
    tl.store(c + tl.col(m) * N + tl.row(n), acc);
  },
);
const c = testCompiler();
const features: Features = {
  ...c.features,
  vectorBytes: 64,
  vectorRegisters: 32,
  x86wide: c.features.x86,
  dots: { i8: "avx512-vnni", bf16: "avx512-bf16" },
  tiles: { i8: true, bf16: true },
};
const there = c.features.tiles !== undefined && loadNative(c).tiles() === 1;

describe.skipIf(process.arch !== "x64")("AMX", () => {
  for (const [d, acc] of [
    ["i8", "i32"],
    ["bf16", "f32"],
  ] as const)
    for (const [M, N, K] of [
      [16, 16, 64],
      [64, 64, 128],
      [16, 32, 64],
    ] as const) {
      const form = () => {
        const func = build(product, { a: d, b: d, c: acc, M, N, K, ACC: acc });
        optimize(func);
        return lowerSimd(func, new CpuTarget({ ...c, features }).shape);
      };
      it(`text for ${M} by ${N} by ${K} of ${d} is accepted`, () => {
        const text = printC(form(), features);
        expect(text).toContain(d === "i8" ? "tdpbssd" : "tdpbf16ps");
        compileLibrary(c, "product", text, [
          ...STRICT,
          ...(c.features.clang ? [] : ["-march=sapphirerapids"]),
        ]);
      });
      it.skipIf(!there)(`multiplies ${M} by ${N} by ${K} of ${d}`, async () => {
        const data = (n: number, seed: number): Int8Array =>
          Int8Array.from({ length: n }, (_, i) => (i % 7 === 0 ? -128 : ((i * 7919 + seed) % 255) - 127));
        const [x, y] = [data(M * 2 * K, 1), data(N * 2 * K, 2)];
        const f32 = (v: Int8Array): Uint16Array => Uint16Array.from(new Uint32Array(Float32Array.from(v).buffer), (bits) => bits >>> 16); // biome-ignore format: one line
        const driver = openDriver(1);
        const buffers = [x, y].map((v) => upload(driver, d === "i8" ? v : f32(v)));
        buffers.push(driver.alloc(4 * M * N));
        driver.launch(loadForm(driver, form(), features), 1, 1, 1, buffers, zeros(3));
        const bytes = await download(driver, buffers[2]!);
        driver.close();
        const got = d === "i8" ? new Int32Array(bytes) : new Float32Array(bytes);
        for (let i = 0; i < M; i++)
          for (let j = 0; j < N; j++) {
            let sum = 0;
            for (let k = 0; k < 2 * K; k++) sum += x[i * 2 * K + k]! * y[j * 2 * K + k]!;
            expect(got[i * N + j]).toBe(sum);
          }
      });
    }
});
