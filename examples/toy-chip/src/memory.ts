// The chip's memory: an ArrayBuffer, seen as elements of every kind that a form can name.

import { type DeviceBuffer, OutOfMemoryError } from "vexil/runtime";

/** Typed views of one piece of memory; printed code indexes them by {@link MemKind}. */
export class Views {
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly i16: Int16Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;
  readonly i64: BigInt64Array;

  constructor(data: ArrayBuffer) {
    this.i8 = new Int8Array(data);
    this.u8 = new Uint8Array(data);
    this.i16 = new Int16Array(data);
    this.u16 = new Uint16Array(data);
    this.i32 = new Int32Array(data);
    this.f32 = new Float32Array(data);
    this.f64 = new Float64Array(data);
    this.i64 = new BigInt64Array(data);
  }
}

/** Memory of `bytes`, rounded up so that every view covers it. Throws {@link OutOfMemoryError}. */
export function allocate(bytes: number): Views {
  try {
    return new Views(new ArrayBuffer(Math.ceil(bytes / 8) * 8));
  } catch {
    throw new OutOfMemoryError(`the toy chip could not get ${bytes} bytes`);
  }
}

export class ToyBuffer implements DeviceBuffer {
  /** Undefined once the buffer is freed. */
  views: Views | undefined;

  constructor(readonly bytes: number) {
    this.views = allocate(bytes);
  }
}

/** The memory of a buffer. Throws when it belongs to another chip or is freed. */
export function viewsOf(buffer: DeviceBuffer): Views {
  if (!(buffer instanceof ToyBuffer)) throw new TypeError("this buffer belongs to another chip than toy");
  if (!buffer.views) throw new Error("this buffer of the toy chip has been freed");
  return buffer.views;
}
