// A piece of device memory with an owner: what tensors stand on. Counted, tracked by the open scope, freed
// exactly once.

import type { Chip, DeviceBuffer } from "./driver.js";
import { forgetAllocation, recordAllocation, trackingAllocations } from "./leaks.js";
import { forgetLarge, type LargeAllocation, largeFrom, noteLarge } from "./large.js";
import { type Pool, poolOf } from "./pool.js";
import { recorder } from "./recording.js";
import { currentScope, type Scope } from "./scope.js";
import { checkWatermark } from "./watermark.js";

export class Storage {
  private held: DeviceBuffer | undefined;
  private readonly pool: Pool;
  /** The scope that will free this, or `null`: only `dispose` does. Managed by `scope.ts`. */
  owner: Scope | null = null;

  /** What an error of missing memory says of it; large ones only. */
  note: LargeAllocation | undefined;

  /** Use {@link allocate}. */
  constructor(
    readonly chip: Chip,
    readonly bytes: number,
    pool: Pool,
  ) {
    this.pool = pool;
    this.held = pool.take(bytes);
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
    this.pool.give(buffer);
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
  if (recorder !== null) recorder.allocated(storage);
  if (bytes >= largeFrom(chip)) storage.note = noteLarge(chip, bytes);
  if (trackingAllocations()) recordAllocation(storage);
  return storage;
}
