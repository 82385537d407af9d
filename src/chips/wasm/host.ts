// What the JavaScript host offers: relaxed SIMD, threads, compiler flags. Node and browsers.

import { setEngineFlag } from "../../runtime/platform.js";

interface NodeProcess {
  readonly versions?: { readonly node?: string };
  readonly env: Readonly<Record<string, string | undefined>>;
  getBuiltinModule?(name: string): unknown;
}

const nodeProcess = (): NodeProcess | undefined => {
  const p = (globalThis as { process?: NodeProcess }).process;
  return p?.versions?.node ? p : undefined;
};

export interface NodeWorker {
  unref(): void;
  terminate(): Promise<number>;
  on(event: string, listener: (arg: never) => void): void;
}

interface NodeModules {
  "node:os": { availableParallelism(): number };
  "node:v8": { setFlagsFromString(flags: string): void };
  "node:worker_threads": { Worker: new (source: string, options: object) => NodeWorker };
}

/** A Node builtin, or undefined elsewhere. */
export function builtin<K extends keyof NodeModules>(name: K): NodeModules[K] | undefined {
  return nodeProcess()?.getBuiltinModule?.(name) as NodeModules[K] | undefined;
}

/** Threads to use: VEXIL_THREADS, else what the machine has. */
export function hostThreads(): number {
  const asked = Number(nodeProcess()?.env["VEXIL_THREADS"]);
  if (Number.isInteger(asked) && asked > 0) return Math.min(asked, 256);
  const n = builtin("node:os")?.availableParallelism() ?? globalThis.navigator?.hardwareConcurrency ?? 1;
  return Math.max(1, n);
}

/** Whether memory can be shared with workers (in browsers only when the page is cross-origin isolated). */
export const canShare = (): boolean =>
  typeof SharedArrayBuffer === "function" &&
  (nodeProcess() !== undefined ||
    (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated === true);

/** A browser's main thread must not block in Atomics.wait. */
export const canBlock = (): boolean => nodeProcess() !== undefined || typeof document === "undefined";

const bytes = (...parts: number[][]): Uint8Array<ArrayBuffer> =>
  new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...parts.flat()]);
const V128_CONST = [0xfd, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/** (func (result v128) … end) with the given body. */
const returnsVector = (...body: number[]): Uint8Array<ArrayBuffer> => {
  const code = [0, ...body, 0x0b];
  return bytes([1, 5, 1, 0x60, 0, 1, 0x7b], [3, 2, 1, 0], [10, code.length + 2, 1, code.length, ...code]);
};

/** 128-bit SIMD. */
export const hasSimd = (): boolean => WebAssembly.validate(returnsVector(...V128_CONST));

const relaxedValid = (): boolean =>
  WebAssembly.validate(returnsVector(...V128_CONST, ...V128_CONST, ...V128_CONST, 0xfd, 0x85, 0x02));

/** Relaxed SIMD; Node 20 has it behind a flag that can be set while it runs. */
export function hasRelaxedSimd(): boolean {
  if (relaxedValid()) return true;
  setEngineFlag("experimental-wasm-relaxed-simd");
  return relaxedValid();
}
