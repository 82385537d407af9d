// Modules, layers and optimizers.
export * from "./activation-dtype.js";
export * from "./adamw.js";
export * from "./layers.js";
export * from "./lora.js";
export * from "./module.js";
