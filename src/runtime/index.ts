// The runtime: chips, memory, kernels and their launches.
export * from "./buffer.js";
export * from "./define.js";
export * from "./driver.js";
export * from "./generator.js";
export * from "./kernel.js";
export { type Grid, LaunchError } from "./launch.js";
export { type Leak, leakReport, trackAllocations } from "./leaks.js";
export { emptyCache, type MemoryStats, memoryStats, resetPeakMemory } from "./pool.js";
export * from "./registry.js";
export * from "./scope.js";
export * from "./storage.js";
export { VERSION } from "./version.js";
export { MemoryLimitError, memoryLimit } from "./watermark.js";
