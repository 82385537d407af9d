// The profiler: which kernels ran, how often and how long, and what memory was in use, as a table and as a Chrome
// trace. While nobody profiles, launches pay for one comparison (`observe.ts`).

import type { Chip } from "./driver.js";
import { type ObservedLaunch, observe } from "./observe.js";
import { needBuiltin } from "./platform.js";
import { memoryStats } from "./pool.js";
import { canWaitInPlace, now } from "./timing.js";
import { showMs } from "./tuner.js";

/** One launch. Times in milliseconds since the profile's start. */
export interface ProfiledLaunch {
  readonly kernel: string;
  readonly chip: string;
  readonly grid: readonly [number, number, number];
  readonly start: number;
  /** Until the chip had run it; on chips that cannot be waited for in place, until it was enqueued. */
  readonly duration: number;
  /** Bytes in use on the chip at the launch. */
  readonly memory: number;
}

/** All launches of one kernel on one chip. Times in milliseconds. */
export interface ProfiledKernel {
  readonly kernel: string;
  readonly chip: string;
  readonly launches: number;
  readonly total: number;
  readonly mean: number;
  readonly max: number;
  /** Part of the time of all kernels, 0 to 1. */
  readonly share: number;
}

/** Memory of a chip while profiled, in bytes. */
export interface ProfiledMemory {
  readonly chip: string;
  readonly before: number;
  readonly after: number;
  /** The most in use at a launch. */
  readonly peak: number;
}

export class Profile<T> {
  constructor(
    /** What the profiled function gave. */
    readonly result: T,
    /** Milliseconds from start to end. */
    readonly duration: number,
    readonly launches: readonly ProfiledLaunch[],
    readonly memory: readonly ProfiledMemory[],
    /** Chips whose times are those of enqueuing. */
    readonly enqueueOnly: readonly string[],
  ) {}

  /** Sums by kernel and chip, the longest first. */
  get kernels(): ProfiledKernel[] {
    const groups = new Map<string, ProfiledLaunch[]>();
    for (const l of this.launches) {
      const id = `${l.kernel}\n${l.chip}`;
      const list = groups.get(id);
      if (list) list.push(l);
      else groups.set(id, [l]);
    }
    const all = this.launches.reduce((sum, l) => sum + l.duration, 0);
    return [...groups.values()]
      .map((list) => {
        const total = list.reduce((sum, l) => sum + l.duration, 0);
        return {
          kernel: list[0]!.kernel,
          chip: list[0]!.chip,
          launches: list.length,
          total,
          mean: total / list.length,
          max: list.reduce((m, l) => Math.max(m, l.duration), 0),
          share: all > 0 ? total / all : 0,
        };
      })
      .sort((a, b) => b.total - a.total);
  }

  /** The sums as text: one line for each kernel, then time and memory. */
  table(): string {
    const rows = this.kernels.map((k) => [
      k.kernel,
      k.chip,
      String(k.launches),
      showMs(k.total),
      showMs(k.mean),
      showMs(k.max),
      `${(100 * k.share).toFixed(1)} %`,
    ]);
    const all = [["kernel", "chip", "launches", "total", "mean", "max", "share"], ...rows];
    const widths = all[0]!.map((_, i) => Math.max(...all.map((r) => r[i]!.length)));
    const lines = all.map((r) =>
      r.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "),
    );
    const inKernels = this.launches.reduce((sum, l) => sum + l.duration, 0);
    lines.push(
      `${this.launches.length} launches, ${showMs(inKernels)} in kernels of ${showMs(this.duration)} in all`,
    );
    for (const m of this.memory)
      lines.push(
        `memory of ${m.chip}: ${mebibytes(m.before)} before, ${mebibytes(m.peak)} at most, ${mebibytes(m.after)} after`,
      );
    if (this.enqueueOnly.length)
      lines.push(
        `times on ${this.enqueueOnly.join(", ")} are those of enqueuing: it cannot be waited for in place`,
      );
    return lines.join("\n");
  }

  /** The profile in the form that chrome://tracing and Perfetto read. Times in microseconds. */
  chromeTrace(): { traceEvents: Record<string, unknown>[]; displayTimeUnit: "ms" } {
    const chips = [...new Set(this.launches.map((l) => l.chip))];
    const events: Record<string, unknown>[] = chips.map((name, i) => ({
      name: "thread_name",
      ph: "M",
      pid: 1,
      tid: i + 1,
      args: { name },
    }));
    for (const l of this.launches) {
      const tid = chips.indexOf(l.chip) + 1;
      const ts = l.start * 1000;
      events.push(
        {
          name: l.kernel,
          cat: "kernel",
          ph: "X",
          pid: 1,
          tid,
          ts,
          dur: l.duration * 1000,
          args: { grid: l.grid },
        },
        { name: `memory of ${l.chip}`, ph: "C", pid: 1, tid, ts, args: { bytes: l.memory } },
      );
    }
    return { traceEvents: events, displayTimeUnit: "ms" };
  }

  /** Writes the Chrome trace to a file. Needs Node. */
  write(path: string): void {
    needBuiltin("node:fs", "writing a trace").writeFileSync(path, JSON.stringify(this.chromeTrace()));
  }
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(2)} MiB`;

class Recorder {
  readonly launches: ProfiledLaunch[] = [];
  private readonly chips = new Map<
    Chip,
    { before: number; peak: number; probe: ReturnType<typeof probeOf> }
  >();
  private readonly start = now();

  launch({ source, chip, grid }: ObservedLaunch, run: () => void): void {
    let known = this.chips.get(chip);
    const memory = memoryStats(chip).allocated;
    if (!known) {
      known = { before: memory, peak: memory, probe: probeOf(chip) };
      this.chips.set(chip, known);
    }
    known.peak = Math.max(known.peak, memory);
    // What was enqueued before is not this kernel's time.
    known.probe?.wait();
    const start = now();
    run();
    known.probe?.wait();
    this.launches.push({
      kernel: source.name,
      chip: chip.name,
      grid,
      start: start - this.start,
      duration: now() - start,
      memory,
    });
  }

  end<T>(result: T): Profile<T> {
    const duration = now() - this.start;
    const memory: ProfiledMemory[] = [];
    const enqueueOnly: string[] = [];
    for (const [chip, { before, peak, probe }] of this.chips) {
      if (probe) probe.free();
      else enqueueOnly.push(chip.name);
      memory.push({ chip: chip.name, before, after: memoryStats(chip).allocated, peak });
    }
    return new Profile(result, duration, this.launches, memory, enqueueOnly);
  }
}

/** Waits for a chip by reading a byte; `undefined` where only a promise tells. */
function probeOf(chip: Chip): { wait(): void; free(): void } | undefined {
  if (!canWaitInPlace(chip)) return undefined;
  const buffer = chip.driver.alloc(64);
  return {
    wait: () => void chip.driver.readSync!(buffer, 0, 1),
    free: () => chip.driver.free(buffer),
  };
}

/**
 * Runs `fn` and notes every launch. Each is waited for, so that its time is its own: work that usually overlaps runs
 * one after the other.
 *
 * @example
 * const p = await profile(() => model.forward(x));
 * console.log(p.table());
 * p.write("trace.json");
 */
export async function profile<T>(fn: () => T | Promise<T>): Promise<Profile<T>> {
  const recorder = new Recorder();
  const stop = observe(recorder);
  let ended = false;
  try {
    const result = await fn();
    stop();
    ended = true;
    return recorder.end(result);
  } finally {
    if (!ended) {
      stop();
      recorder.end(undefined);
    }
  }
}
