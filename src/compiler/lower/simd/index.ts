// The shared lowering of tile IR to structured vector code, which the `cpu` and `wasm` chips print.
export * from "./form.js";
export { lowerSimd } from "./lower.js";
export { showForm } from "./show.js";
export { FormError, verifyForm } from "./verify.js";
