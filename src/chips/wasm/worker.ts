// The helper thread, as the text of a plain script: it runs in Node's worker_threads and in Web Workers, from
// sources, from a bundle and from a package, without a file of its own. It holds no logic but the loop that takes
// programs. It never returns to its event loop, so all it is told stands in the shared memory.

/** Words of the control block at address 0 of the shared memory. Those with a comment are waited on or raced for. */
export const CTL = {
  /** Counts launches; sleeping helpers wait on it. */
  GENERATION: 0,
  /** 1 while a launch can be joined; the words below LAUNCH do not change then. */
  OPEN: 16,
  /** Helpers that are inside a launch; the caller waits until it is 0. */
  ACTIVE: 32,
  /** Helpers that must be woken. */
  SLEEPERS: 48,
  /** The next program to take. */
  NEXT: 64,
  STOP: 80,
  /** 1 + helper that failed; its message stands at ERROR_TEXT. */
  ERROR: 81,
  LAUNCH: 96,
  KERNEL: 96,
  CODE: 97,
  CODE_BYTES: 98,
  TOTAL: 99,
  CHUNK: 100,
  FRAMES: 101,
  FRAME_STRIDE: 102,
  WORDS: 112,
} as const;

/** Byte address of the argument block, and its end. */
export const ARGS_AT = 4096;
export const ARGS_END = 12288;
/** Byte address of a failed helper's message: its length as i32, then UTF-16 units. */
export const ERROR_TEXT = 12288;
export const ERROR_UNITS = 1000;

/** How long an idle helper spins before it sleeps: waking it costs about 16 microseconds. */
const SPIN_MILLISECONDS = 0.05;

export const WORKER_SOURCE = `"use strict";
const serve = ({ memory, slot }) => {
  const ctl = new Int32Array(memory.buffer, 0, ${CTL.WORDS});
  const kernels = new Map();
  const compile = () => {
    const at = ctl[${CTL.CODE}] >>> 0, bytes = ctl[${CTL.CODE_BYTES}];
    if (at + bytes > memory.buffer.byteLength) memory.grow(0);
    const code = new Uint8Array(memory.buffer, at, bytes).slice();
    return new WebAssembly.Instance(new WebAssembly.Module(code), { env: { memory } }).exports.run;
  };
  const work = () => {
    const total = ctl[${CTL.TOTAL}];
    try {
      const id = ctl[${CTL.KERNEL}];
      let run = kernels.get(id);
      if (!run) kernels.set(id, (run = compile()));
      const chunk = ctl[${CTL.CHUNK}];
      const frame = ctl[${CTL.FRAMES}] + slot * ctl[${CTL.FRAME_STRIDE}];
      for (;;) {
        const first = Atomics.add(ctl, ${CTL.NEXT}, chunk);
        if (first >= total) break;
        run(${ARGS_AT}, frame, first, Math.min(first + chunk, total));
      }
    } catch (e) {
      Atomics.store(ctl, ${CTL.NEXT}, total);
      if (Atomics.compareExchange(ctl, ${CTL.ERROR}, 0, slot + 1) === 0) {
        const text = String((e && e.message) || e).slice(0, ${ERROR_UNITS});
        new Int32Array(memory.buffer, ${ERROR_TEXT}, 1)[0] = text.length;
        const units = new Uint16Array(memory.buffer, ${ERROR_TEXT + 4}, text.length);
        for (let i = 0; i < text.length; i++) units[i] = text.charCodeAt(i);
      }
    }
  };
  let seen = 0;
  for (;;) {
    let until = 0;
    for (let spins = 1; Atomics.load(ctl, ${CTL.GENERATION}) === seen; spins++) {
      if (Atomics.load(ctl, ${CTL.STOP})) return;
      if (spins % 64) continue;
      const now = performance.now();
      if (until === 0) until = now + ${SPIN_MILLISECONDS};
      else if (now > until) {
        Atomics.add(ctl, ${CTL.SLEEPERS}, 1);
        Atomics.wait(ctl, ${CTL.GENERATION}, seen);
        Atomics.sub(ctl, ${CTL.SLEEPERS}, 1);
        until = 0;
      }
    }
    seen = Atomics.load(ctl, ${CTL.GENERATION});
    Atomics.add(ctl, ${CTL.ACTIVE}, 1);
    if (Atomics.load(ctl, ${CTL.OPEN})) work();
    Atomics.sub(ctl, ${CTL.ACTIVE}, 1);
    if (!Atomics.load(ctl, ${CTL.OPEN})) Atomics.notify(ctl, ${CTL.ACTIVE});
  }
};
if (typeof require === "function") serve(require("node:worker_threads").workerData);
else onmessage = (event) => serve(event.data);
`;
