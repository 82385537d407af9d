// Who watches launches: the profiler and the recorder of signatures. Nobody, as a rule, and then a launch pays for one
// comparison. It decides nothing about launches.

import type { KernelSource, Specialization } from "../compiler/source.js";
import type { Chip } from "./driver.js";

/** A launch as observers see it. */
export interface ObservedLaunch {
  readonly source: KernelSource;
  readonly chip: Chip;
  readonly grid: readonly [number, number, number];
  /** What the code was compiled for. */
  specialization(): Specialization;
}

export interface LaunchObserver {
  /** `run` enqueues the launch; an observer calls it exactly once. */
  launch(what: ObservedLaunch, run: () => void): void;
}

/** The observers now, the last one outermost; `undefined` while there are none. */
export let observers: readonly LaunchObserver[] | undefined;

/** Adds an observer; the result takes it away. */
export function observe(observer: LaunchObserver): () => void {
  observers = [...(observers ?? []), observer];
  return () => {
    const left = (observers ?? []).filter((o) => o !== observer);
    observers = left.length ? left : undefined;
  };
}

/** Runs a launch through all observers. */
export function observed(list: readonly LaunchObserver[], what: ObservedLaunch, run: () => void): void {
  const through = list.reduce<() => void>((next, o) => () => o.launch(what, next), run);
  through();
}

/** Runs `fn` unseen: launches that only measure or copy are not part of the work that is watched. */
export function unobserved<T>(fn: () => T): T {
  const before = observers;
  observers = undefined;
  try {
    return fn();
  } finally {
    observers = before;
  }
}
