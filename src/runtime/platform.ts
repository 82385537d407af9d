// What the runtime needs of the machine under it, in Node and in browsers: Node's builtin modules without
// importing them, environment variables, the cache folder, the size of memory, a line on stderr.

import type * as ChildProcess from "node:child_process";
import type * as Fs from "node:fs";
import type * as Module from "node:module";
import type * as Os from "node:os";
import type * as Path from "node:path";
import type * as Url from "node:url";
import type * as V8 from "node:v8";
import type * as Vm from "node:vm";
import type * as Zlib from "node:zlib";
import type * as WorkerThreads from "node:worker_threads";

interface Builtins {
  "node:child_process": typeof ChildProcess;
  "node:fs": typeof Fs;
  "node:module": typeof Module;
  "node:os": typeof Os;
  "node:path": typeof Path;
  "node:url": typeof Url;
  "node:v8": typeof V8;
  "node:vm": typeof Vm;
  "node:zlib": typeof Zlib;
  "node:worker_threads": typeof WorkerThreads;
}

interface HostProcess {
  env?: Record<string, string | undefined>;
  pid?: number;
  platform?: string;
  versions?: { node?: string };
  stderr?: { write(text: string): unknown };
  getBuiltinModule?(name: string): unknown;
}

const host: HostProcess | undefined = typeof process === "undefined" ? undefined : (process as HostProcess);

/** Whether Node (or something with its builtin modules) runs this. */
export const isNode = host?.versions?.node !== undefined;

/**
 * A builtin module of Node, or `undefined` in browsers.
 *
 * @example builtin("node:fs")?.existsSync(path)
 */
export function builtin<K extends keyof Builtins>(name: K): Builtins[K] | undefined {
  return isNode ? (host?.getBuiltinModule?.(name) as Builtins[K] | undefined) : undefined;
}

/** {@link builtin} where the caller cannot do without. Throws an error that names what needs it. */
export function needBuiltin<K extends keyof Builtins>(name: K, what: string): Builtins[K] {
  const m = builtin(name);
  if (m) return m;
  if (isNode) throw new Error(`${what} needs Node 20.16 or newer; this is ${host?.versions?.node}`);
  throw new Error(`${what} needs Node and is not available here`);
}

/** An environment variable; empty ones count as unset. Browsers have none. */
export const env = (name: string): string | undefined => host?.env?.[name] || undefined;

/** The process id, or 0 in browsers. */
export const processId = (): number => host?.pid ?? 0;

/** One line for people on stderr (the console in browsers). */
export function warn(line: string): void {
  if (host?.stderr) host.stderr.write(line + "\n");
  else console.warn(line);
}

/** Words of `VEXIL_DEBUG` (`ir,code,leaks`). */
export function debugs(word: string): boolean {
  return (env("VEXIL_DEBUG") ?? "").split(",").some((w) => w.trim() === word);
}

/**
 * The folder for compiled kernels: `VEXIL_CACHE`, else `vexil` in the operating system's cache folder.
 * `undefined` in browsers and with `VEXIL_CACHE=off`.
 */
export function cacheFolder(): string | undefined {
  const path = builtin("node:path");
  const os = builtin("node:os");
  if (!path || !os) return undefined;
  const chosen = env("VEXIL_CACHE");
  if (chosen === "off") return undefined;
  if (chosen) return path.resolve(chosen);
  const home = os.homedir();
  switch (host?.platform) {
    case "win32":
      return path.join(env("LOCALAPPDATA") ?? path.join(home, "AppData", "Local"), "vexil", "Cache");
    case "darwin":
      return path.join(home, "Library", "Caches", "vexil");
    default:
      return path.join(env("XDG_CACHE_HOME") ?? path.join(home, ".cache"), "vexil");
  }
}

/**
 * Makes a folder and those above it. Throws where it cannot.
 *
 * Node's own way of that never ends where a folder cannot be made although the one above it is there, as below `/proc`.
 */
export function makeFolder(folder: string): void {
  const fs = builtin("node:fs")!;
  if (fs.existsSync(folder)) return;
  const above = builtin("node:path")!.dirname(folder);
  if (above !== folder) makeFolder(above);
  try {
    fs.mkdirSync(folder);
  } catch (e) {
    // Somebody else may have made it meanwhile.
    if (!fs.existsSync(folder)) throw e;
  }
}

/** Bytes of main memory that this process may have: the machine's, or its container's; in browsers, which do not say, 4 GiB. */
export function memoryBytes(): number {
  const total = builtin("node:os")?.totalmem();
  if (total === undefined) return 4 * 2 ** 30;
  const allowed = process.constrainedMemory?.() ?? 0;
  return allowed > 0 ? Math.min(allowed, total) : total;
}

/** For all copies of this module in a process: the package's loader has one of its own. */
const ENGINE_FLAGS: unique symbol = Symbol.for("vexil engine flags");
const engineFlags = (): Set<string> => {
  const all = globalThis as { [ENGINE_FLAGS]?: Set<string> };
  all[ENGINE_FLAGS] ??= new Set();
  return all[ENGINE_FLAGS];
};

/** Switches something of V8 on that is off when it starts, as `wasm-x`. Where it knows no such flag, nothing happens. */
export function setEngineFlag(flag: string): void {
  try {
    builtin("node:v8")?.setFlagsFromString(`--${flag}`);
    engineFlags().add(flag);
  } catch {
    // Another engine, or another version of it.
  }
}

/** Whether the engine runs as it started. */
export const asStarted = (): boolean => engineFlags().size === 0;

/** Calls with the flags that the engine started with: what it made of a script it takes back only under the same ones. */
export function withoutEngineFlags<T>(call: () => T): T {
  const v8 = builtin("node:v8");
  const flags = [...engineFlags()];
  for (const f of flags) v8!.setFlagsFromString(`--no-${f}`);
  try {
    return call();
  } finally {
    for (const f of flags) v8!.setFlagsFromString(`--${f}`);
  }
}
