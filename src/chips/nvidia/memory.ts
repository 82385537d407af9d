// Memory of one GPU: stream-ordered allocation, copies between host and device through pinned staging buffers.
// The runtime's pool stands above it and keeps freed buffers for reuse.

import { type DeviceBuffer, OutOfMemoryError } from "../../runtime/driver.js";
import { type OwnedBuffer, OwnedBuffers, showBytes } from "../../runtime/owned-buffers.js";
import type { CudaContext } from "./context.js";
import { CUDA_ERROR_OUT_OF_MEMORY } from "./cuda.js";

/** A pinned piece of host memory. `event` guards its last use by the copy engine. */
interface Staging {
  readonly address: number;
  readonly bytes: Uint8Array;
  event: number;
}

/** CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: bytes the driver's pool keeps between synchronisations. */
const RELEASE_THRESHOLD = 4;
/** Bytes of one staging buffer, and how many rotate: the copy of one overlaps the filling of the next. */
const CHUNK = 4 << 20;
const CHUNKS = 4;
/** Larger reads go straight into pageable memory: pinning that much costs more than it saves. */
const PINNED_READ = 64 << 20;

export class CudaMemory {
  readonly buffers = new OwnedBuffers("nvidia");
  /** Buffers that are not the stream's: made while a graph was captured, or by a driver without memory pools. */
  private readonly plain = new WeakSet<OwnedBuffer>();
  private readonly writes: Staging[] = [];
  private readonly reads = new Map<number, Staging[]>();
  private next = 0;
  private readonly pools: boolean;

  constructor(private readonly context: CudaContext) {
    const { api, device } = context;
    this.pools = device.memoryPools === 1;
    if (this.pools) {
      const pool = context.out(
        (o) => api.cuDeviceGetDefaultMemPool(o, device.handle),
        "find the memory pool",
      );
      const keep = new BigInt64Array([2n ** 62n]);
      context.check(api.cuMemPoolSetAttribute(pool, RELEASE_THRESHOLD, keep), "set up the memory pool");
    }
  }

  /** Throws {@link OutOfMemoryError} that says how much was wanted, in use and free. */
  alloc(bytes: number): OwnedBuffer {
    this.buffers.checkSize(bytes);
    const { api, stream } = this.context;
    // A capture may only see memory that outlives it, so not the stream's own.
    const pooled = this.pools && !this.context.capturing;
    const cell = new BigInt64Array(1);
    const size = Math.max(bytes, 16);
    const status = pooled ? api.cuMemAllocAsync(cell, size, stream) : api.cuMemAlloc_v2(cell, size);
    if (status === CUDA_ERROR_OUT_OF_MEMORY) throw this.exhausted(bytes);
    this.context.check(status, `allocate ${bytes} bytes`);
    const buffer = this.buffers.add(bytes, Number(cell[0]!));
    if (!pooled) this.plain.add(buffer);
    return buffer;
  }

  private exhausted(bytes: number): OutOfMemoryError {
    const { api, device } = this.context;
    const [free, total] = [new BigInt64Array(1), new BigInt64Array(1)];
    api.cuMemGetInfo_v2(free, total);
    return new OutOfMemoryError(
      `out of memory on ${device.name}: ${showBytes(bytes)} wanted, ${showBytes(this.buffers.allocated)} in use by this process, ` +
        `${showBytes(Number(free[0]))} of ${showBytes(Number(total[0]))} free`,
    );
  }

  free(buffer: DeviceBuffer): void {
    const b = this.buffers.own(buffer);
    const { api, stream } = this.context;
    const status = this.plain.has(b) ? api.cuMemFree_v2(b.handle) : api.cuMemFreeAsync(b.handle, stream);
    this.buffers.remove(b);
    this.context.check(status, "free memory");
  }

  write(dst: DeviceBuffer, byteOffset: number, src: Uint8Array): void {
    const to = this.range(dst, byteOffset, src.length, "write");
    this.notCapturing("write from the host");
    const { api, stream } = this.context;
    for (let at = 0; at < src.length; at += CHUNK) {
      const part = src.subarray(at, at + CHUNK);
      const slot = this.staging();
      slot.bytes.set(part);
      const status = api.cuMemcpyHtoDAsync_v2(to + at, slot.address, part.length, stream);
      this.context.check(status, "copy to the GPU");
      slot.event = this.context.record();
    }
  }

  /** The next staging buffer whose last copy is done. */
  private staging(): Staging {
    const i = this.next++ % CHUNKS;
    const slot = this.writes[i] ?? this.pin(CHUNK);
    this.writes[i] = slot;
    if (slot.event) {
      this.context.waitSync(slot.event, "copy to the GPU");
      this.context.release(slot.event);
      slot.event = 0;
    }
    return slot;
  }

  private pin(bytes: number): Staging {
    const address = this.context.out((o) => this.context.api.cuMemHostAlloc(o, bytes, 0), "pin host memory");
    return { address, bytes: new Uint8Array(this.context.cuda.view(address, bytes)), event: 0 };
  }

  async read(src: DeviceBuffer, byteOffset: number, bytes: number): Promise<Uint8Array> {
    const from = this.range(src, byteOffset, bytes, "read");
    this.notCapturing("read");
    if (bytes === 0) return new Uint8Array(0);
    // One copy, enqueued now: later launches may change what is read.
    if (bytes > PINNED_READ) return this.readSync(src, byteOffset, bytes);
    const slot = this.takeRead(bytes);
    const { api, stream } = this.context;
    this.context.check(api.cuMemcpyDtoHAsync_v2(slot.address, from, bytes, stream), "copy from the GPU");
    const event = this.context.record();
    await this.context.wait(event, "copy from the GPU");
    this.context.release(event);
    return this.finishRead(slot, bytes);
  }

  readSync(src: DeviceBuffer, byteOffset: number, bytes: number): Uint8Array {
    const from = this.range(src, byteOffset, bytes, "read");
    this.notCapturing("read");
    if (bytes === 0) return new Uint8Array(0);
    const { api, stream } = this.context;
    if (bytes > PINNED_READ) {
      const out = new Uint8Array(bytes);
      this.context.synchronize("copy from the GPU");
      this.context.check(api.cuMemcpyDtoH_v2(out, from, bytes), "copy from the GPU");
      return out;
    }
    const slot = this.takeRead(bytes);
    this.context.check(api.cuMemcpyDtoHAsync_v2(slot.address, from, bytes, stream), "copy from the GPU");
    this.context.synchronize("copy from the GPU");
    return this.finishRead(slot, bytes);
  }

  private takeRead(bytes: number): Staging {
    const size = 2 ** Math.max(12, Math.ceil(Math.log2(bytes)));
    return this.reads.get(size)?.pop() ?? this.pin(size);
  }

  private finishRead(slot: Staging, bytes: number): Uint8Array {
    const out = slot.bytes.slice(0, bytes);
    const kept = this.reads.get(slot.bytes.length);
    if (kept) kept.push(slot);
    else this.reads.set(slot.bytes.length, [slot]);
    return out;
  }

  copy(dst: DeviceBuffer, dstByte: number, src: DeviceBuffer, srcByte: number, bytes: number): void {
    const to = this.range(dst, dstByte, bytes, "copy");
    const from = this.range(src, srcByte, bytes, "copy");
    if (bytes === 0) return;
    const { api, stream } = this.context;
    this.context.check(api.cuMemcpyDtoDAsync_v2(to, from, bytes, stream), "copy on the GPU");
  }

  /** The address of a range, for a copy from or to another GPU. */
  placeOf(buffer: DeviceBuffer, offset: number, bytes: number): number {
    this.notCapturing("copy between GPUs");
    return this.range(buffer, offset, bytes, "copy");
  }

  private notCapturing(what: string): void {
    if (this.context.capturing)
      throw new Error(`cannot ${what} while a graph is captured: do it before, or after`);
  }

  private range(buffer: DeviceBuffer, offset: number, bytes: number, what: string): number {
    return this.buffers.range(buffer, offset, bytes, what).handle + offset;
  }

  close(): void {
    for (const b of this.buffers.all()) this.free(b);
    const { api } = this.context;
    for (const slot of [...this.writes, ...[...this.reads.values()].flat()]) api.cuMemFreeHost(slot.address);
    this.writes.length = 0;
    this.reads.clear();
  }
}
