// The floors of the machine: how fast it copies and reads memory, measured through a small C library. A copy counts what
// it reads and what it writes.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import koffi from "koffi";
import { compare } from "./harness.mjs";

const KINDS = ["memcpy", "vector loop", "non-temporal stores"];
const READ = 3;

let library;
function open() {
  if (library) return library;
  const folder = mkdtempSync(join(tmpdir(), "vexil-bench-"));
  try {
    const file = join(folder, "floors.so");
    // Without that flag the compiler makes a memcpy of the vector loop.
    const flags = [
      "-O3",
      "-march=native",
      "-fno-tree-loop-distribute-patterns",
      "-shared",
      "-fPIC",
      "-pthread",
    ];
    execFileSync("cc", [...flags, fileURLToPath(new URL("floors.c", import.meta.url)), "-o", file]);
    const lib = koffi.load(file);
    library = {
      run: lib.func("double floors_run(int, void *, const void *, double, int)"),
      alloc: lib.func("void *floors_alloc(double)"),
      hasStream: lib.func("int floors_has_stream(void)")() === 1,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return library;
}

/** Bytes of the last-level cache that one core sees; 32 MiB where the system does not say. */
export function cacheBytes() {
  for (let level = 4; level >= 2; level--)
    try {
      const text = readFileSync(`/sys/devices/system/cpu/cpu0/cache/index${level}/size`, "utf8").trim();
      return Number.parseInt(text, 10) * (text.endsWith("K") ? 1024 : 1024 ** 2);
    } catch {
      // No such level.
    }
  return 32 * 1024 ** 2;
}

/** The machine, as the report names it. */
export function machine() {
  const list = cpus();
  let model = list[0]?.model.trim() ?? "unknown processor";
  try {
    const flags = readFileSync("/proc/cpuinfo", "utf8").match(/^flags\s*:(.*)$/m)?.[1] ?? "";
    const units = [["avx512f", "AVX-512"], ["avx2", "AVX2"], ["fma", "FMA"], ["f16c", "F16C"]]; // biome-ignore format: a table
    const has = units.filter(([flag]) => flags.split(" ").includes(flag)).map(([, name]) => name);
    if (has.length) model += ` (${has.join(", ")})`;
  } catch {
    // Not Linux.
  }
  let compiler = "none";
  try {
    compiler = execFileSync("cc", ["--version"], { encoding: "utf8" }).split("\n")[0];
  } catch {
    // None.
  }
  return {
    processor: model,
    cores: list.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    lastLevelCacheMiB: cacheBytes() / 2 ** 20,
    system: `${process.platform} ${process.arch}`,
    node: process.version,
    compiler,
  };
}

const pools = new Map();

/** Buffers of `bytes`, enough of them to be out of the caches; kept for the process. */
function buffers(bytes) {
  let list = pools.get(bytes);
  if (list) return list;
  const count = Math.max(2, Math.ceil((4 * cacheBytes()) / bytes));
  list = Array.from({ length: count }, () => open().alloc(bytes));
  if (list.some((p) => !p)) throw new Error(`no memory for ${count} buffers of ${bytes} bytes`);
  pools.set(bytes, list);
  return list;
}

/**
 * The best copy of this machine with so many threads: `{ name, once }` for {@link compare}, which moves
 * `2 * bytes` a call, and what each kind reached.
 */
export async function bestCopy(bytes, threads, set) {
  const lib = open();
  const list = buffers(bytes);
  const n = list.length;
  const side = (kind) => ({
    name: KINDS[kind],
    once: (i) => void lib.run(kind, list[(2 * i + 1) % n], list[(2 * i) % n], bytes, threads),
  });
  const kinds = KINDS.map((_, i) => i).filter((k) => k !== 2 || lib.hasStream);
  const results = await compare(kinds.map(side), set);
  const best = kinds.reduce((a, b) => (results[KINDS[b]].ms < results[KINDS[a]].ms ? b : a));
  const rate = (k) => (2 * bytes) / results[KINDS[k]].ms / 1e6;
  return {
    kind: KINDS[best],
    gbps: rate(best),
    all: Object.fromEntries(kinds.map((k) => [KINDS[k], rate(k)])),
    bytesMoved: 2 * bytes,
    once: side(best).once,
  };
}

/** A plain read of `bytes` with so many threads, as a side for {@link compare}. */
export function reader(bytes, threads) {
  const lib = open();
  const list = buffers(bytes);
  return (i) => void lib.run(READ, null, list[i % list.length], bytes, threads);
}
