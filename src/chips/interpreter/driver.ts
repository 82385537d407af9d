// Memory and launches of the interpreter: ArrayBuffers, and kernels that run before the call returns.

import type { Artifact } from "../../compiler/target.js";
import { type DeviceBuffer, type Driver, type Executable, OutOfMemoryError } from "../../runtime/driver.js";
import { type Argument, prepare, type Program } from "./program.js";

class HostBuffer implements DeviceBuffer {
  data: ArrayBuffer;
  readonly bytes: number;
  freed = false;
  constructor(bytes: number) {
    this.bytes = bytes;
    this.data = new ArrayBuffer(bytes);
  }
}

class Loaded implements Executable {
  constructor(readonly program: Program) {}
  get name(): string {
    return this.program.name;
  }
}

function host(b: DeviceBuffer): HostBuffer {
  if (!(b instanceof HostBuffer))
    throw new TypeError("this buffer belongs to another chip than the interpreter");
  if (b.freed) throw new Error("this buffer of the interpreter has been freed");
  return b;
}

export class InterpreterDriver implements Driver {
  alloc(bytes: number): DeviceBuffer {
    try {
      return new HostBuffer(bytes);
    } catch {
      throw new OutOfMemoryError(`the interpreter could not get ${bytes} bytes`);
    }
  }

  free(buffer: DeviceBuffer): void {
    const b = host(buffer);
    b.freed = true;
    b.data = new ArrayBuffer(0);
  }

  write(dst: DeviceBuffer, byteOffset: number, src: Uint8Array): void {
    new Uint8Array(host(dst).data).set(src, byteOffset);
  }

  async read(src: DeviceBuffer, byteOffset: number, bytes: number): Promise<Uint8Array> {
    return this.readSync(src, byteOffset, bytes);
  }

  readSync(src: DeviceBuffer, byteOffset: number, bytes: number): Uint8Array {
    return new Uint8Array(host(src).data, byteOffset, bytes).slice();
  }

  copy(dst: DeviceBuffer, dstByte: number, src: DeviceBuffer, srcByte: number, bytes: number): void {
    new Uint8Array(host(dst).data).set(new Uint8Array(host(src).data, srcByte, bytes), dstByte);
  }

  load(artifact: Artifact): Executable {
    if (!artifact.func) throw new Error("the interpreter loads only what its own target compiled");
    return new Loaded(prepare(artifact.func));
  }

  launch(
    exe: Executable,
    gridX: number,
    gridY: number,
    gridZ: number,
    values: readonly (DeviceBuffer | number | bigint)[],
    offsets: readonly number[],
  ): void {
    const args = values.map((v, i): Argument => {
      if (typeof v !== "object") return v;
      return { data: host(v).data, offset: offsets[i]! };
    });
    (exe as Loaded).program.run(gridX, gridY, gridZ, args);
  }

  async sync(): Promise<void> {}

  close(): void {}
}
