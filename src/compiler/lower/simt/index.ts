// The shared lowering of tile IR to a program per thread, which GPU chips print.
export * from "./form.js";
export * from "./shape.js";
export { orderOf } from "./await.js";
export { LOWERING_VERSION, lowerSimt } from "./lower.js";
export { showLayout } from "./layout.js";
export { GRID_PARAMS } from "./persistent.js";
