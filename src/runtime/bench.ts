// What `kernel.bench` says: times of a launch and, where its work is known, rates. Measuring stands in `timing.ts`.

import type { Chip } from "./driver.js";
import type { Timing } from "./timing.js";
import { showMs } from "./tuner.js";

export interface BenchOptions {
  /** Bytes that one launch reads and writes. */
  readonly bytes?: number;
  /** Arithmetic operations of one launch; a multiply-add counts two. */
  readonly flops?: number;
  /** Samples to take; default 9. */
  readonly samples?: number;
  /** Milliseconds after which no further sample is begun; default none. */
  readonly budget?: number;
}

export interface BenchResult extends Timing {
  readonly kernel: string;
  readonly chip: string;
  /** (max - min) / median of the samples. */
  readonly spread: number;
  /** Gigabytes (1e9) per second at the median, if `bytes` was given. */
  readonly gigabytesPerSecond?: number;
  /** Gigaflops (1e9) per second at the median, if `flops` was given. */
  readonly gigaflopsPerSecond?: number;
  /** One line for people. */
  toString(): string;
}

export function benchResult(kernel: string, chip: Chip, t: Timing, o: BenchOptions): BenchResult {
  const perSecond = (n: number): number => n / (t.median * 1e6);
  const rates = {
    ...(o.bytes === undefined ? {} : { gigabytesPerSecond: perSecond(o.bytes) }),
    ...(o.flops === undefined ? {} : { gigaflopsPerSecond: perSecond(o.flops) }),
  };
  const line = [
    `${kernel} on ${chip.name}: ${showMs(t.median)} (${showMs(t.min)} to ${showMs(t.max)}, ${t.samples.length} samples)`,
    ...(rates.gigabytesPerSecond === undefined ? [] : [`${rates.gigabytesPerSecond.toFixed(1)} GB/s`]),
    ...(rates.gigaflopsPerSecond === undefined ? [] : [`${rates.gigaflopsPerSecond.toFixed(1)} GFLOP/s`]),
  ].join(", ");
  const spread = (t.max - t.min) / t.median;
  return { ...t, kernel, chip: chip.name, spread, ...rates, toString: () => line };
}
