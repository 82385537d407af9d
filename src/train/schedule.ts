// Learning rates by step. Pure numbers.

import type { TrainConfig } from "./config.js";

type Schedule = Pick<
  TrainConfig,
  "schedule" | "steps" | "warmup_steps" | "learning_rate" | "min_learning_rate"
>;

/**
 * The learning rate of a step (0-based): a linear rise over the warm-up, then the schedule down to the minimum.
 */
export function learningRate(c: Schedule, step: number): number {
  if (step < c.warmup_steps) return (c.learning_rate * (step + 1)) / c.warmup_steps;
  const span = Math.max(1, c.steps - c.warmup_steps - 1);
  const t = Math.min(1, (step - c.warmup_steps) / span);
  const fall = c.learning_rate - c.min_learning_rate;
  if (c.schedule === "constant") return c.learning_rate;
  return c.min_learning_rate + fall * (c.schedule === "linear" ? 1 - t : 0.5 * (1 + Math.cos(Math.PI * t)));
}
