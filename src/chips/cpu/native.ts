// The chip's C runtime (`pool.ts`, `files-c.ts`) in this process: compiled or taken from the cache, and bound through koffi.
// Addresses are numbers: user addresses have at most 52 bits.

import { hashHex } from "../../runtime/hash.js";
import { loadKoffi } from "../../runtime/koffi.js";
import { builtin } from "../../runtime/platform.js";
import { type Compiler, compileLibrary, libraryFlags } from "./compiler.js";
import { cpuFolder, writeAtomic } from "./files.js";
import { FILES_C } from "./files-c.js";
import { LAUNCH, POOL_C } from "./pool.js";

/** The functions of the C runtime; see the texts in `pool.ts` and `files-c.ts`. */
export interface Native {
  /** A pool; 0 without memory. */
  open(threads: number): number;
  close(pool: number): void;
  launch(pool: number): number;
  load(pool: number, path: string, frameBytes: number): number;
  error(pool: number): string;
  alloc(bytes: number): number;
  free(address: number): void;
  /** What a file is (its size and what tells it from others) in four numbers; 0 where it cannot be opened. */
  file(path: string, about: Float64Array): number;
  /** A whole file as memory; 0 where there is no such memory. */
  map(path: string, bytes: number): number;
  /** Who has bytes of mapped files ready; 0 without memory. */
  fetcher(): number;
  endFetcher(fetcher: number): void;
  /** Has bytes of a mapped file ready for reading some time soon. */
  fetch(fetcher: number, address: number, bytes: number): void;
  unmap(fetcher: number, address: number, bytes: number): void;
  /** Asks the system to let this process use AMX; 1 where it does. */
  tiles(): number;
  copyIn(to: number, from: Uint8Array, bytes: number): void;
  copyOut(to: Uint8Array, from: number, bytes: number): void;
  copy(to: number, from: number, bytes: number): void;
  /** Memory shared with the C side; invalid once it is freed. */
  view(address: number, bytes: number): ArrayBuffer;
  /** The launch block of a pool, as memory shared with it; invalid once the pool is closed. */
  block(pool: number): ArrayBuffer;
}

/** The path of the compiled C runtime; compiles it if the cache has none. Throws CompileError. */
export function poolLibrary(c: Compiler): string {
  const fs = builtin("node:fs")!;
  const text = POOL_C + FILES_C;
  const key = hashHex(text, c.path, c.version, ...c.prefix, ...libraryFlags(c, false));
  const path = builtin("node:path")!.join(cpuFolder(), `pool-${key}.so`);
  if (!fs.existsSync(path)) writeAtomic(path, compileLibrary(c, "the cpu chip's thread pool", text));
  return path;
}

export function loadNative(c: Compiler): Native {
  const koffi = loadKoffi();
  const library = koffi.load(poolLibrary(c));
  const bind = <F>(name: string, result: string, ...args: string[]): F =>
    library.func(`vexil_${name}`, result, args) as F;
  return {
    open: bind("open", "intptr_t", "int"),
    close: bind("close", "void", "intptr_t"),
    launch: bind("launch", "int", "intptr_t"),
    load: bind("load", "intptr_t", "intptr_t", "str", "int64_t"),
    error: bind("error", "str", "intptr_t"),
    alloc: bind("alloc", "intptr_t", "int64_t"),
    free: bind("free", "void", "intptr_t"),
    file: bind("file", "int", "str", "double *"),
    map: bind("map", "intptr_t", "str", "int64_t"),
    fetcher: bind("fetcher", "intptr_t"),
    endFetcher: bind("end_fetcher", "void", "intptr_t"),
    fetch: bind("fetch", "void", "intptr_t", "intptr_t", "int64_t"),
    unmap: bind("unmap", "void", "intptr_t", "intptr_t", "int64_t"),
    tiles: bind("tiles", "int"),
    copyIn: bind("copy", "void", "intptr_t", "const uint8_t *", "int64_t"),
    copyOut: bind("copy", "void", "uint8_t *", "intptr_t", "int64_t"),
    copy: bind("copy", "void", "intptr_t", "intptr_t", "int64_t"),
    view: (address, bytes) => koffi.view(BigInt(address), bytes),
    block: (pool) => koffi.view(BigInt(pool), LAUNCH.slots * 8),
  };
}
