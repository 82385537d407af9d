// Splits a launch over threads: the caller and helper workers take chunks of programs from a shared counter.
// A launch is over when the call returns. What runs is a loaded kernel's `run`; see `print` for its ABI.

import { builtin, canBlock, type NodeWorker } from "./host.js";
import { ARGS_AT, CTL, ERROR_TEXT, WORKER_SOURCE } from "./worker.js";

/** `run(args, frame, first, last)` of a printed module. */
export type Run = (args: number, frame: number, first: number, last: number) => void;

/** A kernel as helpers find it: they compile it themselves, once, from bytes in the shared memory. */
export interface SharedCode {
  readonly id: number;
  readonly run: Run;
  readonly codeAddress: number;
  readonly codeBytes: number;
}

/** Loads of a counter before the caller sleeps while helpers finish their last chunk. */
const CALLER_SPINS = 20_000;

export class Pool {
  private readonly ctl: Int32Array;
  private readonly helpers: { terminate(): void }[] = [];
  private started = false;
  private readonly mayBlock = canBlock();

  /** `threads` includes the caller. The memory must be shared. */
  constructor(
    private readonly memory: WebAssembly.Memory,
    readonly threads: number,
  ) {
    this.ctl = new Int32Array(memory.buffer, 0, CTL.WORDS);
  }

  /** Starts the helpers; until they run, launches are done by the caller alone. */
  start(): void {
    if (this.started) return;
    this.started = true;
    const node = builtin("node:worker_threads");
    for (let slot = 1; slot < this.threads; slot++) {
      const data = { memory: this.memory, slot };
      if (node) {
        const worker: NodeWorker = new node.Worker(WORKER_SOURCE, {
          eval: true,
          workerData: data,
          execArgv: [],
          name: `vexil-wasm-${slot}`,
        });
        // A helper that cannot start is not needed: the others do its work.
        worker.on("error", () => {});
        worker.unref();
        this.helpers.push({ terminate: () => void worker.terminate() });
      } else {
        const url = URL.createObjectURL(new Blob([WORKER_SOURCE], { type: "text/javascript" }));
        const worker = new Worker(url, { name: `vexil-wasm-${slot}` });
        worker.postMessage(data);
        this.helpers.push({
          terminate: () => {
            worker.terminate();
            URL.revokeObjectURL(url);
          },
        });
      }
    }
  }

  /**
   * Runs programs first <= id < total on all threads. Thread i has its scratch at `frames + i * stride`.
   * At most `wake` sleeping helpers are woken. Returns how many milliseconds a program took on the caller's thread,
   * -1 if the helpers left none for it. Throws what a program threw; a helper's error comes as an Error with its
   * message.
   */
  run(
    code: SharedCode,
    first: number,
    total: number,
    chunk: number,
    wake: number,
    frames: number,
    stride: number,
  ): number {
    const { ctl } = this;
    ctl[CTL.KERNEL] = code.id;
    ctl[CTL.CODE] = code.codeAddress;
    ctl[CTL.CODE_BYTES] = code.codeBytes;
    ctl[CTL.TOTAL] = total;
    ctl[CTL.CHUNK] = chunk;
    ctl[CTL.FRAMES] = frames;
    ctl[CTL.FRAME_STRIDE] = stride;
    ctl[CTL.ERROR] = 0;
    Atomics.store(ctl, CTL.NEXT, first);
    Atomics.store(ctl, CTL.OPEN, 1);
    Atomics.add(ctl, CTL.GENERATION, 1);
    if (Atomics.load(ctl, CTL.SLEEPERS) > 0)
      Atomics.notify(ctl, CTL.GENERATION, Math.min(wake, this.threads - 1));
    let own = 0;
    let took = 0;
    try {
      const { run } = code;
      const start = performance.now();
      for (;;) {
        const from = Atomics.add(ctl, CTL.NEXT, chunk);
        if (from >= total) break;
        const to = Math.min(from + chunk, total);
        run(ARGS_AT, frames, from, to);
        own += to - from;
      }
      took = performance.now() - start;
    } finally {
      Atomics.store(ctl, CTL.NEXT, total);
      Atomics.store(ctl, CTL.OPEN, 0);
      this.waitForHelpers();
    }
    if (ctl[CTL.ERROR] !== 0) {
      const length = new Int32Array(this.memory.buffer, ERROR_TEXT, 1)[0]!;
      throw new Error(String.fromCharCode(...new Uint16Array(this.memory.buffer, ERROR_TEXT + 4, length)));
    }
    return own ? took / own : -1;
  }

  private waitForHelpers(): void {
    const { ctl } = this;
    for (let spins = 0; ; spins++) {
      const active = Atomics.load(ctl, CTL.ACTIVE);
      if (active === 0) return;
      if (spins > CALLER_SPINS && this.mayBlock) Atomics.wait(ctl, CTL.ACTIVE, active);
    }
  }

  /** Ends the helpers. */
  close(): void {
    Atomics.store(this.ctl, CTL.STOP, 1);
    Atomics.add(this.ctl, CTL.GENERATION, 1);
    Atomics.notify(this.ctl, CTL.GENERATION);
    for (const h of this.helpers) h.terminate();
    this.helpers.length = 0;
  }
}
