// Model families, their folders and tokenizers.
export * from "./config.js";
export * from "./families/index.js";
export * from "./folder.js";
export * from "./kv-cache.js";
export * from "./load.js";
export * from "./rope-config.js";
export * from "./safetensors.js";
export * from "./tokenizer.js";
export * from "./transformer.js";
