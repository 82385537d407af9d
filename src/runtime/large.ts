// The large allocations that are in use, with where they were made: what an error of missing memory lists. Small ones are
// not noted, since looking at the stack costs microseconds; for large ones that is little beside filling them.

import type { Chip } from "./driver.js";
import { authorLineOf, sizeText, stackNow } from "./leaks.js";

/** From so many bytes on an allocation is noted: on chips whose threads share programs (GPUs) filling it is a matter of microseconds, too. */
export const largeFrom = (chip: Chip): number =>
  (chip.capabilities.programThreads ?? 1) > 1 ? LARGE_ON_GPUS : LARGE;
const [LARGE, LARGE_ON_GPUS] = [2 ** 22, 2 ** 27];
/** How many an error lists. */
const SHOWN = 8;

/** A note on one allocation. It does not hold the storage. */
export interface LargeAllocation {
  readonly chip: Chip;
  readonly bytes: number;
  readonly trace: Error;
  /** What stands there: `f32 [4096, 4096]`; set by who knows. */
  what: string;
}

const inUse = new Set<LargeAllocation>();

/** Notes an allocation; hand the note to {@link forgetLarge}. */
export function noteLarge(chip: Chip, bytes: number): LargeAllocation {
  const note: LargeAllocation = { chip, bytes, trace: stackNow(), what: "" };
  inUse.add(note);
  return note;
}
export const forgetLarge = (note: LargeAllocation): void => void inUse.delete(note);

/** The largest allocations in use on a chip, as lines of text to append to a message; empty if there is none. */
export function largestInUse(chip: Chip): string {
  const mine = [...inUse].filter((n) => n.chip === chip).sort((a, b) => b.bytes - a.bytes);
  if (mine.length === 0) return "";
  const lines = mine
    .slice(0, SHOWN)
    .map((n) => `\n  ${sizeText(n.bytes)}${n.what ? ` ${n.what}` : ""} made at ${authorLineOf(n.trace)}`);
  const rest = mine.length - lines.length;
  return `. The largest tensors in use:${lines.join("")}${rest > 0 ? `\n  and ${rest} more of at least ${sizeText(largeFrom(chip))}` : ""}`;
}
