// A training step in a captured graph against the same steps run one by one: the same weights, to the bit.

import { expect, it } from "vitest";
import { linear, relu, sum } from "../ops/index.js";
import { noise, onEachChip } from "../ops/testing/chips.js";
import { capture, scope } from "../runtime/index.js";
import { keep, noGrad, type Tensor, tensor } from "../tensor/index.js";
import { AdamW } from "./adamw.js";

function training() {
  const weights = keep([noise([16, 8], 1), noise([16], 2), noise([4, 16], 3)]);
  for (const w of weights) w.requiresGrad_();
  const x = keep(noise([6, 8], 5));
  const optimizer = new AdamW(new Map(weights.map((w, i) => [`w${i}`, w])), { betas: [0.9, 0.99], eps: 1e-8, weightDecay: 0.1 }); // biome-ignore format: one line
  const step = (rate: number | Tensor): void => {
    const [w1, b1, w2] = weights as [Tensor, Tensor, Tensor];
    const y = linear(relu(linear(x, w1, b1)), w2);
    sum(y.mul(y)).backward();
    optimizer.step(rate, 1);
    for (const w of weights) w.grad = null;
  };
  const read = async () => Promise.all(weights.map(async (w) => [...(await w.data())]));
  return { optimizer, step, x, read };
}

await onEachChip((chip) => {
  it("repeats forward, backward and update", async () => {
    const steps = 5;
    const input = (i: number) => noise([6, 8], 50 + i);
    const rate = (i: number) => 1e-2 / (i + 1);
    const plain = training();
    for (let i = 0; i < steps; i++)
      scope(() => {
        noGrad(() => plain.x.copy_(input(i)));
        plain.step(rate(i));
      });
    const t = training();
    const rates = keep(tensor([0, 0, 0], { dtype: "f32", device: chip }));
    const prepare = (i: number) =>
      scope(() =>
        noGrad(() => {
          t.x.copy_(input(i));
          rates.copy_(tensor(t.optimizer.rates(rate(i), i + 1), { shape: [3], device: chip }));
        }),
      );
    prepare(0);
    scope(() => t.step(rates));
    const graph = capture(() => t.step(rates));
    for (let i = 1; i < steps; i++) {
      prepare(i);
      graph.replay();
    }
    expect(await t.read()).toEqual(await plain.read());
    graph.dispose();
  });

  it("names rates that do not fit", () => {
    const t = training();
    expect(() => t.step(tensor([1, 2], { dtype: "f32", device: chip }))).toThrow(
      /the rates are f32 \[3\], not f32 \[2\]/,
    );
  });
});
