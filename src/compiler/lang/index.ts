// The front end of the kernel language.
export * from "./errors.js";
export * from "./markers.js";
export { kernelSource } from "./kernel-source.js";
export { type ScalarFunction, scalarFunction } from "./scalar-function.js";
export type { Tl } from "./tl/index.js";
