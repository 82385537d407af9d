// Compiles modules for the caller's thread, twice: first for a quick start, then with V8's optimising compiler where that
// can be asked for.
//
// V8 runs a new module in its baseline compiler first, and a function that is running never changes over. Measured
// on Node 20 with a 4 x 8 matrix product: the baseline code makes 8 GFLOP/s, the optimised 49. Functions are
// exchanged after about a millisecond of calls, but a launch of few long programs would run in the slow code to its
// end. Optimising costs 2 to 13 ms for a kernel, the baseline 0.1: what has little to do stays in it, and the driver
// asks for the optimised code once a kernel has work for longer than that. The flags hold for this one module only,
// since others in the process have their own needs. V8 keeps the code of a module process-wide by its bytes, so
// helpers that compile the same bytes find it; and the optimised module must have other bytes than the first.

import { builtin } from "./host.js";

const OPTIMISE = "--no-liftoff --no-wasm-lazy-compilation";
/** Without the baseline the engine gives up exchanging functions, too, and does not take that back by itself. */
const DEFAULTS = "--liftoff --wasm-lazy-compilation --wasm-dynamic-tiering";

/** A custom section without meaning: name of one byte, no content. */
const MARK = [0, 2, 1, 0x6f];

function setFlags(flags: string): void {
  const v8 = builtin("node:v8");
  if (!v8) return;
  for (const flag of flags.split(" "))
    try {
      v8.setFlagsFromString(flag);
    } catch {
      return; // an engine that has no such flag compiles as it likes
    }
}

/** Bytes of both modules: all of them are the optimised module, without the last {@link MARK_BYTES} the quick one. */
export function markedBytes(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length + MARK_BYTES);
  out.set(bytes);
  out.set(MARK, bytes.length);
  return out;
}

export const MARK_BYTES: number = MARK.length;

/** The compiled module, ready at once. */
export const compileModule = (bytes: Uint8Array): WebAssembly.Module =>
  new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);

/** The module in optimised code. */
export function optimiseModule(bytes: Uint8Array): WebAssembly.Module {
  setFlags(OPTIMISE);
  try {
    return compileModule(bytes);
  } finally {
    setFlags(DEFAULTS);
  }
}
