// Model families, their folders and tokenizers.
export * from "./config.js";
export * from "./decode-graph.js";
export * from "./families/index.js";
export * from "./folder.js";
export { writeGguf } from "./gguf/export.js";
export { bytesOf, GgufError, parseGguf } from "./gguf/format.js";
export * from "./kv-cache.js";
export * from "./load.js";
export * from "./lora.js";
export * from "./open.js";
export * from "./paged-cache.js";
export { PRESETS } from "./presets.js";
export * from "./rope-config.js";
export * from "./safetensors.js";
export * from "./tokenizer.js";
export * from "./transformer.js";
