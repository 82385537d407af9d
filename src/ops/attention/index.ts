// Attention: PyTorch's operator and the fused ones.
export { scaledDotProductAttention } from "./sdpa.js";
export { flashAttention, varlenAttention } from "./fused.js";
export { pagedAttention } from "./paged.js";
export { cacheTurned_ } from "./cache-turned.js";
export { cacheWrite_ } from "./cache-write.js";
