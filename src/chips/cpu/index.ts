// The `cpu` chip: kernels as C, built by the system's compiler and run on all cores.

import type { Capabilities, Chip, ChipEntry, Probe } from "../../runtime/driver.js";
import { builtin, env, memoryBytes } from "../../runtime/platform.js";
import { type Compiler, installHint, NoCompilerError, openCompiler } from "./compiler.js";
import { CpuDriver } from "./driver.js";
import { cpuFolder } from "./files.js";
import { loadNative, type Native } from "./native.js";
import { CpuTarget } from "./target.js";
import { tuning } from "./tuning.js";
import { CpuVendor } from "./vendor/index.js";
import { openOpenBlas } from "./vendor/openblas.js";

const SUMMARY = "native code by the system's C compiler, on all cores";

/** Threads of a launch: `VEXIL_THREADS`, else one per core that this process may use. */
function threadCount(): number {
  const wanted = env("VEXIL_THREADS");
  if (wanted === undefined) return builtin("node:os")!.availableParallelism();
  const n = Number(wanted);
  if (!Number.isInteger(n) || n < 1 || n > 1024)
    throw new Error(`VEXIL_THREADS must be a whole number from 1 to 1024, not "${wanted}"`);
  return n;
}

interface Parts {
  readonly compiler: Compiler;
  readonly native: Native;
}

let last: { readonly key: string; readonly parts: Parts } | undefined;

/** The compiler and the C runtime; looking for the chip and opening it need both, and find them once. */
function openParts(): Parts {
  const key =
    ["VEXIL_CC", "VEXIL_VECTORS", "CC", "PATH"].map((name) => env(name) ?? "").join("\0") + cpuFolder();
  if (last?.key !== key) last = { key, parts: findParts() };
  return last.parts;
}

function findParts(): Parts {
  const compiler = openCompiler();
  try {
    const native = loadNative(compiler);
    const { tiles, ...others } = compiler.features;
    if (!tiles || native.tiles()) return { compiler, native };
    return { compiler: { ...compiler, features: others }, native };
  } catch (e) {
    const koffi = (e as { code?: string }).code === "MODULE_NOT_FOUND";
    const hint = koffi ? "`npm install koffi`" : installHint();
    throw new NoCompilerError(`${compiler.version}, but ${(e as Error).message}`, hint);
  }
}

/** Bytes of vectors of which one at a time, with the latency of one sum, is as fast as memory. */
const LONG_VECTOR = 64;

const describe = (c: Compiler): string => c.version + (c.units ? `, ${c.units}` : "");

/** Bytes of the last-level cache that one core sees; 32 MiB where the system does not say. */
function lastLevelCache(): number {
  const fs = builtin("node:fs")!;
  for (let level = 4; level >= 2; level--)
    try {
      const text = fs.readFileSync(`/sys/devices/system/cpu/cpu0/cache/index${level}/size`, "utf8");
      const [, size, unit] = /^(\d+)([KM]?)/.exec(text) ?? [];
      const bytes = Number(size) * (unit === "K" ? 1024 : unit === "M" ? 1024 ** 2 : 1);
      if (bytes > 0) return bytes;
    } catch {
      // No such level, or not Linux.
    }
  return 32 * 1024 ** 2;
}

/** What every chip that runs these kernels can do. */
export function capabilities(threads: number): Capabilities {
  return {
    syncRead: true,
    f64: true,
    i64: true,
    threads,
    elementsPerProgram: 16384,
    streamsSums: true,
    dotBlock: [64, 64, 256],
    cacheBytes: lastLevelCache(),
    maxBufferBytes: memoryBytes(),
    maxGrid: [2147483647, 65535, 65535],
  };
}

export const entry: ChipEntry = {
  name: "cpu",
  summary: SUMMARY,

  probe(): Promise<Probe> {
    try {
      const { compiler } = openParts();
      const blas = openOpenBlas(threadCount(), () => 0);
      const vendor = blas ? { vendor: [`matmul: ${blas.name} (${blas.description})`] } : {};
      return Promise.resolve({ available: true, found: describe(compiler), ...vendor });
    } catch (e) {
      if (!(e instanceof NoCompilerError)) return Promise.reject(e);
      return Promise.resolve({ available: false, found: e.message, hint: e.hint });
    }
  },

  async open(): Promise<Chip> {
    let parts: ReturnType<typeof openParts>;
    try {
      parts = openParts();
    } catch (e) {
      if (e instanceof NoCompilerError)
        throw new Error(`the cpu chip is not available: ${e.message}. ${e.hint}`);
      throw e;
    }
    const { compiler, native } = parts;
    const threads = threadCount();
    const driver = new CpuDriver(native, threads);
    return {
      name: "cpu",
      target: new CpuTarget(compiler),
      driver,
      vendor: new CpuVendor(driver),
      capabilities: { ...capabilities(threads), sumsByRow: compiler.features.vectorBytes >= LONG_VECTOR },
      tuning,
      description: `${threads} thread${threads === 1 ? "" : "s"}, ${describe(compiler)}, ${compiler.features.vectorBytes * 8}-bit vectors`,
    };
  },
};
