// AdamW and clipping against torch 2.13.0 (CPU, torch.optim.AdamW and clip_grad_norm_), five steps. The gradients of
// step s are 2 sin(i (s + 1) + 0.5) and cos(j (s + 2) - 0.25); nothing is drawn at random.

import { expect, it } from "vitest";
import { type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { adamwStep_, clipCoefficient } from "./optimizer.js";
import { noise, numbers, onEachChip } from "./testing/chips.js";

await onEachChip(() => {
  it("five steps of AdamW with clipping", async () => {
    const f32 = (values: readonly number[]) => tensor(Float32Array.from(values));
    const zeros = (n: number) => f32(new Array<number>(n).fill(0));
    const p = f32([0.5, -1, 2, 0.25]);
    const q = f32([1, -0.5, 0.125]);
    const states: [Tensor, Tensor, Tensor][] = [
      [p, zeros(4), zeros(4)],
      [q, zeros(3), zeros(3)],
    ];
    const norms: number[] = [];
    for (let s = 0; s < 5; s++) {
      const grads = [
        f32([0, 1, 2, 3].map((i) => 2 * Math.sin(i * (s + 1) + 0.5))),
        f32([0, 1, 2].map((j) => Math.cos(j * (s + 2) - 0.25))),
      ];
      const [norm, gradScale] = clipCoefficient(grads, 1);
      norms.push(Number(await norm.item()));
      states.forEach(([t, m, v], i) => {
        adamwStep_(t, grads[i]!, m, v, {
          lr: 0.01, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, step: s + 1, gradScale,
        }); // biome-ignore format: one line per group
      });
    }
    const want = [2.910005569, 2.982317209, 1.800602794, 3.024514914, 2.885482311];
    norms.forEach((n, i) => {
      expect(n).toBeCloseTo(want[i]!, 5);
    });
    const ends = [
      0.4483283758, -1.0145264864, 1.9805529118, 0.2678073943, 0.9458334446, -0.4601498246, 0.1346515566,
    ];
    [...(await numbers(p)), ...(await numbers(q))].forEach((v, i) => {
      expect(v).toBeCloseTo(ends[i]!, 6);
    });
  });

  it("leaves gradients below the limit as they are, and walks long tensors", async () => {
    // The first is shared out to several programs, the last one's share is short.
    const lists = [noise([2 ** 17 + 300], 3), noise([3000]), noise([0], 4), noise([70], 2)];
    const [norm, scale] = clipCoefficient(lists, 1000);
    const all = (await Promise.all(lists.map((t) => numbers(t)))).flat();
    expect(Number(await norm.item())).toBeCloseTo(Math.sqrt(all.reduce((s, x) => s + x * x, 0)), 2);
    expect(await scale.item()).toBe(1);
  });
});
