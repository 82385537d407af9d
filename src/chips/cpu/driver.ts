// The driver of the CPU: memory of the C heap, kernels as shared libraries, launches on the chip's thread pool. A launch
// fills one block of arguments and makes one native call, and has run when it returns.

import type { Artifact } from "../../compiler/target.js";
import { REPORT_WORDS, type ReportSite } from "../../compiler/passes/index.js";
import type { MemKind, RegKind } from "../../compiler/lower/simd/form.js";
import { type DeviceBuffer, type Driver, type Executable, OutOfMemoryError } from "../../runtime/driver.js";
import { ArgumentBlock, BUFFER, scalarCode } from "../../runtime/argument-block.js";
import { OwnedBuffer, OwnedBuffers, showBytes } from "../../runtime/owned-buffers.js";
import { memoryBytes } from "../../runtime/platform.js";
import { Reports } from "../../runtime/reports.js";
import { type FileBytes, FileMaps } from "./file-maps.js";
import { libraryFile } from "./files.js";
import type { Native } from "./native.js";
import { LAUNCH } from "./pool.js";
import { ARGUMENT_SLOTS } from "./print.js";
import { bytesOf } from "./unit.js";

/** What the driver must know of a kernel; stands in the artifact's meta. */
export interface KernelMeta {
  readonly name: string;
  readonly frameBytes: number;
  /** The name of its library, which later starts need not find again. */
  readonly library?: string;
  /** Per parameter: a buffer's element kind, or a scalar's register kind. */
  readonly params: readonly (readonly ["buffer", MemKind] | readonly ["scalar", RegKind])[];
  /** What it reports while it runs; then its last parameter is the memory for that. */
  readonly reports?: readonly ReportSite[];
}

/** The slot of the first parameter in the launch block. */
const FIRST = LAUNCH.args + ARGUMENT_SLOTS;

class CpuExecutable implements Executable {
  readonly name: string;
  readonly slots: readonly number[];
  readonly sizes: readonly number[];
  readonly reports: readonly ReportSite[] | undefined;
  constructor(
    meta: KernelMeta,
    readonly address: number,
    readonly owner: CpuDriver,
  ) {
    this.name = meta.name;
    this.reports = meta.reports;
    const params = meta.reports ? meta.params.slice(0, -1) : meta.params;
    this.slots = params.map(([what, kind]) => (what === "buffer" ? BUFFER : scalarCode(kind)));
    this.sizes = params.map(([what, kind]) => (what === "buffer" ? bytesOf(kind) : 0));
  }
}

/** Of the machine's memory; the rest is for everything else in it. */
const MEMORY_SHARE = 0.9;

export class CpuDriver implements Driver {
  private pool: number;
  private readonly block: ArgumentBlock;
  private readonly buffers = new OwnedBuffers("cpu");
  /** Those that are bytes of a file, which the system may drop from memory and read again. */
  private readonly mapped = new Map<OwnedBuffer, FileBytes>();
  private readonly files: FileMaps;
  private mappedBytes = 0;
  /** Linux gives out more memory than it has and then ends processes: what does not fit is refused before. */
  private readonly most = memoryBytes() * MEMORY_SHARE;
  private reports:
    | { readonly address: number; readonly words: Int32Array; readonly read: Reports }
    | undefined;

  constructor(
    private readonly native: Native,
    readonly threads: number,
  ) {
    this.pool = native.open(threads);
    if (!this.pool) throw new OutOfMemoryError("the cpu chip cannot allocate its thread pool");
    this.block = new ArgumentBlock(native.block(this.pool));
    this.files = new FileMaps(native);
  }

  alloc(bytes: number): DeviceBuffer {
    this.check();
    this.buffers.checkSize(bytes);
    const used = this.buffers.allocated - this.mappedBytes;
    const address = used + bytes > this.most ? 0 : this.native.alloc(Math.max(bytes, 64));
    if (!address)
      throw new OutOfMemoryError(
        `out of memory on the cpu chip: ${showBytes(bytes)} wanted, ${showBytes(used)} in use by it, ` +
          `of ${showBytes(this.most)} that it may use`,
      );
    return this.buffers.add(bytes, address);
  }

  mapFile(path: string, position: number, bytes: number): ReturnType<NonNullable<Driver["mapFile"]>> {
    this.check();
    this.buffers.checkSize(bytes);
    const part = this.files.take(path, position, bytes);
    if (!part) return undefined;
    const { begin } = part;
    const buffer = this.buffers.add(begin + bytes, part.address);
    this.mapped.set(buffer, part);
    this.mappedBytes += buffer.bytes;
    return { buffer, begin };
  }

  free(buffer: DeviceBuffer): void {
    const b = this.own(buffer);
    const part = this.mapped.get(b);
    if (part) {
      this.mapped.delete(b);
      this.files.release(part);
      this.mappedBytes -= b.bytes;
    } else this.native.free(b.handle);
    this.buffers.remove(b);
  }

  write(dst: DeviceBuffer, byteOffset: number, src: Uint8Array): void {
    const at = this.range(dst, byteOffset, src.length, "write");
    if (src.length) this.native.copyIn(at, src, src.length);
  }

  read(src: DeviceBuffer, byteOffset: number, bytes: number): Promise<Uint8Array> {
    try {
      return Promise.resolve(this.readSync(src, byteOffset, bytes));
    } catch (e) {
      return Promise.reject(e);
    }
  }

  readSync(src: DeviceBuffer, byteOffset: number, bytes: number): Uint8Array {
    this.reports?.read.check();
    const at = this.range(src, byteOffset, bytes, "read");
    const out = new Uint8Array(bytes);
    if (bytes) this.native.copyOut(out, at, bytes);
    return out;
  }

  copy(dst: DeviceBuffer, dstByte: number, src: DeviceBuffer, srcByte: number, bytes: number): void {
    const to = this.range(dst, dstByte, bytes, "copy");
    const from = this.range(src, srcByte, bytes, "copy");
    if (bytes) this.native.copy(to, from, bytes);
  }

  load(artifact: Artifact): Executable {
    this.check();
    const meta = artifact.meta as unknown as KernelMeta;
    if (meta.params.length > LAUNCH.maxParams)
      throw new Error(
        `${meta.name}: ${meta.params.length} parameters; the cpu chip takes ${LAUNCH.maxParams}`,
      );
    const path = libraryFile(artifact.bytes, meta.library);
    const address = this.native.load(this.pool, path, meta.frameBytes);
    if (!address) throw new Error(`${meta.name}: ${path} does not load: ${this.native.error(this.pool)}`);
    return new CpuExecutable(meta, address, this);
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
    if (!(exe instanceof CpuExecutable) || exe.owner !== this) throw this.buffers.foreign("kernel");
    const programs = gridX * gridY * gridZ;
    if (!(programs <= Number.MAX_SAFE_INTEGER))
      throw new RangeError(`${exe.name}: a grid of ${programs} programs`);
    const { slots } = exe;
    const { block } = this;
    block.putWhole(LAUNCH.executable, exe.address);
    block.putWhole(LAUNCH.programs, programs);
    block.putWhole(LAUNCH.args, gridX);
    block.putWhole(LAUNCH.args + 1, gridY);
    block.putWhole(LAUNCH.args + 2, gridZ);
    for (let i = 0, at = FIRST; i < slots.length; i++, at++) {
      const v = values[i]!;
      const code = slots[i]!;
      if (code === BUFFER) block.putWhole(at, this.addressOf(v, i, exe) + offsets[i]! * exe.sizes[i]!);
      else block.putScalar(at, code, v as number | bigint);
    }
    if (exe.reports) block.putWhole(FIRST + slots.length, this.reporting().address);
    if (this.native.launch(this.pool) !== 0)
      throw new OutOfMemoryError(`out of memory on the cpu chip: no scratch for the threads of ${exe.name}`);
    if (exe.reports) {
      const { read, words } = this.reporting();
      read.drain(exe.name, exe.reports, words, [gridX, gridY, gridZ]);
    }
  }

  /** The address of a buffer argument. The message for a wrong one is made only then. */
  private addressOf(v: unknown, i: number, exe: CpuExecutable): number {
    if (v instanceof OwnedBuffer && v.owner === this.buffers && v.handle !== 0) return v.handle;
    return this.buffers.own(v, `argument ${i} of ${exe.name}`).handle;
  }

  /** Memory for what kernels report, made for the first that does. */
  private reporting(): NonNullable<CpuDriver["reports"]> {
    if (!this.reports) {
      const address = this.native.alloc(REPORT_WORDS * 4);
      if (!address) throw new OutOfMemoryError("out of memory on the cpu chip: none for what kernels report");
      const words = new Int32Array(this.native.view(address, REPORT_WORDS * 4)).fill(0);
      this.reports = { address, words, read: new Reports() };
    }
    return this.reports;
  }

  /** Where a byte of a buffer stands in this process: for libraries that work on the same memory. */
  address(buffer: DeviceBuffer, byteOffset: number): number {
    return this.own(buffer).handle + byteOffset;
  }

  /** Launches have run when they return. */
  sync(): Promise<void> {
    try {
      this.reports?.read.check();
      return Promise.resolve();
    } catch (e) {
      return Promise.reject(e);
    }
  }

  close(): void {
    if (!this.pool) return;
    for (const b of this.buffers.all()) this.free(b);
    this.files.close();
    if (this.reports) this.native.free(this.reports.address);
    this.reports = undefined;
    this.native.close(this.pool);
    this.pool = 0;
  }

  private check(): void {
    if (!this.pool) throw new Error("the cpu chip is closed");
  }

  private own(buffer: DeviceBuffer): OwnedBuffer {
    this.check();
    return this.buffers.own(buffer);
  }

  private range(buffer: DeviceBuffer, offset: number, bytes: number, what: string): number {
    this.check();
    return this.buffers.range(buffer, offset, bytes, what).handle + offset;
  }
}
