// The driver: one WebAssembly memory for all buffers, kernels as modules over it, launches on all threads.
// Everything has happened when a call returns, so reading needs no waiting.

import { REPORT_WORDS, type ReportSite } from "../../compiler/passes/index.js";
import type { Artifact } from "../../compiler/target.js";
import { type DeviceBuffer, type Driver, type Executable, OutOfMemoryError } from "../../runtime/driver.js";
import { Reports } from "../../runtime/reports.js";
import { Allocator, type Block } from "./allocator.js";
import { compileModule, MARK_BYTES, markedBytes, optimiseModule } from "./compile.js";
import { wishLargePages } from "./large-pages.js";
import { Pool, type Run, type SharedCode } from "./pool.js";
import { LOW_BYTES } from "./print.js";
import { GRID_SLOTS } from "./run-loop.js";
import { ARGS_AT, ARGS_END } from "./worker.js";

const PAGE = 65536;
/** One page less than 4 GiB: a typed array over all of it must have a length below 2^32. */
export const MAX_PAGES = 65535;
/** Bytes at the end of the memory that hold no buffer: kernels touch what stands behind the tiles that they read. */
const TAIL_BYTES = 65536;
const INITIAL_PAGES = 256;
/** The memory grows by at least a quarter and at least this. */
const GROW_PAGES = 256;
/** Programs of one launch. */
const MAX_PROGRAMS = 2 ** 30;
/** Shorter launches run on the caller's thread alone: waking a sleeping one takes 6 to 16 microseconds. */
const PARALLEL_NANOSECONDS = 20_000;
/** Waking a helper should bring at least this much work to it. */
const WAKE_NANOSECONDS = 10_000;
/** A kernel whose launches took this long so far is compiled anew by the optimising compiler. */
const OPTIMISE_NANOSECONDS = 1_000_000;
/** So is one that is about to take this long. */
const OPTIMISE_AT_ONCE_NANOSECONDS = 10_000_000;
/** Helpers are started once launches that they could have helped with took this long: starting one takes milliseconds. */
const START_NANOSECONDS = 2_000_000;
/** A first program that took this long spent little of it on being compiled or waiting for a busy machine. */
const LONG_MILLISECONDS = 100;
/** A chunk should last at least this, for the shared counter not to matter. */
const CHUNK_NANOSECONDS = 3_000;

/** What an artifact says about a kernel, beside its code. */
export interface KernelMeta {
  readonly name: string;
  readonly frameBytes: number;
  /** A guess of one program's time. */
  readonly nanoseconds: number;
  /** Each parameter: a buffer's element bytes, or how a scalar is written. */
  readonly params: readonly (number | ScalarCode)[];
  /** What it reports while it runs; then its last parameter is the memory for that. */
  readonly reports?: readonly ReportSite[];
}
export type ScalarCode = "i8" | "u8" | "i16" | "u16" | "i32" | "i64" | "f32" | "f64" | "mask";

class Buffer implements DeviceBuffer {
  /** 0 once freed. */
  address: number;
  constructor(
    readonly bytes: number,
    readonly block: Block,
  ) {
    this.address = block.address;
  }
}

class Kernel implements Executable, SharedCode {
  /** Time of one program in nanoseconds: first the compiler's guess, then what launches took. */
  programTime: number;
  /** Whether `programTime` is no guess any more. */
  measured = false;
  /** What all launches took on the caller's thread in nanoseconds, until the code is optimised. */
  worked = 0;
  optimised = false;
  constructor(
    readonly name: string,
    readonly meta: KernelMeta,
    /** Both modules; see `markedBytes`. */
    readonly marked: Uint8Array,
    readonly codeAddress: number,
    // Helpers know code by this number: other code, another number.
    public id: number,
    public run: Run,
    public codeBytes: number,
  ) {
    this.programTime = meta.nanoseconds;
  }
}

const megabytes = (bytes: number): string => `${bytes} bytes (${(bytes / 2 ** 20).toFixed(1)} MiB)`;

/** A memory that can grow to 4 GiB, or as far as the host allows. */
function newMemory(shared: boolean): { memory: WebAssembly.Memory; max: number } {
  for (let max = MAX_PAGES; ; max = Math.floor(max / 2))
    try {
      return { memory: new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: max, shared }), max };
    } catch (e) {
      if (max < 4 * INITIAL_PAGES) throw e;
    }
}

export interface WasmDriverOptions {
  /** Threads of a launch, the caller included. */
  readonly threads: number;
  readonly shared: boolean;
}

export class WasmDriver implements Driver {
  private readonly memory: WebAssembly.Memory;
  private readonly maxPages: number;
  private readonly allocator: Allocator;
  private readonly pool: Pool | undefined;
  private kernels = 0;
  private reports: { readonly place: Block; readonly read: Reports } | undefined;
  private frames: Block | undefined;
  private frameStride = 0;
  private closed = false;
  /** What launches took that helpers could have helped with, in nanoseconds, until they are started. */
  private splittable = 0;
  // Views; renewed when the memory has grown.
  private u8!: Uint8Array;
  private i32!: Int32Array;
  private f32!: Float32Array;
  private f64!: Float64Array;
  private i64!: BigInt64Array;

  constructor(options: WasmDriverOptions) {
    const { memory, max } = newMemory(options.shared);
    this.memory = memory;
    this.maxPages = max;
    this.allocator = new Allocator(LOW_BYTES, memory.buffer.byteLength - TAIL_BYTES);
    this.renewViews();
    if (options.shared && options.threads > 1) this.pool = new Pool(memory, options.threads);
  }

  /** Largest size of all buffers together. */
  get maxBytes(): number {
    return this.maxPages * PAGE - LOW_BYTES - TAIL_BYTES;
  }

  private renewViews(): void {
    const { buffer } = this.memory;
    this.u8 = new Uint8Array(buffer);
    this.i32 = new Int32Array(buffer, ARGS_AT, (ARGS_END - ARGS_AT) / 4);
    this.f32 = new Float32Array(buffer, ARGS_AT, (ARGS_END - ARGS_AT) / 4);
    this.f64 = new Float64Array(buffer, ARGS_AT, (ARGS_END - ARGS_AT) / 8);
    this.i64 = new BigInt64Array(buffer, ARGS_AT, (ARGS_END - ARGS_AT) / 8);
  }

  private place(bytes: number): Block {
    if (this.closed) throw new Error("wasm: the chip is closed");
    const block = this.allocator.allocate(bytes);
    if (block) return block;
    const now = this.memory.buffer.byteLength / PAGE;
    const need = Math.ceil((bytes + 64 - this.allocator.freeAtEnd) / PAGE);
    const wish = Math.min(this.maxPages - now, Math.max(need, GROW_PAGES, Math.ceil(now / 4)));
    for (const pages of wish > need ? [wish, need] : [need]) {
      if (now + pages > this.maxPages) break;
      try {
        this.memory.grow(pages);
      } catch {
        continue; // the host has less; try the smaller step
      }
      this.renewViews();
      wishLargePages(this.memory);
      this.allocator.extend(this.memory.buffer.byteLength - TAIL_BYTES);
      const found = this.allocator.allocate(bytes);
      if (found) return found;
    }
    throw new OutOfMemoryError(
      `wasm: no room for ${megabytes(bytes)}: ${megabytes(this.allocator.used)} are in use ` +
        `of at most ${megabytes(this.maxBytes)}; dispose tensors, use smaller batches, or another chip`,
    );
  }

  alloc(bytes: number): DeviceBuffer {
    if (!(bytes >= 0)) throw new RangeError(`wasm: cannot allocate ${bytes} bytes`);
    return new Buffer(bytes, this.place(bytes));
  }

  free(buffer: DeviceBuffer): void {
    const b = buffer as Buffer;
    if (this.closed) return;
    if (b.address === 0) throw new Error("wasm: a buffer was freed twice");
    this.allocator.free(b.block);
    b.address = 0;
  }

  /** The address of a byte range of a buffer, checked. */
  private at(buffer: DeviceBuffer, offset: number, bytes: number): number {
    const b = buffer as Buffer;
    if (b.address === 0) throw new Error("wasm: the buffer was freed");
    if (offset < 0 || bytes < 0 || offset + bytes > b.bytes)
      throw new RangeError(
        `wasm: bytes ${offset} to ${offset + bytes} lie outside a buffer of ${b.bytes} bytes`,
      );
    return b.address + offset;
  }

  write(dst: DeviceBuffer, byteOffset: number, src: Uint8Array): void {
    this.u8.set(src, this.at(dst, byteOffset, src.byteLength));
  }

  readSync(src: DeviceBuffer, byteOffset: number, bytes: number): Uint8Array {
    this.reports?.read.check();
    const at = this.at(src, byteOffset, bytes);
    const copy = new Uint8Array(bytes);
    copy.set(this.u8.subarray(at, at + bytes));
    return copy;
  }

  async read(src: DeviceBuffer, byteOffset: number, bytes: number): Promise<Uint8Array> {
    return this.readSync(src, byteOffset, bytes);
  }

  copy(dst: DeviceBuffer, dstByte: number, src: DeviceBuffer, srcByte: number, bytes: number): void {
    const from = this.at(src, srcByte, bytes);
    this.u8.copyWithin(this.at(dst, dstByte, bytes), from, from + bytes);
  }

  load(artifact: Artifact): Executable {
    const meta = artifact.meta as unknown as KernelMeta;
    const run = this.instantiate(compileModule(artifact.bytes));
    const marked = markedBytes(artifact.bytes);
    let address = 0;
    if (this.pool) {
      // Helpers compile from here; V8 finds the compiled code by the same bytes.
      address = this.place(marked.length).address;
      this.u8.set(marked, address);
    }
    if (8 * (GRID_SLOTS + meta.params.length) > ARGS_END - ARGS_AT)
      throw new Error(`wasm: ${meta.name} has too many parameters (${meta.params.length})`);
    return new Kernel(meta.name, meta, marked, address, ++this.kernels, run, marked.length - MARK_BYTES);
  }

  private instantiate(module: WebAssembly.Module): Run {
    return new WebAssembly.Instance(module, { env: { memory: this.memory } }).exports["run"] as Run;
  }

  private optimise(kernel: Kernel): void {
    kernel.optimised = true;
    kernel.run = this.instantiate(optimiseModule(kernel.marked));
    kernel.id = ++this.kernels;
    kernel.codeBytes = kernel.marked.length;
  }

  private writeArgs(
    kernel: Kernel,
    values: readonly (DeviceBuffer | number | bigint)[],
    offsets: readonly number[],
  ): void {
    const { i32 } = this;
    const { params, reports } = kernel.meta;
    const count = reports ? params.length - 1 : params.length;
    if (reports) i32[2 * (GRID_SLOTS + count)] = this.reportWords().byteOffset;
    for (let i = 0; i < count; i++) {
      const code = params[i]!;
      const word = 2 * (GRID_SLOTS + i);
      if (typeof code === "number") {
        const { address } = values[i] as Buffer;
        if (address === 0) throw new Error(`wasm: ${kernel.name}: the buffer of parameter ${i} was freed`);
        i32[word] = address + offsets[i]! * code;
        continue;
      }
      const v = values[i] as number | bigint;
      switch (code) {
        case "i32":
          i32[word] = typeof v === "bigint" ? Number(BigInt.asIntN(32, v)) : v;
          break;
        case "f32":
          this.f32[word] = Number(v);
          break;
        case "f64":
          this.f64[word / 2] = Number(v);
          break;
        case "i64":
          this.i64[word / 2] = BigInt(v);
          break;
        case "mask":
          i32[word] = v ? 1 : 0;
          break;
        case "i8":
          i32[word] = (Number(v) << 24) >> 24;
          break;
        case "u8":
          i32[word] = Number(v) & 0xff;
          break;
        case "i16":
          i32[word] = (Number(v) << 16) >> 16;
          break;
        case "u16":
          i32[word] = Number(v) & 0xffff;
          break;
      }
    }
  }

  /** Memory for what kernels report, made for the first that does. */
  private reportWords(): Int32Array {
    const fresh = this.reports === undefined;
    this.reports ??= { place: this.place(REPORT_WORDS * 4), read: new Reports() };
    const words = new Int32Array(this.memory.buffer, this.reports.place.address, REPORT_WORDS);
    return fresh ? words.fill(0) : words;
  }

  private needFrames(bytes: number): void {
    if (bytes <= this.frameStride) return;
    if (this.frames) this.allocator.free(this.frames);
    this.frames = undefined;
    this.frameStride = 0;
    const stride = Math.ceil(bytes / 64) * 64;
    this.frames = this.place(stride * (this.pool?.threads ?? 1));
    this.frameStride = stride;
  }

  launch(
    exe: Executable,
    gridX: number,
    gridY: number,
    gridZ: number,
    values: readonly (DeviceBuffer | number | bigint)[],
    offsets: readonly number[],
  ): void {
    const kernel = exe as Kernel;
    const total = gridX * gridY * gridZ;
    if (total <= 0) return;
    if (!(total <= MAX_PROGRAMS))
      throw new RangeError(`wasm: ${kernel.name}: a grid of ${total} programs; at most ${MAX_PROGRAMS}`);
    this.needFrames(kernel.meta.frameBytes);
    if (kernel.meta.reports) this.reportWords();
    const { i32, pool } = this;
    i32[0] = gridX;
    i32[2] = gridY;
    i32[4] = gridZ;
    this.writeArgs(kernel, values, offsets);
    const frames = this.frames?.address ?? 0;
    let took: number;
    let guess: number;
    try {
      const first =
        !kernel.measured && total > 1 && kernel.programTime * total > PARALLEL_NANOSECONDS
          ? this.measure(kernel, total, frames)
          : 0;
      const left = total - first;
      guess = kernel.programTime;
      const work = guess * left;
      if (!kernel.optimised && (kernel.worked > OPTIMISE_NANOSECONDS || work > OPTIMISE_AT_ONCE_NANOSECONDS))
        this.optimise(kernel);
      if (pool && left > 1 && work > PARALLEL_NANOSECONDS && this.helpers(pool, work)) {
        const { threads } = pool;
        const fair = left / (threads * 8);
        const chunk = Math.ceil(Math.min(left / threads, Math.max(fair, CHUNK_NANOSECONDS / guess)));
        const wake = Math.ceil(Math.min(left / chunk - 1, work / WAKE_NANOSECONDS));
        took = pool.run(kernel, first, total, chunk, wake, frames, this.frameStride);
      } else if (left > 0) {
        const start = performance.now();
        kernel.run(ARGS_AT, frames, first, total);
        took = (performance.now() - start) / left;
      } else took = guess / 1e6;
    } catch (e) {
      throw new Error(`wasm: kernel ${kernel.name} failed: ${e instanceof Error ? e.message : String(e)}`, {
        cause: e,
      });
    }
    if (!kernel.optimised) kernel.worked += 1e6 * Math.max(0, took) * total;
    if (kernel.meta.reports) {
      const words = this.reportWords();
      this.reports!.read.drain(kernel.name, kernel.meta.reports, words, [gridX, gridY, gridZ]);
    }
    // A launch that was interrupted, or a coarse clock, must not count for much.
    if (took >= 0) kernel.programTime += (Math.min(1e6 * took, 8 * Math.max(guess, 1)) - guess) / 4;
  }

  /**
   * Runs the first programs on this thread alone, so that what the launch will take is known: guesses are far too high
   * for loops of unknown length. Returns how many.
   */
  private measure(kernel: Kernel, total: number, frames: number): number {
    kernel.measured = true;
    let took = Infinity;
    let done = 0;
    // The first call compiles the function, and either may be interrupted.
    for (; done < Math.min(2, total) && !(took > LONG_MILLISECONDS && done > 0); done++) {
      const start = performance.now();
      kernel.run(ARGS_AT, frames, done, done + 1);
      took = Math.min(took, performance.now() - start);
    }
    // A coarse clock may say 0.
    kernel.programTime = Math.max(1, 1e6 * took);
    return done;
  }

  /** Whether helpers run: they are started once there was work enough for them. */
  private helpers(pool: Pool, work: number): boolean {
    this.splittable += work;
    if (this.splittable < START_NANOSECONDS) return false;
    pool.start();
    return true;
  }

  async sync(): Promise<void> {
    this.reports?.read.check();
  }

  close(): void {
    this.closed = true;
    this.pool?.close();
  }
}
