// Which memory a launch may read while launches before it still run: what was written by launches that have surely ended. Launches
// overlap in chains (each begins when the one before it has begun), so only one that overlaps none tells that all before it have.

import type { OwnedBuffer } from "../../runtime/owned-buffers.js";

export class LaunchOrder {
  /** Writes so far, by launches and by copies. */
  #writes = 0;
  /** Those up to here have ended when the next launch begins. */
  #ended = 0;

  wrote(buffer: OwnedBuffer): void {
    buffer.writtenAt = ++this.#writes;
  }

  /** Whether one of the buffers was written by what may still run. */
  isNew(buffers: readonly OwnedBuffer[]): boolean {
    return buffers.some((b) => b.writtenAt > this.#ended);
  }

  /** The next launch begins when all before it has ended. */
  waits(): void {
    this.#ended = this.#writes;
  }

  /** Something ran whose writes are not known: everything counts as written by it. */
  lost(): void {
    this.#ended = -1;
  }
}
