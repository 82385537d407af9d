// The driver of OpenCL: buffers, programs and launches on one in-order queue. Arguments stand in one block of memory whose
// addresses are fixed, and an argument is set again only when it changed.

import type { MemKind, RegKind } from "../../compiler/lower/simt/index.js";
import type { Artifact } from "../../compiler/target.js";
import { type DeviceBuffer, type Driver, type Executable, OutOfMemoryError } from "../../runtime/driver.js";
import type { ClContext } from "./context.js";
import { check, type Cl, errorName, isMemoryError } from "./library.js";

/** What the driver must know of a kernel; stands in the artifact's meta. */
export interface KernelMeta {
  readonly name: string;
  readonly entry: string;
  /** The artifact is the program's text, not the driver's binary. */
  readonly isSource: boolean;
  readonly threads: number;
  readonly programsPerGroup: number;
  /** Per parameter: a buffer's element kind, or a scalar's register kind. */
  readonly params: readonly (readonly ["buffer", MemKind] | readonly ["scalar", RegKind])[];
}

class ClBuffer implements DeviceBuffer {
  constructor(
    readonly bytes: number,
    /** 0 once it is freed. */
    public handle: number,
    readonly owner: OpenClDriver,
  ) {}
}

const [BUFFER, I32, I64, F32, F64] = [0, 1, 2, 3, 4] as const;
const SLOT: Readonly<Record<RegKind, number>> = { i32: I32, mask: I32, i64: I64, f32: F32, f64: F64 };

class ClExecutable implements Executable {
  readonly name: string;
  readonly slots: readonly number[];
  readonly threads: number;
  /** What each argument of the kernel was last set to. */
  readonly last: (number | bigint | undefined)[];
  constructor(
    meta: KernelMeta,
    readonly program: number,
    readonly kernel: number,
    readonly owner: OpenClDriver,
  ) {
    this.name = meta.name;
    this.threads = meta.threads;
    this.slots = meta.params.map(([what, kind]) => (what === "buffer" ? BUFFER : SLOT[kind]));
    this.last = this.slots.flatMap((s) => (s === BUFFER ? [undefined, undefined] : [undefined]));
  }
}

const showBytes = (n: number): string =>
  n < 1 << 20 ? `${n} bytes` : `${n} bytes (${(n / 2 ** 30).toFixed(n < 2 ** 30 ? 3 : 1)} GiB)`;

export class OpenClDriver implements Driver {
  private readonly cl: Cl;
  private readonly live = new Set<ClBuffer>();
  private readonly executables = new Set<ClExecutable>();
  private allocated = 0;
  private open = true;
  // The argument being set, then the global and the local size of a launch.
  private readonly block: { buffer: ArrayBuffer; address: number };
  private readonly ints: Int32Array;
  private readonly floats: Float32Array;
  private readonly doubles: Float64Array;
  private readonly bigs: BigInt64Array;

  constructor(private readonly context: ClContext) {
    this.cl = context.cl;
    this.block = this.cl.block(64);
    this.ints = new Int32Array(this.block.buffer);
    this.floats = new Float32Array(this.block.buffer);
    this.doubles = new Float64Array(this.block.buffer);
    this.bigs = new BigInt64Array(this.block.buffer);
    this.bigs[7] = 1n;
    this.bigs[6] = 1n;
  }

  alloc(bytes: number): DeviceBuffer {
    this.check();
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new RangeError(`cannot allocate ${bytes} bytes`);
    const { handle, code } = this.context.createBuffer(Math.max(bytes, 64));
    if (code !== 0) {
      if (!isMemoryError(code)) check(code, `allocating ${bytes} bytes`);
      throw new OutOfMemoryError(
        `out of memory on the opencl chip: ${showBytes(bytes)} wanted, ${showBytes(this.allocated)} in use by it (${errorName(code)})`,
      );
    }
    const buffer = new ClBuffer(bytes, handle, this);
    this.live.add(buffer);
    this.allocated += bytes;
    return buffer;
  }

  free(buffer: DeviceBuffer): void {
    const b = this.own(buffer);
    // Kernels that are enqueued keep the memory until they have run.
    check(this.cl.clReleaseMemObject(b.handle), "freeing a buffer");
    for (const exe of this.executables)
      exe.last.forEach((x, i) => {
        if (x === b.handle) exe.last[i] = undefined;
      });
    b.handle = 0;
    this.live.delete(b);
    this.allocated -= b.bytes;
  }

  write(dst: DeviceBuffer, byteOffset: number, src: Uint8Array): void {
    const b = this.range(dst, byteOffset, src.length, "write");
    if (src.length)
      this.finished(
        this.cl.clEnqueueWriteBuffer(this.context.queue, b.handle, 1, byteOffset, src.length, src, 0, 0, 0),
        "writing a buffer",
      );
  }

  async read(src: DeviceBuffer, byteOffset: number, bytes: number): Promise<Uint8Array> {
    const b = this.range(src, byteOffset, bytes, "read");
    // Enqueued now, so that later writes are not seen. An ArrayBuffer of its own does not move.
    const out = new Uint8Array(new ArrayBuffer(bytes));
    if (bytes)
      this.finished(
        this.cl.clEnqueueReadBuffer(this.context.queue, b.handle, 0, byteOffset, bytes, out, 0, 0, 0),
        "reading a buffer",
      );
    await this.sync();
    return out;
  }

  readSync(src: DeviceBuffer, byteOffset: number, bytes: number): Uint8Array {
    const b = this.range(src, byteOffset, bytes, "read");
    const out = new Uint8Array(bytes);
    if (bytes)
      this.finished(
        this.cl.clEnqueueReadBuffer(this.context.queue, b.handle, 1, byteOffset, bytes, out, 0, 0, 0),
        "reading a buffer",
      );
    return out;
  }

  copy(dst: DeviceBuffer, dstByte: number, src: DeviceBuffer, srcByte: number, bytes: number): void {
    const to = this.range(dst, dstByte, bytes, "copy");
    const from = this.range(src, srcByte, bytes, "copy");
    if (bytes)
      this.finished(
        this.cl.clEnqueueCopyBuffer(
          this.context.queue,
          from.handle,
          to.handle,
          srcByte,
          dstByte,
          bytes,
          0,
          0,
          0,
        ),
        "copying a buffer",
      );
  }

  load(artifact: Artifact): Executable {
    this.check();
    const meta = artifact.meta as unknown as KernelMeta;
    const program = meta.isSource
      ? this.context.build(meta.name, new TextDecoder().decode(artifact.bytes))
      : this.context.fromBinary(meta.name, artifact.bytes);
    const exe = new ClExecutable(meta, program, this.context.kernel(program, meta.entry), this);
    this.executables.add(exe);
    return exe;
  }

  launch(
    exe: Executable,
    gridX: number,
    gridY: number,
    gridZ: number,
    values: readonly (DeviceBuffer | number | bigint)[],
    offsets: readonly number[],
  ): void {
    this.check();
    if (!(exe instanceof ClExecutable) || exe.owner !== this) throw foreign("kernel");
    const { slots, kernel, last } = exe;
    for (let i = 0, at = 0; i < slots.length; i++) {
      const v = values[i]!;
      if (slots[i] === BUFFER) {
        if (!(v instanceof ClBuffer) || v.owner !== this) throw foreign(`argument ${i} of ${exe.name}`);
        if (v.handle === 0) throw freed(`argument ${i} of ${exe.name}`);
        if (last[at] !== v.handle) {
          this.putWhole(v.handle);
          this.setArgument(exe, kernel, at, 8);
          last[at] = v.handle;
        }
        at++;
        const offset = offsets[i]!;
        if (last[at] !== offset) {
          this.putWhole(offset);
          this.setArgument(exe, kernel, at, 8);
          last[at] = offset;
        }
        at++;
        continue;
      }
      const x = v as number | bigint;
      if (!Object.is(last[at], x)) {
        this.setArgument(exe, kernel, at, this.putScalar(slots[i]!, x));
        last[at] = x;
      }
      at++;
    }
    const { address } = this.block;
    this.putWhole(gridX * exe.threads, 2);
    this.putWhole(gridY, 3);
    this.putWhole(gridZ, 4);
    this.putWhole(exe.threads, 5);
    const code = this.cl.clEnqueueNDRangeKernel(
      this.context.queue,
      kernel,
      3,
      0,
      address + 16,
      address + 40,
      0,
      0,
      0,
    );
    this.finished(code, `launching ${exe.name}`);
  }

  async sync(): Promise<void> {
    this.check();
    this.finished(await this.cl.finishAsync(this.context.queue), "waiting for the queue");
  }

  close(): void {
    if (!this.open) return;
    this.cl.clFinish(this.context.queue);
    for (const exe of this.executables) {
      this.cl.clReleaseKernel(exe.kernel);
      this.cl.clReleaseProgram(exe.program);
    }
    for (const b of [...this.live]) this.free(b);
    this.open = false;
    this.context.close();
  }

  /** A whole number up to 2^53 into a slot of 8 bytes. */
  private putWhole(value: number, slot = 0): void {
    this.ints[slot * 2] = value | 0;
    this.ints[slot * 2 + 1] = Math.floor(value / 4294967296);
  }

  /** Puts a scalar at the start of the block and gives its size. */
  private putScalar(slot: number, x: number | bigint): number {
    switch (slot) {
      case I32:
        this.ints[0] = Number(x);
        return 4;
      case I64:
        this.bigs[0] = BigInt(x);
        return 8;
      case F32:
        this.floats[0] = Number(x);
        return 4;
      default:
        this.doubles[0] = Number(x);
        return 8;
    }
  }

  private setArgument(exe: ClExecutable, kernel: number, index: number, bytes: number): void {
    const code = this.cl.clSetKernelArg(kernel, index, bytes, this.block.address);
    if (code !== 0) check(code, `setting argument ${index} of ${exe.name}`);
  }

  private finished(code: number, what: string): void {
    if (code === 0) return;
    if (isMemoryError(code))
      throw new OutOfMemoryError(`out of memory on the opencl chip: ${what}: ${errorName(code)}`);
    check(code, what);
  }

  private check(): void {
    if (!this.open) throw new Error("the opencl chip is closed");
  }

  private own(buffer: DeviceBuffer): ClBuffer {
    this.check();
    if (!(buffer instanceof ClBuffer) || buffer.owner !== this) throw foreign("buffer");
    if (!buffer.handle) throw freed("this buffer");
    return buffer;
  }

  private range(buffer: DeviceBuffer, offset: number, bytes: number, what: string): ClBuffer {
    const b = this.own(buffer);
    if (!(offset >= 0 && bytes >= 0 && offset + bytes <= b.bytes))
      throw new RangeError(`cannot ${what} ${bytes} bytes at ${offset} of a buffer of ${b.bytes}`);
    return b;
  }
}

const foreign = (what: string): Error => new Error(`${what} is not of this opencl chip`);
const freed = (what: string): Error => new Error(`${what} is freed`);
