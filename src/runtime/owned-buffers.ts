// The buffers that a driver has given out: whose they are, whether they are still alive, how much is in use. Knows no memory; an
// address or handle is a number that is 0 once it is freed.

import type { DeviceBuffer } from "./driver.js";

export class OwnedBuffer implements DeviceBuffer {
  /** Where launches overlap: the number of the one that wrote here last. */
  writtenAt = 0;
  /** @internal Use {@link OwnedBuffers.add}. */
  constructor(
    readonly bytes: number,
    public handle: number,
    readonly owner: OwnedBuffers,
  ) {}
}

export class OwnedBuffers {
  private readonly live = new Set<OwnedBuffer>();
  /** Bytes in use. */
  allocated = 0;

  /** @param chip the chip's name, for messages */
  constructor(private readonly chip: string) {}

  /** Checks the size that somebody asks for. Throws RangeError. */
  checkSize(bytes: number): void {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new RangeError(`cannot allocate ${bytes} bytes`);
  }

  add(bytes: number, handle: number): OwnedBuffer {
    const buffer = new OwnedBuffer(bytes, handle, this);
    this.live.add(buffer);
    this.allocated += bytes;
    return buffer;
  }

  /** Forgets a buffer: whoever uses it from now on is told that it is freed. */
  remove(buffer: OwnedBuffer): void {
    buffer.handle = 0;
    this.live.delete(buffer);
    this.allocated -= buffer.bytes;
  }

  /** The buffers alive now. */
  all(): OwnedBuffer[] {
    return [...this.live];
  }

  /** The buffer, if it is this driver's and alive. Throws an error that starts with `what`. */
  own(buffer: unknown, what = "this buffer"): OwnedBuffer {
    if (!(buffer instanceof OwnedBuffer) || buffer.owner !== this) throw this.foreign(what);
    if (buffer.handle === 0) throw new Error(`${what} is freed`);
    return buffer;
  }

  /** {@link own} for a range of bytes. Throws RangeError for one that does not lie inside. */
  range(buffer: DeviceBuffer, offset: number, bytes: number, what: string): OwnedBuffer {
    const b = this.own(buffer);
    if (!(offset >= 0 && bytes >= 0 && offset + bytes <= b.bytes))
      throw new RangeError(`cannot ${what} ${bytes} bytes at ${offset} of a buffer of ${b.bytes}`);
    return b;
  }

  foreign(what: string): Error {
    return new Error(`${what} is not of this ${this.chip} chip`);
  }
}

/** Bytes for an error message: `123 bytes`, `3221225472 bytes (3.0 GiB)`. */
export const showBytes = (n: number): string =>
  n < 1 << 20 ? `${n} bytes` : `${n} bytes (${(n / 2 ** 30).toFixed(n < 2 ** 30 ? 3 : 1)} GiB)`;
