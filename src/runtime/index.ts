// The runtime: chips, memory, kernels and their launches.
export { autotune, type AutotuneOptions, heuristics } from "./autotune.js";
export type { BenchOptions, BenchResult } from "./bench.js";
export * from "./buffer.js";
export { compileStats } from "./compile.js";
export type { ArgumentFacts, Rules, TensorFacts } from "./choose.js";
export * from "./define.js";
export * from "./driver.js";
export * from "./generator.js";
export * from "./kernel.js";
export { CaptureError, capture, Graph } from "./graph.js";
export { type Grid, LaunchError } from "./launch.js";
export { type Leak, leakReport, leakTable, trackAllocations } from "./leaks.js";
export { emptyCache, isCapturing, type MemoryStats, memoryStats, resetPeakMemory } from "./pool.js";
export {
  Profile,
  type ProfiledKernel,
  type ProfiledLaunch,
  type ProfiledMemory,
  profile,
} from "./profiler.js";
export * from "./registry.js";
export { FileBytesError, storageOfFile } from "./file-storage.js";
export { KernelFault, Reports } from "./reports.js";
export * from "./scope.js";
export { recordSignatures, type Signature, type SignatureParam } from "./signatures.js";
export * from "./storage.js";
export type { Timing, TimingOptions } from "./timing.js";
export { type TuningSpend, tuningSpend } from "./tuner.js";
export {
  checkTable,
  loadTuning,
  setTuning,
  type TuningRow,
  type TuningTable,
  tuningOf,
} from "./tuning-table.js";
export { sayMissing, setVendorPolicy, type VendorPolicy, vendorIsFaster, vendorPolicy } from "./vendor.js";
export * from "./precision.js";
export { VERSION } from "./version.js";
export { MemoryLimitError, memoryLimit } from "./watermark.js";
export { type WarmupOptions, type WarmupResult, warmup } from "./warmup.js";
