// The driver of one NVIDIA GPU: kernels loaded as machine code and launched in one stream. A launch fills one block of
// pinned memory and makes one native call. Memory is memory.ts; what a failed call says is context.ts.

import { REPORT_WORDS, type ReportSite } from "../../compiler/passes/reports.js";
import type { Artifact } from "../../compiler/target.js";
import type { BlockMap } from "../../compiler/lower/simt/form.js";
import type { CapturedWork, DeviceBuffer, Driver, Executable } from "../../runtime/driver.js";
import { ArgumentBlock, BUFFER, type ScalarKind, scalarCode } from "../../runtime/argument-block.js";
import { OwnedBuffer } from "../../runtime/owned-buffers.js";
import { Reports } from "../../runtime/reports.js";
import { encodeMap, MAP_BYTES } from "./bulk-ops.js";
import type { CudaContext } from "./context.js";
import { loadModule } from "./link.js";
import type { Launched } from "./lost.js";
import { CudaMemory } from "./memory.js";
import { LaunchOrder } from "./order.js";
import { copyBetween } from "./peers.js";
import { OVERLAPS } from "./shape.js";

/** What the driver must know of a kernel; stands in the artifact's meta. */
export interface KernelMeta {
  /** The kernel's name for people; the entry point's is `entry`. */
  readonly name: string;
  readonly entry: string;
  /** Threads of one program. */
  readonly threads: number;
  /** Programs along axis 0 that one workgroup runs. */
  readonly programsPerGroup: number;
  /** Dynamic shared memory, in bytes. */
  readonly sharedBytes: number;
  /** Per ABI parameter: a buffer with the bytes of its element, or a scalar. Each takes 8 bytes in the argument block; with several programs a workgroup the number of programs along axis 0 follows. */
  readonly params: readonly (readonly ["buffer", number] | readonly ["scalar", ScalarKind])[];
  /** As many workgroups as the GPU has multiprocessors take the programs in turn; their numbers along the axes follow the parameters. */
  readonly persistent?: boolean;
  /** Block maps that a launch makes (print.ts says where they stand among the parameters). */
  readonly maps?: readonly BlockMap[];
  /** Buffers (by parameter) that it may read while launches before it still run, and those that it writes. */
  readonly early?: readonly number[];
  readonly written?: readonly number[];
  /** What it reports while it runs; then its last parameter is the memory for that. */
  readonly reports?: readonly ReportSite[];
}

/** The most block maps of a kernel. */
const MAPS = 16;
const ARGUMENTS = 4096;
/**
 * Layout of the pinned block, in bytes: CUlaunchConfig, the `extra` list, the size, one CUlaunchAttribute, the arguments; the block maps,
 * the last one first, and the addresses of those and of the arguments, as kernels with maps take them: where a map must stand among
 * the arguments only the driver knows.
 */
const BLOCK = { config: 0, attributes: 48, extra: 64, size: 128, attribute: 192, args: 320, maps: 320 + ARGUMENTS, places: 320 + ARGUMENTS + MAPS * MAP_BYTES, bytes: 320 + ARGUMENTS + MAPS * (MAP_BYTES + 8) + ARGUMENTS } as const; // biome-ignore format: one line
/** Maps of a kernel that are kept: buffers come back, so that most launches make none. */
const KEPT_MAPS = 64;
/** CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: a launch may begin while the one before it ends. */
const MAY_OVERLAP = 6;
/** CU_LAUNCH_PARAM_BUFFER_POINTER and _SIZE. */
const [EXTRA_END, EXTRA_POINTER, EXTRA_SIZE] = [0, 1, 2];
/** CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES; up to 48 KiB need no leave. */
const MAX_DYNAMIC_SHARED = 8;
const FREE_SHARED = 48 << 10;
/** CU_STREAM_CAPTURE_MODE_RELAXED: memory may be allocated and code loaded meanwhile. */
const CAPTURE_RELAXED = 2;

class CudaExecutable implements Executable {
  readonly name: string;
  definition?: () => string | undefined;
  readonly slots: readonly number[];
  readonly sizes: readonly number[];
  /** Per block map, those made last, by address and step. */
  readonly maps: readonly Map<string, Uint32Array>[];
  constructor(
    readonly meta: KernelMeta,
    readonly fn: number,
    readonly module: number,
    readonly owner: CudaDriver,
  ) {
    this.name = meta.name;
    this.maps = (meta.maps ?? []).map(() => new Map());
    const params = meta.reports ? meta.params.slice(0, -1) : meta.params;
    this.slots = params.map(([what, kind]) => (what === "buffer" ? BUFFER : scalarCode(kind)));
    this.sizes = params.map(([what, size]) => (what === "buffer" ? size : 0));
  }
}

export class CudaDriver implements Driver {
  private readonly memory: CudaMemory;
  /** The address of the pinned block, and the block. */
  private readonly address: number;
  private readonly block: ArgumentBlock;
  private readonly loaded: CudaExecutable[] = [];
  private open = true;
  private readonly order = new LaunchOrder();
  /** What the graph that is being captured launches. */
  private captured: Executable[] = [];
  private reports: { readonly memory: OwnedBuffer; readonly read: Reports } | undefined;

  constructor(private readonly context: CudaContext) {
    this.memory = new CudaMemory(context);
    this.address = context.out(
      (o) => context.api.cuMemHostAlloc(o, BLOCK.bytes, 0),
      "pin the argument block",
    );
    this.block = new ArgumentBlock(context.cuda.view(this.address, BLOCK.bytes));
    this.block.words.fill(0);
    this.block.putWhole((BLOCK.config + 32) / 8, context.stream);
    // Every kernel of such a GPU waits for the one before it by itself (print.ts).
    if (context.device.capability >= OVERLAPS) {
      this.block.putWhole((BLOCK.config + 40) / 8, this.address + BLOCK.attribute);
      this.block.words[BLOCK.attributes / 4] = 1;
      this.block.words[BLOCK.attribute / 4] = MAY_OVERLAP;
      this.block.words[BLOCK.attribute / 4 + 2] = 1;
    }
    const extra = [
      EXTRA_POINTER,
      this.address + BLOCK.args,
      EXTRA_SIZE,
      this.address + BLOCK.size,
      EXTRA_END,
    ];
    for (let i = 0; i < MAPS; i++)
      this.block.putWhole(BLOCK.places / 8 + i, this.address + BLOCK.maps + i * MAP_BYTES);
    for (let i = 0; i < ARGUMENTS / 8; i++)
      this.block.putWhole(BLOCK.places / 8 + MAPS + i, this.address + BLOCK.args + i * 8);
    extra.forEach((value, i) => void this.block.putWhole(BLOCK.extra / 8 + i, value));
  }

  alloc(bytes: number): DeviceBuffer {
    this.check();
    return this.memory.alloc(bytes);
  }

  free(buffer: DeviceBuffer): void {
    // With a lost context its memory is gone: whoever lets go of it, often on the way out of an error, need not hear of it.
    if (this.open && this.context.lost) {
      this.memory.buffers.remove(this.memory.buffers.own(buffer));
      return;
    }
    this.check();
    this.memory.free(buffer);
  }

  write(dst: DeviceBuffer, byteOffset: number, src: Uint8Array): void {
    this.check();
    this.memory.write(dst, byteOffset, src);
    this.order.wrote(dst as OwnedBuffer);
  }

  async read(src: DeviceBuffer, byteOffset: number, bytes: number): Promise<Uint8Array> {
    this.check();
    this.reports?.read.check();
    return this.memory.read(src, byteOffset, bytes);
  }

  readSync(src: DeviceBuffer, byteOffset: number, bytes: number): Uint8Array {
    this.check();
    this.reports?.read.check();
    return this.memory.readSync(src, byteOffset, bytes);
  }

  copy(dst: DeviceBuffer, dstByte: number, src: DeviceBuffer, srcByte: number, bytes: number): void {
    this.check();
    this.memory.copy(dst, dstByte, src, srcByte, bytes);
    this.order.wrote(dst as OwnedBuffer);
  }

  load(artifact: Artifact): Executable {
    this.check();
    const { api } = this.context;
    const meta = artifact.meta as unknown as KernelMeta;
    const module = loadModule(this.context, meta.name, artifact.bytes);
    const fn = this.context.out(
      (o) => api.cuModuleGetFunction(o, module, meta.entry),
      `find ${meta.entry} in the code of ${meta.name}`,
    );
    if (meta.sharedBytes > FREE_SHARED)
      this.context.check(
        api.cuFuncSetAttribute(fn, MAX_DYNAMIC_SHARED, meta.sharedBytes),
        `${meta.name}: ask for ${meta.sharedBytes} bytes of shared memory`,
      );
    const exe = new CudaExecutable(meta, fn, module, this);
    this.loaded.push(exe);
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
    if (!(exe instanceof CudaExecutable) || exe.owner !== this) throw this.memory.buffers.foreign("kernel");
    if (gridX * gridY * gridZ === 0) return;
    const { slots, sizes, meta } = exe;
    const { block } = this;
    const { words } = block;
    const per = meta.programsPerGroup;
    words[0] = per === 1 ? gridX : Math.ceil(gridX / per);
    words[1] = gridY;
    words[2] = gridZ;
    words[3] = meta.threads;
    words[4] = 1;
    words[5] = 1;
    words[6] = meta.sharedBytes;
    const given = slots.length + (meta.reports ? 1 : 0);
    words[BLOCK.size / 4] = (given + (per === 1 ? 0 : 1)) * 8;
    words[BLOCK.args / 4 + given * 2] = gridX;
    if (meta.persistent) this.share(meta, given, gridX, gridY, gridZ);
    for (let i = 0, at = BLOCK.args / 8; i < slots.length; i++, at++) {
      const v = values[i]!;
      const code = slots[i]!;
      if (code === BUFFER) block.putWhole(at, this.addressOf(v, i, exe) + offsets[i]! * sizes[i]!);
      else block.putScalar(at, code, v as number | bigint);
    }
    const { context } = this;
    // What it reads early may just have been written: then it waits for all before it.
    const apart =
      meta.early !== undefined && this.order.isNew(meta.early.map((i) => values[i] as OwnedBuffer));
    if (apart) words[BLOCK.attributes / 4] = 0;
    if (meta.maps) this.putMaps(exe, values, offsets);
    if (meta.reports) block.putWhole(BLOCK.args / 8 + slots.length, this.reporting().memory.handle);
    if (context.capturing) this.captured.push(exe);
    else context.launched(exe);
    const status = meta.maps
      ? context.api.cuLaunchKernelEx(this.address, exe.fn, this.address + BLOCK.places + (MAPS - meta.maps.length) * 8, 0) // biome-ignore format: one line
      : context.api.cuLaunchKernelEx(this.address, exe.fn, 0, this.address + BLOCK.extra);
    if (apart) {
      words[BLOCK.attributes / 4] = 1;
      this.order.waits();
    }
    // What it reports to is no argument.
    for (const i of meta.written ?? []) if (i < slots.length) this.order.wrote(values[i] as OwnedBuffer);
    if (status !== 0) context.check(status, `launch ${meta.name} with ${meta.threads} threads a program`);
    if (context.synchronous && !context.capturing) context.synchronize(`run ${meta.name}`);
    if (meta.reports && !context.capturing) this.drain(meta, [gridX, gridY, gridZ]);
  }

  /** Starts no more workgroups than run at once; each takes programs until none is left. */
  private share(meta: KernelMeta, given: number, gridX: number, gridY: number, gridZ: number): void {
    const { words } = this.block;
    const [total, most] = [gridX * gridY * gridZ, this.context.device.multiprocessors];
    if (total > 2 ** 31 - 1 - most)
      throw new RangeError(`${meta.name}: ${total} programs are more than one launch of it can count`);
    words[0] = Math.min(total, most);
    words[1] = 1;
    words[2] = 1;
    for (const [axis, n] of [gridX, gridY, gridZ].entries()) words[BLOCK.args / 4 + (given + axis) * 2] = n;
    words[BLOCK.size / 4] = (given + 3) * 8;
  }

  /** Puts a kernel's block maps into their places. */
  private putMaps(
    exe: CudaExecutable,
    values: readonly (DeviceBuffer | number | bigint)[],
    offsets: readonly number[],
  ): void {
    const { words } = this.block;
    const { context } = this;
    exe.meta.maps!.forEach((map, i) => {
      const buffer = values[map.param]!;
      const address = this.addressOf(buffer, map.param, exe) + offsets[map.param]! * exe.sizes[map.param]!;
      const { times, param } = map.step;
      const step = times * (param === undefined ? 1 : Number(values[param]));
      const key = `${address} ${step}`;
      const known = exe.maps[i]!;
      const at = BLOCK.maps + (MAPS - 1 - i) * MAP_BYTES;
      let made = known.get(key);
      if (made === undefined) {
        if (known.size >= KEPT_MAPS) known.clear();
        const status = encodeMap(context.api, this.block.bytes(at, MAP_BYTES), map, address, step);
        context.check(status, `describe argument ${map.param} of ${exe.name} with rows ${step} apart to the copy engine`); // biome-ignore format: one line
        made = words.slice(at / 4, (at + MAP_BYTES) / 4);
        known.set(key, made);
      }
      words.set(made, at / 4);
    });
  }

  /** Memory for what kernels report, and who reads it. */
  private reporting(): NonNullable<CudaDriver["reports"]> {
    if (!this.reports) {
      const memory = this.memory.alloc(REPORT_WORDS * 4);
      this.memory.write(memory, 0, new Uint8Array(REPORT_WORDS * 4));
      this.reports = { memory, read: new Reports() };
    }
    return this.reports;
  }

  /** Kernels that report are waited for: what they printed is shown now, a claim that does not hold thrown at the next wait. */
  private drain(meta: KernelMeta, grid: readonly [number, number, number]): void {
    const { memory, read } = this.reporting();
    const bytes = this.memory.readSync(memory, 0, REPORT_WORDS * 4);
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, REPORT_WORDS);
    if (words[0] === 0) return;
    read.drain(meta.name, meta.reports!, words, grid);
    this.memory.write(memory, 0, new Uint8Array(REPORT_WORDS * 4));
  }

  private addressOf(v: unknown, i: number, exe: CudaExecutable): number {
    const { buffers } = this.memory;
    if (v instanceof OwnedBuffer && v.owner === buffers && v.handle !== 0) return v.handle;
    return buffers.own(v, `argument ${i} of ${exe.name}`).handle;
  }

  beginCapture(): void {
    this.check();
    const { context } = this;
    context.check(context.api.cuStreamBeginCapture_v2(context.stream, CAPTURE_RELAXED), "begin a capture");
    context.capturing = true;
    // A graph begins when all before it has ended.
    this.order.waits();
  }

  endCapture(): CapturedWork {
    const { api, stream } = this.context;
    this.context.capturing = false;
    const work = graphOf(this.captured);
    this.captured = [];
    const graph = this.context.out((o) => api.cuStreamEndCapture(stream, o), "end a capture");
    // What was captured has not run.
    this.order.lost();
    const exec = this.context.out((o) => api.cuGraphInstantiateWithFlags(o, graph, 0), "make a graph");
    this.context.check(api.cuGraphDestroy(graph), "drop a recording");
    let alive = true;
    return {
      launch: () => {
        this.check();
        this.context.launched(work);
        this.context.check(api.cuGraphLaunch(exec, stream), "launch a graph");
        // Which buffers it wrote was noted when it was captured: all that was ever written counts as new.
        this.order.lost();
      },
      dispose: () => {
        if (alive && this.open && !this.context.lost) {
          this.context.enter();
          api.cuGraphExecDestroy(exec);
        }
        alive = false;
      },
    };
  }

  async sync(): Promise<void> {
    this.check();
    const event = this.context.record();
    await this.context.wait(event, "wait for the GPU");
    this.context.release(event);
    this.reports?.read.check();
  }

  close(): void {
    if (!this.open) return;
    const { api } = this.context;
    if (this.context.lost) {
      // Nothing of it can be freed one by one; it goes with the context.
      this.open = false;
      this.context.close();
      return;
    }
    this.context.enter();
    // Whatever still runs ends first; a failed kernel was reported where it was met.
    api.cuStreamSynchronize(this.context.stream);
    for (const { module } of this.loaded) api.cuModuleUnload(module);
    try {
      this.memory.close();
    } finally {
      this.open = false;
      api.cuMemFreeHost(this.address);
      this.context.close();
    }
  }

  /** Where a byte of a buffer stands: for libraries that work on the same memory, and may write it. */
  addressOfByte(buffer: DeviceBuffer, byteOffset: number): number {
    this.order.wrote(buffer as OwnedBuffer);
    return this.memory.buffers.own(buffer).handle + byteOffset;
  }

  /** Copies of other GPUs' memory go from GPU to GPU, also where they cannot reach each other's memory. */
  copyFrom(
    dst: DeviceBuffer,
    dstByte: number,
    from: Driver,
    src: DeviceBuffer,
    srcByte: number,
    bytes: number,
  ): boolean {
    if (!(from instanceof CudaDriver)) return false;
    from.check();
    this.check();
    const source = from.memory.placeOf(src, srcByte, bytes);
    this.order.wrote(dst as OwnedBuffer);
    copyBetween(from.context, source, this.context, this.memory.placeOf(dst, dstByte, bytes), bytes);
    return true;
  }

  private check(): void {
    if (!this.open) throw new Error("the nvidia chip is closed");
    this.context.enter();
  }
}

/** How a captured graph is named when one of its kernels fails. */
function graphOf(kernels: readonly Executable[]): Launched {
  const names = [...new Set(kernels.map((k) => k.name))];
  const shown = names.slice(0, 12).join(", ") + (names.length > 12 ? ", …" : "");
  if (names.length === 1) return { name: `${shown} of a captured graph`, definition: kernels[0]!.definition };
  return { name: `of a captured graph of ${kernels.length} launches (${shown})` };
}
