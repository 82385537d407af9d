// Model families, their folders and tokenizers.
export * from "./config.js";
export * from "./folder.js";
export * from "./kv-cache.js";
export * from "./load.js";
export * from "./qwen3.js";
export * from "./safetensors.js";
export * from "./tokenizer.js";
