import { describe, expect, it } from "vitest";
import { learningRate } from "./schedule.js";

const c = {
  schedule: "cosine" as const,
  steps: 100,
  warmup_steps: 10,
  learning_rate: 1,
  min_learning_rate: 0.1,
};

describe("learningRate", () => {
  it("rises, then falls to the minimum", () => {
    expect(learningRate(c, 0)).toBeCloseTo(0.1);
    expect(learningRate(c, 9)).toBeCloseTo(1);
    expect(learningRate(c, 10)).toBeCloseTo(1);
    expect(learningRate(c, 99)).toBeCloseTo(0.1);
    expect(learningRate({ ...c, schedule: "linear" }, 54)).toBeCloseTo(0.55, 1);
    expect(learningRate({ ...c, schedule: "constant" }, 99)).toBe(1);
  });
});
