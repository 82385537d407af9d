// Who writes down what a piece of host code asks of the chips: memory, launches. Nobody, as a rule. Used to do the same
// again without that code (`tensor/replay.ts`); what observers see of launches is `observe.ts`.

import type { Chip, DeviceBuffer, Executable } from "./driver.js";
import type { Storage } from "./storage.js";

export interface WorkRecorder {
  allocated(storage: Storage): void;
  /** Called while the memory is still there. */
  freed(storage: Storage): void;
  /** Both arrays belong to the caller and are reused after the call. */
  launched(
    chip: Chip,
    exe: Executable,
    grid: readonly [number, number, number],
    values: readonly (DeviceBuffer | number | bigint)[],
    offsets: readonly number[],
  ): void;
  /** Something happened that memory and launches do not tell: host data written, a search, state kept for later. */
  refuse(): void;
}

/** The one that writes down now. */
export let recorder: WorkRecorder | null = null;

/** Runs `fn` and tells `to` what it asks of the chips. There is one recorder at a time. */
export function recordWork<T>(to: WorkRecorder, fn: () => T): T {
  if (recorder !== null) throw new Error("work is being recorded already");
  recorder = to;
  try {
    return fn();
  } finally {
    recorder = null;
  }
}

/** Grows whenever a setting changes that decides how work is launched: what was recorded before is void. */
export let settings = 0;

export function settingsChanged(): void {
  settings++;
}
