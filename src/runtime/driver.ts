// The Driver interface: memory, code and launches of one chip. Implemented in `chips/`, used by the runtime only.

import type { Artifact, Target } from "../compiler/target.js";
import type { TuningTable } from "./tuning-table.js";

/** Device memory. Opaque outside its driver. */
export interface DeviceBuffer {
  readonly bytes: number;
}

/** Code that a driver has loaded. Opaque outside its driver. */
export interface Executable {
  readonly name: string;
  /** Where the author defined the kernel, for messages. The runtime fills it in. */
  definition?: () => string | undefined;
}

/** What a chip can do. Nobody asks a chip for its name; they ask for these. */
export interface Capabilities {
  /** Memory can be read without waiting for a promise. */
  readonly syncRead: boolean;
  readonly f64: boolean;
  readonly i64: boolean;
  /** Threads that work on one launch. */
  readonly threads: number;
  /** Threads that work on one program together. Default 1: loops over single elements are fast, and tiles no gain by themselves. */
  readonly programThreads?: number;
  /**
   * A program may wait for one that began before it: both go on, or the earlier one has ended. Set where sorting by digits is
   * faster that way. Default false.
   */
  readonly programsWait?: boolean;
  /** Roughly how many elements one program should handle: small on GPUs, large on CPUs. */
  readonly elementsPerProgram: number;
  /** Block sizes [M, N, K] that suit `dot`. */
  readonly dotBlock: readonly [number, number, number];
  /**
   * Dtypes under 32 bits whose products run on matrix units, several times as fast as in f32. Kernels that would compute in f32 hand
   * such operands on as they are. Default: none.
   */
  readonly matrixDtypes?: readonly string[];
  /** A sum over a product of large tiles is computed on the way: neither the product nor its factors are kept. Default false. */
  readonly streamsSums?: boolean;
  /**
   * Vectors are so long that one sum of products keeps up with memory: a row after the other, each fetched ahead by its early loads
   * (`tl.load`), is faster than several side by side. Default false.
   */
  readonly sumsByRow?: boolean;
  /** Bytes that the threads of one program share, which hold the operands of its products. Undefined: tiles may be of any size. */
  readonly sharedBytes?: number;
  /**
   * Large tiles stand in memory, and stores do not go past the caches: a tile that is to be finished and stored later may as well
   * wait where it will be stored. Default false.
   */
  readonly waitsInPlace?: boolean;
  /** Largest bytes of one buffer. */
  readonly maxBufferBytes: number;
  /** Largest number of programs along each grid axis. */
  readonly maxGrid: readonly [number, number, number];
  /** Buffers get exactly the bytes asked for and are not reused: for chips that check every access. Default false. */
  readonly exactBuffers?: boolean;
  /**
   * Bytes of the largest cache of a chip whose stores can go past the caches. A launch that touches more than this may
   * say so (`cache: "streaming"` of `tl.store`): what it writes would not stay in the cache anyway. Undefined: there is
   * nothing to gain.
   */
  readonly cacheBytes?: number;
  /** Bytes of memory the chip has, where that is known: the base of the default memory limit. */
  readonly memoryBytes?: number;
}

/** Recorded work that the device repeats as a whole. */
export interface CapturedWork {
  /** Enqueues all of it. */
  launch(): void;
  dispose(): void;
}

export interface Driver {
  /** Raw memory, at least 64-byte aligned. Throws {@link OutOfMemoryError}. The runtime pools on top of it. */
  alloc(bytes: number): DeviceBuffer;
  free(buffer: DeviceBuffer): void;
  /**
   * Bytes of a file as memory without a copy: what is written to them stays in this process and with this buffer. They stand
   * in the buffer from `begin` on. Undefined where the file has no such bytes or the system no such memory. Only drivers of
   * chips that work in the host's memory have it.
   */
  mapFile?(
    path: string,
    position: number,
    bytes: number,
  ): { readonly buffer: DeviceBuffer; readonly begin: number } | undefined;
  /** Copies host bytes in; `src` may be reused when the call returns. Ordered with launches. */
  write(dst: DeviceBuffer, byteOffset: number, src: Uint8Array): void;
  /** Resolves with a fresh copy once everything enqueued before has run. */
  read(src: DeviceBuffer, byteOffset: number, bytes: number): Promise<Uint8Array>;
  /** Only with the capability `syncRead`. */
  readSync?(src: DeviceBuffer, byteOffset: number, bytes: number): Uint8Array;
  copy(dst: DeviceBuffer, dstByte: number, src: DeviceBuffer, srcByte: number, bytes: number): void;
  load(artifact: Artifact): Executable;
  /**
   * Enqueues a grid. `values[i]` is the buffer or the number (bigint for i64/u64) of ABI parameter `i`, and
   * `offsets[i]` a buffer's element offset. Both arrays belong to the caller and are reused after the call.
   */
  launch(
    exe: Executable,
    gridX: number,
    gridY: number,
    gridZ: number,
    values: readonly (DeviceBuffer | number | bigint)[],
    offsets: readonly number[],
  ): void;
  /** Resolves when everything enqueued has run; rejects with what went wrong. */
  sync(): Promise<void>;
  /**
   * Records launches and copies on the device until {@link endCapture}, without running them. Where a driver has no such
   * thing the runtime records the calls itself.
   */
  beginCapture?(): void;
  /** What was recorded. Throws, and drops it, when the device cannot record something in it. */
  endCapture?(): CapturedWork;
  /**
   * Copies from memory of another driver, ordered with what both have enqueued. False, and nothing is done, where there is no
   * way that does not pass through the host.
   */
  copyFrom?(
    dst: DeviceBuffer,
    dstByte: number,
    from: Driver,
    src: DeviceBuffer,
    srcByte: number,
    bytes: number,
  ): boolean;
  /** Frees everything, ends workers. */
  close(): void;
}

/** A matrix in device memory; offset and strides count elements. */
export interface VendorMatrix {
  readonly buffer: DeviceBuffer;
  readonly offset: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

/** Matrix products by somebody else's library. */
export interface VendorMatmul {
  /** The library, as policies name it: `openblas`. */
  readonly name: string;
  /** One line for people: version and what it was built for. */
  readonly description: string;
  /** Whether it takes operands of this dtype with such strides. */
  supports(
    dtype: string,
    M: number,
    N: number,
    K: number,
    a: VendorMatrix,
    b: VendorMatrix,
    c: VendorMatrix,
  ): boolean;
  /** Enqueues `c[M,N] = a[M,K] @ b[K,N]`, ordered with launches. Only what {@link supports} said yes to. */
  run(
    dtype: string,
    M: number,
    N: number,
    K: number,
    a: VendorMatrix,
    b: VendorMatrix,
    c: VendorMatrix,
  ): void;
}

/** Operators of which a vendor's library may do the work. Never needed: each is undefined where its library is missing. */
export interface Vendor {
  readonly matmul?: VendorMatmul | undefined;
  /** What to say to somebody who wants the library for sure and has none. */
  readonly missing: string;
}

/** An opened chip: its printer, its driver, what it can do. */
export interface Chip {
  readonly name: string;
  readonly target: Target;
  readonly driver: Driver;
  readonly capabilities: Capabilities;
  /** One line for people: `2 threads, 128-bit SIMD`. */
  readonly description: string;
  /** Block sizes that were measured on such chips. */
  readonly tuning?: TuningTable;
  /** Libraries are looked for when a field is first read. */
  readonly vendor?: Vendor;
}

/** What looking for a chip found, for `vexil chips`. */
export interface Probe {
  readonly available: boolean;
  /** What was found (`gcc 12.2.0, AVX2`), or what is missing. */
  readonly found: string;
  /**
   * A chip made for GPUs that runs on the CPU here: right, but slow to compile and to run. Test suites leave it out unless
   * they are told to use it.
   */
  readonly isSoftware?: boolean;
  /** How to get what is missing; empty if nothing is. */
  readonly hint?: string;
  /** Vendor libraries found, one line each. */
  readonly vendor?: readonly string[];
}

/** How a chip announces itself; `chips/index.ts` lists the built-in ones, other packages call `registerChip`. */
export interface ChipEntry {
  readonly name: string;
  readonly summary: string;
  probe(): Promise<Probe>;
  /** Throws an error with the probe's hint when the chip is not available. */
  open(): Promise<Chip>;
  /**
   * For chips that may have several devices: opens one by its number, as the chip `NAME:INDEX`. Undefined when it is the one
   * that {@link open} opens. Throws an error that says which devices there are.
   */
  openDevice?(index: number): Promise<Chip | undefined>;
}

/** The name of a chip without the number of its device. */
export const chipKind = (name: string): string => name.replace(/:\d+$/, "");

export class OutOfMemoryError extends Error {
  override name = "OutOfMemoryError";
}
