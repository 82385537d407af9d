// Learning rates by step. Pure numbers.

import type { TrainConfig } from "./config.js";

type Schedule = Pick<
  TrainConfig,
  | "schedule"
  | "steps"
  | "warmup_steps"
  | "learning_rate"
  | "min_learning_rate"
  | "decay_fraction"
  | "decay_shape"
>;

/** What is left of the fall at `t` of its time: 1 at 0, 0 at 1. */
const SHAPES = {
  linear: (t: number) => 1 - t,
  cosine: (t: number) => 0.5 * (1 + Math.cos(Math.PI * t)),
  sqrt: (t: number) => 1 - Math.sqrt(t),
};

/**
 * The learning rate of a step (0-based): a linear rise over the warm-up, then the schedule down to the minimum, which
 * the last step has. `wsd` (warm-up, stable, decay: Hu et al., "MiniCPM", 2024) stays at the top and falls over the last
 * `decay_fraction` of all steps; the shape `sqrt` is the one that Hägele et al. ("Scaling laws and compute-optimal
 * training beyond fixed training durations", 2024) found best.
 *
 * @example learningRate(config, 0) // config.learning_rate / config.warmup_steps
 */
export function learningRate(c: Schedule, step: number): number {
  const { learning_rate: top, min_learning_rate: bottom, warmup_steps, steps, schedule } = c;
  if (step < warmup_steps) return (top * (step + 1)) / warmup_steps;
  if (schedule === "constant") return top;
  const fraction = schedule === "wsd" ? c.decay_fraction : 1;
  // The first step of the fall still has the top, the last one the bottom.
  const start = Math.max(warmup_steps, steps - Math.round(steps * fraction));
  const t = Math.min(1, Math.max(0, (step - start) / Math.max(1, steps - start - 1)));
  const shape = schedule === "wsd" ? c.decay_shape : schedule;
  if (shape === "exponential") return top * (bottom / top) ** t;
  return bottom + (top - bottom) * SHAPES[shape](t);
}
