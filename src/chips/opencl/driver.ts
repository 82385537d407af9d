// The driver of OpenCL: buffers, programs and launches on one in-order queue. Arguments stand in one block of memory whose
// addresses are fixed, and an argument is set again only when it changed.

import type { MemKind, RegKind } from "../../compiler/lower/simt/index.js";
import { REPORT_WORDS, type ReportSite } from "../../compiler/passes/reports.js";
import type { Artifact } from "../../compiler/target.js";
import { type DeviceBuffer, type Driver, type Executable, OutOfMemoryError } from "../../runtime/driver.js";
import { ArgumentBlock, BUFFER, F32, I32, scalarCode } from "../../runtime/argument-block.js";
import { OwnedBuffer, OwnedBuffers, showBytes } from "../../runtime/owned-buffers.js";
import { Reports } from "../../runtime/reports.js";
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
  /** What it reports while it runs; then its last parameter is the memory for that. */
  readonly reports?: readonly ReportSite[];
}

class ClExecutable implements Executable {
  readonly name: string;
  readonly slots: readonly number[];
  readonly threads: number;
  /** What each argument of the kernel was last set to. */
  readonly last: (number | bigint | undefined)[];
  readonly reports: readonly ReportSite[] | undefined;
  constructor(
    meta: KernelMeta,
    readonly program: number,
    readonly kernel: number,
    readonly owner: OpenClDriver,
  ) {
    this.name = meta.name;
    this.threads = meta.threads;
    this.reports = meta.reports;
    this.slots = meta.params.map(([what, kind]) => (what === "buffer" ? BUFFER : scalarCode(kind)));
    this.last = this.slots.flatMap((s) => (s === BUFFER ? [undefined, undefined] : [undefined]));
  }
}

/** Bytes of a scalar argument, by its code. */
const sizeOf = (code: number): number => (code === I32 || code === F32 ? 4 : 8);

export class OpenClDriver implements Driver {
  private readonly cl: Cl;
  private readonly buffers = new OwnedBuffers("opencl");
  private readonly executables = new Set<ClExecutable>();
  private open = true;
  private reports: { readonly memory: DeviceBuffer; readonly read: Reports } | undefined;
  // The argument being set, then the global and the local size of a launch.
  private readonly address: number;
  private readonly block: ArgumentBlock;

  constructor(private readonly context: ClContext) {
    this.cl = context.cl;
    const { buffer, address } = this.cl.block(64);
    this.address = address;
    this.block = new ArgumentBlock(buffer);
    this.block.putWhole(6, 1);
    this.block.putWhole(7, 1);
  }

  alloc(bytes: number): DeviceBuffer {
    this.check();
    this.buffers.checkSize(bytes);
    const { handle, code } = this.context.createBuffer(Math.max(bytes, 64));
    if (code !== 0) {
      if (!isMemoryError(code)) check(code, `allocating ${bytes} bytes`);
      throw new OutOfMemoryError(
        `out of memory on the opencl chip: ${showBytes(bytes)} wanted, ${showBytes(this.buffers.allocated)} in use by it (${errorName(code)})`,
      );
    }
    return this.buffers.add(bytes, handle);
  }

  free(buffer: DeviceBuffer): void {
    const b = this.own(buffer);
    // Kernels that are enqueued keep the memory until they have run.
    check(this.cl.clReleaseMemObject(b.handle), "freeing a buffer");
    for (const exe of this.executables)
      exe.last.forEach((x, i) => {
        if (x === b.handle) exe.last[i] = undefined;
      });
    this.buffers.remove(b);
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
    if (!(exe instanceof ClExecutable) || exe.owner !== this) throw this.buffers.foreign("kernel");
    if (gridX * gridY * gridZ === 0) return;
    const { slots, kernel, last } = exe;
    const reportsAt = exe.reports ? slots.length - 1 : -1;
    for (let i = 0, at = 0; i < slots.length; i++) {
      const v = i === reportsAt ? this.reporting().memory : values[i]!;
      if (slots[i] === BUFFER) {
        const handle = this.handleOf(v, i, exe);
        if (last[at] !== handle) {
          this.block.putWhole(0, handle);
          this.setArgument(exe, kernel, at, 8);
          last[at] = handle;
        }
        at++;
        const offset = i === reportsAt ? 0 : offsets[i]!;
        if (last[at] !== offset) {
          this.block.putWhole(0, offset);
          this.setArgument(exe, kernel, at, 8);
          last[at] = offset;
        }
        at++;
        continue;
      }
      const x = v as number | bigint;
      if (!Object.is(last[at], x)) {
        this.block.putScalar(0, slots[i]!, x);
        this.setArgument(exe, kernel, at, sizeOf(slots[i]!));
        last[at] = x;
      }
      at++;
    }
    const { address, block } = this;
    block.putWhole(2, gridX * exe.threads);
    block.putWhole(3, gridY);
    block.putWhole(4, gridZ);
    block.putWhole(5, exe.threads);
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
    if (exe.reports) this.drain(exe, exe.reports, [gridX, gridY, gridZ]);
  }

  /** Memory for what kernels report, and who reads it. */
  private reporting(): NonNullable<OpenClDriver["reports"]> {
    if (!this.reports) {
      const memory = this.alloc(REPORT_WORDS * 4);
      this.write(memory, 0, new Uint8Array(REPORT_WORDS * 4));
      this.reports = { memory, read: new Reports() };
    }
    return this.reports;
  }

  /** Kernels that report are waited for: what they printed is shown now, a claim that does not hold thrown at the next wait. */
  private drain(
    exe: ClExecutable,
    sites: readonly ReportSite[],
    grid: readonly [number, number, number],
  ): void {
    const { memory, read } = this.reporting();
    const bytes = this.readSync(memory, 0, REPORT_WORDS * 4);
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, REPORT_WORDS);
    if (words[0] === 0) return;
    read.drain(exe.name, sites, words, grid);
    this.write(memory, 0, new Uint8Array(REPORT_WORDS * 4));
  }

  async sync(): Promise<void> {
    this.check();
    this.finished(await this.cl.finishAsync(this.context.queue), "waiting for the queue");
    this.reports?.read.check();
  }

  close(): void {
    if (!this.open) return;
    this.cl.clFinish(this.context.queue);
    for (const exe of this.executables) {
      this.cl.clReleaseKernel(exe.kernel);
      this.cl.clReleaseProgram(exe.program);
    }
    for (const b of this.buffers.all()) this.free(b);
    this.open = false;
    this.context.close();
  }

  /** The memory object of a buffer argument. The message for a wrong one is made only then. */
  private handleOf(v: unknown, i: number, exe: ClExecutable): number {
    if (v instanceof OwnedBuffer && v.owner === this.buffers && v.handle !== 0) return v.handle;
    return this.buffers.own(v, `argument ${i} of ${exe.name}`).handle;
  }

  private setArgument(exe: ClExecutable, kernel: number, index: number, bytes: number): void {
    const code = this.cl.clSetKernelArg(kernel, index, bytes, this.address);
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

  private own(buffer: DeviceBuffer): OwnedBuffer {
    this.check();
    return this.buffers.own(buffer);
  }

  private range(buffer: DeviceBuffer, offset: number, bytes: number, what: string): OwnedBuffer {
    this.check();
    return this.buffers.range(buffer, offset, bytes, what);
  }
}
