// Cross entropy with each of its options against torch 2.13.0 (CPU): x = sin(1.3 i) * 2 as [4, 6], i = 0, 1, 2, …

import { expect, it } from "vitest";
import { grad, type Tensor, tensor } from "../tensor/index.js";
import "./index.js";
import { crossEntropy } from "./loss.js";
import { softmax } from "./softmax.js";
import { numbers, onEachChip } from "./testing/chips.js";

const waves = (n: number, f: (i: number) => number, shape: readonly number[]): Tensor =>
  tensor(
    Float32Array.from({ length: n }, (_, i) => f(i)),
    { shape },
  );

async function close(t: Tensor, want: readonly number[], digits = 5): Promise<void> {
  const got = await numbers(t);
  expect(got.length).toBe(want.length);
  got.forEach((v, i) => {
    expect(v).toBeCloseTo(want[i]!, digits);
  });
}

await onEachChip(() => {
  const logits = () => waves(24, (i) => Math.sin(i * 1.3) * 2, [4, 6]);
  const target = () => tensor([2n, -100n, 0n, 5n]);
  const weight = () => tensor([1, 0.5, 2, 1, 0.25, 3], { dtype: "f32" });

  it.each<[string, () => Parameters<typeof crossEntropy>[2], number[], number[]]>([
    ["mean", () => ({}), [2.7323711], [0.0263823, 0.1812377, -0.2593607, 0.0066669, 0.0045077, 0.0405661]],
    [
      "none",
      () => ({ reduction: "none" }),
      [1.5054474, 0, 2.2912278, 4.4004378],
      [0.0791469, 0.543713, -0.778082, 0.0200008, 0.013523, 0.1216983],
    ],
    [
      "weights",
      () => ({ weight: weight() }),
      [3.0839059],
      [0.0263823, 0.1812377, -0.2593607, 0.0066669, 0.0045077, 0.0405661],
    ],
    [
      "smoothing",
      () => ({ labelSmoothing: 0.1 }),
      [2.7186036],
      [0.0208267, 0.1756821, -0.2315829, 0.0011114, -0.0010479, 0.0350106],
    ],
    [
      "weights and smoothing",
      () => ({ weight: weight(), labelSmoothing: 0.2, reduction: "none" }),
      [2.9806647, 0, 2.5508652, 11.3099155],
      [0.1137479, 0.9937333, -1.2542691, 0.0038348, 0.016797, 0.126156],
    ],
  ])("class indices: %s", async (_name, options, loss, gradient) => {
    const x = logits().requiresGrad_();
    const y = crossEntropy(x, target(), options());
    await close(y, loss);
    const [g] = grad(
      [y],
      [x],
      [
        tensor(
          Float32Array.from(loss, () => 1),
          { shape: y.shape },
        ),
      ],
    ) as [Tensor];
    await close(g.select(0, 0), gradient);
  });

  it("class probabilities, weights and smoothing", async () => {
    const x = logits().requiresGrad_();
    const p = softmax(waves(24, Math.cos, [4, 6]), 1);
    const y = crossEntropy(x, p, { weight: weight(), labelSmoothing: 0.1 });
    await close(y, [2.9668615]);
    const [g] = grad([y], [x]) as [Tensor];
    await close(g.select(0, 0), [-0.0623909, 0.1459827, 0.0222956, -0.0091795, -0.0007026, -0.0960054]);
  });

  it("further dimensions, none but the classes, and nothing that counts", async () => {
    const x = waves(24, (i) => Math.sin(i * 0.7), [2, 3, 4]).requiresGrad_();
    const y = crossEntropy(
      x,
      tensor([
        [0n, 1n, 2n, 1n],
        [2n, -100n, 0n, 1n],
      ]),
    );
    await close(y, [1.283297896]);
    const [g] = grad([y], [x]) as [Tensor];
    await close(g.select(0, 0).select(0, 0), [-0.0940978, 0.0750419, 0.0761431, 0.0623552]);
    await close(crossEntropy(x.detach().select(0, 0).select(1, 0), tensor(1n)), [0.7399601]);
    expect(await crossEntropy(logits(), tensor([-100n, -100n, -100n, -100n])).item()).toBeNaN();
  });

  it("names what does not fit", () => {
    expect(() => crossEntropy(logits(), tensor([0n, 1n]))).toThrow(/\[4, 6\] needs targets \[4\], not \[2\]/);
    expect(() => crossEntropy(logits(), target(), { labelSmoothing: 2 })).toThrow(/between 0 and 1, not 2/);
  });
});
