// The tile IR.
export * from "./builder.js";
export * from "./dtype.js";
export * from "./ir.js";
export * from "./ops/index.js";
export * from "./type.js";
