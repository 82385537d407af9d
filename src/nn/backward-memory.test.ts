// Memory of a backward pass: gradients on their way are freed when they have been read, those that somebody has seen are not,
// and the gradients of a table that is also the output's weights meet in one piece of memory.

import { expect, it } from "vitest";
import { embedding, linear, mul, relu, sum } from "../ops/index.js";
import { noise, numbers, onEachChip } from "../ops/testing/chips.js";
import { defaultChip, memoryStats, resetPeakMemory } from "../runtime/index.js";
import { checkpoint, grad, type Tensor, tensor } from "../tensor/index.js";

const SIDE = 64;
const PIECE = SIDE * SIDE * 4;

/** As many layers of one shared weight as asked for. */
function tower(x: Tensor, w: Tensor, layers: number): Tensor {
  let h = x;
  for (let i = 0; i < layers; i++) h = relu(linear(h, w));
  return sum(mul(h, h));
}

/** What a pass takes at most beyond what was in use before it. */
function peakOf(layers: number): number {
  const chip = defaultChip();
  const [x, w] = [noise([SIDE, SIDE], 1), noise([SIDE, SIDE], 2).mul(0.1).detach()];
  x.requiresGrad_();
  w.requiresGrad_();
  const loss = tower(x, w, layers);
  const before = memoryStats(chip).allocated;
  resetPeakMemory(chip);
  loss.backward();
  return memoryStats(chip).peak - before;
}

await onEachChip((chip) => {
  const layers = chip === "interpreter" ? 4 : 12;

  it("takes no more memory for many layers than for few", () => {
    const few = peakOf(2);
    expect(few).toBeGreaterThanOrEqual(2 * PIECE);
    expect(peakOf(layers)).toBeLessThanOrEqual(few + PIECE);
  });

  it("leaves what a hook has seen until the pass ends", async () => {
    const w = noise([8, 8], 3).requiresGrad_();
    const h = relu(linear(noise([8, 8], 4).requiresGrad_(), w));
    const y = relu(linear(h, w));
    const seen: Tensor[] = [];
    const early: boolean[] = [];
    y.registerHook((g) => void seen.push(g));
    h.registerHook(() => void early.push(seen[0]!.storage.disposed));
    const kept = h.retainGrad();
    sum(y).backward();
    expect(early).toEqual([false]);
    expect(seen[0]!.storage.disposed).toBe(true);
    expect((await numbers(kept.grad!)).length).toBe(64);
  });

  it("gives grad() what it asks for on the way, with checkpoints too", async () => {
    const x = noise([8, 8], 5).requiresGrad_();
    const w = noise([8, 8], 6).requiresGrad_();
    const run = (f: (h: Tensor) => Tensor): (Tensor | null)[] => {
      const h = f(x);
      return grad([sum(mul(f(h), h))], [h, x, w]);
    };
    const plain = run((h) => relu(linear(h, w)));
    const again = run((h) => checkpoint((t: Tensor) => relu(linear(t, w)), [h]));
    for (const [i, g] of plain.entries()) expect(await numbers(again[i]!)).toEqual(await numbers(g!));
  });

  it.each([
    [-1, false],
    [2, false],
    [-1, true],
  ])(
    "adds an embedding's gradient to the output weights' own: padding %d, by frequency %s",
    async (paddingIdx, scaleGradByFreq) => {
      const table = noise([7, 20], 7);
      const ids = tensor([3n, 0n, 2n, 3n, 9n, -1n], { dtype: "i64" });
      const loss = (input: Tensor, output: Tensor): Tensor =>
        sum(mul(linear(embedding(input, ids, { paddingIdx, scaleGradByFreq }), output), noise([6, 7], 8)));
      const [a, b] = [table.clone().requiresGrad_(), table.clone().requiresGrad_()];
      loss(a, b).backward();
      const want = await numbers(a.grad!.add(b.grad!));
      const tied = table.clone().requiresGrad_();
      loss(tied, tied).backward();
      const got = await numbers(tied.grad!);
      got.forEach((v, i) => {
        expect(v).toBeCloseTo(want[i]!, 5);
      });
    },
  );
});
