// Modes and helpers of gradients over the real operators: inference mode, anomaly mode, checkpointing, hooks after
// accumulation, gradients in f32 for half types, second derivatives. Expected numbers are formulas or torch's.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import "../chips/index.js";
import * as ops from "../ops/index.js";
import { defaultGenerator, memoryStats, scope, setDefaultChip, defaultChip } from "../runtime/index.js";
import {
  checkpoint,
  customFunction,
  detectAnomaly,
  enableGrad,
  grad,
  inferenceMode,
  noGrad,
  tensor,
  type Tensor,
} from "./index.js";

await setDefaultChip("interpreter");

const { add, exp, mul, sin, sum, div, log, matmul, dropout, tanh, sqrt } = ops;
/** Gradients of the sum of squares of a gradient, by torch 2.13 (`createGraph`'s last test). */
const TORCH = {
  dda: [
    -0.5076752109514947, 0.03384501406343299, 0.7784353234589586, -0.2783120026036858, 0.0185541335069124,
    0.4267450706589849,
  ],
  ddb: [
    0.01629327098818359, -0.016293270988183603, -0.033370960679647066, 0.03337096067964708,
    -0.18088763040369932, 0.18088763040369935,
  ],
};
type Numbers = number | Numbers[];
const f = (data: Numbers, dtype: "f64" | "f32" | "bf16" = "f64"): Tensor =>
  tensor(data, { dtype, requiresGrad: true });
const list = async (t: Tensor | null | undefined): Promise<number[]> => Array.from(await t!.data(), Number);
const close = async (t: Tensor | null | undefined, want: readonly number[], digits = 12): Promise<void> => {
  const got = await list(t);
  expect(got.length).toBe(want.length);
  want.forEach((w, i) => {
    expect(got[i]).toBeCloseTo(w, digits);
  });
};

describe("inferenceMode", () => {
  it("makes tensors that never take part in gradients", async () => {
    const w = f([2, 3]);
    const y = inferenceMode(() => {
      const inside = mul(w, w);
      expect(inside.requiresGrad).toBe(false);
      expect(enableGrad(() => mul(w, 2)).requiresGrad).toBe(false);
      inside.view(2, 1).add_(1);
      return inside;
    });
    expect(y.isInference).toBe(true);
    await close(y, [5, 10]);
    expect(() => mul(w, y)).toThrow(/made in inferenceMode cannot be saved for a backward pass/);
    expect(() => y.add_(1)).toThrow(/`add_\.Tensor` cannot write a tensor made in inferenceMode/);
    expect(() => y.requiresGrad_()).toThrow(/cannot require gradients/);
    const copy = y.clone().requiresGrad_();
    sum(mul(copy, copy)).backward();
    await close(copy.grad, [10, 20]);
    expect(mul(w, w).requiresGrad).toBe(true);
  });

  it("stays on over an await, and ends with an error", async () => {
    const w = f([2]);
    const pending = inferenceMode(async () => {
      await Promise.resolve();
      return mul(w, 2);
    });
    expect((await pending).isInference).toBe(true);
    expect(() =>
      inferenceMode(() => {
        throw new Error("x");
      }),
    ).toThrow("x");
    expect(mul(w, 2).requiresGrad).toBe(true);
  });
});

describe("anomaly mode", () => {
  it("names the operator and the author's line of what makes NaN", () => {
    const x = f([0, 1]);
    let message = "";
    try {
      detectAnomaly(() => {
        const root = sqrt(x); // the line that the report names
        sum(mul(root, tensor([0, 1], { dtype: "f64" }))).backward();
      });
    } catch (e) {
      message = (e as Error).message;
    }
    expect(message).toMatch(/derivative of `sqrt` made NaN in the gradient of its input 0 \[2\]/);
    const line = Number(/autograd-modes\.test\.ts:(\d+)/.exec(message)![1]);
    const source = readFileSync(new URL(import.meta.url), "utf8").split("\n")[line - 1];
    expect(source).toContain("the line that the report names");
  });

  it("names it where a derivative throws, and is off afterwards", () => {
    const bad = customFunction({
      name: "bad",
      forward: (_ctx, t: Tensor) => mul(t, 2),
      backward: () => {
        throw new Error("no derivative today");
      },
    });
    const x = f([1]);
    expect(() => detectAnomaly(() => sum(bad(x)).backward())).toThrow(
      /no derivative today; the forward call of `bad` stands at .*autograd-modes\.test\.ts:\d+/,
    );
    expect(() => sum(bad(x)).backward()).toThrow(/^no derivative today$/);
    const y = sum(sqrt(mul(x, 0)));
    expect(() => detectAnomaly(() => y.backward(), { checkNan: true })).toThrow(/outside anomaly mode/);
  });
});

describe("checkpoint", () => {
  const block = (w: Tensor) => (h: Tensor) => tanh(add(mul(exp(mul(h, w)), sin(h)), h));

  it("gives the same gradients, of arguments and of what is read from around", async () => {
    const [x, w] = [f([0.3, -0.7, 1.1]), f([0.5, 0.25, -0.5])];
    const plain = grad([sum(block(w)(block(w)(x)))], [x, w]);
    const again = grad([sum(checkpoint(block(w), [checkpoint(block(w), [x])]))], [x, w]);
    for (const i of [0, 1]) await close(again[i], await list(plain[i]));
    sum(checkpoint(block(w), [x])).backward();
    await close(w.grad, await list(grad([sum(block(w)(x))], [w])[0]));
  });

  it("may be nested, and differentiated twice", async () => {
    const [x, w] = [f([0.3, -0.7]), f([0.5, 0.25])];
    const second = (run: (h: Tensor) => Tensor): (Tensor | null)[] => {
      const [dx] = grad([sum(run(x))], [x], undefined, { createGraph: true });
      return grad([sum(mul(dx!, dx!))], [x, w]);
    };
    const plain = second((h) => block(w)(block(w)(h)));
    const nested = second((h) => checkpoint((a) => checkpoint(block(w), [checkpoint(block(w), [a])]), [h]));
    for (const i of [0, 1]) await close(nested[i], await list(plain[i]));
  });

  it("draws the same random numbers again and leaves the generator where it was", async () => {
    const x = f(Array.from({ length: 64 }, () => 1));
    defaultGenerator.manualSeed(7);
    const y = checkpoint((h) => mul(dropout(h, 0.5), mul(h, h)), [x]);
    const mask = (await list(y)).map((v) => v);
    const state = defaultGenerator.getState();
    sum(y).backward();
    expect(defaultGenerator.getState()).toEqual(state);
    await close(
      x.grad,
      mask.map((v) => 3 * v),
    );
  });

  it("frees what is saved inside until the backward pass, and computes it once more", () => {
    const chip = defaultChip();
    const x = f(Array.from({ length: 4096 }, (_, i) => i / 4096));
    let runs = 0;
    const deep = (h: Tensor): Tensor => {
      runs++;
      let y = h;
      for (let i = 0; i < 8; i++) y = sin(y);
      return y;
    };
    const held = (run: () => Tensor): number => {
      let bytes = 0;
      scope(() => {
        const before = memoryStats(chip).allocated;
        const y = scope(run);
        bytes = memoryStats(chip).allocated - before;
        sum(y).backward();
      });
      return bytes;
    };
    const plain = held(() => deep(x));
    const less = held(() => checkpoint(deep, [x]));
    expect(runs).toBe(3);
    expect(plain).toBeGreaterThanOrEqual(8 * 4096 * 8);
    expect(less).toBe(4096 * 8);
  });

  it("says when the second run differs, and catches arguments written meanwhile", () => {
    const x = f([1, 2]);
    let runs = 0;
    const y = checkpoint((h) => (runs++ === 0 ? exp(sin(h)) : exp(h)), [x]);
    expect(() => sum(y).backward()).toThrow(/checkpoint: the function saved \[.*\] when it first ran and/);
    const h = mul(f([1, 2]), 2);
    const z = checkpoint((a) => exp(sin(a)), [h]);
    noGrad(() => h.add_(1));
    expect(() => sum(z).backward()).toThrow(/modified in place by `add_\.Tensor`/);
    expect(() => checkpoint(async (a: Tensor) => a, [x])).toThrow(/synchronous function/);
  });
});

describe("hooks", () => {
  it("run after accumulation, and can be removed", async () => {
    const w = f([1, 2]);
    const seen: number[][] = [];
    const remove = w.registerPostAccumulateGradHook((p) => {
      seen.push(Array.from(p.grad!.dataSync(), Number));
      noGrad(() => p.sub_(mul(p.grad!, 0.5)));
      p.grad = null;
    });
    sum(mul(w, w)).backward();
    expect(seen).toEqual([[2, 4]]);
    await close(w, [0, 0]);
    expect(w.grad).toBe(null);
    remove();
    sum(mul(w, 3)).backward();
    expect(seen.length).toBe(1);
    await close(w.grad, [3, 3]);
    expect(() => mul(w, 2).registerPostAccumulateGradHook(() => {})).toThrow(/needs a leaf/);
  });
});

describe("gradDType", () => {
  it("adds half gradients in f32", async () => {
    const steps = (wide: boolean): Tensor => {
      const w = f([1], "bf16");
      if (wide) w.gradDType = "f32";
      for (let i = 0; i < 512; i++) sum(mul(w, i === 0 ? 1 : 0.001953125)).backward();
      return w.grad!;
    };
    // 1 + 511/512: in bf16 each addend is lost beside 1.
    expect(steps(false).dtype).toBe("bf16");
    await close(steps(false), [1]);
    expect(steps(true).dtype).toBe("f32");
    await close(steps(true), [1 + 511 / 512]);
  });

  it("adds several uses in one pass in f32 too", async () => {
    const w = f([1], "bf16");
    w.gradDType = "f32";
    let total = mul(w, 256).to("f32");
    for (let i = 0; i < 4; i++) total = add(total, mul(w, 0.5).to("f32"));
    sum(total).backward();
    await close(w.grad, [258]);
    expect(() => {
      w.gradDType = "bf16";
    }).toThrow(/has a gradient of f32 already/);
    expect(() => {
      w.gradDType = "i32";
    }).toThrow(/gradients are floats/);
  });
});

describe("second derivatives", () => {
  // d2/dx2 of sum(f(x)) at x, by formula.
  const x0 = [0.3, 0.8, 1.7];
  it.each([
    [
      "exp(sin)",
      (x: Tensor) => exp(sin(x)),
      (x: number) => Math.exp(Math.sin(x)) * (Math.cos(x) ** 2 - Math.sin(x)),
    ],
    ["log * x", (x: Tensor) => mul(log(x), x), (x: number) => 1 / x],
    [
      "x / (1 + x^2)",
      (x: Tensor) => div(x, add(mul(x, x), 1)),
      (x: number) => (2 * x * (x * x - 3)) / (1 + x * x) ** 3,
    ],
    ["tanh", (x: Tensor) => tanh(x), (x: number) => -2 * Math.tanh(x) * (1 - Math.tanh(x) ** 2)],
    ["sqrt", (x: Tensor) => sqrt(x), (x: number) => -0.25 * x ** -1.5],
  ])("of %s", async (_name, fn, want) => {
    const x = f(x0);
    const [dx] = grad([sum(fn(x))], [x], undefined, { createGraph: true });
    const [dxx] = grad([sum(dx!)], [x]);
    await close(dxx, x0.map(want), 10);
  });

  it("of a matrix product through a softmax, as torch gives them", async () => {
    const a = f([
      [0.1, -0.2, 0.3],
      [0.4, 0.5, -0.6],
    ]);
    const b = f([
      [0.7, -0.8],
      [0.9, 1.0],
      [-1.1, 1.2],
    ]);
    const y = ops.softmax(matmul(a, b), -1);
    const [da] = grad([sum(mul(y, y))], [a], undefined, { createGraph: true });
    const [dda, ddb] = grad([sum(mul(da!, da!))], [a, b]);
    await close(dda, TORCH.dda, 10);
    await close(ddb, TORCH.ddb, 10);
  });
});
