// From a source and a specialisation to loaded code: memory, then disk, then the compiler.

import { print, type Func } from "../compiler/ir/index.js";
import { optimize, widenOffsets } from "../compiler/passes/index.js";
import type { ConstexprValue, KernelSource, Specialization } from "../compiler/source.js";
import type { Artifact } from "../compiler/target.js";
import { cacheName, readCached, writeCached } from "./disk-cache.js";
import type { Chip, Executable } from "./driver.js";
import { debugs, warn } from "./platform.js";
import { compilerStamp } from "./version.js";

/** What the compiler has done in this process. */
export const compileStats = { built: 0, compiled: 0, fromDisk: 0 };

const loaded = new WeakMap<Chip, Map<string, Executable>>();

/** The text that stands for a compiled kernel; made without building any IR. */
export function cacheKey(source: KernelSource, spec: Specialization, chip: Chip): string {
  return JSON.stringify([
    compilerStamp(),
    chip.target.name,
    chip.target.fingerprint,
    source.name,
    source.contentKey,
    spec.wideOffsets,
    spec.params.map((p) => {
      if (p.kind === "ptr") return [p.dtype, p.aligned];
      if (p.kind === "dim") return [p.isOne, p.divisibleBy16];
      return p.kind === "constexpr" ? constexprKey(p.value) : 0;
    }),
  ]);
}

/** Tells values apart that JSON does not: bigints, -0, NaN and infinities. */
export function constexprKey(v: ConstexprValue): unknown {
  if (typeof v === "bigint") return { bigint: String(v) };
  if (typeof v === "number" && (!Number.isFinite(v) || Object.is(v, -0)))
    return { number: Object.is(v, -0) ? "-0" : String(v) };
  return typeof v === "object" ? v.map(constexprKey) : v;
}

/** The IR of a specialised kernel as targets get it. */
export function buildOptimized(
  source: KernelSource,
  spec: Specialization,
  nativeMath?: readonly string[],
): Func {
  const func = source.build(spec);
  compileStats.built++;
  func.paramFacts ??= alignments(source, spec);
  optimize(func, { nativeMath });
  if (spec.wideOffsets) widenOffsets(func);
  return func;
}

/** What the specialisation says of the ABI's parameters (constexprs are none of those), for the axis analysis. */
function alignments(source: KernelSource, spec: Specialization): { divisibility: number }[] {
  return spec.params
    .filter((_, i) => source.params[i]!.kind !== "constexpr")
    .map((p) => ({
      divisibility: (p.kind === "ptr" && p.aligned) || (p.kind === "dim" && p.divisibleBy16) ? 16 : 1,
    }));
}

/** Compiles without asking any cache. Throws CompileError. */
export function compileFresh(
  source: KernelSource,
  spec: Specialization,
  chip: Chip,
): { func: Func; artifact: Artifact } {
  const func = buildOptimized(source, spec, chip.target.nativeMath);
  if (debugs("ir")) warn(print(func));
  const artifact = chip.target.compile(func);
  compileStats.compiled++;
  if (debugs("code") && artifact.text) warn(artifact.text);
  return { func, artifact };
}

/** Loads code, and lets messages say where its kernel comes from. */
export function load(source: KernelSource, chip: Chip, artifact: Artifact): Executable {
  const exe = chip.driver.load(artifact);
  exe.definition = () => source.definition?.();
  return exe;
}

/** Whether the code of a key is loaded. */
export const isLoaded = (chip: Chip, key: string): boolean => loaded.get(chip)?.has(key) === true;

/** Keeps loaded code for later launches. */
export function keepLoaded(chip: Chip, key: string, exe: Executable): void {
  const known = loaded.get(chip);
  if (known) known.set(key, exe);
  else loaded.set(chip, new Map([[key, exe]]));
}

/** Code for a chip: the loaded one, else from disk, else compiled now. Throws CompileError. */
export function executable(source: KernelSource, spec: Specialization, chip: Chip): Executable {
  let known = loaded.get(chip);
  if (!known) {
    known = new Map();
    loaded.set(chip, known);
  }
  const key = cacheKey(source, spec, chip);
  let exe = known.get(key);
  if (!exe) {
    exe = fromDiskOrCompiler(source, spec, chip, cacheName(key));
    known.set(key, exe);
  }
  return exe;
}

function fromDiskOrCompiler(
  source: KernelSource,
  spec: Specialization,
  chip: Chip,
  name: string | undefined,
): Executable {
  // Who asks to see the code gets it made.
  const cached = name && !debugs("ir") && !debugs("code") ? readCached(name) : undefined;
  if (cached) {
    try {
      const exe = load(source, chip, cached);
      compileStats.fromDisk++;
      return exe;
    } catch {
      // The entry is whole but does not load here any more (a changed system library): compile it again.
    }
  }
  const { artifact } = compileFresh(source, spec, chip);
  if (name) writeCached(name, artifact);
  return load(source, chip, artifact);
}
