// The memory limit outside scopes: code that allocates in a loop and never frees gets an error that names its
// lines, before the machine runs out. Inside a scope memory is freed at its end, so only the driver limits it.

import { OutOfMemoryError, type Chip } from "./driver.js";
import { authorLine, sizeText } from "./leaks.js";
import { env, memoryBytes } from "./platform.js";
import type { Pool } from "./pool.js";

/** More memory is in use than `VEXIL_MEMORY_LIMIT` allows outside a scope. */
export class MemoryLimitError extends OutOfMemoryError {
  override name = "MemoryLimitError";
}

/** Part of the chip's (else the machine's) memory that may be in use without a scope. */
const DEFAULT_FRACTION = 0.8;
const UNITS: Readonly<Record<string, number>> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/**
 * Bytes that may be in use on a chip outside any scope: `VEXIL_MEMORY_LIMIT` (`6G`, `512M`, bytes, or a share
 * of the memory like `0.5`), else 0.8 of the memory. Throws an error for a value that is none of these.
 */
export function memoryLimit(chip: Chip): number {
  const total = chip.capabilities.memoryBytes ?? memoryBytes();
  const text = env("VEXIL_MEMORY_LIMIT");
  if (!text) return total * DEFAULT_FRACTION;
  const m = /^(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?$/i.exec(text.trim());
  const value = m ? Number(m[1]) * UNITS[m[2]!.toLowerCase()]! : 0;
  if (!(value > 0))
    throw new Error(`VEXIL_MEMORY_LIMIT is "${text}"; give bytes (6G, 512M) or a share of the memory (0.5)`);
  return value <= 1 && !m![2] ? value * total : value;
}

interface Watch {
  readonly limit: number;
  /** Bytes allocated outside scopes since half the limit was passed, by line. */
  readonly lines: Map<string, number>;
}
const watches = new WeakMap<Chip, Watch>();

/** Forgets the limits, so that the environment is read again. */
export const resetWatermark = (chip: Chip): void => void watches.delete(chip);

/** Called for every allocation outside a scope. Throws {@link MemoryLimitError}. */
export function checkWatermark(chip: Chip, pool: Pool, bytes: number): void {
  let watch = watches.get(chip);
  if (!watch) {
    watch = { limit: memoryLimit(chip), lines: new Map() };
    watches.set(chip, watch);
  }
  const after = pool.inUse + bytes;
  // Looking at the stack costs microseconds: only when it begins to matter.
  if (after <= watch.limit / 2) {
    if (watch.lines.size > 0) watch.lines.clear();
    return;
  }
  const line = authorLine();
  watch.lines.set(line, (watch.lines.get(line) ?? 0) + bytes);
  if (after <= watch.limit) return;
  const top = [...watch.lines].sort((a, b) => b[1] - a[1]).slice(0, 5);
  throw new MemoryLimitError(
    `${sizeText(pool.inUse)} are in use on the chip ${chip.name} and ${bytes} bytes more were asked for outside any ` +
      `scope; the limit is ${sizeText(watch.limit)}. Put the work into scope(() => …), dispose what is no longer ` +
      "needed, or raise VEXIL_MEMORY_LIMIT. Allocated outside a scope:" +
      top.map(([l, n]) => `\n  ${sizeText(n)} at ${l}`).join(""),
  );
}
