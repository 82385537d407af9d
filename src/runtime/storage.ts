// A piece of device memory with an owner: what tensors stand on. Counted, tracked by the open scope, freed
// exactly once.

import type { Chip, DeviceBuffer } from "./driver.js";
import { forgetAllocation, recordAllocation, trackingAllocations } from "./leaks.js";
import { forgetLarge, type LargeAllocation, largeFrom, noteLarge } from "./large.js";
import { Pool, poolOf } from "./pool.js";
import { recorder } from "./recording.js";
import { currentScope, type Scope } from "./scope.js";
import { noteTaken } from "./trail.js";
import { checkWatermark } from "./watermark.js";

export class Storage {
  private held: DeviceBuffer | undefined;
  private readonly pool: Pool | null;
  /** The scope that will free this, or `null`: only `dispose` does. Managed by `scope.ts`. */
  owner: Scope | null = null;

  /** It outlives the work that made it (`keep`). */
  kept = false;

  /** What an error of missing memory says of it; large ones only. */
  note: LargeAllocation | undefined;

  /**
   * Use {@link allocate} or {@link adopt}.
   * @param from the pool that gives the memory and takes it back, or memory that goes back to the driver
   */
  constructor(
    readonly chip: Chip,
    readonly bytes: number,
    from: Pool | DeviceBuffer,
  ) {
    this.pool = from instanceof Pool ? from : null;
    this.held = from instanceof Pool ? from.take(bytes) : from;
  }

  get disposed(): boolean {
    return this.held === undefined;
  }

  /** The memory. Throws when it has been freed. */
  get buffer(): DeviceBuffer {
    if (this.held === undefined) throw new DisposedError(this.bytes);
    return this.held;
  }

  /** Gives the memory back. A second call does nothing. */
  dispose(): void {
    const buffer = this.held;
    if (buffer === undefined) return;
    if (recorder !== null) recorder.freed(this);
    this.held = undefined;
    this.owner?.forget();
    this.owner = null;
    if (this.pool !== null) this.pool.give(buffer);
    else this.chip.driver.free(buffer);
    if (this.note !== undefined) forgetLarge(this.note);
    if (trackingAllocations()) forgetAllocation(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A tensor is used after its memory was freed. */
export class DisposedError extends Error {
  override name = "DisposedError";
  constructor(bytes: number) {
    super(
      `the memory of this tensor (${bytes} bytes) has been freed: it was disposed, or created inside a scope that ` +
        "has ended. Return it from the scope, or keep() it",
    );
  }
}

/**
 * Memory of at least `bytes` bytes, contents arbitrary, owned by the open scope. Throws OutOfMemoryError, and
 * MemoryLimitError above the limit outside any scope.
 */
export function allocate(chip: Chip, bytes: number): Storage {
  const scope = currentScope();
  const pool = poolOf(chip);
  if (scope === null) checkWatermark(chip, pool, bytes);
  const storage = new Storage(chip, bytes, pool);
  if (scope !== null) scope.own(storage);
  noteTaken(storage);
  if (recorder !== null) recorder.allocated(storage);
  if (bytes >= largeFrom(chip)) storage.note = noteLarge(chip, bytes);
  if (trackingAllocations()) recordAllocation(storage);
  return storage;
}

/** Memory that a driver made otherwise than by `alloc`, owned by the open scope; it goes back to the driver. */
export function adopt(chip: Chip, buffer: DeviceBuffer): Storage {
  const storage = new Storage(chip, buffer.bytes, buffer);
  currentScope()?.own(storage);
  return storage;
}
