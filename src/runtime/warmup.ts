// `warmup`: compiles recorded signatures before their first launch, several at once where the chip's compiler is
// another program. What is compiled goes the way of every compiled kernel: into memory and onto disk.

import type { KernelSource, Specialization } from "../compiler/source.js";
import { buildOptimized, cacheKey, compileStats, isLoaded, keepLoaded, load } from "./compile.js";
import { cacheName, readCached, writeCached } from "./disk-cache.js";
import type { Chip } from "./driver.js";
import { builtin } from "./platform.js";
import { loadChip } from "./registry.js";
import { type Signature, sourceOf, specializationOf } from "./signatures.js";
import { now } from "./timing.js";

export interface WarmupResult {
  /** Compiled now. */
  readonly compiled: number;
  /** Loaded already, or from disk. */
  readonly ready: number;
  /** No kernel of this process has the name and the text that these were recorded with. */
  readonly unknown: readonly Signature[];
  readonly failed: readonly { readonly signature: Signature; readonly error: Error }[];
  readonly milliseconds: number;
}

export interface WarmupOptions {
  /** Compilers at once; default one for each core. */
  readonly parallel?: number;
}

interface Job {
  readonly signature: Signature;
  readonly source: KernelSource;
  readonly spec: Specialization;
  readonly chip: Chip;
  readonly key: string;
}

/**
 * Compiles what the signatures say, for their chips. The modules that make the kernels must have been imported.
 *
 * @param list from `recordSignatures`, also of another process
 * @throws ChipError when a chip is not available; kernels that do not compile are listed in the result
 * @example
 * const r = await warmup(JSON.parse(fs.readFileSync("signatures.json", "utf8")));
 * if (r.failed.length) throw r.failed[0].error;
 */
export async function warmup(list: readonly Signature[], options: WarmupOptions = {}): Promise<WarmupResult> {
  const start = now();
  const parallel = options.parallel ?? builtin("node:os")?.availableParallelism() ?? 1;
  if (!(Number.isInteger(parallel) && parallel >= 1))
    throw new RangeError(`warmup: parallel must be a whole number from 1, not ${parallel}`);
  const unknown: Signature[] = [];
  const failed: { signature: Signature; error: Error }[] = [];
  const jobs: Job[] = [];
  const taken = new Set<string>();
  let ready = 0;
  let compiled = 0;
  for (const signature of list) {
    const source = sourceOf(signature);
    if (!source) {
      unknown.push(signature);
      continue;
    }
    const chip = await loadChip(signature.chip);
    const spec = specializationOf(signature);
    const key = cacheKey(source, spec, chip);
    if (taken.has(key)) continue;
    taken.add(key);
    if (isLoaded(chip, key)) ready++;
    else jobs.push({ signature, source, spec, chip, key });
  }
  const one = async ({ signature, source, spec, chip, key }: Job): Promise<void> => {
    const name = cacheName(key);
    try {
      const cached = name && readCached(name);
      if (cached) {
        keepLoaded(chip, key, load(source, chip, cached));
        compileStats.fromDisk++;
        ready++;
        return;
      }
      const func = buildOptimized(source, spec, chip.target.nativeMath);
      const { target } = chip;
      const artifact = await (target.compileAsync?.(func) ?? target.compile(func));
      compileStats.compiled++;
      compiled++;
      if (name) writeCached(name, artifact);
      // A launch may have been faster.
      if (!isLoaded(chip, key)) keepLoaded(chip, key, load(source, chip, artifact));
    } catch (e) {
      failed.push({ signature, error: e instanceof Error ? e : new Error(String(e)) });
    }
  };
  const worker = async (): Promise<void> => {
    for (let job = jobs.shift(); job; job = jobs.shift()) await one(job);
  };
  await Promise.all(Array.from({ length: Math.min(parallel, jobs.length) }, worker));
  return { compiled, ready, unknown, failed, milliseconds: now() - start };
}
