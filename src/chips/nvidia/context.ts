// One GPU's context and stream: the calls that everything else of this chip is made of, and what a failed call says.
// Memory is in memory.ts, launches in driver.ts, what a lost context says in lost.ts.

import { debugs } from "../../runtime/platform.js";
import { CUDA_ERROR_NOT_READY, CUDA_SUCCESS, type Cuda, type CudaApi, CudaError } from "./cuda.js";
import type { CudaDevice } from "./device.js";
import { isSticky, lostMessage, type Launched, LaunchLog } from "./lost.js";

const NON_BLOCKING = 1;
const NO_TIMING = 2;

/** The context that the thread's calls go to. */
let current: CudaContext | undefined;

export class CudaContext {
  readonly api: CudaApi;
  readonly stream: number;
  readonly handle: number;
  /** A call that enqueues and must be recorded is under way: nothing may wait for the GPU. */
  capturing = false;
  /** Waits after each launch, so that a failure names its kernel: `VEXIL_DEBUG=sync`. */
  readonly synchronous = debugs("sync");
  /** What every call says once a kernel has failed: the GPU refuses everything from then on. */
  lost: { readonly status: number; readonly call: string; readonly text: string } | undefined;
  private readonly log = new LaunchLog();
  private closed = false;
  private readonly events: number[] = [];
  /** How many launches came before an event. */
  private readonly marks = new Map<number, number>();
  private readonly cell = new BigInt64Array(1);

  constructor(
    readonly cuda: Cuda,
    readonly device: CudaDevice,
  ) {
    this.api = cuda.api;
    this.handle = this.out((o) => this.api.cuDevicePrimaryCtxRetain(o, device.handle), "open the GPU");
    this.enter();
    this.stream = this.out((o) => this.api.cuStreamCreate(o, NON_BLOCKING), "cuStreamCreate");
  }

  /** Makes the thread's calls go to this GPU. Throws what a kernel that failed here is to blame for. */
  enter(): void {
    if (this.lost !== undefined) throw this.lostError();
    if (current === this) return;
    this.check(this.api.cuCtxSetCurrent(this.handle), "cuCtxSetCurrent");
    current = this;
  }

  /** Runs a call that gives one handle or address back. */
  out(call: (cell: BigInt64Array) => number, what: string): number {
    this.check(call(this.cell), what);
    return Number(this.cell[0]!);
  }

  /** Throws for a failed call; an error of a kernel that ran before names it, and stays. */
  check(status: number, what: string): void {
    if (status === CUDA_SUCCESS) return;
    if (!isSticky(status)) this.cuda.check(status, what);
    this.lost ??= {
      status,
      call: what,
      text: lostMessage(this.device.name, this.cuda.describe(status), this.log.running(), this.synchronous),
    };
    throw this.lostError();
  }

  private lostError(): CudaError {
    const { status, call, text } = this.lost!;
    return new CudaError(status, call, text);
  }

  /** Notes a launch for {@link check}'s message. */
  launched(kernel: Launched): void {
    this.log.add(kernel);
  }

  /** An event recorded in the stream now. Give it back with {@link release}. */
  record(): number {
    const event = this.events.pop() ?? this.out((o) => this.api.cuEventCreate(o, NO_TIMING), "cuEventCreate");
    this.check(this.api.cuEventRecord(event, this.stream), "cuEventRecord");
    this.marks.set(event, this.log.count);
    return event;
  }

  release(event: number): void {
    this.events.push(event);
  }

  /** Blocks until an event has passed. */
  waitSync(event: number, what: string): void {
    this.check(this.api.cuEventSynchronize(event), what);
    this.passed(event);
  }

  /** Resolves when an event has passed. Short waits poll, so that a token's result is not late; long ones sleep. */
  async wait(event: number, what: string): Promise<void> {
    const start = performance.now();
    for (;;) {
      this.enter();
      const status = this.api.cuEventQuery(event);
      if (status !== CUDA_ERROR_NOT_READY) {
        this.check(status, what);
        this.passed(event);
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

  private passed(event: number): void {
    this.log.ended(this.marks.get(event) ?? 0);
  }

  synchronize(what: string): void {
    this.check(this.api.cuStreamSynchronize(this.stream), what);
    this.log.ended(this.log.count);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    if (current !== this) this.api.cuCtxSetCurrent(this.handle);
    current = undefined;
    for (const event of this.events) this.api.cuEventDestroy_v2(event);
    this.api.cuStreamDestroy_v2(this.stream);
    this.api.cuDevicePrimaryCtxRelease_v2(this.device.handle);
  }
}
