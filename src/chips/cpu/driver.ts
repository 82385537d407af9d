// The driver of the CPU: memory of the C heap, kernels as shared libraries, launches on the chip's thread pool. A launch
// fills one block of arguments and makes one native call, and has run when it returns.

import type { Artifact } from "../../compiler/target.js";
import { REPORT_WORDS, type ReportSite } from "../../compiler/passes/index.js";
import type { MemKind, RegKind } from "../../compiler/lower/simd/form.js";
import { type DeviceBuffer, type Driver, type Executable, OutOfMemoryError } from "../../runtime/driver.js";
import { Reports } from "../../runtime/reports.js";
import { libraryFile } from "./files.js";
import type { Native } from "./native.js";
import { LAUNCH } from "./pool.js";
import { ARGUMENT_SLOTS } from "./print.js";
import { bytesOf } from "./unit.js";

/** What the driver must know of a kernel; stands in the artifact's meta. */
export interface KernelMeta {
  readonly name: string;
  readonly frameBytes: number;
  /** Per parameter: a buffer's element kind, or a scalar's register kind. */
  readonly params: readonly (readonly ["buffer", MemKind] | readonly ["scalar", RegKind])[];
  /** What it reports while it runs; then its last parameter is the memory for that. */
  readonly reports?: readonly ReportSite[];
}

class CpuBuffer implements DeviceBuffer {
  constructor(
    readonly bytes: number,
    /** 0 once it is freed. */
    public address: number,
    readonly owner: CpuDriver,
  ) {}
}

// How a parameter is written into its slot.
const [BUFFER, I32, I64, F32, F64] = [0, 1, 2, 3, 4] as const;
const SLOT: Readonly<Record<RegKind, number>> = { i32: I32, mask: I32, i64: I64, f32: F32, f64: F64 };
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
    this.slots = params.map(([what, kind]) => (what === "buffer" ? BUFFER : SLOT[kind]));
    this.sizes = params.map(([what, kind]) => (what === "buffer" ? bytesOf(kind) : 0));
  }
}

const showBytes = (n: number): string =>
  n < 1 << 20 ? `${n} bytes` : `${n} bytes (${(n / 2 ** 30).toFixed(n < 2 ** 30 ? 3 : 1)} GiB)`;

export class CpuDriver implements Driver {
  private pool: number;
  private readonly words: Uint32Array;
  private readonly ints: Int32Array;
  private readonly bigs: BigInt64Array;
  private readonly floats: Float32Array;
  private readonly doubles: Float64Array;
  private readonly live = new Set<CpuBuffer>();
  private allocated = 0;
  private reports:
    | { readonly address: number; readonly words: Int32Array; readonly read: Reports }
    | undefined;

  constructor(
    private readonly native: Native,
    readonly threads: number,
  ) {
    this.pool = native.open(threads);
    if (!this.pool) throw new OutOfMemoryError("the cpu chip cannot allocate its thread pool");
    const block = native.block(this.pool);
    this.words = new Uint32Array(block);
    this.ints = new Int32Array(block);
    this.bigs = new BigInt64Array(block);
    this.floats = new Float32Array(block);
    this.doubles = new Float64Array(block);
  }

  alloc(bytes: number): DeviceBuffer {
    this.check();
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new RangeError(`cannot allocate ${bytes} bytes`);
    const address = this.native.alloc(Math.max(bytes, 64));
    if (!address)
      throw new OutOfMemoryError(
        `out of memory on the cpu chip: ${showBytes(bytes)} wanted, ${showBytes(this.allocated)} in use by it`,
      );
    const buffer = new CpuBuffer(bytes, address, this);
    this.live.add(buffer);
    this.allocated += bytes;
    return buffer;
  }

  free(buffer: DeviceBuffer): void {
    const b = this.own(buffer);
    this.native.free(b.address);
    b.address = 0;
    this.live.delete(b);
    this.allocated -= b.bytes;
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
    const path = libraryFile(artifact.bytes);
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
    if (!(exe instanceof CpuExecutable) || exe.owner !== this) throw foreign("kernel");
    const programs = gridX * gridY * gridZ;
    if (!(programs <= Number.MAX_SAFE_INTEGER))
      throw new RangeError(`${exe.name}: a grid of ${programs} programs`);
    const { slots } = exe;
    this.putAddress(LAUNCH.executable, exe.address);
    this.putAddress(LAUNCH.programs, programs);
    this.putAddress(LAUNCH.args, gridX);
    this.putAddress(LAUNCH.args + 1, gridY);
    this.putAddress(LAUNCH.args + 2, gridZ);
    for (let i = 0, at = FIRST; i < slots.length; i++, at++) {
      const v = values[i]!;
      switch (slots[i]) {
        case BUFFER: {
          if (!(v instanceof CpuBuffer) || v.owner !== this) throw foreign(`argument ${i} of ${exe.name}`);
          if (v.address === 0) throw freed(`argument ${i} of ${exe.name}`);
          this.putAddress(at, v.address + offsets[i]! * exe.sizes[i]!);
          break;
        }
        case I32:
          this.ints[at * 2] = Number(v);
          break;
        case I64:
          this.bigs[at] = BigInt(v as number | bigint);
          break;
        case F32:
          this.floats[at * 2] = Number(v);
          break;
        case F64:
          this.doubles[at] = Number(v);
          break;
      }
    }
    if (exe.reports) this.putAddress(FIRST + slots.length, this.reporting().address);
    if (this.native.launch(this.pool) !== 0)
      throw new OutOfMemoryError(`out of memory on the cpu chip: no scratch for the threads of ${exe.name}`);
    if (exe.reports) {
      const { read, words } = this.reporting();
      read.drain(exe.name, exe.reports, words, [gridX, gridY, gridZ]);
    }
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
    return this.own(buffer).address + byteOffset;
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
    for (const b of [...this.live]) this.free(b);
    if (this.reports) this.native.free(this.reports.address);
    this.reports = undefined;
    this.native.close(this.pool);
    this.pool = 0;
  }

  /** An integer up to 2^53 into a slot. Typed arrays take the low 32 bits of what they are given. */
  private putAddress(slot: number, value: number): void {
    this.words[slot * 2] = value;
    this.words[slot * 2 + 1] = value / 4294967296;
  }

  private check(): void {
    if (!this.pool) throw new Error("the cpu chip is closed");
  }

  private own(buffer: DeviceBuffer): CpuBuffer {
    this.check();
    if (!(buffer instanceof CpuBuffer) || buffer.owner !== this) throw foreign("buffer");
    if (!buffer.address) throw freed("this buffer");
    return buffer;
  }

  private range(buffer: DeviceBuffer, offset: number, bytes: number, what: string): number {
    const b = this.own(buffer);
    if (!(offset >= 0 && bytes >= 0 && offset + bytes <= b.bytes))
      throw new RangeError(`cannot ${what} ${bytes} bytes at ${offset} of a buffer of ${b.bytes}`);
    return b.address + offset;
  }
}

const foreign = (what: string): Error => new Error(`${what} is not of this cpu chip`);
const freed = (what: string): Error => new Error(`${what} is freed`);
