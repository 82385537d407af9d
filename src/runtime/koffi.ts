// koffi, the foreign function interface of the chips that call native libraries: loaded when first needed, so that bundles
// for browsers do not hold it. Knows no library.

import { needBuiltin } from "./platform.js";

/** A function of a native library. */
export interface NativeFunction {
  (...args: unknown[]): unknown;
  /** The same beside this thread; the last argument is called with an error or the result. */
  async(...args: unknown[]): void;
}

/** The part of koffi that is used. Addresses go in and out as numbers (`intptr_t`): user addresses have at most 52 bits. */
export interface Koffi {
  /** Opens a library; null: what the process has. Throws when there is none. */
  load(path: string | null): {
    func(name: string, result: string, args: readonly string[]): NativeFunction;
  };
  /** Native memory as an ArrayBuffer; invalid once it is freed. */
  view(address: unknown, bytes: number): ArrayBuffer;
  alloc(type: string, count: number): unknown;
  address(pointer: unknown): bigint;
}

/** Throws what loading the npm package throws (`MODULE_NOT_FOUND` where it is not installed), and outside Node. */
export function loadKoffi(): Koffi {
  const require = needBuiltin("node:module", "calling native libraries").createRequire(import.meta.url);
  return require("koffi") as Koffi;
}
