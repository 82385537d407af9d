// The caching pool of a chip's memory: freed buffers are kept by size class and handed out again. Work is
// ordered on a chip, so a buffer may be reused while launches that read it are still waiting.

import { type Chip, type DeviceBuffer, OutOfMemoryError } from "./driver.js";
import { largestInUse } from "./large.js";

export interface MemoryStats {
  /** Bytes of the buffers that are in use. */
  readonly allocated: number;
  /** Bytes held from the driver: in use, or kept for reuse. */
  readonly reserved: number;
  /** The most that `allocated` has been. */
  readonly peak: number;
  /** Buffers in use. */
  readonly count: number;
}

/**
 * The bytes really taken for a request: a multiple of 512, above 4 KiB one of eight steps per power of two,
 * so at most an eighth is wasted.
 */
export function sizeClass(bytes: number): number {
  if (bytes <= 4096) return Math.max(512, Math.ceil(bytes / 512) * 512);
  const step = 2 ** (Math.ceil(Math.log2(bytes)) - 4);
  return Math.ceil(bytes / step) * step;
}

type Kept = Map<number, DeviceBuffer[]>;

/** Buffers that belong to a captured graph: whoever has them, replays write to them until the arena is closed. */
export interface Arena {
  /** Ends the capture: later requests are served from the general memory again. */
  seal(): void;
  /** Gives the buffers to the general memory, those still in use as soon as they are given back. */
  close(): void;
}

export class Pool {
  private readonly free: Kept = new Map();
  /** Where requests are served from while a graph is captured. */
  private capturing: Kept | undefined;
  private owners: Map<DeviceBuffer, Kept> | undefined;
  private allocated = 0;
  private reserved = 0;
  private peak = 0;
  private count = 0;

  constructor(private readonly chip: Chip) {}

  /** A buffer of at least `bytes`; its contents are arbitrary. Throws OutOfMemoryError after giving back what was kept. */
  take(bytes: number): DeviceBuffer {
    const limit = this.chip.capabilities.maxBufferBytes;
    if (bytes > limit)
      throw new OutOfMemoryError(
        `a buffer of ${bytes} bytes is too large for the chip ${this.chip.name}: at most ${limit}${largestInUse(this.chip)}`,
      );
    const exact = this.chip.capabilities.exactBuffers === true;
    const size = exact ? bytes : Math.min(sizeClass(bytes), limit);
    const own = this.capturing?.get(size)?.pop();
    const buffer = own ?? this.free.get(size)?.pop() ?? this.fromDriver(size);
    if (this.capturing && !own) this.owners!.set(buffer, this.capturing);
    this.allocated += size;
    this.count++;
    if (this.allocated > this.peak) this.peak = this.allocated;
    return buffer;
  }

  private fromDriver(size: number): DeviceBuffer {
    const buffer = this.allocate(size);
    this.reserved += size;
    return buffer;
  }

  private allocate(size: number): DeviceBuffer {
    try {
      return this.chip.driver.alloc(size);
    } catch (e) {
      if (!(e instanceof OutOfMemoryError)) throw e;
      this.release();
      try {
        return this.chip.driver.alloc(size);
      } catch (again) {
        if (!(again instanceof OutOfMemoryError)) throw again;
        throw new OutOfMemoryError(
          `the chip ${this.chip.name} is out of memory: ${size} bytes were asked for, ${this.allocated} bytes ` +
            `are in use in ${this.count} buffers (${again.message})${largestInUse(this.chip)}`,
        );
      }
    }
  }

  /** Takes a buffer back; the next `take` of its class gets it. */
  give(buffer: DeviceBuffer): void {
    this.allocated -= buffer.bytes;
    this.count--;
    const owner = this.owners?.get(buffer);
    if (this.chip.capabilities.exactBuffers && !owner) {
      this.reserved -= buffer.bytes;
      this.chip.driver.free(buffer);
      return;
    }
    put(owner ?? this.free, buffer);
  }

  /** A graph is being captured: what runs beside the driver's launches would be missing from it. */
  get isCapturing(): boolean {
    return this.capturing !== undefined;
  }

  /**
   * Serves all requests from memory of its own, to which nobody else comes back, until the arena is sealed: a captured graph replays
   * on the same addresses. What lies free becomes its own before the driver is asked, so that one graph after another needs the
   * memory of one. Throws when another capture is open.
   */
  openArena(): Arena {
    if (this.capturing) throw new Error(`the chip ${this.chip.name} is already capturing a graph`);
    const kept: Kept = new Map();
    this.capturing = kept;
    this.owners ??= new Map();
    return {
      seal: () => {
        if (this.capturing === kept) this.capturing = undefined;
      },
      close: () => {
        for (const [buffer, owner] of this.owners!) if (owner === kept) this.owners!.delete(buffer);
        for (const buffers of kept.values()) for (const buffer of buffers) put(this.free, buffer);
        kept.clear();
        if (this.chip.capabilities.exactBuffers) this.release();
      },
    };
  }

  /** Gives everything that is not in use back to the driver. */
  release(): void {
    for (const kept of this.free.values())
      for (const buffer of kept) {
        this.reserved -= buffer.bytes;
        this.chip.driver.free(buffer);
      }
    this.free.clear();
  }

  stats(): MemoryStats {
    return { allocated: this.allocated, reserved: this.reserved, peak: this.peak, count: this.count };
  }

  resetPeak(): void {
    this.peak = this.allocated;
  }

  get inUse(): number {
    return this.allocated;
  }
}

function put(kept: Kept, buffer: DeviceBuffer): void {
  const same = kept.get(buffer.bytes);
  if (same) same.push(buffer);
  else kept.set(buffer.bytes, [buffer]);
}

const pools = new WeakMap<Chip, Pool>();

/** The pool of a chip. */
export function poolOf(chip: Chip): Pool {
  let pool = pools.get(chip);
  if (!pool) {
    pool = new Pool(chip);
    pools.set(chip, pool);
  }
  return pool;
}

/**
 * Memory of a chip, in bytes.
 *
 * @example memoryStats(defaultChip()).peak
 */
export const memoryStats = (chip: Chip): MemoryStats => poolOf(chip).stats();

/** Starts the count of `peak` anew. */
export const resetPeakMemory = (chip: Chip): void => poolOf(chip).resetPeak();

/** Gives memory that is kept for reuse back to the driver. */
export const emptyCache = (chip: Chip): void => poolOf(chip).release();

/** Whether a graph is being captured on the chip: work beside the driver's own calls would be missing from it. */
export const isCapturing = (chip: Chip): boolean => poolOf(chip).isCapturing;
