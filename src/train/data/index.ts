// Training data: files to token sequences, sequences to batches in a seeded order. Makes no tensors.
export * from "./batch.js";
export * from "./batches.js";
export { DataError } from "./lines.js";
export * from "./order.js";
export * from "./prompts.js";
export type { Example, Sequences } from "./sequences.js";
export * from "./sources.js";
export { TokenFile, TokenFileWriter } from "./token-file.js";
