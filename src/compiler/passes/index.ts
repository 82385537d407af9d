// The passes over the tile IR.
export * from "./cse.js";
export * from "./dce.js";
export * from "./expand-counting-sorts.js";
export * from "./expand-math.js";
export * from "./fold-control.js";
export * from "./licm.js";
export * from "./optimize.js";
export * from "./simplify.js";
export * from "./analyze-axes.js";
export * from "./differentiate.js";
export * from "./drop-hints.js";
export * from "./widen-f8-dots.js";
export * from "./widen-offsets.js";
export * from "./reports.js";
