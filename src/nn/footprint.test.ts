// Memory of training: a flat footprint over many steps, a report that names the line of a leak, and an error that names
// the largest tensors when a chip has no more.

import { readFileSync } from "node:fs";
import { afterEach, expect, it } from "vitest";
import { linear, relu, sum, zeros } from "../ops/index.js";
import { noise, onEachChip } from "../ops/testing/chips.js";
import {
  defaultChip,
  leakReport,
  leakTable,
  memoryStats,
  OutOfMemoryError,
  scope,
  trackAllocations,
} from "../runtime/index.js";
import { dispose, keep, type Tensor } from "../tensor/index.js";
import { AdamW } from "./adamw.js";

/** The line of this file that holds `text`. */
const lineOf = (text: string): number =>
  readFileSync(new URL(import.meta.url), "utf8").split("\n").findIndex((l) => l.includes(text)) + 1; // biome-ignore format: one line

/** A small model and one step of its training, as the trainer runs it. */
function training(): { step(): void; dispose(): void } {
  const weights = keep([noise([16, 8], 1), noise([16], 2), noise([4, 16], 3), noise([4], 4)]);
  for (const w of weights) w.requiresGrad_();
  const x = keep(noise([6, 8], 5));
  const optimizer = new AdamW(new Map(weights.map((w, i) => [`w${i}`, w])), { betas: [0.9, 0.99], eps: 1e-8, weightDecay: 0.1 }); // biome-ignore format: one line
  return {
    step() {
      scope(() => {
        const [w1, b1, w2, b2] = weights as [Tensor, Tensor, Tensor, Tensor];
        const y = linear(relu(linear(x, w1, b1)), w2, b2);
        sum(y.mul(y)).backward();
        optimizer.step(1e-3, 1);
        for (const w of weights) w.grad = null;
      });
    },
    dispose() {
      optimizer.dispose();
      dispose([weights, x]);
    },
  };
}

afterEach(() => trackAllocations(false));

await onEachChip((chip) => {
  it("stays flat over many steps", () => {
    const run = training();
    const stats = () => {
      const { allocated, reserved, count } = memoryStats(defaultChip());
      return { allocated, reserved, count };
    };
    for (let i = 0; i < 3; i++) run.step();
    const before = stats();
    for (let i = 0; i < (chip === "interpreter" ? 20 : 500); i++) run.step();
    expect(stats()).toEqual(before);
    run.dispose();
  });

  it("names the line of a leak", () => {
    const run = training();
    const hoard: Tensor[] = [];
    run.step();
    trackAllocations(true);
    for (let i = 0; i < 5; i++) {
      run.step();
      hoard.push(zeros([1024])); // the leaking line
    }
    const [worst] = leakReport();
    expect(worst!.count).toBe(5);
    expect(worst!.bytes).toBe(5 * 4096);
    expect(worst!.line).toContain(`footprint.test.ts:${lineOf("// the leaking line")}:`);
    expect(leakTable()).toMatch(/^0\.02 MiB in 5 \(0 of them lost\) at .*footprint\.test\.ts/);
    expect(leakReport().length).toBe(1);
    run.dispose();
    dispose(hoard);
    expect(leakReport()).toEqual([]);
  });

  it("says what is largest when there is no more memory", () => {
    const by = (defaultChip().capabilities.programThreads ?? 1) > 1 ? 32 : 1;
    const held = [zeros([3, 1024, 1024 * by], { dtype: "f32" }), zeros([2 ** 21 * by], { dtype: "f32" })]; // the large ones
    let error: unknown;
    try {
      scope(() => zeros([2 ** 42]));
    } catch (e) {
      error = e;
    }
    dispose(held);
    expect(error).toBeInstanceOf(OutOfMemoryError);
    const message = (error as Error).message;
    const at = `footprint.test.ts:${lineOf("// the large ones")}:`;
    const [first, second] = by === 1 ? ["12.00 MiB", "8.00 MiB"] : ["0.38 GiB", "0.25 GiB"];
    expect(message).toContain(`The largest tensors in use:\n  ${first} f32 [3, 1024, ${1024 * by}] made at `);
    expect(message).toContain(`\n  ${second} f32 [${2097152 * by}] made at `);
    expect(message.split(at).length).toBe(3);
  });
});
