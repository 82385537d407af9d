// What a chip gives the compiler: a code printer behind one interface. Loading and launching is `runtime/driver`.

import type { Func } from "./ir/index.js";

/** Compiled code of one specialised kernel: what a driver loads and the disk cache keeps. */
export interface Artifact {
  /** Machine code, a WebAssembly module, a shader's text in UTF-8, … */
  readonly bytes: Uint8Array;
  /** What the driver must know to launch (scratch bytes, threads, …). Plain JSON. */
  readonly meta: Readonly<Record<string, unknown>>;
  /** Readable code for `kernel.explain` and `VEXIL_DEBUG=code`; not kept on disk. */
  readonly text?: string;
  /** A chip that runs the IR itself hands it to its driver here; such artifacts are not kept on disk. */
  readonly func?: Func;
}

/** Compiles verified, optimised tile IR for one chip. */
export interface Target {
  readonly name: string;
  /** Changes whenever the produced code would: compiler version, instruction set, printer version. Part of every cache key. */
  readonly fingerprint: string;
  /** Approximate functions (`exp2Approx`) on f32 that the target has code for; the others reach it expanded. Default: none. */
  readonly nativeMath?: readonly string[];
  /** Compiles one kernel. Throws {@link CompileError} that names the kernel when the chip cannot express it. */
  compile(func: Func): Artifact;
  /** The same with the slow part elsewhere (another process), so that several run at once. */
  compileAsync?(func: Func): Promise<Artifact>;
}

/** A kernel that does not compile; the message is for the kernel's author. */
export class CompileError extends Error {
  override name = "CompileError";
}
