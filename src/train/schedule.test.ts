import { describe, expect, it } from "vitest";
import type { TrainConfig } from "./config.js";
import { learningRate } from "./schedule.js";

const c = {
  schedule: "cosine" as TrainConfig["schedule"],
  steps: 100,
  warmup_steps: 10,
  learning_rate: 1,
  min_learning_rate: 0.1,
  decay_fraction: 0.2,
  decay_shape: "linear" as TrainConfig["decay_shape"],
};
const all = (more: Partial<typeof c> = {}) =>
  Array.from({ length: c.steps }, (_, step) => learningRate({ ...c, ...more }, step));

describe("learningRate", () => {
  it("rises in a line over the warm-up, whatever follows", () => {
    for (const schedule of ["cosine", "linear", "constant", "wsd"] as const)
      all({ schedule })
        .slice(0, 10)
        .forEach((rate, step) => {
          expect(rate).toBeCloseTo((step + 1) / 10, 12);
        });
    expect(learningRate({ ...c, warmup_steps: 0 }, 0)).toBe(1);
  });

  it("falls by a cosine or a line from the top after the warm-up to the minimum at the last step", () => {
    for (let step = 10; step < 100; step++) {
      const t = (step - 10) / 89;
      expect(all()[step]).toBeCloseTo(0.1 + (0.9 * (1 + Math.cos(Math.PI * t))) / 2, 12);
      expect(all({ schedule: "linear" })[step]).toBeCloseTo(1 - 0.9 * t, 12);
      expect(all({ schedule: "constant" })[step]).toBe(1);
    }
    expect(all()[99]).toBeCloseTo(0.1, 12);
    // A run that goes on beyond its steps stays there.
    expect(learningRate(c, 500)).toBeCloseTo(0.1, 12);
  });

  it.each([
    ["linear", (t: number) => 1 - 0.9 * t],
    ["cosine", (t: number) => 0.1 + (0.9 * (1 + Math.cos(Math.PI * t))) / 2],
    ["sqrt", (t: number) => 0.1 + 0.9 * (1 - Math.sqrt(t))],
    ["exponential", (t: number) => 0.1 ** t],
  ] as const)("wsd stays at the top and falls over the last fifth: %s", (decay_shape, formula) => {
    const rates = all({ schedule: "wsd", decay_shape });
    expect(new Set(rates.slice(10, 81))).toEqual(new Set([1]));
    for (let step = 80; step < 100; step++) expect(rates[step]).toBeCloseTo(formula((step - 80) / 19), 12);
  });

  it("wsd with a fall as long as the run begins it after the warm-up", () => {
    const rates = all({ schedule: "wsd", decay_fraction: 1 });
    expect(rates).toEqual(all({ schedule: "linear" }));
  });
});
