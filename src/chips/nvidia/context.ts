// One GPU's context and stream: the calls that everything else of this chip is made of, and what a failed call says.
// Memory is in memory.ts, launches in driver.ts.

import { debugs } from "../../runtime/platform.js";
import { CUDA_ERROR_NOT_READY, CUDA_SUCCESS, type Cuda, type CudaApi, CudaError } from "./cuda.js";
import type { CudaDevice } from "./device.js";

/** From here on (cuda.h) errors come from running kernels and stay: every later call fails with them too. */
const STICKY = new Set([214, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719]);
const NON_BLOCKING = 1;
const NO_TIMING = 2;
/** Launches whose names are kept for the report of an error that shows only later. */
const REMEMBERED = 8;

export class CudaContext {
  readonly api: CudaApi;
  readonly stream: number;
  /** A call that enqueues and must be recorded is under way: nothing may wait for the GPU. */
  capturing = false;
  /** Waits after each launch, so that a failure names its kernel: `VEXIL_DEBUG=sync`. */
  readonly synchronous = debugs("sync");
  private readonly recent: string[] = [];
  private launches = 0;
  private closed = false;
  private readonly events: number[] = [];
  private readonly cell = new BigInt64Array(1);

  constructor(
    readonly cuda: Cuda,
    readonly device: CudaDevice,
  ) {
    this.api = cuda.api;
    const context = this.out((o) => this.api.cuDevicePrimaryCtxRetain(o, device.handle), "open the GPU");
    this.check(this.api.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    this.stream = this.out((o) => this.api.cuStreamCreate(o, NON_BLOCKING), "cuStreamCreate");
  }

  /** Runs a call that gives one handle or address back. */
  out(call: (cell: BigInt64Array) => number, what: string): number {
    this.check(call(this.cell), what);
    return Number(this.cell[0]!);
  }

  /** Throws for a failed call; an error of a kernel that ran before names the last launched ones. */
  check(status: number, what: string): void {
    if (status === CUDA_SUCCESS) return;
    if (!STICKY.has(status)) this.cuda.check(status, what);
    const names = this.lastLaunches();
    const which =
      names.length > 1 && !this.synchronous
        ? ` Set VEXIL_DEBUG=sync to learn which kernel it was; the last launched are ${names.join(", ")}.`
        : ` The kernel is ${names[0] ?? "unknown"}.`;
    throw new CudaError(
      status,
      what,
      `a kernel failed on ${this.device.name}: ${this.cuda.describe(status)}. The GPU's memory in this process is lost.${which}`,
    );
  }

  /** Notes a launch for {@link check}'s message. */
  launched(name: string): void {
    this.recent[this.launches++ % REMEMBERED] = name;
  }

  /** Names of the last launched kernels, newest first. */
  private lastLaunches(): string[] {
    const n = Math.min(this.launches, REMEMBERED);
    const names = Array.from({ length: n }, (_, i) => this.recent[(this.launches - 1 - i) % REMEMBERED]!);
    return [...new Set(names)];
  }

  /** An event recorded in the stream now. Give it back with {@link release}. */
  record(): number {
    const event = this.events.pop() ?? this.out((o) => this.api.cuEventCreate(o, NO_TIMING), "cuEventCreate");
    this.check(this.api.cuEventRecord(event, this.stream), "cuEventRecord");
    return event;
  }

  release(event: number): void {
    this.events.push(event);
  }

  /** Blocks until an event has passed. */
  waitSync(event: number, what: string): void {
    this.check(this.api.cuEventSynchronize(event), what);
  }

  /** Resolves when an event has passed. Short waits poll, so that a token's result is not late; long ones sleep. */
  async wait(event: number, what: string): Promise<void> {
    const start = performance.now();
    for (;;) {
      const status = this.api.cuEventQuery(event);
      if (status !== CUDA_ERROR_NOT_READY) {
        this.check(status, what);
        return;
      }
      const waited = performance.now() - start;
      if (waited < 0.05) continue;
      await new Promise<void>((resolve) => {
        if (waited < 5) setImmediate(resolve);
        else setTimeout(resolve, 1);
      });
      if (this.closed) throw new Error(`${what}: the nvidia chip was closed`);
    }
  }

  synchronize(what: string): void {
    this.check(this.api.cuStreamSynchronize(this.stream), what);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const event of this.events) this.api.cuEventDestroy_v2(event);
    this.api.cuStreamDestroy_v2(this.stream);
    this.api.cuDevicePrimaryCtxRelease_v2(this.device.handle);
  }
}
