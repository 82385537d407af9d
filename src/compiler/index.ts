// The compiler for those who write chips and tools: the tile IR, the passes, the kernel language's sources, the
// shared lowerings and the Target interface. Users of kernels and tensors need only the package's main entry.

export * from "./ir/index.js";
export type { KernelSource, ParamFacts, ParamSpec, Specialization } from "./source.js";
export { kernelSource, scalarFunction, type ScalarFunction } from "./lang/index.js";
export * from "./lower/simd/index.js";
export * from "./passes/index.js";
export * from "./target.js";
