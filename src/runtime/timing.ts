// How long a launch takes on its chip, found by running it several times: for the tuner, `kernel.bench` and tools.
// Written once for chips that are waited for in place and for those that answer with a promise.

import type { Chip } from "./driver.js";

/** Milliseconds of one run. */
export interface Timing {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** Each sample is the mean of as many runs as make it long enough for the clock. */
  readonly samples: readonly number[];
  /** Milliseconds of the first run, which compiles when the code is new. */
  readonly first: number;
  /** Ended early because it could not become the best any more. */
  readonly stopped: boolean;
}

export interface TimingOptions {
  /** Samples to take; default 9. */
  readonly samples?: number;
  /** Ends when a sample and the one after it are both slower than this many milliseconds. */
  readonly giveUpAbove?: number;
  /** Ends this many milliseconds after the first run, with the samples there are; at least one. */
  readonly budget?: number;
  /** Runs between samples, untimed. */
  readonly between?: () => void;
}

/** Shorter samples than this tell more of the clock than of the kernel. */
const SHORTEST = 0.2;
const MOST_RUNS = 1000;

/** Milliseconds from some start. */
export const now = (): number => performance.now();

/** A step of a measurement: the chip must have run everything before it goes on. */
export type Measurement<T> = Generator<void, T, void>;

/** The measurement of `run`, which enqueues a launch. */
export function* measuring(run: () => void, options: TimingOptions = {}): Measurement<Timing> {
  const { samples: wanted = 9, giveUpAbove = Infinity, budget = Infinity, between } = options;
  between?.();
  yield;
  const start = now();
  run();
  yield;
  const begun = now();
  const first = begun - start;
  between?.();
  // The first run compiled; what one takes is found by a second, or is known if the budget is gone.
  let t = now();
  run();
  yield;
  const one = now() - t;
  // Runs of one sample cannot be repeated when something has to happen between them.
  const runs = between ? 1 : Math.max(1, Math.min(MOST_RUNS, Math.ceil(SHORTEST / Math.max(one, 1e-4))));
  const samples: number[] = [];
  if (runs === 1) samples.push(one);
  let stopped = false;
  while (samples.length < wanted) {
    if (samples.length > 0 && now() - begun > budget) break;
    if (samples.length >= 2 && samples.slice(-2).every((s) => s > giveUpAbove)) {
      stopped = true;
      break;
    }
    between?.();
    t = now();
    for (let i = 0; i < runs; i++) run();
    yield;
    samples.push((now() - t) / runs);
  }
  const sorted = [...samples].sort((a, b) => a - b);
  return {
    median: sorted[sorted.length >> 1]!,
    min: sorted[0]!,
    max: sorted.at(-1)!,
    samples,
    first,
    stopped,
  };
}

/** Whether {@link finishNow} works on a chip. */
export const canWaitInPlace = (chip: Chip): boolean =>
  chip.capabilities.syncRead && chip.driver.readSync !== undefined;

/** Runs a measurement to its end on a chip that can be waited for in place. */
export function finishNow<T>(chip: Chip, measurement: Measurement<T>): T {
  const probe = chip.driver.alloc(64);
  try {
    for (;;) {
      const step = measurement.next();
      if (step.done) return step.value;
      chip.driver.readSync!(probe, 0, 1);
    }
  } finally {
    chip.driver.free(probe);
  }
}

/** Runs a measurement to its end on any chip. */
export async function finish<T>(chip: Chip, measurement: Measurement<T>): Promise<T> {
  if (canWaitInPlace(chip)) return finishNow(chip, measurement);
  for (;;) {
    const step = measurement.next();
    if (step.done) return step.value;
    await chip.driver.sync();
  }
}
